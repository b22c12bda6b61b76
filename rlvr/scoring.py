"""Verdicts in worker processes that are killed on time.

Each worker is a subprocess fed by a thread of this process. An item's clock starts when the worker starts on it, and
what the worker is busy with stands in a page both can see, so a verifier that hangs costs its own deadline: the worker is
killed, that item alone gets a Score with `timed_out`, and the rest of its chunk is scored by the next worker. Nothing
here uses signals in this process, so it works from any thread and from asyncio.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Literal

from rlvr import scoring_wire as wire
from rlvr.errors import ConfigError, EnvironmentFault
from rlvr.score import Score
from rlvr.scoring_process import START_TIMEOUT_S, Item, LocalWorker, Turns, Worker, WorkerLost
from rlvr.spec import Reply
from rlvr.task import Task

__all__ = ["Backend", "ScoringPool", "Turns", "open_pool", "shared_pool"]

CHUNK_S = 0.02
"""Work that is handed over at a time: long enough to hide the hand-over, short enough to share evenly."""
MAX_CHUNK = 256


MAX_LOSSES = 4
"""Machines that may be lost under one item before its caller is told."""


class ScoringPool:
    """Worker processes that run verifiers and sessions.

    `workers` processes of up to `memory_mb` MiB each; an item may take `timeout_s` seconds. Use it as a context manager
    or call `close()`. Thread-safe.
    """

    def __init__(self, workers: int = 2, timeout_s: float = 5.0, memory_mb: int = 4096) -> None:
        if workers < 1:
            raise ConfigError(f"workers is {workers}; scoring needs at least one process")
        if not timeout_s > 0:
            raise ConfigError(f"timeout_s is {timeout_s}; every item would time out. Give it some seconds.")
        self.timeout_s = timeout_s
        self.memory_mb = memory_mb
        self.num_workers = workers
        self.num_scored = 0
        self.num_faults = 0
        self.num_timeouts = 0
        self._queue: deque[Item] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._item_s = 1e-3
        self._threads = [
            threading.Thread(target=self._serve, name=f"rlvr-scoring-{i}", daemon=True) for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def score(self, tasks: Sequence[Task], texts: Sequence[Turns]) -> list[Score]:
        """The verdict on each text, in order. A text may be the list of all turns of an episode.

        Raises EnvironmentFault only if workers cannot run at all; whatever a verifier does is a Score.
        """
        if len(tasks) != len(texts):
            raise ConfigError(f"{len(tasks)} tasks and {len(texts)} texts; give one text for each task")
        items = [Item(task, text, False) for task, text in zip(tasks, texts, strict=True)]
        self._put(items)
        return [item.future.result() for item in items]

    def submit(self, task: Task, text: Turns) -> concurrent.futures.Future[Score]:
        """The verdict on one text, as a future."""
        item = Item(task, text, False)
        self._put([item])
        return item.future

    def submit_all(self, tasks: Sequence[Task], texts: Sequence[Turns]) -> list[concurrent.futures.Future[Score]]:
        """A future for the verdict on each text: one hand-over for the whole batch, and nothing waits."""
        items = [Item(task, text, False) for task, text in zip(tasks, texts, strict=True)]
        self._put(items)
        return [item.future for item in items]

    async def score_async(self, tasks: Sequence[Task], texts: Sequence[Turns]) -> list[Score]:
        """As `score`, without blocking the event loop."""
        return list(
            await asyncio.gather(*(asyncio.wrap_future(self.submit(*pair)) for pair in zip(tasks, texts, strict=True)))
        )

    def turn(self, task: Task, turns: Sequence[str]) -> concurrent.futures.Future[Reply]:
        """What the session answers after these turns of the model: a text, messages, or the Score that ends it.

        `turns` are all turns so far. The worker goes on with the session if it holds it, else plays it again.
        """
        item = Item(task, list(turns), True)
        self._put([item])
        return item.future

    def close(self) -> None:
        """Stop the workers. What is still waiting gets a Score with `error`."""
        with self._wake:
            if self._closed:
                return
            self._closed = True
            left, self._queue = list(self._queue), deque()
            self._wake.notify_all()
        for item in left:
            self._settle(item, Score.failure("the scoring pool was closed before this was scored"))
        for thread in self._threads:
            thread.join(timeout=self.timeout_s + 5)

    def __enter__(self) -> ScoringPool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _put(self, items: list[Item]) -> None:
        with self._wake:
            if self._closed:
                raise ConfigError("this scoring pool is closed; make a new one")
            self._queue.extend(items)
            self._wake.notify(len(items))

    def _take(self) -> list[Item]:
        with self._wake:
            while not self._queue and not self._closed:
                self._wake.wait()
            share = -(-len(self._queue) // self.num_workers)
            size = max(1, min(MAX_CHUNK, int(CHUNK_S / self._item_s), share))
            return [self._queue.popleft() for _ in range(min(size, len(self._queue)))]

    def _serve(self) -> None:
        """One worker's thread. It starts the worker itself: a child is tied to the thread that made it."""
        worker: Worker | None = None
        try:
            while chunk := self._take():
                try:
                    if worker is None:
                        worker = self._start_worker()
                    if not self._run(worker, chunk):
                        worker.kill()
                        worker = None
                except WorkerLost as loss:
                    if worker is not None:
                        worker.kill()
                        worker = None
                    self._lost(chunk, loss)
                except Exception as fault:  # whatever broke here is no verdict: everyone who waits must hear of it
                    if worker is not None:
                        worker.kill()
                        worker = None
                    for item in chunk:
                        if not item.future.done():
                            item.future.set_exception(_as_fault(fault))
        finally:
            if worker is not None:
                worker.kill()

    def _start_worker(self) -> Worker:
        """A new worker. Raises EnvironmentFault if it does not start."""
        return LocalWorker(self.memory_mb)

    def _run(self, worker: Worker, chunk: list[Item]) -> bool:
        """Score a chunk; False if the worker is lost. Then the culprit is settled and the rest is back in the queue."""
        worker.send(chunk)
        done = 0
        began = time.monotonic()
        while done < len(chunk):
            index, started = worker.progress()
            limit = START_TIMEOUT_S if index < 0 else self.timeout_s
            left = (started or began) + limit - time.monotonic()
            if left <= 0 and worker.progress() == (index, started):
                culprit = max(index, done)
                text = (
                    f"no verdict within {limit:g} s"
                    if index >= 0
                    else f"importing its environment took over {limit:g} s"
                )
                self._settle(chunk[culprit], Score.failure(f"{chunk[culprit].task.env_id}: {text}", timed_out=True))
                self._requeue([item for item in chunk[done:] if item is not chunk[culprit]])
                return False
            results = worker.receive(min(max(left, 0.001), 0.25))
            if results is None:
                self._crashed(worker, chunk, done)
                return False
            for position, kind, value in results:
                self._settle(chunk[position], wire.decode_result(kind, value))
                done = position + 1
        self._item_s = 0.7 * self._item_s + 0.3 * max((time.monotonic() - began) / len(chunk), 1e-6)
        return True

    def _lost(self, chunk: list[Item], loss: WorkerLost) -> None:
        """Score again what has no verdict yet."""
        left = [item for item in chunk if not item.future.done()]
        for item in left:
            item.losses += 1
        for item in left:
            if item.losses >= MAX_LOSSES:
                item.future.set_exception(
                    EnvironmentFault(f"{item.losses} machines were lost while {item.task.env_id} was scored: {loss}")
                )
        self._requeue([item for item in left if item.losses < MAX_LOSSES])

    def _crashed(self, worker: Worker, chunk: list[Item], done: int) -> None:
        index, _ = worker.progress()
        culprit = chunk[min(max(index, done), len(chunk) - 1)]
        culprit.crashes += 1
        rest = [item for item in chunk[done:] if item is not culprit]
        if culprit.crashes > 1:  # once may be the machine's doing, twice is the item's
            self._settle(
                culprit, Score.failure(f"{culprit.task.env_id}: the verifier's process died ({worker.last_words()})")
            )
        else:
            rest.append(culprit)
        self._requeue(rest)

    def _requeue(self, items: list[Item]) -> None:
        with self._wake:
            if not self._closed:
                self._queue.extendleft(reversed(items))
                self._wake.notify_all()
                return
        for item in items:
            self._settle(item, Score.failure("the scoring pool was closed before this was scored"))

    def _settle(self, item: Item, value: Reply) -> None:
        if item.future.done():
            return
        if isinstance(value, Score):
            self.num_scored += 1
            self.num_faults += value.error is not None
            self.num_timeouts += value.timed_out
        item.future.set_result(value)


