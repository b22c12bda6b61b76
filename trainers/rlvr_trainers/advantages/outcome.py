"""An answer's advantage from its final reward: the rungs of the ladder from raw reward to groups, under one call."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from rlvr_trainers.advantages.group import group_relative, leave_one_out
from rlvr_trainers.shapes import as_mask, keep, require_rank, unknown_name

AdvantageKind = Literal["std", "batch", "none", "leave_one_out", "batch_mean", "raw"]
GROUPED: tuple[AdvantageKind, ...] = ("std", "batch", "none", "leave_one_out")
"""The kinds that compare within a group: answers whose group is all equal have no advantage."""


def outcome(kind: AdvantageKind, rewards_PG: Tensor, *, valid_PG: Tensor | None = None) -> Tensor:
    """Advantages PG of final rewards.

    `raw`: the reward itself, as plain REINFORCE takes it. `batch_mean`: minus the mean of all rewards of the step. `std`,
    `batch`, `none`: `group_relative` with that scale. `leave_one_out`: RLOO. Answers that are not valid get 0 and count nowhere.
    """
    if kind in ("raw", "batch_mean"):
        require_rank("rewards_PG", rewards_PG, 2)
        rewards_PG = rewards_PG.detach()
        if valid_PG is None:
            return rewards_PG - rewards_PG.mean() if kind == "batch_mean" else rewards_PG
        valid_PG = as_mask("valid_PG", valid_PG, tuple(rewards_PG.shape))
        rewards_PG = keep(valid_PG, rewards_PG)
        baseline = rewards_PG.sum() / valid_PG.sum().clamp(min=1)
        return keep(valid_PG, rewards_PG - baseline) if kind == "batch_mean" else rewards_PG
    if kind == "leave_one_out":
        return leave_one_out(rewards_PG, valid_PG=valid_PG)
    if kind in GROUPED:
        return group_relative(rewards_PG, kind, valid_PG=valid_PG)
    raise unknown_name("advantage", kind, get_args(AdvantageKind))
