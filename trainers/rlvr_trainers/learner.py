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
from rlvr_trainers.optimizer import Optimizer, OptimizerConfig
from rlvr_trainers.policy import EntropyKind, Policy

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
) -> Metrics:
    """Add the gradients of the loss over all micro-batches to the parameters; returns `loss` and the summed metrics."""
    totals: dict[str, Tensor] = {}
    for rows in batch.micro_batches(token_budget):
        micro = (batch if len(rows) == batch.num_rows else batch.select(rows)).to(device)
        with autocast or nullcontext():
            value, metrics = loss(micro)
        value.backward()  # type: ignore[no-untyped-call]
        for name, share in {"loss": value, **metrics}.items():
            share = share.detach() if isinstance(share, Tensor) else torch.tensor(share, device=device)
            totals[name] = totals[name] + share if name in totals else share
    return {name: float(total) for name, total in totals.items()}


class Learner:
    """A policy that can be asked for log-probabilities and trained.

    `model` is a Hugging Face causal language model; it is trained in place. On hardware that has bfloat16 the weights
    stay in their own precision and the products are computed in bfloat16.
    """

    def __init__(
        self,
        model: Any,
        config: OptimizerConfig,
        *,
        total_updates: int,
        token_budget: int = 16_384,
        device: str | torch.device = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device)
        disable_dropout(self.model)
        self.policy = Policy(self.model, packed=_takes_borders_from_positions(model))
        self.optimizer = Optimizer(self.model.parameters(), config, total_updates=total_updates)
        self.token_budget = token_budget
        """Padded tokens of a micro-batch."""

    @torch.no_grad()
    def logprobs(self, batch: Batch, *, temperature: float = 1.0, policy: Policy | None = None) -> Tensor:
        """`[B, T]` on the CPU: log-probabilities of the answer tokens under these weights, or under another policy."""
        result_BT = torch.zeros(batch.token_ids_BT.shape)
        for rows in batch.micro_batches(self.token_budget):
            micro = batch.select(rows).to(self.device)
            with self.autocast():
                logprobs_BT, _ = (policy or self.policy)(micro, temperature=temperature)
            result_BT[rows, : logprobs_BT.shape[1]] = logprobs_BT.cpu()
        return result_BT

    @torch.no_grad()
    def full_kl(self, batch: Batch, reference: Policy, *, temperature: float = 1.0) -> Tensor:
        """`[B, T]` on the CPU: KL of these weights from the reference's, over the whole vocabulary."""
        result_BT = torch.zeros(batch.token_ids_BT.shape)
        for rows in batch.micro_batches(self.token_budget):
            micro = batch.select(rows).to(self.device)
            with self.autocast():
                kl_BT = self.policy.full_kl(micro, reference, temperature=temperature)
            result_BT[rows, : kl_BT.shape[1]] = kl_BT.cpu()
        return result_BT

    @torch.no_grad()
    def kept_log_mass(self, batch: Batch, sampling: Sampling) -> Tensor:
        """`[B, T]` on the CPU: log of the mass that the sampling's cuts left under these weights."""
        result_BT = torch.zeros(batch.token_ids_BT.shape)
        for rows in batch.micro_batches(self.token_budget):
            micro = batch.select(rows).to(self.device)
            with self.autocast():
                mass_BT = self.policy.kept_log_mass(micro, sampling)
            result_BT[rows, : mass_BT.shape[1]] = mass_BT.cpu()
        return result_BT

    def update(
        self, batch: Batch, loss: PolicyLoss, *, temperature: float = 1.0, entropy: EntropyKind = "metric"
    ) -> Metrics:
        """One optimizer step on the whole batch. Returns `loss`, `grad_norm`, `learning_rate` and the loss's metrics."""

        def micro_loss(micro: Batch) -> tuple[Tensor, Mapping[str, Tensor | float]]:
            logprobs_BT, entropy_BT = self.policy(micro, temperature=temperature, entropy=entropy)
            return loss(micro, logprobs_BT, entropy_BT)

        metrics = accumulate(
            batch, micro_loss, token_budget=self.token_budget, device=self.device, autocast=self.autocast()
        )
        return {**metrics, **self.optimizer.step()}

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


def _takes_borders_from_positions(model: Any) -> bool:
    return str(getattr(model.config, "_attn_implementation", "")).startswith("flash")
