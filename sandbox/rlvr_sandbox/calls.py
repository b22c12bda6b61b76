"""Function tests: arguments go in, plain values come out, and are compared here."""

from __future__ import annotations

import contextlib
import json
import math
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.errors import ConfigError
from rlvr_sandbox.clock import Clock
from rlvr_sandbox.execute import cpu_limit, died_of, watch_limit
from rlvr_sandbox.guest import codec
from rlvr_sandbox.limits import Limits, Verdict
from rlvr_sandbox.pipes import pipe, read_now
from rlvr_sandbox.worker import Worker

_MAX_DEPTH_ERRORS = (ValueError, RecursionError, TypeError, KeyError, AttributeError, IndexError, OverflowError)


_AT_ONCE_BYTES = 64 << 10


class TimeExceeded(Exception):
    """The clock of a request ran out."""


class Gone(Exception):
    """The process on the other side ended before it answered."""


def _packed(request: dict[str, Any]) -> bytes:
    try:
        return codec.pack(request)
    except codec.TooLarge as error:
        raise ConfigError(f"a test case cannot be sent: {error}. There is no verdict.") from error


class Session:
    """A program in one run that answers requests.

    Use as a context manager: at its end everything of the run is gone.
    """

    def __init__(
        self,
        worker: Worker,
        limits: Limits,
        *,
        kind: str = "serve",
        calls: int = 1,
        job: dict[str, Any] | None = None,
        beside: Session | None = None,
    ) -> None:
        """`beside`: the session whose channel the process here gets, too: a tester talks to a solution."""
        self.worker = worker
        self._cpu_s = cpu_limit(limits.timeout_s * calls)
        self._stack = contextlib.ExitStack()
        self._buffer = bytearray()
        self._marks = b""
        try:
            self._status, far_status = self._stack.enter_context(pipe())
            self.socket, far = socket.socketpair()
            self._stack.callback(self.socket.close)
            self._stack.callback(far.close)
            self.socket.setblocking(False)
            work = {"kind": kind, "cpu_s": self._cpu_s, "memory_mb": limits.memory_mb, **(job or {})}
            ends = [far_status.fd, far.fileno()]
            if beside is not None:
                beside.socket.setblocking(True)  # the mode belongs to the socket, not to our copy of it
                ends.insert(1, beside.socket.fileno())
            worker.begin(work, ends, watch_limit(limits.memory_mb))
            far_status.close()
            far.close()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if not self._has_started():
                self.worker.broken = True  # killed now, it would leave its job to the next one
            if not self.worker.broken:
                self.worker.finish(kill=True)
        finally:
            self._stack.close()

    def ask(self, request: dict[str, Any], clock: Clock) -> Any:
        """The reply to one request. Raises TimeExceeded or Gone; ConfigError for a request that is too large."""
        self._send(_packed(request), clock)
        return self.receive(clock)

    def ask_all(self, requests: Sequence[bytes], clock: Clock) -> Iterator[Any]:
        """The replies in order. A few small requests travel together, so that nobody waits for a process switch each."""
        if sum(map(len, requests)) <= _AT_ONCE_BYTES:  # what the socket takes even if nobody reads
            self._send(b"".join(requests), clock)
            requests = [b""] * len(requests)
        for data in requests:
            self._send(data, clock)
            yield self.receive(clock)

    def receive(self, clock: Clock) -> Any:
        """The next message. Raises ValueError if it is no JSON or too large."""
        size = codec.unpack_size(self._take(4, clock))
        return json.loads(self._take(size, clock))

    def _send(self, data: bytes, clock: Clock) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, clock)
            except OSError:
                raise Gone from None

    def _take(self, size: int, clock: Clock) -> bytes:
        while len(self._buffer) < size:
            try:
                chunk = self.socket.recv(max(1 << 16, size - len(self._buffer)))
            except BlockingIOError:
                self._wait(select.POLLIN, clock)
                continue
            except OSError:
                raise Gone from None
            if not chunk:
                raise Gone
            self._buffer += chunk
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _wait(self, event: int, clock: Clock) -> None:
        waiting = select.poll()
        waiting.register(self.socket, event)
        waiting.register(self.worker.control_fd, select.POLLIN)
        if not clock.running:
            waiting.register(self._status.fd, select.POLLIN)
        ready = waiting.poll(math.ceil(max(0.0, clock.next_look - time.monotonic()) * 1e3))
        if not clock.running and self._has_started():
            clock.restart()
        if any(fd == self.worker.control_fd for fd, _ in ready) and self.worker.has_ended():
            # Everything it sent before lies in the socket already.
            if not any(fd == self.socket.fileno() and flags & select.POLLIN for fd, flags in ready):
                raise Gone
        elif not ready and clock.expired():
            raise TimeExceeded

    def died_of(self) -> Verdict:
        """The verdict on a process that has gone. Raises SandboxUnavailableError if it never was set up."""
        ended = self.worker.finish(kill=True)
        self.check_started(f"exit status {ended.exit_code}")
        return died_of(ended, self._cpu_s)

    def _has_started(self) -> bool:
        self._marks += read_now(self._status.fd)
        return b"S" in self._marks

    def check_started(self, how: str) -> None:
        """Raises SandboxUnavailableError if the run was never set up."""
        if not self._has_started():
            raise self.worker.trouble(f"a run was not set up ({how})")


