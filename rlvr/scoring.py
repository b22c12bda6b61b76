"""Verdicts in worker processes that are killed on time.

Each worker is a subprocess fed by a thread of this process. An item's clock starts when the worker starts on it, and
what the worker is busy with stands in a page both can see, so a verifier that hangs costs its own deadline: the worker is
killed, that item alone gets a Score with `timed_out`, and the rest of its chunk is scored by the next worker. Nothing
here uses signals in this process, so it works from any thread and from asyncio.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import concurrent.futures
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from rlvr import scoring_wire as wire
from rlvr.errors import ConfigError, EnvironmentFault
from rlvr.score import Score
from rlvr.spec import Reply
from rlvr.task import Task

Turns = str | Sequence[str]
START_TIMEOUT_S = 60.0
"""How long a worker may take to start, or to import an environment."""
CHUNK_S = 0.02
"""Work that is handed over at a time: long enough to hide the hand-over, short enough to share evenly."""
MAX_CHUNK = 256


@dataclass
class _Item:
    task: Task
    turns: Turns
    wants_reply: bool
    future: concurrent.futures.Future[Any] = field(default_factory=concurrent.futures.Future)
    crashes: int = 0


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
        self._queue: deque[_Item] = deque()
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
        items = [_Item(task, text, False) for task, text in zip(tasks, texts, strict=True)]
        self._put(items)
        return [item.future.result() for item in items]

    def submit(self, task: Task, text: Turns) -> concurrent.futures.Future[Score]:
        """The verdict on one text, as a future."""
        item = _Item(task, text, False)
        self._put([item])
        return item.future

    def submit_all(self, tasks: Sequence[Task], texts: Sequence[Turns]) -> list[concurrent.futures.Future[Score]]:
        """A future for the verdict on each text: one hand-over for the whole batch, and nothing waits."""
        items = [_Item(task, text, False) for task, text in zip(tasks, texts, strict=True)]
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
        item = _Item(task, list(turns), True)
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

    def _put(self, items: list[_Item]) -> None:
        with self._wake:
            if self._closed:
                raise ConfigError("this scoring pool is closed; make a new one")
            self._queue.extend(items)
            self._wake.notify(len(items))

    def _take(self) -> list[_Item]:
        with self._wake:
            while not self._queue and not self._closed:
                self._wake.wait()
            share = -(-len(self._queue) // self.num_workers)
            size = max(1, min(MAX_CHUNK, int(CHUNK_S / self._item_s), share))
            return [self._queue.popleft() for _ in range(min(size, len(self._queue)))]

    def _serve(self) -> None:
        """One worker's thread. It starts the worker itself: a child is tied to the thread that made it."""
        worker: _Worker | None = None
        try:
            while chunk := self._take():
                try:
                    if worker is None:
                        worker = _Worker(self.memory_mb)
                    if not self._run(worker, chunk):
                        worker.kill()
                        worker = None
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

    def _run(self, worker: _Worker, chunk: list[_Item]) -> bool:
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

    def _crashed(self, worker: _Worker, chunk: list[_Item], done: int) -> None:
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

    def _requeue(self, items: list[_Item]) -> None:
        with self._wake:
            if not self._closed:
                self._queue.extendleft(reversed(items))
                self._wake.notify_all()
                return
        for item in items:
            self._settle(item, Score.failure("the scoring pool was closed before this was scored"))

    def _settle(self, item: _Item, value: Reply) -> None:
        if item.future.done():
            return
        if isinstance(value, Score):
            self.num_scored += 1
            self.num_faults += value.error is not None
            self.num_timeouts += value.timed_out
        item.future.set_result(value)


class _Worker:
    """One subprocess and the pipes to it."""

    def __init__(self, memory_mb: int) -> None:
        self._page: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        self._page.write(wire.EMPTY_PROGRESS)
        self._page.flush()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        read_end, write_end = os.pipe()
        command = [
            sys.executable,
            "-m",
            "rlvr.scoring_worker",
            str(write_end),
            str(self._page.fileno()),
            str(memory_mb),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._stderr,
            stderr=self._stderr,
            pass_fds=(write_end, self._page.fileno()),
            env=environment,
            start_new_session=True,
        )
        os.close(write_end)
        self._results = read_end
        self._buffer = bytearray()
        self._defined: set[str] = set()
        ready = self.receive(START_TIMEOUT_S)
        if ready is None or not ready:
            words = self.last_words()
            self.kill()
            raise EnvironmentFault(
                f"a scoring worker did not start within {START_TIMEOUT_S:g} s ({words}); nothing was scored"
            )

    def send(self, chunk: list[_Item]) -> None:
        numbers: dict[int, int] = {}
        tasks: list[dict[str, Any]] = []
        items: list[tuple[int, Turns, bool]] = []
        for item in chunk:
            number = numbers.get(id(item.task))
            if number is None:
                number = numbers[id(item.task)] = len(tasks)
                tasks.append(item.task.to_dict())
            turns = item.turns if isinstance(item.turns, str) else list(item.turns)
            items.append((number, turns, item.wants_reply))
        define = {}
        for env_id in {item.task.env_id for item in chunk} - self._defined:
            define[env_id] = wire.definition(env_id)
            self._defined.add(env_id)
        self._page.seek(0)
        self._page.write(wire.EMPTY_PROGRESS)
        self._page.flush()
        frame = json.dumps(
            {
                "tasks": tasks,
                "items": items,
                "define": {k: base64.b64encode(v).decode() for k, v in define.items() if v},
            }
        ).encode()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(wire.LENGTH.pack(len(frame)) + frame)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; receive() will say so

    def progress(self) -> tuple[int, float]:
        """Which item of the chunk it is on, and since when on the monotonic clock; (-1, 0.0) before the first."""
        return wire.PROGRESS.unpack(os.pread(self._page.fileno(), wire.PROGRESS.size, 0))

    def receive(self, timeout_s: float) -> list[tuple[int, str, Any]] | None:
        """Results that have come in, an empty list after `timeout_s` without any, None if the process is gone."""
        readable, _, _ = select.select([self._results], [], [], timeout_s)
        if readable:
            data = os.read(self._results, 1 << 20)
            if not data:
                return None
            self._buffer += data
        results: list[tuple[int, str, Any]] = []
        while (end := self._buffer.find(b"\n")) >= 0:
            results.extend(tuple(result) for result in json.loads(self._buffer[:end]))
            del self._buffer[: end + 1]
        return results

    def last_words(self) -> str:
        """How it ended and the last line it wrote to its standard error."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            code = None
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 2000))
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        return f"exit code {code}" + (f"; {lines[-1][:200]}" if lines else "")

    def kill(self) -> None:
        """End it and whatever it started."""
        try:
            os.killpg(self._process.pid, 9)
        except (ProcessLookupError, PermissionError):
            pass
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        os.close(self._results)
        self._page.close()
        self._stderr.close()


_pools: dict[tuple[int, int, float], ScoringPool] = {}
_pools_lock = threading.Lock()


def shared_pool(workers: int, timeout_s: float) -> ScoringPool:
    """The pool of this process for these settings, kept for the next call: starting one takes half a second."""
    name = (os.getpid(), workers, timeout_s)
    with _pools_lock:
        if name not in _pools:
            for other in [other for other in _pools if other[0] == os.getpid()]:
                _pools.pop(other).close()
            _pools[name] = ScoringPool(workers, timeout_s)
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
