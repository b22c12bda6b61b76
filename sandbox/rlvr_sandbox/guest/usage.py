"""What the processes of a run have used, read from /proc by the fork server."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")
MAX_PROCESSES = 64
"""A run with so many processes (threads do not count) is a fork bomb and is killed as one that takes too much memory."""


_RUN_PROCESSES = 128


class Usage(NamedTuple):
    """Sums over the run's processes; `wait_s` is the longest time that one thread waited for a processor."""

    processes: int
    rss_bytes: int
    cpu_s: float
    wait_s: float


def descendants(root: int, at_most: int = 4096) -> list[int]:
    """Process ids below `root`; the search ends once there are `at_most`."""
    found: list[int] = []
    todo = [root]
    while todo and len(found) < at_most:
        process = todo.pop()
        try:
            for task in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{task}/children") as file:
                    children = [int(pid) for pid in file.read().split()]
                found += children
                todo += children
        except (OSError, ValueError):
            continue  # it ended while we looked
    return found


def resident(pid: int) -> int:
    """Resident bytes of one process."""
    if not os.path.exists("/proc/self/statm"):
        return 0
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * _PAGE


def address_space() -> int:
    """Bytes that this process has mapped."""
    if not os.path.exists("/proc/self/statm"):
        return 0
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * _PAGE


def allowed_processes(isolated: bool) -> int:
    """RLIMIT_NPROC of a run. Where the user has no namespace of its own, all processes of that user count."""
    if isolated or not os.path.isdir("/proc/self"):
        return _RUN_PROCESSES
    running = 0
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat("/proc/" + name).st_uid == os.getuid():
                running += len(os.listdir(f"/proc/{name}/task"))
    return running + 2 * _RUN_PROCESSES


def measure(root: int, base_bytes: int) -> Usage:
    """What everything below `root` has used so far.

    Every fork of the fork server has its `base_bytes` resident, shared; only what a process has beyond counts.
    """
    processes = descendants(root, MAX_PROCESSES)
    rss_bytes = 0
    cpu_ticks = 0
    wait_ns = 0
    for pid in processes:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                # The name in brackets may hold anything; fields are counted behind its end.
                fields = file.read().rpartition(b")")[2].split()
            cpu_ticks += sum(int(field) for field in fields[11:15])
            rss_bytes += max(0, int(fields[21]) * _PAGE - base_bytes)
            for task in os.listdir(f"/proc/{pid}/task")[:64]:
                with open(f"/proc/{pid}/task/{task}/schedstat") as text:
                    wait_ns = max(wait_ns, int(text.read().split()[1]))
        except (OSError, ValueError, IndexError):
            continue
    return Usage(len(processes), rss_bytes, cpu_ticks / _TICK, wait_ns / 1e9)


def sweep(root: int) -> None:
    """Kill and reap everything below us until nothing is left; we are the subreaper, so nothing can hide."""
    for _ in range(500):
        for pid in descendants(root):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)
