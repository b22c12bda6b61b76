"""The fork server: one warm interpreter that makes a fresh process, in fresh namespaces, for every run.

A standby child is made ahead of its job: it has set up its namespaces and waits on the job socket. The child alone reads
the job, so this process never sees a solution or a test; it only watches: kills when told to, samples memory, and says
how the run ended. Started as a script inside the cell; argv[1] is JSON, see `cell.py`; its words are in `protocol.py`.
"""

from __future__ import annotations

import sys

_arguments = __import__("json").loads(sys.argv[1])
sys.path.insert(0, _arguments["package"])

# What programs under test import all the time is paid for once, here.
import abc  # noqa: F401
import array  # noqa: F401
import ast  # noqa: F401
import asyncio  # noqa: F401
import bisect  # noqa: F401
import collections  # noqa: F401
import contextlib
import copy  # noqa: F401
import dataclasses  # noqa: F401
import datetime  # noqa: F401
import decimal  # noqa: F401
import enum  # noqa: F401
import errno
import fractions  # noqa: F401
import functools  # noqa: F401
import gc
import hashlib  # noqa: F401
import heapq  # noqa: F401
import itertools  # noqa: F401
import json  # noqa: F401
import math  # noqa: F401
import operator  # noqa: F401
import os
import queue  # noqa: F401
import random
import re  # noqa: F401
import select
import shutil
import signal
import socket  # noqa: F401
import statistics  # noqa: F401
import string  # noqa: F401
import struct  # noqa: F401
import tempfile
import textwrap  # noqa: F401
import threading  # noqa: F401
import typing  # noqa: F401

from rlvr_sandbox.guest import linux, run, seccomp, usage
from rlvr_sandbox.guest.protocol import REPORT, REQUEST, WHY_DISK, WHY_EXIT, WHY_KILLED, WHY_MEMORY

_SAMPLE_MS = 40
_FOLDER_BYTES, _FOLDER_ENTRIES = 64 << 20, 4096


class ForkServer:
    """One run after the other until the host hangs up."""

    def __init__(self, arguments: dict[str, typing.Any]) -> None:
        self.control: int = arguments["control"]
        self.level: str = arguments["level"]
        self.folder: str = arguments["folder"]
        self.isolated = self.level in ("bwrap", "namespaces")
        scoped = self.isolated or linux.landlock_abi() >= 6 if self.level != "unsafe" else True
        program = seccomp.build(namespaces=self.isolated, signals_scoped=scoped) if self.level != "unsafe" else b""
        self.setting = run.Setting(
            level=self.level,
            control=self.control,
            jobs=arguments["jobs"],
            system_filter=linux.Filter(program) if program else None,
            python_home=arguments["python_home"],
            uid=os.getuid(),
            gid=os.getgid(),
            max_processes=usage.allowed_processes(self.isolated),
        )
        self.number = 0
        self.base_bytes = usage.resident(os.getpid())

    def serve(self) -> None:
        """Makes, watches and buries runs. Returns when the host is done with us."""
        while True:
            self.number += 1
            place = "/tmp" if self.isolated else tempfile.mkdtemp(prefix="run-", dir=self.folder)
            try:
                process = linux.fork_into(run.NAMESPACES) if self.isolated else os.fork()
            except OSError as error:
                self._tell(b"F", error.errno or errno.EIO)
                return
            if process == 0:
                run.child(self.setting, place)
            again = self._watch(process, place)
            if not again:
                return

    def _watch(self, process: int, place: str) -> bool:
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
            elif not ready and limit_bytes and why == WHY_EXIT and sys.platform == "linux":
                why = self._sample(limit_bytes, place)
                if why != WHY_EXIT:
                    os.kill(process, signal.SIGKILL)
            if exit_fd in ready or (exit_fd < 0 and os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
                break
        _, status, used_by = os.wait4(process, 0)
        if exit_fd >= 0:
            os.close(exit_fd)
        if not self.isolated:
            if sys.platform == "linux":
                usage.sweep(os.getpid())
            shutil.rmtree(place, ignore_errors=True)
        cpu_ms = int((used_by.ru_utime + used_by.ru_stime) * 1e3)
        exit_code = os.waitstatus_to_exitcode(status)
        self._tell(b"E", exit_code, why, cpu_ms, used_by.ru_maxrss)
        return bool(limit_bytes) or exit_code == 0  # ended without a job: no run can be set up here any more

    def _sample(self, limit_bytes: int, place: str) -> int:
        used = usage.measure(os.getpid(), self.base_bytes)
        if used.rss_bytes > limit_bytes or used.processes >= usage.MAX_PROCESSES:
            return WHY_MEMORY
        if not self.isolated and _folder_is_full(place):
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


def main() -> None:
    if _arguments["level"] == "landlock":
        linux.adopt_orphans()
        if os.getuid() == 0:
            # Only now: the interpreter and this package may lie where nobody cannot read.
            linux.become(65534, 65534)
            linux.die_with_parent()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
    sys.path.remove(_arguments["package"])
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    random.seed()
    run.add_interactive_names()
    server = ForkServer(_arguments)
    gc.collect()
    gc.freeze()  # what exists now is never traversed again, so its pages stay shared with the children
    server._tell(b"R", linux.landlock_abi() if _arguments["level"] != "unsafe" else 0)
    server.serve()


if __name__ == "__main__":
    main()
