"""The critic: what reward is still to come, judged before each token that the policy chooses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rlvr_trainers import losses
from rlvr_trainers.batch import Batch
from rlvr_trainers.distributed import ALONE, Ranks
from rlvr_trainers.learner import Learner, Metrics, accumulate
from rlvr_trainers.optimizer import Optimizer, OptimizerConfig
from rlvr_trainers.pieces import fit
from rlvr_trainers.scalar_model import before_tokens, score_hidden, token_scores
from rlvr_trainers.sharding import Spread


class Critic:
    """A critic with a trunk of its own, trained by its own optimizer.

    `model` comes from `load_scalar_model`. A batch that it learns from has the fields `returns` and, for clipping,
    `old_values`, both `[B, T]`.
    """

    def __init__(
        self,
        model: Any,
        config: OptimizerConfig,
        *,
        total_updates: int,
        token_budget: int,
        device: torch.device,
        ranks: Ranks = ALONE,
        offload: bool = False,
    ) -> None:
        self.model = model
        self.device = device
        self.token_budget = token_budget
        self.spread = Spread(model, ranks, device, offload=offload)
        self.optimizer = Optimizer(model.parameters(), config, total_updates=total_updates, ranks=ranks)

    def values(self, batch: Batch) -> Tensor:
        """`[B, T]` on the CPU: the value of the state in which each answer token was chosen; 0 elsewhere."""
        return self.spread.per_token(batch, self._values, token_budget=self.token_budget, device=self.device)

    def update(self, batch: Batch, *, clip: float | None) -> Metrics:
        """One optimizer step towards the returns. Returns `value_loss` and `value_grad_norm`."""
        num_tokens = batch.num_answer_tokens

        def micro_loss(micro: Batch) -> tuple[Tensor, Mapping[str, Tensor | float]]:
            return value_loss(self._values(micro), micro, clip=clip, num_tokens=num_tokens), {}

        metrics = accumulate(batch, micro_loss, token_budget=self.token_budget, device=self.device, spread=self.spread)
        return {"value_loss": metrics["loss"], "value_grad_norm": self.optimizer.step()["grad_norm"]}

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer; the inverse of `load_state_dict`."""
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        own = self.model.state_dict()
        self.model.load_state_dict({name: fit(value, own[name]) for name, value in state["model"].items()})
        self.optimizer.load_state_dict(state["optimizer"])

    def _values(self, batch: Batch) -> Tensor:
        return before_tokens(token_scores(self.model, batch), batch.mask_BT)


class ValueHead:
    """A critic that is a second head on the policy's trunk, with an optimizer of its own; the trunk is the learner's.

    Policy and critic are trained from one loss: see `train_ppo`.
    """

    def __init__(self, learner: Learner, config: OptimizerConfig, *, total_updates: int) -> None:
        hidden_size = learner.model.config.get_text_config().hidden_size
        self.learner = learner
        self.head = nn.Linear(hidden_size, 1).to(learner.device)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # The head is small: every rank has all of it, and its gradients are summed.
        ranks = learner.spread.ranks
        self.optimizer = Optimizer(self.head.parameters(), config, total_updates=total_updates, ranks=ranks)

    def values(self, batch: Batch) -> Tensor:
        """`[B, T]` on the CPU: the value of the state in which each answer token was chosen; 0 elsewhere."""
        learner = self.learner

        def compute(micro: Batch) -> Tensor:
            return self.of_hidden(learner.policy.hidden(micro), micro)

        with learner.autocast():
            return learner.spread.per_token(batch, compute, token_budget=learner.token_budget, device=learner.device)

    def of_hidden(self, hidden_BTH: Tensor, batch: Batch) -> Tensor:
        """`[B, T]`, float32: values from the trunk's hidden states."""
        return before_tokens(score_hidden(self.head, hidden_BTH), batch.mask_BT)

    def state_dict(self) -> dict[str, Any]:
        """The head's weights and optimizer; the inverse of `load_state_dict`."""
        return {"head": self.head.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])


def value_loss(values_BT: Tensor, micro: Batch, *, clip: float | None, num_tokens: int) -> Tensor:
    """`losses.value_loss` of a micro-batch against its fields `returns` and `old_values`."""
    return losses.value_loss(
        values_BT, micro.fields["returns"], micro.mask_BT, micro.fields["old_values"], clip, num_items=num_tokens
    )


def explained_variance(values_BT: Tensor, returns_BT: Tensor, mask_BT: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns) over answer tokens: 1 is a perfect critic, 0 no better than a constant."""
    returns_N, values_N = returns_BT[mask_BT], values_BT[mask_BT]
    # Returns that are equal but for rounding, which is that of the values they were computed with, have no variance.
    if len(returns_N) < 2 or float(returns_N.var()) <= 1e-12 * float((returns_N.square() + values_N.square()).mean()):
        return 0.0
    return 1.0 - float((returns_N - values_N).var() / returns_N.var())
