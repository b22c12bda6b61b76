"""Weights that the first rank has read, handed out to all of them one at a time: each rank gets its rows and nothing else.

Every rank builds the model, but only the first one reads weights into it. The others build it on PyTorch's meta device, where
a tensor has a shape and no memory.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from rlvr.errors import ConfigError
from rlvr_trainers.distributed import Ranks

Outline = dict[str, tuple[str, tuple[int, ...], str]]
"""Of each tensor of a model: the name under which it comes first, which is another one where it is tied; shape; dtype."""


def take_out(model: Any, ranks: Ranks) -> dict[str, Tensor]:
    """The model's weights and buffers by name, on the first rank; nothing on the others.

    What is left is the same model on every rank, its weights on the meta device and tied as the first rank's are. Raises
    ConfigError, on all ranks, where another rank has built another model.
    """
    outline = ranks.on_main(lambda: _outline(model))
    ranks.everywhere(lambda: _compare(_outline(model), outline, ranks.rank))
    weights = dict(model.named_parameters(remove_duplicate=False))
    sources = {
        name: weights[name].detach() for name, (first, _, _) in outline.items() if name in weights and name == first
    }
    sources |= dict(model.named_buffers(remove_duplicate=False))
    empty = {
        name: nn.Parameter(torch.empty_like(tensor, device="meta"), requires_grad=weights[name].requires_grad)
        for name, tensor in sources.items()
        if name in weights
    }
    for name in weights:
        _set(model, name, empty[outline[name][0]])
    return sources if ranks.main else {}


def hand_out(model: Any, sources: dict[str, Tensor], ranks: Ranks, device: torch.device) -> None:
    """Fill a model in pieces, which has memory already, from what `take_out` gave; `sources` is empty afterwards.

    Each rank gets its rows of every weight, wherever they lie, and all of every buffer, on `device`.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            rows = _own_rows_of(sources.pop(name, None), weight, ranks)
            piece = weight.to_local()
            piece.copy_(rows[: len(piece)])
        for name, buffer in list(model.named_buffers(remove_duplicate=False)):
            value = torch.empty_like(buffer, device=device)
            if ranks.main:
                value.copy_(sources.pop(name))
            dist.broadcast(value, src=0)
            _set(model, name, value)


def own_rows(rows: int, rank: int, size: int) -> tuple[int, int]:
    """First row of a rank's piece, and the one after its last: FSDP2 gives each rank ceil(rows / size), the last ones fewer."""
    each = -(-rows // size)
    return min(rank * each, rows), min((rank + 1) * each, rows)


def _own_rows_of(whole: Tensor | None, like: Tensor, ranks: Ranks) -> Tensor:
    """This rank's rows of a weight that the first one has whole, padded to as many as every rank gets."""
    mine = torch.empty((-(-like.shape[0] // ranks.size), *like.shape[1:]), dtype=like.dtype, device=like.device)
    pieces = None
    if whole is not None:
        pieces = [torch.zeros_like(mine) for _ in range(ranks.size)]
        for rank, piece in enumerate(pieces):
            start, stop = own_rows(like.shape[0], rank, ranks.size)
            piece[: stop - start] = whole[start:stop]
    dist.scatter(mine, pieces, src=0)
    return mine


def _outline(model: Any) -> Outline:
    first: dict[int, str] = {}
    tensors = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: (first.setdefault(id(t), name), tuple(t.shape), str(t.dtype)) for name, t in tensors}


def _compare(here: Outline, there: Outline, rank: int) -> None:
    for name in {**there, **here}:
        # What is tied is the first rank's to say: it has seen the weights.
        if here.get(name, ())[1:] != there.get(name, ())[1:]:
            raise ConfigError(
                f"rank {rank} builds another model than rank 0: {name} is {here.get(name, ())[1:] or 'absent'} here and "
                f"{there.get(name, ())[1:] or 'absent'} there; give all machines the same model folder and the same transformers"
            )


def _set(model: Any, name: str, value: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, value)
