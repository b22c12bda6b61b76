"""Weights by broadcast: a process group of the learner and the workers of one server, NCCL between GPUs and gloo between CPUs.

The group is no torch.distributed default group and meets at a store of its own, so the learner may be a rank of torchrun and
the worker one of vLLM's ranks. The learner listens on the address from which it reaches the server. What the bytes mean goes
over the server's control plane.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import EngineError
from rlvr.generation.weight_packing import Bucket

OPEN_TIMEOUT_S = 60.0
"""For the workers to find the learner, and it them."""


class BroadcastSender:
    """The learner's side: rank 0."""

    def __init__(
        self,
        host: str,
        num_workers: int,
        buffer_bytes: int,
        connect: Callable[[dict[str, Any]], Any],
        timeout_s: float,
    ) -> None:
        """Open a group with the `num_workers` workers of the server on `host`, where `connect(settings)` has them join.

        A broadcast that takes longer than `timeout_s` has failed. Raises whatever `connect` does, EngineError if the workers
        do not come, OSError or RuntimeError if the machine cannot open the group.
        """
        self._bytes = buffer_bytes
        on_gpu = torch.cuda.is_available()
        self._device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
        self._timeout_s = timeout_s
        # Of its own: when an update begins, all threads of the engine may be waiting for answers that it holds back.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rlvr-broadcast")
        self._group: Any = None
        self._store: Any = None
        try:
            self._open(host, num_workers, connect)
        except BaseException:
            self.close()
            raise

    def _open(self, host: str, num_workers: int, connect: Callable[[dict[str, Any]], Any]) -> None:
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        address = address_towards(host)
        listener = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        port = listener.getsockname()[1]
        # The store listens on this address and not, as it would by itself, on all of the machine's.
        self._store = TCPStore(
            address,
            port,
            is_master=True,
            timeout=timedelta(seconds=OPEN_TIMEOUT_S),
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
        )
        settings = {
            "host": address,
            "port": port,
            "size": num_workers + 1,
            "backend": "nccl" if self._device.type == "cuda" else "gloo",
            "timeout_s": self._timeout_s,
        }
        joined = self._thread.submit(connect, settings)
        self._wait_for(num_workers, joined)
        self._group = _open_group(self._store, 0, num_workers + 1, settings["backend"], address)
        _try(self._group, self._device)
        joined.result()

    def _wait_for(self, num_workers: int, joined: Future[Any]) -> None:
        """Until all workers stand at the store; one that cannot says so at once by the server's answer."""
        deadline = time.monotonic() + OPEN_TIMEOUT_S
        while not self._store.check([_here(rank) for rank in range(1, num_workers + 1)]):
            if joined.done():
                joined.result()
                raise EngineError(f"the server says that its workers joined, and {num_workers} were expected")
            if time.monotonic() > deadline:
                raise EngineError(
                    f"not all of {num_workers} workers came to {self._store.host}:{self._store.port} within "
                    f"{OPEN_TIMEOUT_S:g} s; a firewall may keep the server's machine from reaching the learner's"
                )
            time.sleep(0.005)

    def buffer(self) -> Tensor:
        """Where the buckets of one update are packed."""
        return torch.empty(self._bytes, dtype=torch.uint8, device=self._device)

    def send(self, bucket: Bucket, tell: Callable[[], Any]) -> None:
        """Broadcast it; `tell()` has the workers take part and returns when they have loaded it. Raises what `tell` does."""
        told = self._thread.submit(tell)
        work = _broadcast(self._group, bucket.data)
        told.result()
        _wait(work, self._timeout_s, self._device)

    def close(self) -> None:
        """Leave the group. The workers may be gone already."""
        held = [self._group, self._store]
        self._group = self._store = None
        _let_go(held)
        self._thread.shutdown(wait=False, cancel_futures=True)


