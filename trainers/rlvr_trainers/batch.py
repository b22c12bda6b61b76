"""The rows of one optimizer step as padded tensors, cut into micro-batches of a token budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import ConfigError

Ragged = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Batch:
    """B rows of at most T tokens, padded on the right. Position t of every `_BT` tensor speaks of token t."""

    token_ids_BT: Tensor
    """int64; padding stands on the right, where causal attention never looks back at it."""
    mask_BT: Tensor
    """bool; True where the policy chose the token. Never True at position 0, before which there is nothing."""
    lengths_B: Tensor
    """int64; tokens of each row."""
    fields: Mapping[str, Tensor] = field(default_factory=dict)
    """What a loss needs beside the tokens, `[B]` or `[B, T]`, 0 in the padding: old log-probabilities, advantages."""

    @classmethod
    def from_rows(
        cls,
        token_ids: Sequence[Sequence[int]],
        masks: Sequence[Sequence[bool]],
        *,
        pad_id: int = 0,
        per_token: Mapping[str, Ragged] | None = None,
        per_row: Mapping[str, Sequence[float]] | None = None,
    ) -> Batch:
        """Pad ragged rows. `per_token` fields are as ragged as the tokens, `per_row` fields hold one number a row.

        Raises ConfigError if there are no rows, or a row is empty or does not fit its mask.
        """
        if not token_ids:
            raise ConfigError("a batch of 0 rows cannot be trained on; the step collected nothing")
        for row, (ids, mask) in enumerate(zip(token_ids, masks, strict=True)):
            if not ids or len(ids) != len(mask) or mask[0]:
                raise ConfigError(
                    f"row {row} has {len(ids)} tokens and a loss mask of {len(mask)} (first: {mask[:1]}); it needs a "
                    "prompt of at least one token and a mask as long as the row"
                )
        lengths_B = torch.tensor([len(ids) for ids in token_ids])
        real_BT = torch.arange(int(lengths_B.max()))[None] < lengths_B[:, None]

        def padded(rows: Sequence[Sequence[float]], fill: float, dtype: torch.dtype) -> Tensor:
            flat = torch.tensor([value for row in rows for value in row], dtype=dtype)
            return torch.full(real_BT.shape, fill, dtype=dtype).masked_scatter_(real_BT, flat)

        fields = {name: padded(rows, 0.0, torch.float32) for name, rows in (per_token or {}).items()}
        fields |= {name: torch.tensor(values, dtype=torch.float32) for name, values in (per_row or {}).items()}
        return cls(padded(token_ids, pad_id, torch.int64), padded(masks, False, torch.bool), lengths_B, fields)

    def tensors(self) -> dict[str, Any]:
        """Its tensors by name, as a checkpoint holds them; the inverse of `from_tensors`."""
        return {
            "token_ids_BT": self.token_ids_BT,
            "mask_BT": self.mask_BT,
            "lengths_B": self.lengths_B,
            "fields": dict(self.fields),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Any]) -> Batch:
        """The batch whose `tensors` these are."""
        return cls(**tensors)

    @property
    def num_rows(self) -> int:
        """B."""
        return len(self.lengths_B)

    @property
    def num_answer_tokens(self) -> int:
        """Tokens that the policy chose: the denominator of a token mean."""
        return int(self.mask_BT.sum())

    def with_fields(self, **fields: Tensor) -> Batch:
        """The same rows with these `[B]` or `[B, T]` tensors beside them."""
        return Batch(self.token_ids_BT, self.mask_BT, self.lengths_B, {**self.fields, **fields})

    def select(self, rows: Tensor) -> Batch:
        """These rows, cut to the longest of them."""
        lengths_B = self.lengths_B[rows]
        width = int(lengths_B.max())
        cut = {name: value[rows, :width] if value.ndim == 2 else value[rows] for name, value in self.fields.items()}
        return Batch(self.token_ids_BT[rows, :width], self.mask_BT[rows, :width], lengths_B, cut)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        if device == self.token_ids_BT.device:
            return self
        return Batch(
            self.token_ids_BT.to(device, non_blocking=True),
            self.mask_BT.to(device, non_blocking=True),
            self.lengths_B.to(device, non_blocking=True),
            {name: value.to(device, non_blocking=True) for name, value in self.fields.items()},
        )

    def micro_batches(self, token_budget: int) -> list[Tensor]:
        """Row numbers of each micro-batch: rows of like length, rows * longest <= `token_budget`, at least one row."""
        if self.num_rows * self.token_ids_BT.shape[1] <= token_budget:
            return [torch.arange(self.num_rows)]
        order = torch.argsort(self.lengths_B, descending=True, stable=True)
        parts, start = [], 0
        while start < self.num_rows:
            size = max(1, token_budget // int(self.lengths_B[order[start]]))
            parts.append(order[start : start + size])
            start += size
        return parts
