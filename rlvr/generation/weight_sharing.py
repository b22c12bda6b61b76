"""Weights through memory that the learner and the workers of a server on the same machine share.

On CPUs it is a file that has no name (memfd), which workers open through the learner's /proc entry: it is gone when the last
process that mapped it is, however that ends, and does not depend on the size of /dev/shm. On a GPU it is a buffer whose CUDA
IPC handle the workers open; they have to run on that GPU.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rlvr.generation.weight_packing import Bucket


class SharedMemorySender:
    """The learner's side: one buffer, filled again for every bucket."""

    def __init__(self, buffer_bytes: int, connect: Callable[[dict[str, Any]], Any]) -> None:
        """Make the buffer; `connect(settings)` has the workers map it. Raises whatever `connect` does, OSError or RuntimeError
        if there is no memory for it.
        """
        if torch.cuda.is_available():
            self._buffer = torch.empty(buffer_bytes, dtype=torch.uint8, device="cuda")
            connect(_cuda_handle(self._buffer))
            return
        descriptor = os.memfd_create("rlvr-weights")
        try:
            os.ftruncate(descriptor, buffer_bytes)
            path = f"/proc/{os.getpid()}/fd/{descriptor}"
            self._buffer = _map(path, buffer_bytes)
            connect({"path": path, "bytes": buffer_bytes})
        finally:
            os.close(descriptor)

    def buffer(self) -> Tensor:
        """Where the buckets of one update are packed: no other copy is made."""
        return self._buffer

    def send(self, bucket: Bucket, tell: Callable[[], Any]) -> None:
        """Put it there, unless it is there; `tell()` has the workers load it. Raises what `tell` does."""
        if bucket.data.data_ptr() != self._buffer.data_ptr():
            self._buffer[: len(bucket.data)].copy_(bucket.data)
            if self._buffer.is_cuda:
                torch.cuda.synchronize(self._buffer.device)
        tell()

    def close(self) -> None:
        """Give the memory back."""
        del self._buffer


class SharedMemoryReceiver:
    """A worker's side, in the server."""

    def __init__(self, settings: dict[str, Any], device: torch.device) -> None:
        """Map the learner's buffer. Raises RuntimeError if it cannot be reached from here."""
        self._buffer = _open_cuda(settings, device) if "uuid" in settings else _map(**settings)

    def take(self, num_bytes: int) -> Tensor:
        """The bucket that lies there, copied: layers keep views of it until all of their weights have come."""
        return self._buffer[:num_bytes].clone()

    def close(self) -> None:
        """Give the memory back."""
        del self._buffer


def _map(path: str, bytes: int) -> Tensor:
    storage: Any = torch.UntypedStorage.from_file(path, True, bytes)
    return torch.empty(0, dtype=torch.uint8).set_(storage)


_HANDLE = ("device", "handle", "bytes", "offset", "counter", "counter_offset", "event", "event_needed")
"""What torch's `_share_cuda_` gives and `_new_shared_cuda` takes, in their order."""


def _cuda_handle(buffer: Tensor) -> dict[str, Any]:
    """An IPC handle as JSON. It is opened once: torch counts who has it open."""
    storage: Any = buffer.untyped_storage()
    parts = dict(zip(_HANDLE, storage._share_cuda_(), strict=True))
    texts = {name: base64.b64encode(part).decode() for name, part in parts.items() if isinstance(part, bytes)}
    return {**parts, **texts, "uuid": _uuid(buffer.device)}


def _open_cuda(settings: dict[str, Any], device: torch.device) -> Tensor:
    if device.type != "cuda" or _uuid(device) != settings["uuid"]:
        raise RuntimeError(
            f"the learner shares memory of GPU {settings['uuid']}, and this worker runs on "
            f"{_uuid(device) if device.type == 'cuda' else 'a CPU'}; each worker has to run on the learner's GPU"
        )
    parts = {**settings, "device": device.index or 0}
    for name in ("handle", "counter", "event"):
        parts[name] = base64.b64decode(parts[name])
    storage: Any = torch.UntypedStorage._new_shared_cuda(*(parts[name] for name in _HANDLE))
    return torch.empty(0, dtype=torch.uint8, device=device).set_(storage)


def _uuid(device: torch.device) -> str:
    return str(torch.cuda.get_device_properties(device).uuid)
