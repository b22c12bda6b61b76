"""The critic's loss."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr_trainers.losses.aggregation import aggregate
from rlvr_trainers.shapes import as_mask, keep, per_token, require_rank


def value_loss(
    values_BT: Tensor,
    returns_BT: Tensor,
    mask_BT: Tensor,
    old_values_BT: Tensor | None = None,
    clip: float | None = None,
    num_items: float | Tensor | None = None,
) -> Tensor:
    """Half the squared error of the values against the returns, mean over policy tokens: a scalar to minimise.

    With `clip` and the values the update started from, the larger of the error and the error of the value held within
    `clip` of the old one, so that one batch cannot move the critic far (Schulman et al. 2017's code; Stiennon et al. 2020).
    `num_items` counts the policy tokens of the whole step; None: this batch is the whole step.
    """
    require_rank("values_BT", values_BT, 2)
    mask_BT = as_mask("mask_BT", mask_BT, tuple(values_BT.shape))
    values_BT = keep(mask_BT, values_BT)
    returns_BT = per_token("returns_BT", returns_BT.detach(), mask_BT)
    error_BT = (values_BT - returns_BT).square()
    if clip is not None:
        if clip <= 0 or old_values_BT is None:
            raise ConfigError(
                f"clip is {clip} and old_values_BT is {'absent' if old_values_BT is None else 'given'}; a clipped value loss "
                "needs a positive clip and the values from before the update."
            )
        old_BT = per_token("old_values_BT", old_values_BT.detach(), mask_BT)
        held_BT = torch.clamp(values_BT, old_BT - clip, old_BT + clip)
        error_BT = torch.maximum(error_BT, (held_BT - returns_BT).square())
    return aggregate(0.5 * error_BT, mask_BT, "token_mean", num_items=num_items)
