"""Advantages of an answer against the other answers to the same prompt."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr_trainers.shapes import as_mask, keep, require_rank, unknown_name

SCALES = ("std", "batch", "none")


class GroupWarning(UserWarning):
    """A group has too few answers to be compared, so its advantages are all 0."""


def group_relative(
    rewards_PG: Tensor, scale: str = "std", *, eps: float = 1e-4, valid_PG: Tensor | None = None
) -> Tensor:
    """Reward minus the group's mean, over the group's standard deviation: PG.

    `std`: (r - mean) / (std + eps), GRPO's outcome supervision (DeepSeekMath, arXiv:2402.03300, section 4.1.2). The standard
    deviation is that of a sample (divided by G - 1), as TRL, verl, OpenRLHF, SkyRL and NeMo RL take it; the paper does not say.
    `eps` is TRL's. `batch`: the same centre over the standard deviation of all rewards of the step, which does not favour
    prompts that are almost always or almost never solved (REINFORCE++-baseline, arXiv:2501.03262). `none`: centred only
    (Dr. GRPO, arXiv:2503.20783).

    `valid_PG` is False for answers without a verdict (a fault is no reward): they count nowhere and get 0. A group whose
    rewards are all equal gets exactly 0. A group with fewer than two answers is a GroupWarning and 0. Raises ConfigError for
    a reward that is not finite.
    """
    if scale not in SCALES:
        raise unknown_name("advantage scale", scale, SCALES)
    rewards_PG, valid_PG = _checked(rewards_PG, valid_PG)
    count_P1 = valid_PG.sum(-1, keepdim=True)
    centred_PG = keep(valid_PG, rewards_PG - rewards_PG.sum(-1, keepdim=True) / count_P1.clamp(min=1))
    centred_PG = keep(~_equal(rewards_PG, valid_PG)[:, None], centred_PG)  # not 1e-17 / eps
    if scale == "none":
        return centred_PG
    if scale == "std":
        deviation = (centred_PG.square().sum(-1, keepdim=True) / (count_P1 - 1).clamp(min=1)).sqrt()
    else:
        rewards_N = rewards_PG[valid_PG]
        deviation = rewards_N.std() if len(rewards_N) > 1 else rewards_PG.new_zeros(())
    return divide_where_spread(centred_PG, deviation, eps)


def leave_one_out(rewards_PG: Tensor, *, valid_PG: Tensor | None = None) -> Tensor:
    """Reward minus the mean of the *other* rewards of its group: PG. RLOO, arXiv:2402.14740; Kool et al. 2019.

    r_i - (sum_j r_j - r_i) / (G - 1), an unbiased baseline because it does not contain r_i. `valid_PG`, warnings and errors
    as in `group_relative`.
    """
    rewards_PG, valid_PG = _checked(rewards_PG, valid_PG)
    count_P1 = valid_PG.sum(-1, keepdim=True)
    others_PG = (rewards_PG.sum(-1, keepdim=True) - rewards_PG) / (count_P1 - 1).clamp(min=1)
    return keep(valid_PG & ~_equal(rewards_PG, valid_PG)[:, None], rewards_PG - others_PG)


def divide_where_spread(centred: Tensor, deviation: Tensor, eps: float) -> Tensor:
    """centred / (deviation + eps), and 0 where there is no spread, whatever eps is."""
    return centred / torch.where(deviation > 0, deviation + eps, torch.ones_like(deviation))


def dead_groups(rewards_PG: Tensor, *, valid_PG: Tensor | None = None) -> Tensor:
    """True for a group that teaches nothing: its rewards are all equal, or fewer than two answers have one. P booleans."""
    require_rank("rewards_PG", rewards_PG, 2)
    valid_PG = _valid(rewards_PG, valid_PG)
    return _equal(keep(valid_PG, rewards_PG), valid_PG)


def _equal(rewards_PG: Tensor, valid_PG: Tensor) -> Tensor:
    if rewards_PG.shape[1] == 0:
        return valid_PG.new_ones(len(valid_PG))
    highest_P = rewards_PG.masked_fill(~valid_PG, -torch.inf).amax(-1)
    lowest_P = rewards_PG.masked_fill(~valid_PG, torch.inf).amin(-1)
    return ~(lowest_P < highest_P)


def _valid(rewards_PG: Tensor, valid_PG: Tensor | None) -> Tensor:
    if valid_PG is None:
        return torch.ones_like(rewards_PG, dtype=torch.bool)
    return as_mask("valid_PG", valid_PG, tuple(rewards_PG.shape))


def _checked(rewards_PG: Tensor, valid_PG: Tensor | None) -> tuple[Tensor, Tensor]:
    require_rank("rewards_PG", rewards_PG, 2)
    rewards_PG = rewards_PG.detach()
    if not rewards_PG.is_floating_point():
        rewards_PG = rewards_PG.to(torch.get_default_dtype())
    valid_PG = _valid(rewards_PG, valid_PG)
    rewards_PG = keep(valid_PG, rewards_PG)
    if not bool(torch.isfinite(rewards_PG).all()):
        value = rewards_PG[~torch.isfinite(rewards_PG)][0].item()
        raise ConfigError(
            f"a reward is {value}; every advantage of its group would be too. Mark answers without a verdict in valid_PG."
        )
    small = int((valid_PG.sum(-1) < 2).sum())
    if small:
        warnings.warn(
            f"{small} of {len(rewards_PG)} groups have fewer than 2 answers with a reward (group size {rewards_PG.shape[1]}); "
            "there is nothing to compare them with, their advantages are 0 and they teach nothing. Raise the group size.",
            GroupWarning,
            stacklevel=3,
        )
    return rewards_PG, valid_PG
