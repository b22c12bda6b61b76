"""One program in one run: standard input in, standard output out, and how it ended."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from dataclasses import dataclass
from typing import Any, Literal

from rlvr_sandbox.clock import Clock
from rlvr_sandbox.limits import Limits, Outcome
from rlvr_sandbox.pipes import CHUNK, End, pipe, read_now, read_some
from rlvr_sandbox.worker import Ended, Worker

_STDERR_BYTES = 64 << 10
_OVERFLOW_BYTES = 64 << 10
_OUT_OF_MEMORY = (b"MemoryError", b"std::bad_alloc", b"heap out of memory", b"cannot allocate memory")

Stopped = Literal["", "TLE", "OLE"]


@dataclass(frozen=True, slots=True)
class Execution:
    """What a program did, with its output as bytes."""

    verdict: Literal["OK", "TLE", "MLE", "OLE", "RE", "CE"]
    stdout: bytes
    stderr: bytes
    ended: Ended
    seconds: float

    def outcome(self, level: str) -> Outcome:
        """The same for people."""
        return Outcome(
            verdict=self.verdict,
            stdout=self.stdout.decode(errors="replace"),
            stderr=self.stderr.decode(errors="replace"),
            exit_code=None
            if self.verdict in ("TLE", "MLE", "OLE") and self.ended.exit_code < 0
            else self.ended.exit_code,
            seconds=self.seconds,
            cpu_s=self.ended.cpu_s,
            peak_mb=self.ended.peak_mb,
            level=level,
        )


def run_program(worker: Worker, job: dict[str, Any], stdin: bytes, limits: Limits) -> Execution:
    """Runs a job of kind "python" or "command". Raises SandboxUnavailableError if it was not run."""
    job = {**job, "cpu_s": cpu_limit(limits.timeout_s)}
    job.setdefault("memory_mb", limits.memory_mb)
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        status, far_status = stack.enter_context(pipe())
        far_stdin, into = stack.enter_context(pipe())
        output, far_stdout = stack.enter_context(pipe())
        errors, far_stderr = stack.enter_context(pipe())
        far = [end.fd for end in (far_status, far_stdin, far_stdout, far_stderr)]
        worker.begin(job, far, watch_limit(limits.memory_mb))
        for end in (far_status, far_stdin, far_stdout, far_stderr):
            end.close()
        try:
            pump = _Pump(worker, status, into, output, errors, stdin, limits)
            stopped = pump.until_ended(Clock([worker], limits.timeout_s))
            ended = worker.finish(kill=bool(stopped))
        except BaseException:
            worker.broken = True  # a run may still be going on in it
            raise
        pump.drain()
        pump.marks += read_now(status.fd)
    if b"S" not in pump.marks:
        raise worker.trouble(f"a run was not set up (exit status {ended.exit_code})")
    stderr = b"".join(pump.err)
    verdict = _verdict(stopped or pump.overflow, b"C" in pump.marks, ended, stderr, job["cpu_s"])
    # Of an endless output the beginning tells enough.
    stdout = b"".join(pump.out[:1])[:_OVERFLOW_BYTES] if verdict == "OLE" else b"".join(pump.out)
    return Execution(verdict, stdout, stderr, ended, time.monotonic() - started)


def cpu_limit(timeout_s: float) -> int:
    """RLIMIT_CPU in whole seconds: the kernel's own limit behind ours."""
    return math.ceil(timeout_s) + 1


def watch_limit(memory_mb: int) -> int:
    """MiB of resident memory, over all processes of a run, at which it is killed."""
    return memory_mb + 32


def died_of(ended: Ended, cpu_s: float) -> Literal["MLE", "TLE", "OLE", "RE"]:
    """The verdict on a process that ended before it was done."""
    if ended.out_of_memory:
        return "MLE"
    if ended.out_of_disk:
        return "OLE"
    if ended.exit_code in (-signal.SIGKILL, -signal.SIGXCPU) and ended.cpu_s > cpu_s - 0.5:
        return "TLE"
    return "RE"


