"""Advantages over time: discounted returns and generalized advantage estimation, in policy tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr_trainers.advantages.rewards import place_final_reward
from rlvr_trainers.shapes import as_mask, keep, per_token, require_rank


@torch.no_grad()
def gae(
    rewards_BT: Tensor,
    values_BT: Tensor,
    mask_BT: Tensor,
    gamma: float = 1.0,
    lam: float = 1.0,
    horizon: int | None = None,
) -> tuple[Tensor, Tensor]:
    """(advantages_BT, returns_BT) by generalized advantage estimation. Schulman et al. 2016, arXiv:1506.02438, eq. 16.

    Over the policy tokens of a row, numbered 0, 1, ... without gaps:
        delta_t = r_t + gamma V_{t+1} - V_t,  V = 0 after the last
        A_t = sum over l < horizon of (gamma lam)^l delta_{t+l},  return_t = A_t + V_t
    `horizon` None sums to the end; K keeps the first K TD errors. lam = 0 is one TD error, lam = 1 is return minus value.

    Positions outside the mask are skipped: their rewards and values are not read and their outputs are 0, so text of a tool
    between two policy tokens is no time step. Put an environment's reward on a policy token (`place_final_reward`).
    """
    _check(rewards_BT, mask_BT, gamma)
    if not 0 <= lam <= 1:
        raise ConfigError(f"lam is {lam}; it must lie in [0, 1].")
    if horizon is not None and horizon < 1:
        raise ConfigError(f"horizon is {horizon}; it counts TD errors and must be at least 1.")
    mask_BT = as_mask("mask_BT", mask_BT, tuple(rewards_BT.shape))
    order_BT = _policy_tokens_first(mask_BT)
    values_BT = per_token("values_BT", values_BT, mask_BT)
    values = values_BT.gather(1, order_BT)
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    deltas = keep(mask_BT, rewards_BT).to(values.dtype).gather(1, order_BT) + gamma * following - values
    sums = _discounted_sums(deltas, gamma * lam)
    if horizon is not None and horizon < sums.shape[1]:
        # The sum over l < K is the whole sum less the part that starts K tokens later.
        beyond = torch.cat([sums[:, horizon:], torch.zeros_like(sums[:, :horizon])], dim=1)
        sums = sums - (gamma * lam) ** horizon * beyond
    advantages_BT = keep(mask_BT, torch.zeros_like(sums).scatter(1, order_BT, sums))
    return advantages_BT, keep(mask_BT, advantages_BT + values_BT)


@torch.no_grad()
def discounted_returns(rewards_BT: Tensor, mask_BT: Tensor, gamma: float = 1.0) -> Tensor:
    """Reward to come, BT: G_t = r_t + gamma G_{t+1} over the policy tokens of a row; 0 elsewhere. Sutton & Barto, eq. 3.9."""
    _check(rewards_BT, mask_BT, gamma)
    mask_BT = as_mask("mask_BT", mask_BT, tuple(rewards_BT.shape))
    order_BT = _policy_tokens_first(mask_BT)
    sums = _discounted_sums(keep(mask_BT, rewards_BT).gather(1, order_BT), gamma)
    return keep(mask_BT, torch.zeros_like(sums).scatter(1, order_BT, sums))


def discounted_final(rewards_B: Tensor, mask_BT: Tensor, gamma: float = 1.0) -> Tensor:
    """The final reward as each policy token sees it, BT: gamma^(policy tokens still to come) times the reward."""
    return discounted_returns(place_final_reward(rewards_B, mask_BT), mask_BT, gamma)


def _policy_tokens_first(mask_BT: Tensor) -> Tensor:
    """Indices that bring each row's policy tokens to the left, in their order."""
    return torch.argsort((~mask_BT).to(torch.uint8), dim=1, stable=True)


def _discounted_sums(terms_BT: Tensor, discount: float) -> Tensor:
    """S_t = x_t + discount * S_{t+1}, from the right. What stands right of the policy tokens must be 0."""
    sums_BT = torch.empty_like(terms_BT)
    running_B = terms_BT.new_zeros(len(terms_BT))
    for t in range(terms_BT.shape[1] - 1, -1, -1):
        running_B = terms_BT[:, t] + discount * running_B
        sums_BT[:, t] = running_B
    return sums_BT


def _check(rewards_BT: Tensor, mask_BT: Tensor, gamma: float) -> None:
    require_rank("rewards_BT", rewards_BT, 2)
    require_rank("mask_BT", mask_BT, 2)
    if not 0 <= gamma <= 1:
        raise ConfigError(f"gamma is {gamma}; it must lie in [0, 1].")
