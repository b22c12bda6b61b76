"""The fork server: one warm interpreter that makes a fresh process, in fresh namespaces, for every run.

A standby child is made ahead of its job: it has set up its namespaces and waits on the job socket. The child alone reads
the job, so this process never sees a solution or a test; it only watches: kills when told to, samples memory, and says
how the run ended. Started as a script inside the cell; argv[1] is JSON, see `cell.py`; its words are in `protocol.py`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import random
import select
import signal
import sys
import typing

_arguments = json.loads(sys.argv[1])
sys.path.insert(0, _arguments["package"])

from rlvr_sandbox.guest import linux, program, run, seccomp, usage  # noqa: E402  the line above finds it
from rlvr_sandbox.guest.protocol import (  # noqa: E402
    REPORT,
    REQUEST,
    WHY_DISK,
    WHY_EXIT,
    WHY_KILLED,
    WHY_MEMORY,
)

# What programs under test import all the time is paid for once, here. Not more: every fork copies the page tables of all
# that an import has touched, and what few programs use they can import themselves.
for _name in ("bisect", "copy", "heapq", "itertools", "math", "operator", "re", "string", "time"):
    __import__(_name)

_LINUX = sys.platform == "linux"
_SAMPLE_MS = 40
_FOLDER_BYTES, _FOLDER_ENTRIES = 64 << 20, 4096


class ForkServer:
    """One run after the other until the host hangs up."""

    def __init__(self, arguments: dict[str, typing.Any]) -> None:
        self.control: int = arguments["control"]
        self.level: str = arguments["level"]
        self.folder: str = arguments["folder"]
        self.isolated = self.level in ("bwrap", "namespaces")
        self.setting = run.Setting(
            level=self.level,
            control=self.control,
            jobs=arguments["jobs"],
            log=arguments["log"],
            place="/tmp" if self.isolated else os.path.join(self.folder, "run"),
            system_filter=self._filter(),
            python_home=arguments["python_home"],
            uid=os.getuid(),
            gid=os.getgid(),
            max_processes=usage.allowed_processes(self.isolated),
            address_space_bytes=usage.address_space(),
        )
        self.number = 0
        self.base_bytes = usage.resident(os.getpid())

    def _filter(self) -> linux.Filter | None:
        if self.level == "unsafe":
            return None
        scoped = self.isolated or linux.landlock_abi() >= 6
        # What not even the fork server needs is forbidden here, once for all; a run adds the little that is left.
        linux.no_new_privileges()
        linux.Filter(seccomp.for_fork_server()).load()
        return linux.Filter(seccomp.for_run(namespaces=self.isolated, signals_scoped=scoped))

    def serve(self) -> None:
        """Makes, watches and buries runs. Returns when the host is done with us."""
        while True:
            self.number += 1
            # The children inherit this state; seeded here, the pages it lies on are not copied in every one of them.
            random.seed()
            try:
                if not self.isolated:
                    os.mkdir(self.setting.place, 0o700)
                process = linux.fork_into(run.NAMESPACES if self.isolated else 0) if _LINUX else os.fork()
            except OSError as error:
                self._tell(b"F", error.errno or errno.EIO)
                return
            if process == 0:
                run.child(self.setting)
            again = self._watch(process)
            if not again:
                return

    def _watch(self, process: int) -> bool:
        """Until the run has ended and everything of it is gone. False if the host has gone, too."""
        exit_fd = os.pidfd_open(process) if hasattr(os, "pidfd_open") else -1
        watched = select.poll()
        watched.register(self.control, select.POLLIN)
        if exit_fd >= 0:
            watched.register(exit_fd, select.POLLIN)
        limit_bytes = 0
        why = WHY_EXIT
        while True:
            # Without pidfds (macOS) the end of the run is seen by asking.
            timeout = 5 if exit_fd < 0 else _SAMPLE_MS if limit_bytes and why == WHY_EXIT else None
            ready = {fd for fd, _ in watched.poll(timeout)}
            if self.control in ready:
                request = os.read(self.control, REQUEST.size)
                op, number, value = REQUEST.unpack(request) if len(request) == REQUEST.size else (b"x", 0, 0)
                if op == b"x":
                    with contextlib.suppress(OSError):
                        os.kill(process, signal.SIGKILL)
                    os.waitpid(process, 0)
                    return False
                if number == self.number:  # a late word about an earlier run must not hit this one
                    if op == b"m":
                        limit_bytes = value << 20
                    elif op == b"u":
                        used = usage.measure(os.getpid(), self.base_bytes)
                        self._tell(
                            b"U", used.processes, used.rss_bytes >> 20, int(used.cpu_s * 1e3), int(used.wait_s * 1e3)
                        )
                    elif op == b"k":
                        why = why or WHY_KILLED
                        os.kill(process, signal.SIGKILL)
            elif not ready and limit_bytes and why == WHY_EXIT and _LINUX:
                why = self._sample(limit_bytes)
                if why != WHY_EXIT:
                    os.kill(process, signal.SIGKILL)
            if exit_fd in ready or (exit_fd < 0 and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
                break
        _, status, used_by = os.wait4(process, 0)
        if exit_fd >= 0:
            os.close(exit_fd)
        if not self.isolated:
            if _LINUX:
                usage.sweep(os.getpid())
            _remove(self.setting.place)
        cpu_ms = int((used_by.ru_utime + used_by.ru_stime) * 1e3)
        exit_code = os.waitstatus_to_exitcode(status)
        self._tell(b"E", exit_code, why, cpu_ms, used_by.ru_maxrss)
        return bool(limit_bytes) or exit_code == 0  # ended without a job: no run can be set up here any more

    def _sample(self, limit_bytes: int) -> int:
        used = usage.measure(os.getpid(), self.base_bytes)
        if used.rss_bytes > limit_bytes or used.processes >= usage.MAX_PROCESSES:
            return WHY_MEMORY
        if not self.isolated and _folder_is_full(self.setting.place):
            return WHY_DISK
        return WHY_EXIT

    def _tell(self, op: bytes, first: int = 0, second: int = 0, third: int = 0, fourth: int = 0) -> None:
        os.write(self.control, REPORT.pack(op, self.number, first, second, third, fourth))


def _folder_is_full(place: str) -> bool:
    """Without a file system of its own a run's folder is counted."""
    size = entries = 0
    for folder, _, files in os.walk(place):
        entries += 1 + len(files)
        for name in files:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(folder, name)).st_blocks * 512
        if size > _FOLDER_BYTES or entries > _FOLDER_ENTRIES:
            return True
    return False


