"""Rewards for the steps of an answer, by a run's reward model: paid to tokens (PPO), or compared within a group (GRPO)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlvr.trajectory import Trajectory
from rlvr_trainers import advantages
from rlvr_trainers.batch import Batch
from rlvr_trainers.reward_model import step_ends
from rlvr_trainers.rollouts import Group, trained_rows
from rlvr_trainers.run import Run

Steps = tuple[Tensor, Tensor]
"""`(step_rewards_BT, step_mask_BT)`: rewards where the mask is True, at the last token of each step."""


def judged_steps(run: Run, rows: Sequence[Trajectory]) -> Steps:
    """What each step of reasoning added to the score of the run's reward model."""
    assert run.judge is not None
    separators = run.tokenizer.encode(run.config.step_separator, add_special_tokens=False)
    step_mask_BT = step_ends(rows, separators)
    return run.judge.step_rewards(rows, step_mask_BT), step_mask_BT


def process_advantages(
    groups: Sequence[Group], steps: Callable[[list[Trajectory]], Steps], *, drop_truncated: bool = False
) -> Tensor:
    """`[B, T]`: process supervision of the rows that `training_batch` makes of these groups, in its order.

    `steps` gives the step rewards of rows. Answers that `drop_truncated` leaves out still count in their group's mean.
    """
    rows = trained_rows(groups)
    step_rewards_BT, step_mask_BT = steps(rows)
    mask_BT = Batch.from_rows([row.token_ids for row in rows], [row.loss_mask for row in rows]).mask_BT
    parts, start = [], 0
    for group in groups:
        count = len(trained_rows([group]))  # one answer may be several rows, or none
        own = slice(start, start + count)
        if count:
            parts.append(advantages.process_supervision(step_rewards_BT[own], step_mask_BT[own], mask_BT[own], count))
        start += count
    kept = {id(row) for row in trained_rows(groups, drop_truncated=drop_truncated)}
    chosen = [number for number, row in enumerate(rows) if id(row) in kept]
    width = max((len(rows[number].token_ids) for number in chosen), default=0)
    return torch.cat(parts)[chosen, :width]
