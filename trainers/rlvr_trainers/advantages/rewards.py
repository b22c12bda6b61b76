"""Rewards before they become advantages: where they stand, and what is taken off them."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr_trainers.shapes import as_mask, keep, per_token, require_rank, require_shape


@torch.no_grad()
def place_final_reward(rewards_B: Tensor, mask_BT: Tensor) -> Tensor:
    """The outcome on each row's last policy token, BT; 0 elsewhere. A row without policy tokens has nowhere to put it."""
    require_rank("mask_BT", mask_BT, 2)
    require_shape("rewards_B", rewards_B, (mask_BT.shape[0],))
    mask_BT = as_mask("mask_BT", mask_BT, tuple(mask_BT.shape))
    last_BT = mask_BT & (mask_BT.flip(1).cumsum(1).flip(1) == 1)
    return keep(last_BT, rewards_B[:, None].expand(mask_BT.shape))


@torch.no_grad()
def kl_in_reward(rewards_BT: Tensor, kl_BT: Tensor, mask_BT: Tensor, coefficient: float) -> Tensor:
    """Rewards less coefficient * KL at every policy token, BT; 0 elsewhere. Ziegler et al. 2019, arXiv:1909.08593, eq. 2.

    `kl_BT` from `losses.kl`; k1 is the unbiased choice here.
    """
    mask_BT = as_mask("mask_BT", mask_BT, tuple(rewards_BT.shape))
    return keep(mask_BT, rewards_BT) - coefficient * per_token("kl_BT", kl_BT, mask_BT)


@torch.no_grad()
def soft_overlong_penalty(lengths_B: Tensor, max_length: int, buffer: int) -> Tensor:
    """What DAPO adds to the reward of a long answer, B, in [-1, 0]. Yu et al. 2025, arXiv:2503.14476, eq. 13.

    0 up to `max_length - buffer` policy tokens, then falling in a line to -1 at `max_length`, and -1 beyond.
    """
    if not 0 < buffer <= max_length:
        raise ConfigError(
            f"the overlong buffer is {buffer} of max_length {max_length}; it needs 0 < buffer <= max_length."
        )
    lengths = lengths_B if lengths_B.is_floating_point() else lengths_B.to(torch.get_default_dtype())
    return ((max_length - buffer - lengths) / buffer).clamp(-1, 0)