def _remove(place: str) -> None:
    import shutil

    # A program may have taken the rights on its folders away, its own and ours.
    for folder, folders, _ in os.walk(place):
        for name in folders:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                with contextlib.suppress(OSError):
                    os.chmod(path, 0o700)
    shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    os.environ["HOME"] = os.environ["TMPDIR"] = "/tmp"
    if _arguments["level"] in ("landlock", "unsafe"):
        os.environ["HOME"] = os.environ["TMPDIR"] = os.path.join(_arguments["folder"], "run")
        for number in run.IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    if _arguments["level"] == "landlock":
        linux.adopt_orphans()
        if linux.can_step_down():
            # Only now: the interpreter and this package may lie where nobody cannot read.
            linux.become(linux.NOBODY, linux.NOBODY)
            linux.die_with_parent()
    if _arguments["tester"]:
        from rlvr_sandbox.guest import tester  # noqa: F401
    sys.path.remove(_arguments["package"])
    _arguments["log"] = os.dup(2)
    reader, writer = os.pipe()
    for number in range(3):
        os.dup2(writer if number else reader, number)
    os.close(reader)
    os.close(writer)
    program.open_standard_streams()
    sys.argv[:] = [""]
    run.add_interactive_names()
    run.limit_all_runs()
    server = ForkServer(_arguments)
    gc.collect()
    gc.freeze()  # what exists now is never traversed again, so its pages stay shared with the children
    server._tell(b"R", linux.landlock_abi() if _arguments["level"] != "unsafe" else 0)
    try:
        server.serve()
    except BaseException as error:
        os.write(_arguments["log"], f"{type(error).__name__}: {error}\n".encode())
        raise


if __name__ == "__main__":
    main()
