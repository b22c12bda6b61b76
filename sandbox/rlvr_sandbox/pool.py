"""A pool of workers behind `run` and `judge`: safe for threads, for forks and for the death of its process."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import hashlib
import json
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from rlvr.errors import ConfigError, SandboxUnavailableError
from rlvr.score import Score
from rlvr_sandbox.execute import Execution, run_program
from rlvr_sandbox.judging import judge_on
from rlvr_sandbox.languages import check_language, compile_job, run_job
from rlvr_sandbox.levels import Level, check_level, first_worker, start_worker
from rlvr_sandbox.limits import Limits, Outcome
from rlvr_sandbox.testspec import parse_tests
from rlvr_sandbox.worker import Worker

_Result = TypeVar("_Result")
_ATTEMPTS = 3


class _Station:
    """A worker and, once a test has needed it, a second one for what stands beside the solution."""

    def __init__(self, level: Level, worker: Worker | None = None) -> None:
        self._level = level
        self._workers: dict[str, Worker] = {} if worker is None else {"worker": worker}

    def worker(self) -> Worker:
        return self._get("worker")

    def helper(self) -> Worker:
        return self._get("helper")

    def _get(self, role: str) -> Worker:
        worker = self._workers.get(role)
        if worker is None or worker.broken:
            if worker is not None:
                worker.close()
                del self._workers[role]
            worker = self._workers[role] = start_worker(self._level, tester=role == "helper")
        return worker

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def forget(self) -> None:
        for worker in self._workers.values():
            worker.forget()
        self._workers.clear()


class Pool:
    """Workers, started when they are first needed, one per core unless told otherwise.

    `level` asks for exactly that level; otherwise the best one at or above `minimum` (default: $RLVR_SANDBOX_MINIMUM, else
    "landlock") is found by trying. More than `max_waiting` callers at a time are refused. `cache_size` results of `judge`
    are kept by the hash of code, tests and limits, if it is not 0. Use it as a context manager, or `close` it.

    Raises SandboxUnavailableError, on first use, if the machine gives no such level: nothing ever runs at a weaker one.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        level: str | None = None,
        minimum: str | None = None,
        max_waiting: int = 4096,
        cache_size: int = 0,
    ) -> None:
        if workers is not None and workers < 1:
            raise ConfigError(f"workers is {workers!r}; a pool needs at least one")
        self.workers = workers or _cores()
        self._wanted_level = None if level is None else check_level(level)
        self._minimum = None if minimum is None else check_level(minimum)
        self._max_waiting = max_waiting
        self._cache_size = cache_size
        self._cache: OrderedDict[str, Score] = OrderedDict()
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False
        self.trouble = 0
        """How often a run could not be done; each was tried again, up to three times in all."""
        self.last_trouble = ""
        """What the last of them was."""
        self._reset()
        _pools.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._starting = threading.Lock()
        self._idle: list[_Station] = []
        self._stations: list[_Station] = []
        self._waiting = 0
        self._queued = 0
        self._level: Level | None = None

    @property
    def level(self) -> Level:
        """The level everything in this pool runs at."""
        with self._starting:
            if self._level is None and self._wanted_level is not None:
                self._level = self._wanted_level
            elif self._level is None:
                worker = first_worker(self._minimum)
                self._level = check_level(worker.level)
                station = _Station(self._level, worker)
                with self._changed:
                    self._stations.append(station)
                    self._idle.append(station)
            return self._level

    @property
    def queue_depth(self) -> int:
        """Callers that are being served or wait to be."""
        with self._changed:
            return max(self._queued, self._waiting + len(self._stations) - len(self._idle))

    def run(
        self, code: str, stdin: str | bytes = "", limits: Limits | None = None, *, language: str = "python"
    ) -> Outcome:
        """What a program does with `stdin`. Raises SandboxUnavailableError if it could not be run."""
        limits = limits or Limits()
        data = stdin if isinstance(stdin, bytes) else stdin.encode("utf-8", "surrogatepass")
        chosen = check_language(language)

        def work(station: _Station) -> Outcome:
            worker = station.worker()
            job: dict[str, Any] = {"kind": "python", "code": code}
            if chosen != "python":
                built = compile_job(worker, code, chosen)
                if isinstance(built, Execution):
                    outcome = built.outcome(worker.level)
                    return Outcome(**{**outcome.to_dict(), "verdict": "CE", "stdout": ""})
                job = run_job(chosen, built)
            return run_program(worker, job, data, limits).outcome(worker.level)

        return self._do(work)

    def judge(
        self,
        code: str,
        tests: Mapping[str, Any],
        timeout_s: float = 5.0,
        memory_mb: int = 512,
        *,
        language: str = "python",
    ) -> Score:
        """Whether a solution passes its tests, see `testspec.py`; reward 1.0 only if it passes all of them.

        `parts["tests_passed"]` is the share it passes; `detail` has the `verdict`, the `verdicts` of the cases in order
        (AC WA TLE MLE OLE RE CE; none after the case that ended it) and the isolation `level`. `timeout_s` holds for
        each case of stdio and function tests and for the whole of an assert test.

        Raises ConfigError for tests that cannot be used, SandboxUnavailableError if the code could not be run.
        """
        limits = Limits(timeout_s, memory_mb)
        parsed = parse_tests(tests)
        chosen = check_language(language)
        key = self._cache_key(code, tests, timeout_s, memory_mb, language)
        if key is not None and (known := self._cache.get(key)) is not None:
            return known
        score = self._do(lambda station: judge_on(station.worker(), station.helper, code, parsed, limits, chosen))
        if key is not None:
            with self._changed:
                self._cache[key] = score
                while len(self._cache) > self._cache_size:
                    self._cache.popitem(last=False)
        return score

    async def run_async(self, *args: Any, **kwargs: Any) -> Outcome:
        """`run` for coroutines."""
        return await self._in_thread(functools.partial(self.run, *args, **kwargs))

    async def judge_async(self, *args: Any, **kwargs: Any) -> Score:
        """`judge` for coroutines."""
        return await self._in_thread(functools.partial(self.judge, *args, **kwargs))

    async def _in_thread(self, call: Callable[[], _Result]) -> _Result:
        with self._changed:
            self._refuse_if_full(self._queued)
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self.workers, thread_name_prefix="rlvr-sandbox")
            executor = self._executor
            self._queued += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, call)
        finally:
            with self._changed:
                self._queued -= 1

    def _refuse_if_full(self, waiting: int) -> None:
        if waiting >= self._max_waiting + self.workers:
            raise SandboxUnavailableError(
                f"{waiting} callers wait for {self.workers} sandbox workers already (max_waiting={self._max_waiting}). "
                "Nothing was run. Ask again later, add workers or raise max_waiting."
            )

    def _do(self, work: Callable[[_Station], _Result]) -> _Result:
        """Does it, and again on fresh workers where the sandbox and not the program was at fault."""
        level = self.level
        with self._station(level) as station:
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return work(station)
                except (SandboxUnavailableError, OSError) as error:
                    # An OSError here is ours, never the program's: no descriptor, no memory, no space on the disk.
                    station.close()
                    with self._changed:
                        self.trouble += 1
                        self.last_trouble = str(error)
                    if attempt == _ATTEMPTS:
                        if isinstance(error, SandboxUnavailableError):
                            raise
                        raise SandboxUnavailableError(
                            f"the sandbox could not do its work: {error}. There is no verdict on the program."
                        ) from error
                except ConfigError:
                    raise
                except BaseException:
                    station.close()  # interrupted in the middle: what its workers are doing nobody knows
                    raise
        raise AssertionError("not reached")

    @contextlib.contextmanager
    def _station(self, level: Level) -> Iterator[_Station]:
        with self._changed:
            self._refuse_if_full(self._waiting + len(self._stations) - len(self._idle))
            self._waiting += 1
            try:
                while not self._idle and len(self._stations) >= self.workers and not self._closed:
                    self._changed.wait()
            finally:
                self._waiting -= 1
            if self._closed:
                raise SandboxUnavailableError("this sandbox pool is closed. Nothing was run.")
            if self._idle:
                station = self._idle.pop()
            else:
                station = _Station(level)
                self._stations.append(station)
        try:
            yield station
        finally:
            with self._changed:
                if self._closed or station not in self._stations:
                    station.close()
                else:
                    self._idle.append(station)
                self._changed.notify()

    def _cache_key(self, code: str, tests: Mapping[str, Any], *limits: Any) -> str | None:
        if not self._cache_size:
            return None
        try:
            text = json.dumps([code, tests, limits], sort_keys=True)
        except (TypeError, ValueError):
            text = repr([code, tests, limits])  # tuples and sets are told apart by this, too
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def close(self) -> None:
        """Ends every worker. What is running is finished first by those who run it."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            self._changed.notify_all()
            executor, self._executor = self._executor, None
        for station in idle:
            station.close()
        if executor is not None:
            executor.shutdown(wait=False)

    def _after_fork(self) -> None:
        # The workers are the parent's. Locks may have been held by threads that do not exist here.
        stations, self._executor = self._stations, None
        self._reset()
        for station in stations:
            station.forget()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_default: Pool | None = None
_default_lock = threading.Lock()


def default_pool() -> Pool:
    """The pool behind `run` and `judge` of this process, closed when it exits."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Pool()
            atexit.register(_default.close)
        return _default


def _forked() -> None:
    global _default_lock
    _default_lock = threading.Lock()
    for pool in list(_pools):
        pool._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def run(code: str, stdin: str | bytes = "", limits: Limits | None = None, *, language: str = "python") -> Outcome:
    """`Pool.run` of the default pool."""
    return default_pool().run(code, stdin, limits, language=language)


def judge(
    code: str,
    tests: Mapping[str, Any],
    timeout_s: float = 5.0,
    memory_mb: int = 512,
    *,
    language: str = "python",
) -> Score:
    """`Pool.judge` of the default pool."""
    return default_pool().judge(code, tests, timeout_s, memory_mb, language=language)


async def run_async(
    code: str, stdin: str | bytes = "", limits: Limits | None = None, *, language: str = "python"
) -> Outcome:
    """`run` for coroutines."""
    return await default_pool().run_async(code, stdin, limits, language=language)


async def judge_async(
    code: str,
    tests: Mapping[str, Any],
    timeout_s: float = 5.0,
    memory_mb: int = 512,
    *,
    language: str = "python",
) -> Score:
    """`judge` for coroutines."""
    return await default_pool().judge_async(code, tests, timeout_s, memory_mb, language=language)
