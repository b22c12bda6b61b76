"""State that lies in pieces on several ranks, as files that any other number of ranks can go on from.

FSDP2 gives rank r of W the rows [r c, (r + 1) c) of each tensor, c = ceil(rows / W). Each rank writes its pieces, with the row
they start at, to one safetensors file; who reads a state later takes the rows it needs from whichever files have them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import CheckpointError
from rlvr_trainers.handing_out import own_rows
from rlvr_trainers.sharding import local

PIECES = "pieces-{rank:05d}-of-{size:05d}.safetensors"
_STARTS = "starts"
_MARK = "in_pieces"


@dataclass(frozen=True)
class Stored:
    """A tensor of a checkpoint, of which nothing has been read yet."""

    folder: Path
    """The checkpoint."""
    name: str
    """Its name in the files of pieces."""
    shape: tuple[int, ...]
    """Of the whole tensor."""

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows `start` up to `stop`, on the CPU. Raises CheckpointError if some of them are in no file."""
        from safetensors import safe_open

        found: list[Tensor] = []
        at = start
        for path in sorted(self.folder.glob("pieces-*.safetensors")):
            with safe_open(path, "pt") as file:
                begin = json.loads(file.metadata()[_STARTS]).get(self.name)
                if begin is None or at == stop:
                    continue
                piece = file.get_slice(self.name)
                end = begin + piece.get_shape()[0]
                if begin <= at < end:
                    found.append(piece[at - begin : min(stop, end) - begin])
                    at = min(stop, end)
        if at < stop:
            raise CheckpointError(
                f"rows {at} to {stop} of {self.name!r} are in none of the files of pieces in {str(self.folder)!r}; one of them "
                "is missing. Resume from an earlier checkpoint, or bring the files of all machines into one folder"
            )
        return torch.cat(found) if found else torch.empty((0, *self.shape[1:]))


def split(tree: Any, name: str = "") -> tuple[Any, dict[str, Tensor]]:
    """A tree of plain values and tensors without those in pieces, which come by name as this rank's rows."""
    if isinstance(tree, Mapping):
        parts = {key: split(value, f"{name}.{key}" if name else str(key)) for key, value in tree.items()}
        return {key: part for key, (part, _) in parts.items()}, {
            k: v for _, own in parts.values() for k, v in own.items()
        }
    if isinstance(tree, Tensor) and local(tree) is not tree:
        return {_MARK: name, "shape": list(tree.shape)}, {name: local(tree).detach().cpu().contiguous()}
    return tree, {}


def joined(tree: Any, folder: Path) -> Any:
    """The tree that `split` took apart; what is in pieces comes as `Stored`."""
    if isinstance(tree, Mapping):
        if _MARK in tree:
            return Stored(folder, tree[_MARK], tuple(tree["shape"]))
        return {key: joined(value, folder) for key, value in tree.items()}
    return tree


def write(
    pieces: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], folder: Path, rank: int, size: int
) -> None:
    """Write this rank's pieces. `shapes` are those of the whole tensors."""
    from safetensors.torch import save_file

    starts = {name: own_rows(shapes[name][0], rank, size)[0] for name in pieces}
    save_file(dict(pieces), folder / PIECES.format(rank=rank, size=size), {_STARTS: json.dumps(starts)})


def shapes_of(tree: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and whole shape of everything that `split` left out of a tree."""
    if isinstance(tree, Mapping):
        if _MARK in tree:
            yield tree[_MARK], tuple(tree["shape"])
        else:
            for value in tree.values():
                yield from shapes_of(value)


def fit(value: Tensor | Stored, like: Tensor) -> Tensor:
    """A checkpoint's tensor, whole or stored in pieces, in the form in which `like` lies here: whole, or this rank's rows."""
    if local(like) is like:
        return value.rows(0, value.shape[0]) if isinstance(value, Stored) else value
    from torch.distributed.tensor import DTensor

    assert isinstance(like, DTensor)
    mesh = like.device_mesh
    start, stop = own_rows(like.shape[0], mesh.get_local_rank(), mesh.size())
    rows = value.rows(start, stop) if isinstance(value, Stored) else value[start:stop].clone()
    piece = rows.to(device=like.device, dtype=like.dtype)
    return DTensor.from_local(piece, mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride())