@dataclass(frozen=True, slots=True)
class Call:
    """One call and how its answer is judged."""

    entry: str
    args: Sequence[Any]
    kwargs: dict[str, Any]
    accepts: Callable[[Any], bool]
    """Given the answer as tagged JSON."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The verdict on one case and, for people, why."""

    verdict: Verdict
    message: str = ""


def judge_calls(
    worker: Worker, code: str, calls: Sequence[Call], limits: Limits, *, reduce: bool, each: bool
) -> list[CaseResult]:
    """Verdicts on the calls in turn, fewer than calls if the solution's process is lost on the way.

    `reduce`: iterators and container subclasses count as what they hold. `each`: every call has the whole time limit;
    otherwise they share it.
    """
    results: list[CaseResult] = []
    load = {"op": "load", "code": code, "want": []}
    requests = [_packed(load), *(_packed(_call_request(call, reduce)) for call in calls)]
    with Session(worker, limits, calls=len(calls) if each else 1) as session:
        clock = Clock([worker], limits.timeout_s)
        try:
            replies = session.ask_all(requests, clock)
            failed = _load_failure(next(replies))
            if failed:
                return [failed]
            for call in calls:
                if each:
                    clock.restart()
                results.append(_judge_reply(next(replies), call))
        except ConfigError:
            raise  # a ValueError, but the task's and not the program's
        except TimeExceeded:
            session.check_started("until its time was over")
            results.append(CaseResult("TLE"))
        except Gone:
            results.append(CaseResult(session.died_of(), "the process ended before it answered"))
        except codec.TooLarge:
            results.append(CaseResult("OLE", "the answer is too large"))
        except _MAX_DEPTH_ERRORS as error:
            results.append(CaseResult("RE", f"no readable answer ({type(error).__name__})"))
    return results


def _call_request(call: Call, reduce: bool) -> dict[str, Any]:
    try:
        return {
            "op": "call",
            "n": call.entry,
            "a": [codec.encode(value, _no_object) for value in call.args],
            "k": {name: codec.encode(value, _no_object) for name, value in call.kwargs.items()},
            "reduce": reduce,
        }
    except (codec.TooDeep, RecursionError) as error:
        raise ConfigError(f"the arguments of a test case are nested too deeply ({error}). No verdict.") from error


def _no_object(value: Any) -> Any:
    raise ConfigError(f"a test case has an argument of type {type(value).__name__}; only plain values can be sent.")


def _load_failure(reply: Any) -> CaseResult | None:
    if "compile" in reply:
        return CaseResult("CE", str(reply["compile"])[:500])
    if "exc" in reply:
        return _raised(reply["exc"])
    return None


def _raised(described: dict[str, Any]) -> CaseResult:
    name = str(described["c"])
    return CaseResult("MLE" if name == "MemoryError" else "RE", f"{name}: {str(described.get('s', ''))[:300]}")


def _judge_reply(reply: Any, call: Call) -> CaseResult:
    if "large" in reply:
        return CaseResult("OLE", "the answer is too large")
    if "exc" in reply:
        return _raised(reply["exc"])
    return CaseResult("AC" if call.accepts(reply["v"]) else "WA")