def _verdict(
    stopped: Stopped, compile_failed: bool, ended: Ended, stderr: bytes, cpu_s: float
) -> Literal["OK", "TLE", "MLE", "OLE", "RE", "CE"]:
    if stopped:
        return stopped
    if compile_failed:
        return "CE"
    if ended.exit_code == 0 and not ended.out_of_memory and not ended.out_of_disk:
        return "OK"
    verdict = died_of(ended, cpu_s)
    if verdict == "RE" and any(sign in stderr[-2000:] for sign in _OUT_OF_MEMORY):
        return "MLE"
    return verdict


class _Pump:
    """Feeds and drains a program while it runs, so that no full pipe can make it wait for us."""

    def __init__(
        self, worker: Worker, status: End, into: End, output: End, errors: End, stdin: bytes, limits: Limits
    ) -> None:
        self._worker = worker
        self._status = status
        self.marks = b""
        self._into = into
        self._left = memoryview(stdin)
        self._limit = limits.output_bytes
        # Lists of small pieces: one large buffer that grows and goes would teach malloc to keep such buffers for good.
        self.out: list[bytes] = []
        self.err: list[bytes] = []
        self._out_size = self._err_size = 0
        self._sinks = {output.fd: self.out, errors.fd: self.err}
        self._waiting = select.poll()
        for fd in (status.fd, into.fd, *self._sinks):
            os.set_blocking(fd, False)
        for fd in (*self._sinks, status.fd, worker.control_fd):
            self._waiting.register(fd, select.POLLIN)
        if self._left:
            self._waiting.register(into.fd, select.POLLOUT)
        else:
            into.close()
        self._open = set(self._sinks)

    @property
    def overflow(self) -> Stopped:
        """More output than the limit allows."""
        return "OLE" if self._out_size > self._limit else ""

    def until_ended(self, clock: Clock) -> Stopped:
        """Until the run is over or must be stopped. The end of its output is no sign: a copy may be open elsewhere."""
        while True:
            timeout_s = max(0.0, clock.next_look - time.monotonic())
            ready = self._waiting.poll(math.ceil(timeout_s * 1e3))
            for fd, _ in ready:
                if fd == self._worker.control_fd:
                    if self._worker.has_ended():
                        return ""
                elif fd == self._status.fd:
                    self._mark(clock)
                elif fd == self._into.fd:
                    self._feed()
                else:
                    self._take(fd)
            if self.overflow:
                return self.overflow
            if not ready and clock.expired():
                return "TLE"
            if ready and time.monotonic() > clock.next_look and clock.expired():
                return "TLE"

    def drain(self) -> None:
        """What the run had written when it ended."""
        for fd in list(self._open):
            while fd in self._open and self._take(fd):
                pass

    def _mark(self, clock: Clock) -> None:
        marks = read_some(self._status.fd)
        if marks:
            self.marks += marks
            if not clock.running:
                clock.restart()
        else:
            self._waiting.unregister(self._status.fd)  # closed before the program's own code began

    def _feed(self) -> None:
        try:
            self._left = self._left[os.write(self._into.fd, self._left[:CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:
            self._left = self._left[:0]  # it does not read its input: its own affair
        if not self._left:
            self._waiting.unregister(self._into.fd)
            self._into.close()

    def _take(self, fd: int) -> bool:
        chunk = read_some(fd)
        if chunk is None:
            return False
        if not chunk:
            self._waiting.unregister(fd)
            self._open.discard(fd)
            return False
        if self._sinks[fd] is self.err:
            if self._err_size < _STDERR_BYTES:
                self.err.append(chunk[: _STDERR_BYTES - self._err_size])
                self._err_size += len(self.err[-1])
        elif self._out_size <= self._limit:
            self.out.append(chunk)
            self._out_size += len(chunk)
        return True
