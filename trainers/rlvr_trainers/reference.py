"""The model that the policy is held to: the one it started from, frozen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rlvr.generation.loading import load_model
from rlvr_trainers.batch import Batch
from rlvr_trainers.distributed import Ranks
from rlvr_trainers.loading import open_model
from rlvr_trainers.policy import EntropyKind, Policy
from rlvr_trainers.sharding import Spread


def open_reference(path: str, ranks: Ranks, device: torch.device, *, whole: bool = False) -> Policy:
    """The model in `path` as a policy without gradient, in float32, sharded like the learner's where there are several ranks.

    `whole` keeps all of it on every rank, which the KL over the whole vocabulary needs: it asks for the reference's head once
    for each chunk of tokens, and ranks have unequally many.
    """
    if ranks.size == 1 or whole:
        return Policy(load_model(path, device, torch.float32))
    return ShardedReference(open_model(path, ranks, device), ranks, device)


class ShardedReference(Policy):
    """A frozen policy in pieces on all ranks, which call it together."""

    def __init__(self, model: Any, ranks: Ranks, device: torch.device) -> None:
        spread = Spread(model.requires_grad_(False), ranks, device)
        super().__init__(model, spread=spread)
        self.spread = spread

    def forward(
        self,
        batch: Batch,
        *,
        temperature: float = 1.0,
        entropy: EntropyKind = "none",
        hidden_BTH: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """As `Policy.forward`."""
        whole = super().forward
        return self.spread.run(lambda: whole(batch, temperature=temperature, entropy=entropy, hidden_BTH=hidden_BTH))
