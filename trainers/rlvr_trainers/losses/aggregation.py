"""From a loss for each token to one number: the four ways in which papers average."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr_trainers.shapes import as_mask, keep, require_rank, unknown_name

AGGREGATIONS = ("token_mean", "row_mean", "row_sum", "constant_length")


def aggregate(
    loss_BT: Tensor,
    mask_BT: Tensor,
    how: str = "token_mean",
    *,
    num_items: float | Tensor | None = None,
    max_length: int | None = None,
) -> Tensor:
    """One scalar from a loss for each token.

    - `token_mean`: sum over tokens / tokens. DAPO, arXiv:2503.14476, eq. 8.
    - `row_mean`: mean over rows of the mean over the row's tokens. GRPO, arXiv:2402.03300, eq. 3.
    - `row_sum`: mean over rows of the sum over the row's tokens: the likelihood of whole answers, as REINFORCE writes it.
    - `constant_length`: as `row_sum`, divided by `max_length`. Dr. GRPO, arXiv:2503.20783, section 3.2.

    `num_items` is the denominator of the whole optimizer step (tokens for `token_mean`, rows for the others, of all
    micro-batches and ranks); None takes this batch for the whole step. A row without policy tokens is no row: it adds
    nothing and is not counted. A batch without policy tokens gives 0, with a gradient of 0.
    """
    require_rank("loss_BT", loss_BT, 2)
    mask_BT = as_mask("mask_BT", mask_BT, tuple(loss_BT.shape))
    loss_BT = keep(mask_BT, loss_BT)
    if num_items is None:
        num_items = denominator_of(how, mask_BT)
    elif not isinstance(num_items, Tensor) and not num_items > 0:
        raise ConfigError(
            f"num_items is {num_items!r}; it counts the tokens or rows of the whole step and must be positive."
        )
    if how == "row_mean":
        return (loss_BT.sum(-1) / mask_BT.sum(-1).clamp(min=1)).sum() / num_items
    total = loss_BT.sum() / num_items
    if how == "constant_length":
        if max_length is None or max_length < 1:
            raise ConfigError(
                f"max_length is {max_length!r}; Dr. GRPO divides by one constant length, the longest completion allowed. Give it."
            )
        return total / max_length
    return total


def denominator_of(how: str, mask_BT: Tensor) -> Tensor:
    """What this batch adds to the step's denominator: its policy tokens, or its rows that have any. At least 1."""
    mask_BT = mask_BT != 0
    if how == "token_mean":
        return mask_BT.sum().clamp(min=1)
    if how in AGGREGATIONS:
        return torch.any(mask_BT, dim=-1).sum().clamp(min=1)
    raise unknown_name("aggregation", how, AGGREGATIONS)
