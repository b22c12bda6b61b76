"""The processes that train one model together: who they are, and what they tell each other.

torchrun starts them and names each by variables (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT). Every rank runs
the same program on the same batch; what they share out is in `sharding`. The first rank owns the run folder.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from rlvr.errors import RlvrError

T = TypeVar("T")

STEP_TIMEOUT = timedelta(hours=1)
"""Longest wait inside an update, in which ranks are never far apart."""
WORK_TIMEOUT = timedelta(days=30)
"""Longest wait for what a rank does on its own: sampling, or a stage that the first rank runs alone. A rank that dies is
noticed at once, by its closed connections and by the launcher."""
LOST_SIGNS = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "remote process exited",
    "NCCL error",
)
"""In the messages of gloo and NCCL when the other end is gone."""
LAUNCHER_VARIABLES = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
)


class RankError(RlvrError):
    """Another rank is gone, so none of them can go on."""


@dataclass(frozen=True)
class Ranks:
    """One process's place among those that train together. All methods but `first_to_say` are called by every rank."""

    rank: int = 0
    """Its number, from 0."""
    size: int = 1
    """How many there are."""
    store: Any = None
    """What the launcher lets them share."""
    talk: Any = None
    """Their group for messages of the main thread."""
    rollouts: Any = None
    """Their group for rollouts, which may travel while an update runs."""

    @property
    def main(self) -> bool:
        """True for the rank that owns the run folder and speaks to the user."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, value: T) -> list[T]:
        """Every rank's rollouts, in the order of ranks. The only call that may come from a thread beside the main one."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.rollouts)
        return values

    def barrier(self) -> None:
        """Return once every rank is here."""
        if self.size > 1:
            dist.barrier(group=self.talk)

    def on_main(self, call: Callable[[], T]) -> T:
        """What the first rank's `call` returns, or raises where that is a RlvrError; the others wait and do not call it."""
        if self.size == 1:
            return call()
        reply: list[Any] = [None, None]
        if self.main:
            try:
                reply[0] = call()
            except RlvrError as fault:
                reply[1] = fault
        dist.broadcast_object_list(reply, src=0, group=self.talk)
        if reply[1] is not None:
            raise reply[1]
        result: T = reply[0]
        return result

    def everywhere(self, call: Callable[[], None]) -> None:
        """Run `call` on every rank. A RlvrError on any of them is raised on all."""
        faults: list[RlvrError | None] = [None] * self.size
        mine: RlvrError | None = None
        try:
            call()
        except RlvrError as fault:
            mine = fault
        if self.size > 1:
            dist.all_gather_object(faults, mine, group=self.talk)
        for found in faults if self.size > 1 else [mine]:
            if found is not None:
                raise found

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raises RankError in place of what the transport says when another rank has gone."""
        try:
            yield
        except RuntimeError as fault:  # gloo raises no other class; NCCL's is a subclass
            if self.size == 1 or not any(sign in str(fault) for sign in LOST_SIGNS):
                raise
            raise RankError(
                f"rank {self.rank} of {self.size} has lost another one, which was killed or failed, and stops "
                f"({str(fault).splitlines()[0][:200]}). The checkpoints are intact; resume the run"
            ) from fault

    def mesh(self, device_type: str) -> Any:
        """All ranks in one row, as FSDP2 wants them."""
        return _mesh(device_type, self.size)

    def first_to_say(self, message: str) -> bool:
        """True for the first rank that asks with this message, so that what all ranks notice is printed once."""
        if self.size == 1:
            return True
        try:
            return bool(self.store.add("said/" + hashlib.sha256(message.encode()).hexdigest(), 1) == 1)
        except Exception:  # the rank that holds the store is gone; better twice than never
            return True


ALONE = Ranks()
"""The only process of a run."""


def launched() -> bool:
    """True in a process that torchrun started beside others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


@functools.cache
def open_ranks() -> Ranks:
    """This process's place among those that were launched with it, or `ALONE`. The first call joins them.

    On GPUs each process takes the device of its LOCAL_RANK; tensors then travel by NCCL, all else by gloo.
    """
    if not launched():
        return ALONE
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    store, rank, size = next(iter(rendezvous("env://", timeout=STEP_TIMEOUT)))
    shared = dist.PrefixStore("rlvr", store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=shared, rank=rank, world_size=size, timeout=STEP_TIMEOUT)
    talk = dist.new_group(backend="gloo", timeout=WORK_TIMEOUT)
    rollouts = dist.new_group(backend="gloo", timeout=WORK_TIMEOUT)
    for name in [n for n in os.environ if n in LAUNCHER_VARIABLES or n.startswith("TORCHELASTIC_")]:
        del os.environ[name]  # whatever this process starts, such as a vLLM server, must not take itself for a rank
    return Ranks(rank, size, store, talk, rollouts)


def close_ranks() -> None:
    """Leave the other ranks; for the end of a run that went well."""
    if open_ranks().size > 1:
        dist.barrier()
        dist.destroy_process_group()
        _mesh.cache_clear()
    open_ranks.cache_clear()


@functools.cache
def _mesh(device_type: str, size: int) -> Any:
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(device_type, (size,))
