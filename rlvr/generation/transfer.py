"""The ways in which weights get to a vLLM server, and which one is taken where nobody has said.

files           safetensors files in a folder that both see; they can be kept for a server that comes back
broadcast       a process group of learner and workers: NCCL between GPUs, gloo between CPUs (weight_broadcast.py)
shared_memory   one buffer that both have mapped, on one machine: CUDA IPC on one GPU, else main memory (weight_sharing.py)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.weight_broadcast import BroadcastSender
from rlvr.generation.weight_packing import Bucket
from rlvr.generation.weight_sharing import SharedMemorySender

Transfer = Literal["auto", "files", "broadcast", "shared_memory"]
Streamed = Literal["broadcast", "shared_memory"]


def choose_transfer(
    transfer: Transfer,
    *,
    folder_given: bool,
    same_machine: bool,
    adapters: bool = False,
    gpus: Sequence[int] | None = None,
) -> Literal["files"] | Streamed:
    """The way that `transfer` means. `gpus` are those of a server that was launched here, by this process's numbers;
    `adapters` go through the folder whichever way weights go.

    Raises ConfigError for one that does not exist, or that cannot go with the rest.
    """
    if transfer not in get_args(Transfer):
        raise ConfigError(f"transfer is {transfer!r}; there are {', '.join(get_args(Transfer))}")
    if folder_given and not adapters and transfer not in ("auto", "files"):
        raise ConfigError(f"transfer_folder is for files and transfer is {transfer!r}; give one of the two")
    if transfer == "shared_memory" and not same_machine:
        raise ConfigError(
            "transfer is 'shared_memory' and the server is on another machine, with which no memory is shared. Set transfer "
            "= 'broadcast', or 'files' with a transfer_folder that both machines see."
        )
    if transfer != "auto":
        return transfer
    if folder_given:
        return "files"
    if not torch.cuda.is_available():
        return "shared_memory" if same_machine else "broadcast"
    own = torch.cuda.current_device()
    if gpus is None or own not in gpus:
        return "broadcast"
    # NCCL takes no GPU twice, and of several workers only one is on the GPU whose memory is shared.
    return "shared_memory" if len(gpus) == 1 else "files"


class WeightStream:
    """Buckets of weights to all workers of one server.

    After a failure it is closed, for what the workers have read is not known then; `open` begins anew.
    """

    def __init__(
        self,
        transfer: Streamed,
        post: Callable[..., Any],
        *,
        host: str,
        num_workers: int,
        buffer_bytes: int,
        timeout_s: float,
    ) -> None:
        """`post(path, **body)` asks the server on `host`; `buffer_bytes` holds one bucket; one takes at most `timeout_s`."""
        self.transfer = transfer
        self._post = post
        self._host = host
        self._num_workers = num_workers
        self._bytes = buffer_bytes
        self._timeout_s = timeout_s
        self._sender: BroadcastSender | SharedMemorySender | None = None
        self._name = ""

    def open(self) -> None:
        """Connect with the workers, unless they are. Raises EngineError if that fails."""
        if self._sender is not None:
            return
        self._name = secrets.token_hex(8)
        try:
            if self.transfer == "broadcast":
                self._sender = BroadcastSender(
                    self._host, self._num_workers, self._bytes, self._connect, self._timeout_s
                )
            else:
                self._sender = SharedMemorySender(self._bytes, self._connect)
        except (OSError, RuntimeError) as fault:  # what sockets, memory and torch raise
            raise EngineError(f"{self.transfer} could not be opened: {type(fault).__name__}: {fault}") from fault

    def buffer(self) -> Tensor:
        """uint8, where the buckets of one update may be packed. Raises EngineError if the stream is not open."""
        return self._opened().buffer()

    def send(self, bucket: Bucket) -> None:
        """Have all workers load it. Raises EngineError if they do not."""
        sender = self._opened()
        told = {"sender": self._name, "layout": bucket.layout}
        try:
            sender.send(bucket, lambda: self._post("/update_weights", update_info=told))
        except RuntimeError as fault:
            self.close()
            raise EngineError(f"weights did not get through by {self.transfer}: {fault}") from fault
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give this side's buffer and group back; calling it twice is harmless."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def leave(self) -> None:
        """Close, and have the workers of a server that goes on without this learner give their side back. Raises EngineError."""
        if self._sender is not None:
            self.close()
            self._post("/init_weight_transfer_engine", init_info={"leaves": self._name})

    def _opened(self) -> BroadcastSender | SharedMemorySender:
        if self._sender is None:
            raise EngineError(f"the {self.transfer} of weights is not open; begin an update first")
        return self._sender

    def _connect(self, settings: dict[str, Any]) -> None:
        info = {"transfer": self.transfer, "sender": self._name, "settings": settings}
        self._post("/init_weight_transfer_engine", init_info=info)
