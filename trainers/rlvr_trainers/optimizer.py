"""AdamW with gradient clipping, a warm-up and a schedule, as one object with a state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from rlvr.errors import ConfigError
from rlvr_trainers.distributed import ALONE, Ranks
from rlvr_trainers.health import TrainingError
from rlvr_trainers.pieces import fit
from rlvr_trainers.sharding import local, whole

ScheduleKind = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class OptimizerConfig:
    """How gradients become weights."""

    learning_rate: float = 1e-6
    """Peak step size of AdamW (Loshchilov & Hutter, arXiv:1711.05101)."""
    warmup: int = 0
    """Updates over which the step size rises linearly to its peak."""
    schedule: ScheduleKind = "constant"
    """After the warm-up: constant, or down to `final_share` of the peak in a line or a half cosine."""
    final_share: float = 0.1
    """Share of the peak that a falling schedule ends at."""
    beta1: float = 0.9
    """Decay of the first moment."""
    beta2: float = 0.999
    """Decay of the second moment."""
    weight_decay: float = 0.0
    """Decoupled decay, applied to matrices only."""
    max_grad_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it."""

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}; no weight would change. Give a positive number")
        if not self.max_grad_norm > 0:
            raise ConfigError(f"max_grad_norm is {self.max_grad_norm}; every gradient would become 0. Give it above 0")
        if self.warmup < 0:
            raise ConfigError(f"warmup is {self.warmup}; it counts updates and cannot be negative")
        if self.schedule not in ("constant", "linear", "cosine"):
            raise ConfigError(f"schedule is {self.schedule!r}; it is one of constant, linear, cosine")


def scheduled(config: OptimizerConfig, update: int, total_updates: int) -> float:
    """The step size of update number `update`, counted from 0, in a run of `total_updates`."""
    if update < config.warmup:
        return config.learning_rate * (update + 1) / config.warmup
    if config.schedule == "constant":
        return config.learning_rate
    done = min(1.0, (update - config.warmup) / max(1, total_updates - config.warmup))
    left = 1 - done if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return config.learning_rate * (config.final_share + (1 - config.final_share) * left)


class Optimizer:
    """Owns the gradients of some parameters: clip, step, forget."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        config: OptimizerConfig,
        *,
        total_updates: int,
        ranks: Ranks = ALONE,
    ) -> None:
        self.config = config
        self.ranks = ranks
        self.total_updates = total_updates
        self.updates = 0
        """Steps taken so far."""
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        if not self.parameters:
            raise ConfigError("the model has no trainable parameter, so training would change nothing")
        matrices = [parameter for parameter in self.parameters if parameter.ndim >= 2]
        others = [parameter for parameter in self.parameters if parameter.ndim < 2]
        self._adamw = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            fused=True,
        )

    def step(self) -> dict[str, float]:
        """One update from the accumulated gradients; they are gone afterwards. Returns `grad_norm`, `learning_rate`.

        Raises TrainingError if the gradient is not finite; the weights are then as they were.
        """
        learning_rate = scheduled(self.config, self.updates, self.total_updates)
        for group in self._adamw.param_groups:
            group["lr"] = learning_rate
        self._sum_gradients()
        norm = float(whole(nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)))
        if not math.isfinite(norm):
            self._adamw.zero_grad(set_to_none=True)
            raise TrainingError(
                f"the gradient of update {self.updates + 1} has norm {norm}; the weights were left as they were. "
                "Lower the learning rate, or resume from the last checkpoint with another seed"
            )
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        self.updates += 1
        return {"grad_norm": norm, "learning_rate": learning_rate}

    def _sum_gradients(self) -> None:
        """Over ranks, for parameters that each of them has whole; those in pieces were summed in the backward pass."""
        if self.ranks.size == 1:
            return
        for parameter in self.parameters:
            if local(parameter) is parameter:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                self.ranks.sum(parameter.grad)

    def state_dict(self) -> dict[str, Any]:
        """Moments and counters; the inverse of `load_state_dict`."""
        return {"updates": self.updates, "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state that `state_dict` gave."""
        self.updates = state["updates"]
        # The numbers that its parameters have in an optimizer's state follow their order in its groups.
        ordered = [parameter for group in self._adamw.param_groups for parameter in group["params"]]
        moments = {
            number: {name: fit(value, ordered[number]) if name in _MOMENTS else value for name, value in own.items()}
            for number, own in state["adamw"]["state"].items()
        }
        self._adamw.load_state_dict({**state["adamw"], "state": moments})


_MOMENTS = ("exp_avg", "exp_avg_sq")
