"""Baselines over the whole batch, and whitening: the steps of the ladder between raw reward and groups."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr_trainers.advantages.gae import discounted_returns, gae
from rlvr_trainers.shapes import as_mask, keep, require_rank


@torch.no_grad()
def batch_baseline(rewards_B: Tensor) -> Tensor:
    """Reward minus the mean reward of the batch, B. REINFORCE with the simplest baseline (Williams 1992, section 4)."""
    require_rank("rewards_B", rewards_B, 1)
    return rewards_B - rewards_B.mean()


def critic_baseline(rewards_BT: Tensor, values_BT: Tensor, mask_BT: Tensor, gamma: float = 1.0) -> Tensor:
    """Reward to come minus the critic's value of the same token, BT: GAE with lam = 1."""
    return gae(rewards_BT, values_BT, mask_BT, gamma, 1.0)[0]


def reinforce_plus_plus(rewards_BT: Tensor, mask_BT: Tensor, gamma: float = 1.0) -> Tensor:
    """Reward to come, whitened over the policy tokens of the whole batch, BT. Hu 2025, arXiv:2501.03262, section 3.

    Rewards are per token because the method subtracts its KL penalty there (`kl_in_reward`).
    """
    return whiten(discounted_returns(rewards_BT, mask_BT, gamma), mask_BT)


@torch.no_grad()
def whiten(values_BT: Tensor, mask_BT: Tensor, *, shift_mean: bool = True, eps: float = 1e-8) -> Tensor:
    """Mean 0 and variance 1 over policy tokens; 0 elsewhere. (x - mean) / sqrt(var + eps), var of a sample (n - 1).

    `shift_mean=False` scales only and leaves the mean where it was. Fewer than two policy tokens have no variance and are
    only shifted. The convention of TRL's and verl's PPO.
    """
    require_rank("values_BT", values_BT, 2)
    mask_BT = as_mask("mask_BT", mask_BT, tuple(values_BT.shape))
    count = mask_BT.sum()
    values_BT = keep(mask_BT, values_BT)
    mean = values_BT.sum() / count.clamp(min=1)
    centred_BT = keep(mask_BT, values_BT - mean)
    if count < 2:
        return centred_BT if shift_mean else values_BT
    whitened_BT = centred_BT * torch.rsqrt(centred_BT.square().sum() / (count - 1) + eps)
    return whitened_BT if shift_mean else keep(mask_BT, whitened_BT + mean)
