"""Weights as runs of bytes: the learner packs them into buckets, and the workers of a server take them apart again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rlvr.errors import EngineError

BUCKET_BYTES = 256 << 20
"""Weights travel in buckets of about this size, so that no second copy of the whole model is held in memory."""
ALIGNMENT = 64
"""Each tensor begins at a multiple of this many bytes, where a view of any dtype may begin."""

Layout = Sequence[tuple[str, str, Sequence[int]]]
"""Name, dtype and shape of each tensor of a bucket, in the order of its bytes."""


class Bucket(NamedTuple):
    """Some weights, packed."""

    data: Tensor
    """uint8, `[bytes]`. It is written over when the next bucket is packed."""
    layout: Layout


def buffer_bytes(sizes: Sequence[int], dtype: torch.dtype) -> int:
    """Bytes of a buffer for weights of these many numbers each: one bucket, and at least the largest weight.

    A model that is smaller than a bucket gets what it needs.
    """
    needed = [_aligned(size * dtype.itemsize) for size in sizes]
    return min(max(BUCKET_BYTES, *needed), sum(needed))


def packed(named_tensors: Iterable[tuple[str, Tensor]], dtype: torch.dtype, buffer: Tensor) -> Iterator[Bucket]:
    """The tensors, floating-point ones cast to `dtype`, in buckets that lie in `buffer` one after the other.

    Tensors are taken one at a time. A bucket is gone when the next is asked for. Raises EngineError for a tensor that is
    larger than the buffer.
    """
    layout: list[tuple[str, str, list[int]]] = []
    end = 0
    for name, tensor in named_tensors:
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        size = tensor.numel() * kind.itemsize
        if layout and _aligned(end) + size > len(buffer):
            yield _finished(Bucket(buffer[:end], layout))
            layout, end = [], 0
        if size > len(buffer):
            raise EngineError(
                f"weight {name!r} takes {size} bytes as {kind}, more than the buffer of {len(buffer)} that was made for this "
                "model; nothing of this version is served"
            )
        start = _aligned(end)
        end = start + size
        buffer[start:end].view(kind).view(tensor.shape).copy_(tensor.detach())
        layout.append((name, str(kind).removeprefix("torch."), list(tensor.shape)))
    if layout:
        yield _finished(Bucket(buffer[:end], layout))


def num_bytes(layout: Layout) -> int:
    """Bytes of a bucket with this layout."""
    return _places(layout)[-1][1]


def unpack(data: Tensor, layout: Layout) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of each weight of a bucket; the tensors are views of `data`."""
    for (name, dtype, shape), (start, end) in zip(layout, _places(layout), strict=True):
        yield name, data[start:end].view(_dtype(dtype)).view(torch.Size(shape))


def _finished(bucket: Bucket) -> Bucket:
    """The copies that fill a buffer on a GPU have to be over before another stream or process reads it."""
    if bucket.data.is_cuda:
        torch.cuda.synchronize(bucket.data.device)
    return bucket


def _places(layout: Layout) -> list[tuple[int, int]]:
    places: list[tuple[int, int]] = []
    end = 0
    for _, dtype, shape in layout:
        start = _aligned(end)
        end = start + torch.Size(shape).numel() * _dtype(dtype).itemsize
        places.append((start, end))
    return places


def _dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise EngineError(f"{name!r} is no dtype of torch; the learner and the server run different versions")
    return dtype


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
