"""The policy's weights and the updates on them: micro-batches of a token budget, one optimizer step.

A loss function sees one micro-batch and divides by the denominators of the whole step, so that the sum over
micro-batches, however they are cut, is the loss of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from rlvr.generation.engine import Sampling
from rlvr_trainers.batch import Batch
from rlvr_trainers.distributed import ALONE, Ranks
from rlvr_trainers.optimizer import Optimizer, OptimizerConfig
from rlvr_trainers.policy import EntropyKind, Policy
from rlvr_trainers.sharding import WHOLE, Spread

Metrics = dict[str, float]
MicroLoss = Callable[[Batch], tuple[Tensor, Mapping[str, Tensor | float]]]
"""A micro-batch's share of the loss, and shares of metrics: each adds up to its value for the step."""
PolicyLoss = Callable[[Batch, Tensor, Tensor | None], tuple[Tensor, Mapping[str, Tensor | float]]]
"""As MicroLoss, of `(micro_batch, logprobs_BT, entropy_BT)`."""


def accumulate(
    batch: Batch,
    loss: MicroLoss,
    *,
    token_budget: int,
    device: torch.device,
    autocast: AbstractContextManager[Any] | None = None,
    spread: Spread = WHOLE,
) -> Metrics:
    """Add the gradients of the loss over all micro-batches to the parameters; returns `loss` and the summed metrics.

    `spread` says which ranks share the rows: gradients and metrics are then those of all of them.
    """
    totals: dict[str, Tensor] = {}
    for rows, counts in spread.micro_batches(batch, token_budget):
        micro = (batch if len(rows) == batch.num_rows else batch.select(rows)).to(device)
        for name, share in add_gradients(micro, loss, counts=counts, autocast=autocast, spread=spread).items():
            totals[name] = totals[name] + share if name in totals else share
    return spread.total(totals)


def add_gradients(
    micro: Batch, loss: MicroLoss, *, counts: bool, autocast: AbstractContextManager[Any] | None, spread: Spread
) -> dict[str, Tensor]:
    """Add one micro-batch's gradients; returns its share of the `loss` and of the metrics, all 0 if it does not count."""
    with autocast or nullcontext():
        value, metrics = spread.run(lambda: loss(micro))
    (value if counts else 0.0 * value).backward()  # type: ignore[no-untyped-call]
    shares = {
        name: share.detach() if isinstance(share, Tensor) else torch.tensor(share, device=value.device)
        for name, share in {"loss": value, **metrics}.items()
    }
    return shares if counts else {name: torch.zeros_like(share) for name, share in shares.items()}


class Learner:
    """A policy that can be asked for log-probabilities and trained.

    `model` is a Hugging Face causal language model; it is trained in place. On hardware that has bfloat16 the weights
    stay in their own precision and the products are computed in bfloat16. With several `ranks` it is sharded among them, and
    its weights are the first one's.
    """

    def __init__(
        self,
        model: Any,
        config: OptimizerConfig,
        *,
        total_updates: int,
        token_budget: int = 16_384,
        device: str | torch.device = "cpu",
        ranks: Ranks = ALONE,
        offload: bool = False,
    ) -> None:
        """`offload`: keep what is sharded in main memory, and take it to `device` for as long as it is needed."""
        self.device = torch.device(device)
        self.model = model.to(self.device) if ranks.size == 1 else model
        disable_dropout(self.model)
        self.spread = Spread(self.model, ranks, self.device, offload=offload)
        self.policy = Policy(self.model, spread=self.spread)
        if self.device.type == "cuda":
            with self.autocast():
                self.spread.run(self.policy.pack)
        self.optimizer = Optimizer(self.model.parameters(), config, total_updates=total_updates, ranks=ranks)
        self.token_budget = token_budget
        """Padded tokens of a micro-batch."""

    def logprobs(self, batch: Batch, *, temperature: float = 1.0, policy: Policy | None = None) -> Tensor:
        """`[B, T]` on the CPU: log-probabilities of the answer tokens under these weights, or under another policy."""
        return self._per_token(batch, lambda micro: (policy or self.policy)(micro, temperature=temperature)[0])

    def full_kl(self, batch: Batch, reference: Policy, *, temperature: float = 1.0) -> Tensor:
        """`[B, T]` on the CPU: KL of these weights from the reference's, over the whole vocabulary."""
        return self._per_token(batch, lambda micro: self.policy.full_kl(micro, reference, temperature=temperature))

    def kept_log_mass(self, batch: Batch, sampling: Sampling) -> Tensor:
        """`[B, T]` on the CPU: log of the mass that the sampling's cuts left under these weights."""
        return self._per_token(batch, lambda micro: self.policy.kept_log_mass(micro, sampling))

    def accumulate(self, batch: Batch, loss: MicroLoss) -> Metrics:
        """`accumulate` with this learner's micro-batches, precision and ranks."""
        return accumulate(
            batch,
            loss,
            token_budget=self.token_budget,
            device=self.device,
            autocast=self.autocast(),
            spread=self.spread,
        )

    def update(
        self, batch: Batch, loss: PolicyLoss, *, temperature: float = 1.0, entropy: EntropyKind = "metric"
    ) -> Metrics:
        """One optimizer step on the whole batch. Returns `loss`, `grad_norm`, `learning_rate` and the loss's metrics."""

        def micro_loss(micro: Batch) -> tuple[Tensor, Mapping[str, Tensor | float]]:
            logprobs_BT, entropy_BT = self.policy(micro, temperature=temperature, entropy=entropy)
            return loss(micro, logprobs_BT, entropy_BT)

        return {**self.accumulate(batch, micro_loss), **self.optimizer.step()}

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 products where the hardware has them, else nothing."""
        if self.device.type == "cuda" and torch.cuda.is_bf16_supported():
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()

    def state_dict(self) -> dict[str, Any]:
        """What the optimizer knows; the weights are saved as a Hugging Face folder beside it."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.optimizer.load_state_dict(state)

    def _per_token(self, batch: Batch, compute: Callable[[Batch], Tensor]) -> Tensor:
        with self.autocast():
            return self.spread.per_token(batch, compute, token_budget=self.token_budget, device=self.device)


def disable_dropout(model: Any) -> None:
    """Policy gradients compare probabilities of one network; dropout would make each pass another one."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


def best_device() -> torch.device:
    """The first CUDA device where there is one, else the CPU."""
    return torch.device("cuda") if torch.cuda.is_available() else torch.device("cpu")
