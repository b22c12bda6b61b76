"""Sympy at arm's length: a few processes of our own, asked over pipes, killed at their deadline and replaced.

Safe from any thread and from asyncio's threads; no signal handler, no fork of this process. A worker dies with its parent.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from typing import Any

from rlvr.verifiers.math.tree import Node
from rlvr.verifiers.math.wire import pack

NUM_WORKERS = 2
START_TIMEOUT_S = 60.0
PATIENCE = 6
"""A deadline is stretched up to this many times while the worker has not had that much processor time."""
QUEUE_TIMEOUT_S = 60.0
JOBS_A_WORKER = 500
"""After this many jobs a worker is replaced: sympy's caches only grow."""


class ProofTimeoutError(Exception):
    """The worker was killed at its deadline."""


class WorkerStartError(Exception):
    """No worker could be started: a fault of the machine, and no verdict on any answer."""


class _WorkerDiedError(Exception):
    """The worker ended without an answer: out of memory, or its limit of processor time."""


class _Worker:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rlvr.verifiers.math.sympy_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "OMP_NUM_THREADS": "1",
            },
        )
        self.jobs = 0
        self.buffer = b""
        try:
            self._line(START_TIMEOUT_S)
        except (ProofTimeoutError, _WorkerDiedError) as error:
            self.kill()
            raise WorkerStartError(
                f"a process for sympy did not start within {START_TIMEOUT_S:g} s or ended at once; the answer was not judged. "
                f"Check that {sys.executable!r} can import sympy within 1 GiB of memory, and how busy the machine is."
            ) from error
        except BaseException:
            self.kill()
            raise

    def ask(self, job: dict[str, Any], deadline_s: float) -> bool | None:
        self.jobs += 1
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise _WorkerDiedError from error
        verdict = json.loads(self._line(deadline_s))
        return verdict if verdict is None else bool(verdict)

    def _line(self, timeout_s: float) -> bytes:
        """The next line of the worker's answer, within a time that starts now."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN | select.POLLHUP)
        end = time.monotonic() + timeout_s
        last = time.monotonic() + timeout_s * PATIENCE
        processor = self.processor_s() + timeout_s
        while b"\n" not in self.buffer:
            if not poller.poll(max(end - time.monotonic(), 0) * 1000):
                # On a crowded machine the time is up before the worker had it: count what it has used.
                if time.monotonic() >= last or self.processor_s() >= processor:
                    raise ProofTimeoutError
                end = min(time.monotonic() + 0.1, last)
                continue
            chunk = os.read(descriptor, 65_536)
            if not chunk:
                raise _WorkerDiedError
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line

    def processor_s(self) -> float:
        """Processor time the worker has used; infinite where the system does not say, so that only the clock counts."""
        try:
            with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            return float("inf")
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass
        self.process.wait()


class WorkerPool:
    """At most `NUM_WORKERS` processes, started when first needed."""

    def __init__(self) -> None:
        self._idle: list[_Worker] = []
        self._slots = threading.Semaphore(NUM_WORKERS)
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def same(self, a: Node, b: Node, deadline_s: float) -> bool | None:
        """Whether sympy proves two expressions equal; None if it cannot tell. Raises ProofTimeoutError."""
        return self._run({"trees": [pack(a), pack(b)]}, deadline_s)

    def math_verify(self, gold: str, answer: str, deadline_s: float) -> bool | None:
        """Math-Verify's word on two texts; None if it is not installed or cannot read them. Raises ProofTimeoutError."""
        return self._run({"texts": [gold, answer]}, deadline_s)

    def _run(self, job: dict[str, Any], deadline_s: float) -> bool | None:
        # The deadline is the worker's time at work; waiting for a free one is not the answer's fault.
        if not self._slots.acquire(timeout=QUEUE_TIMEOUT_S):
            return None
        try:
            for _ in range(2):  # a worker may have been killed with the thread that started it: ask another one once
                try:
                    return self._ask(job, deadline_s)
                except _WorkerDiedError:
                    continue
            return None
        finally:
            self._slots.release()

    def _ask(self, job: dict[str, Any], deadline_s: float) -> bool | None:
        worker = self._take()
        keep = False
        try:
            verdict = worker.ask(job, deadline_s)
            keep = worker.jobs < JOBS_A_WORKER
            return verdict
        finally:
            if keep:
                with self._lock:
                    self._idle.append(worker)
            else:
                worker.kill()

    def _take(self) -> _Worker:
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return _Worker()
            if worker.alive():
                return worker
            worker.kill()

    def close(self) -> None:
        """Kill every idle worker. Only in the process that started them."""
        with self._lock:
            workers, self._idle = self._idle, []
        if os.getpid() == self._owner:
            for worker in workers:
                worker.kill()


_pool: WorkerPool | None = None
_pool_lock = threading.Lock()


def pool() -> WorkerPool:
    """This process's pool. A fork gets a pool of its own: the parent's pipes are not its to use."""
    global _pool
    with _pool_lock:
        if _pool is None or _pool._owner != os.getpid():
            _pool = WorkerPool()
            atexit.register(_pool.close)
        return _pool
