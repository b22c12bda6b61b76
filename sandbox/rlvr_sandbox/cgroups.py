"""A memory and process limit over a whole worker, where this process may make control groups.

Version 2 below our own group, or version 1 in the memory and pids hierarchies. It bounds what the sampler of the fork server
can only notice up to 40 ms late. Sources: Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "rlvr-sandbox-"
_OVERHEAD_BYTES = 192 << 20
"""The fork server, its standby child and a run's file systems, beside what a run may take."""
_MAX_TASKS = 512
_numbers = itertools.count()


class Group:
    """One control group, in one or two hierarchies."""

    def __init__(self, memory: Path, pids: Path, *, unified: bool) -> None:
        self._memory, self._pids, self._unified = memory, pids, unified
        self._limit = 0

    @property
    def entrances(self) -> list[str]:
        """Files to which a process writes "0" to go in, with all that it will make."""
        return [str(folder / "cgroup.procs") for folder in dict.fromkeys((self._memory, self._pids))]

    def allow(self, memory_mb: int) -> None:
        """Sets the limit for a run of so many MiB."""
        limit = (memory_mb << 20) + _OVERHEAD_BYTES
        if limit == self._limit:
            return
        name = "memory.max" if self._unified else "memory.limit_in_bytes"
        with contextlib.suppress(OSError):  # lower than what is in use just now: the next run tries again
            (self._memory / name).write_text(str(limit))
            self._limit = limit

    def memory_kills(self) -> int:
        """How often the kernel has killed in here because memory ran out."""
        text = ""
        with contextlib.suppress(OSError):
            text = (self._memory / ("memory.events" if self._unified else "memory.oom_control")).read_text()
        return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("oom_kill ")), 0)

    def close(self) -> None:
        """Removes the group; its processes must have ended."""
        for folder in dict.fromkeys((self._memory, self._pids)):
            with contextlib.suppress(OSError):
                folder.rmdir()


def make_group() -> Group | None:
    """A new group, or None where none can be made."""
    homes = _homes()
    if homes is None:
        return None
    memory_home, pids_home, unified = homes
    for home in {memory_home, pids_home}:
        _remove_stale(home)
    name = f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
    group = Group(memory_home / name, pids_home / name, unified=unified)
    try:
        for folder in dict.fromkeys((group._memory, group._pids)):
            folder.mkdir()
        (group._pids / "pids.max").write_text(str(_MAX_TASKS))
        if not (group._memory / ("memory.max" if unified else "memory.limit_in_bytes")).exists():
            raise OSError("the group has no memory controller")
    except OSError:
        group.close()
        return None
    return group


def _homes() -> tuple[Path, Path, bool] | None:
    """(memory folder, pids folder, whether they are one of version 2) of our own groups."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    paths = {names: path.lstrip("/") for _, names, path in (line.split(":", 2) for line in lines)}
    if "memory" in paths and "pids" in paths:
        memory, pids, unified = _ROOT / "memory" / paths["memory"], _ROOT / "pids" / paths["pids"], False
    elif "" in paths:
        memory = pids = _ROOT / paths[""]
        unified = True
    else:
        return None
    if not all(os.access(folder, os.W_OK) for folder in (memory, pids)):
        return None
    return memory, pids, unified


def _remove_stale(home: Path) -> None:
    """Groups of processes that were killed before they could remove them."""
    with contextlib.suppress(OSError):
        for folder in home.glob(_PREFIX + "*"):
            owner = folder.name.removeprefix(_PREFIX).split("-")[0]
            if owner.isdigit() and not Path(f"/proc/{owner}").exists():
                with contextlib.suppress(OSError):
                    folder.rmdir()
