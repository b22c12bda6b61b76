"""Process supervision: a reward for each step of an answer, beside the final one."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr_trainers.advantages.group import divide_where_spread
from rlvr_trainers.shapes import as_mask, keep, require_rank


@torch.no_grad()
def process_supervision(
    step_rewards_BT: Tensor, step_mask_BT: Tensor, mask_BT: Tensor, group_size: int, *, eps: float = 1e-4
) -> Tensor:
    """Advantages from step rewards, BT. DeepSeekMath, arXiv:2402.03300, section 4.1.3.

    `step_mask_BT` is True at the last token of each step, where `step_rewards_BT` holds its reward. Rows come in groups of
    `group_size`. All step rewards of a group are normalised together, (r - mean) / (std + eps) with the standard deviation
    of a sample, and a token's advantage is the sum of the normalised rewards of the steps that end at it or later. Groups
    whose step rewards are all equal, and groups with fewer than two, get 0. Outside `mask_BT` the advantage is 0.
    """
    require_rank("step_rewards_BT", step_rewards_BT, 2)
    rows, length = step_rewards_BT.shape
    step_mask_BT = as_mask("step_mask_BT", step_mask_BT, (rows, length))
    mask_BT = as_mask("mask_BT", mask_BT, (rows, length))
    if group_size < 1 or rows % group_size:
        raise ConfigError(f"{rows} rows do not divide into groups of {group_size}; give whole groups, in order.")
    grouped = keep(step_mask_BT, step_rewards_BT).reshape(-1, group_size * length)
    steps = step_mask_BT.reshape(-1, group_size * length)
    count = steps.sum(-1, keepdim=True)
    centred = keep(steps, grouped - grouped.sum(-1, keepdim=True) / count.clamp(min=1))
    spread = grouped.masked_fill(~steps, -torch.inf).amax(-1) > grouped.masked_fill(~steps, torch.inf).amin(-1)
    centred = keep(spread[:, None], centred)
    deviation = (centred.square().sum(-1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
    normalised_BT = divide_where_spread(centred, deviation, eps).reshape(rows, length)
    return keep(mask_BT, normalised_BT.flip(1).cumsum(1).flip(1))


@torch.no_grad()
def total_reward(final_B: Tensor, step_rewards_BT: Tensor, step_mask_BT: Tensor) -> Tensor:
    """The final reward plus the sum of the step rewards, B."""
    require_rank("final_B", final_B, 1)
    step_mask_BT = as_mask("step_mask_BT", step_mask_BT, (len(final_B), step_rewards_BT.shape[1]))
    return final_B + keep(step_mask_BT, step_rewards_BT).sum(-1)