class BroadcastReceiver:
    """A worker's side, in the server."""

    def __init__(self, settings: dict[str, Any], rank: int, device: torch.device) -> None:
        """Join the learner's group as `rank` (1 or more); NCCL's bytes arrive on `device`. Raises RuntimeError if it fails."""
        from torch.distributed import TCPStore  # type: ignore[attr-defined]

        host, port, backend = settings["host"], settings["port"], settings["backend"]
        if backend == "nccl" and device.type != "cuda":
            raise RuntimeError("the learner sends from a GPU by NCCL, and this worker has none")
        self._device = device if backend == "nccl" else torch.device("cpu")
        self._timeout_s = float(settings["timeout_s"])
        self._store: Any = TCPStore(host, port, is_master=False, timeout=timedelta(seconds=OPEN_TIMEOUT_S))
        self._store.set(_here(rank), "")
        self._group: Any = _open_group(self._store, rank, settings["size"], backend, address_towards(host))
        _try(self._group, self._device)

    def take(self, num_bytes: int) -> Tensor:
        """The next bucket, in memory of its own: layers keep views of it until all of their weights have come."""
        data = torch.empty(num_bytes, dtype=torch.uint8, device=self._device)
        _wait(_broadcast(self._group, data), self._timeout_s, self._device)
        return data

    def close(self) -> None:
        """Leave the group, which fails what the learner still sends."""
        held = [self._group, self._store]
        self._group = self._store = None
        _let_go(held)


def address_towards(host: str) -> str:
    """This machine's own address on the way to `host`; nothing is sent. Raises OSError if there is no way."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(address)
        return str(probe.getsockname()[0])


def _here(rank: int) -> str:
    return f"worker {rank}"


def _open_group(store: Any, rank: int, size: int, backend: str, address: str) -> Any:
    limit = timedelta(seconds=OPEN_TIMEOUT_S)
    if backend == "nccl":
        from torch.distributed import ProcessGroupNCCL

        options = ProcessGroupNCCL.Options()
        options._timeout = limit
        with _survives_peers():
            return ProcessGroupNCCL(store, rank, size, options)
    from torch.distributed import ProcessGroupGloo

    gloo: Any = ProcessGroupGloo
    options = gloo._Options()
    # By itself gloo takes the address of the host's name, which on many machines is the loopback.
    options._devices = [gloo.create_device(hostname=address)]
    options._timeout = limit
    return gloo(store, rank, size, options)


@contextmanager
def _survives_peers() -> Iterator[None]:
    """NCCL's watchdog ends the whole process when another rank of a group dies, unless it was told not to at its opening."""
    name = "TORCH_NCCL_ASYNC_ERROR_HANDLING"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _broadcast(group: Any, data: Tensor) -> Any:
    from torch.distributed import BroadcastOptions

    options: Any = BroadcastOptions()
    options.rootRank = options.rootTensor = 0
    return group.broadcast([data], options)


def _try(group: Any, device: torch.device) -> None:
    """One byte to all: NCCL connects at the first broadcast only, and what keeps it from that should be known now."""
    _wait(_broadcast(group, torch.zeros(1, dtype=torch.uint8, device=device)), OPEN_TIMEOUT_S, device)


def _wait(work: Any, timeout_s: float, device: torch.device) -> None:
    """Until it is done. Raises RuntimeError if it failed or takes longer, which NCCL by itself does not say."""
    deadline = time.monotonic() + timeout_s
    while not work.is_completed():
        if time.monotonic() > deadline:
            raise RuntimeError(f"a broadcast was not over after {timeout_s:g} s")
        time.sleep(0.0002)
    work.wait()
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _let_go(held: list[Any]) -> None:
    """Close a group and its store, and empty the list.

    Whoever drops the last reference to a gloo group waits until its unfinished broadcast has timed out. So that nobody does,
    a thread drops it, and no other reference than the list's may be left when it starts.
    """

    def close() -> None:
        while held:
            part = held.pop(0)
            if hasattr(part, "abort"):
                part.abort()
            del part

    threading.Thread(target=close, daemon=True).start()
