"""One worker: a keeper, its fork server, and the sockets to them. Used by one thread at a time."""

from __future__ import annotations

import array
import contextlib
import json
import marshal
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rlvr.errors import SandboxUnavailableError
from rlvr_sandbox.cgroups import make_group
from rlvr_sandbox.guest import linux
from rlvr_sandbox.guest.protocol import REPORT, REQUEST, WHY_DISK, WHY_MEMORY

START_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 10.0
_PACKAGE_FOLDER = str(Path(__file__).resolve().parent.parent)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended; by then everything of it is gone."""

    exit_code: int
    out_of_memory: bool
    out_of_disk: bool
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Used:
    """What a run has used so far; `wait_s` is what its longest waiting thread waited for a processor."""

    processes: int
    rss_mb: int
    cpu_s: float
    wait_s: float


class Worker:
    """Starts a fork server at `level` in a cell of its own; runs one job after the other.

    A `tester` has loaded what jobs of kind "test" need.

    Raises SandboxUnavailableError from every method where the machine does not do its part; the worker is of no use
    then and wants `close`.
    """

    def __init__(
        self, level: str, *, python: str, python_home: str, bwrap: str | None = None, tester: bool = False
    ) -> None:
        self.level = level
        self.broken = False
        self._run = 0
        self._ended: Ended | None = None
        self._reports = b""
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by _release
        self._folder = _make_folder()
        self._group = make_group() if sys.platform == "linux" and level != "unsafe" else None
        self._kills = 0
        self._control, control = socket.socketpair()
        self._jobs, jobs = socket.socketpair()
        self._leash, leash = socket.socketpair()
        host = os.pidfd_open(os.getpid()) if hasattr(os, "pidfd_open") else -1
        config = {
            "level": level,
            "control": control.fileno(),
            "jobs": jobs.fileno(),
            "leash": leash.fileno(),
            "host": host,
            "folder": self._folder,
            "package": _PACKAGE_FOLDER,
            "python": python,
            "python_home": python_home,
            "bwrap": bwrap,
            "tester": tester,
            "cgroups": self._group.entrances if self._group else [],
        }
        keeper = os.path.join(_PACKAGE_FOLDER, "rlvr_sandbox", "guest", "keeper.py")
        handed = [control.fileno(), jobs.fileno(), leash.fileno(), *([host] if host >= 0 else [])]
        try:
            # No preexec_fn: other threads may hold any lock. What has to be done before exec, the keeper does.
            self._process = subprocess.Popen(
                [python, "-I", "-S", "-B", "-X", "utf8", keeper, json.dumps(config)],
                pass_fds=handed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                cwd="/",
                env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"},
            )
        except OSError as error:
            self._release()
            raise SandboxUnavailableError(f"no process for a sandbox worker: {error}. Nothing was run.") from error
        finally:
            for end in (control, jobs, leash):
                end.close()
            if host >= 0:
                os.close(host)
        try:
            self._expect_ready()
        except BaseException:
            self.close()
            raise

    def _expect_ready(self) -> None:
        report = self._next_report(time.monotonic() + START_TIMEOUT_S)
        if report is None or report[0] != b"R":
            raise self._trouble("the fork server did not start")
        self.landlock = int(report[2])

    @property
    def control_fd(self) -> int:
        """Becomes readable when the run has ended or the worker has died."""
        return self._control.fileno()

    def begin(self, job: dict[str, Any], descriptors: Sequence[int], memory_watch_mb: int) -> None:
        """Starts a job; the process there gets copies of `descriptors`."""
        self._run += 1
        self._ended = None
        if self._group is not None:
            self._group.allow(memory_watch_mb)
        try:
            with _file_with(marshal.dumps(job, 2)) as payload:
                self._control.sendall(REQUEST.pack(b"m", self._run, memory_watch_mb))
                fds = array.array("i", [payload.fileno(), *descriptors])
                self._jobs.sendmsg([b"j"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
        except OSError as error:
            raise self._trouble(f"a job could not be handed over ({error})") from error

    def used(self) -> Used | None:
        """What the current run has used so far; None if it has ended meanwhile."""
        if self._ended is not None:
            return None
        self._send(b"u")
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S
        while True:
            report = self._next_report(deadline)
            if report is None:
                raise self._trouble("the fork server does not answer")
            if self._note_end(report):
                return None
            if report[0] == b"U" and report[1] == self._run:
                return Used(report[2], report[3], report[4] / 1e3, report[5] / 1e3)

    def finish(self, *, kill: bool) -> Ended:
        """Waits for the end of the current run, having killed it or not."""
        if kill and self._ended is None:
            self._send(b"k")
        deadline = time.monotonic() + _ANSWER_TIMEOUT_S
        while self._ended is None:
            report = self._next_report(deadline)
            if report is None:
                raise self._trouble("a run could not be ended")
            self._note_end(report)
        return self._ended

    def has_ended(self) -> bool:
        """Takes in what the control socket has to say; True once the current run is over."""
        while self._ended is None:
            report = self._next_report(time.monotonic())
            if report is None:
                return False
            self._note_end(report)
        return True

    def _note_end(self, report: tuple[Any, ...]) -> bool:
        op, run, exit_code, why, cpu_ms, peak_kb = report
        if op == b"F":
            raise self._trouble(f"no process could be made for a run ({os.strerror(exit_code)})")
        if op == b"E" and run == self._run:
            unit = 1024 if sys.platform == "linux" else 1 << 20
            out_of_memory = why == WHY_MEMORY or (exit_code == -signal.SIGKILL and self._killed_for_memory())
            self._ended = Ended(exit_code, out_of_memory, why == WHY_DISK, cpu_ms / 1e3, peak_kb / unit)
            return True
        return False

    def _killed_for_memory(self) -> bool:
        kills = self._group.memory_kills() if self._group else 0
        before, self._kills = self._kills, kills
        return kills > before

    def _send(self, op: bytes) -> None:
        try:
            self._control.sendall(REQUEST.pack(op, self._run, 0))
        except OSError as error:
            raise self._trouble(f"the fork server has gone ({error})") from error

    def _next_report(self, deadline: float) -> tuple[Any, ...] | None:
        """None if there is none by then; raises if the fork server has died."""
        waiting = select.poll()
        waiting.register(self._control, select.POLLIN)
        while len(self._reports) < REPORT.size:
            if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1e3):
                return None
            try:
                chunk = self._control.recv(REPORT.size - len(self._reports))
            except OSError as error:
                raise self._trouble(f"the fork server has gone ({error})") from error
            if not chunk:
                raise self._trouble("the fork server has gone")
            self._reports += chunk
        report, self._reports = REPORT.unpack(self._reports), b""
        return report

    def trouble(self, what: str) -> SandboxUnavailableError:
        """The error for a run that this worker could not do; it is of no use from here on."""
        return self._trouble(what)

    def _trouble(self, what: str) -> SandboxUnavailableError:
        self.broken = True
        said = self._last_words()
        return SandboxUnavailableError(
            f"sandbox worker at level {self.level!r}: {what}{f'; it said: {said}' if said else ''}. "
            "There is no verdict on the program. `rlvr doctor` shows what this machine offers."
        )

    def _last_words(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            size = self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, size - 600))
            return self._log.read().decode(errors="replace").strip()
        return ""

    def close(self) -> None:
        """Ends the worker and everything below it."""
        self.broken = True
        for end, word in ((self._control, REQUEST.pack(b"x", 0, 0)), (self._leash, b"x")):
            # Said aloud, because a fork of this process may hold copies of these sockets open.
            with contextlib.suppress(OSError):
                end.setblocking(False)
                end.send(word)
        with contextlib.suppress(OSError):
            self._leash.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._release()

    def forget(self) -> None:
        """In a forked child: the worker is the parent's; only our copies of its descriptors go."""
        self.broken = True
        for end in (self._control, self._jobs, self._leash):
            end.close()
        self._log.close()
        self._process.returncode = 0  # not our child, so there is nothing to wait for

    def _release(self) -> None:
        for end in (self._control, self._jobs, self._leash):
            end.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._group is not None:
            self._group.close()


def _make_folder() -> str:
    """A folder for the worker; run by root, one that the user nobody can enter."""
    if sys.platform != "linux" or not linux.can_step_down():
        return tempfile.mkdtemp(prefix="rlvr-sandbox-")
    folder = tempfile.mkdtemp(prefix="rlvr-sandbox-", dir=None if others_can_enter(tempfile.gettempdir()) else "/tmp")
    os.chmod(folder, 0o711)
    os.chown(folder, linux.NOBODY, linux.NOBODY)
    return folder


def others_can_enter(path: str) -> bool:
    """Whether a user with no rights of its own gets to this file or folder."""
    for part in (Path(path), *Path(path).parents):
        if not os.stat(part).st_mode & (stat.S_IXOTH if part.is_dir() else stat.S_IROTH):
            return False
    return True


def _file_with(data: bytes) -> IO[bytes]:
    # In memory where that exists: a full disk is no reason not to run a program.
    if hasattr(os, "memfd_create"):
        file: IO[bytes] = open(os.memfd_create("job"), "w+b", buffering=0)  # noqa: SIM115
    else:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
    return file