Backend = Literal["processes", "ray"]
_pools: dict[tuple[int, Backend, int, float], ScoringPool] = {}
_pools_lock = threading.Lock()


def open_pool(backend: Backend, workers: int, timeout_s: float) -> ScoringPool:
    """A pool whose workers are processes of this machine, or Ray actors. Raises ConfigError for another `backend`."""
    if backend == "processes":
        return ScoringPool(workers, timeout_s)
    if backend == "ray":
        from rlvr.scoring_ray import RayScoringPool

        return RayScoringPool(workers, timeout_s)
    raise ConfigError(f"scoring backend {backend!r} does not exist; there are 'processes' and 'ray'")


def shared_pool(workers: int, timeout_s: float, backend: Backend = "processes") -> ScoringPool:
    """The pool of this process for these settings, kept for the next call: starting one takes half a second."""
    name = (os.getpid(), backend, workers, timeout_s)
    with _pools_lock:
        if name not in _pools:
            for other in [other for other in _pools if other[0] == os.getpid()]:
                _pools.pop(other).close()
            _pools[name] = open_pool(backend, workers, timeout_s)
        return _pools[name]


@atexit.register
def _close_pools() -> None:
    for name, pool in list(_pools.items()):
        if name[0] == os.getpid():
            pool.close()


def _as_fault(fault: Exception) -> Exception:
    if isinstance(fault, EnvironmentFault):
        return fault
    return EnvironmentFault(f"scoring failed outside any verifier: {type(fault).__name__}: {fault}")
