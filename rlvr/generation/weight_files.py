"""Weights as safetensors files that servers read: one at a time, or a whole version that is kept for those who come later."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self

from torch import Tensor

from rlvr.errors import EngineError
from rlvr.generation.weight_packing import BUCKET_BYTES


def buckets(named_tensors: Iterable[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """The tensors in groups of about BUCKET_BYTES. Safetensors refuses shared storage, so of tied weights the first goes."""
    bucket: dict[str, Tensor] = {}
    seen: set[int] = set()
    size = 0
    for name, tensor in named_tensors:
        if tensor.data_ptr() in seen:
            continue
        seen.add(tensor.data_ptr())
        bucket[name] = tensor.detach().cpu().contiguous()
        size += tensor.numel() * tensor.element_size()
        if size >= BUCKET_BYTES:
            yield bucket
            # Freed memory may be given out again at the same address, so only tensors of one bucket can be compared.
            bucket, seen, size = {}, set(), 0
    if bucket:
        yield bucket


def write_bucket(bucket: dict[str, Tensor], folder: str | Path) -> str:
    """The path of a new file with these tensors. Raises EngineError, and leaves no file, if it cannot be written."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = None
    try:
        descriptor, path = tempfile.mkstemp(prefix="rlvr-weights-", suffix=".safetensors", dir=folder)
        os.close(descriptor)
        save_file(bucket, path)
    except (OSError, SafetensorError) as fault:
        if path is not None:
            os.unlink(path)
        size = sum(tensor.numel() * tensor.element_size() for tensor in bucket.values())
        raise EngineError(
            f"{size >> 20} MiB of weights could not be written to {str(folder)!r}: {fault}. Nothing of this version is "
            "served. Free some space there, or name another transfer_folder."
        ) from fault
    return path


class WeightFiles:
    """All weights of one version, in files. Iterating gives (name, tensor) pairs, as often as wanted; tensors are mapped, not
    read. The files stay until `delete`.
    """

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        # A process that ends without having closed its engines, by an exception say, removes them too.
        self._remove = weakref.finalize(self, _remove, list(paths))

    @classmethod
    def write(cls, named_tensors: Iterable[tuple[str, Tensor]], folder: str | Path) -> Self:
        """Write a stream of weights, which is read once. Raises EngineError if a file cannot be written."""
        paths: list[str] = []
        try:
            for bucket in buckets(named_tensors):
                paths.append(write_bucket(bucket, folder))
        except BaseException:
            cls(paths).delete()
            raise
        return cls(paths)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        from safetensors import safe_open

        for path in self.paths:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118
                    yield name, file.get_tensor(name)

    def delete(self) -> None:
        """Remove the files; calling it twice is harmless."""
        self._remove()
        self.paths = []


def _remove(paths: list[str]) -> None:
    for path in paths:
        Path(path).unlink(missing_ok=True)
