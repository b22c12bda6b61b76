"""One run: the process that the fork server made becomes small, then reads its job and does it.

The job socket carries the run's descriptors with one byte; the first descriptor is a file with the job as JSON, the second
the status pipe. One "S" on that pipe, written when the walls stand and before any foreign code, is what tells a program
that failed from a program that was never run.
"""

from __future__ import annotations

import array
import base64
import builtins
import json
import os
import resource
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from typing import Any, NoReturn

from rlvr_sandbox.guest import codec, linux, program, server, tester

NAMESPACES = (
    linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
)
_INSIDE_UID = 1000
_MAX_FDS = 8
_READABLE = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime",
             "/dev/zero", "/dev/urandom", "/dev/random", "/dev/full")  # fmt: skip
_MAIN_STACK_BYTES = 64 << 20
_MAX_FILE_BYTES = 64 << 20
_MAX_OPEN_FILES = 256


@dataclass(frozen=True, slots=True)
class Setting:
    """What stays the same from run to run."""

    level: str
    control: int
    jobs: int
    system_filter: linux.Filter | None
    python_home: str
    uid: int
    gid: int
    max_processes: int


def child(setting: Setting, place: str) -> NoReturn:
    """The life of a run's first process."""
    try:
        _settle(setting, place)
        job, descriptors = _receive(setting.jobs)
        os.close(setting.control)
        os.close(setting.jobs)
        status, channels = _arrange(job, descriptors)
        _wall_in(setting, job, place)
        os.write(status, b"S")
    except BaseException as error:
        sys.stderr.write(f"run was not set up: {error}\n")
        sys.stderr.flush()
        os._exit(97)
    try:
        _do(job, status, channels)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    os._exit(1)


def _settle(setting: Setting, place: str) -> None:
    if sys.platform == "linux":
        linux.die_with_parent()
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if place == "/tmp":
        linux.map_user(_INSIDE_UID, setting.uid, setting.gid)
        flags = linux.MS_NOSUID | linux.MS_NODEV
        linux.mount("tmpfs", "/tmp", "tmpfs", flags, "size=64m,nr_inodes=4k,mode=1777")
        linux.mount("tmpfs", "/dev/shm", "tmpfs", flags, "size=16m,nr_inodes=1k,mode=1777")
        linux.mount("proc", "/proc", "proc", flags | linux.MS_NOEXEC)
    os.chdir(place)
    os.environ["HOME"] = os.environ["TMPDIR"] = tempfile.tempdir = place


def _receive(jobs: int) -> tuple[dict[str, Any], list[int]]:
    connection = socket.socket(fileno=jobs)
    word, ancillary, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(4 * _MAX_FDS))
    connection.detach()
    if not word:
        os._exit(0)  # the host has gone
    descriptors = array.array("i")
    for _, _, data in ancillary:
        descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    with open(descriptors[0], "rb") as file:
        file.seek(0)
        return json.load(file), list(descriptors[1:])


def _arrange(job: dict[str, Any], descriptors: list[int]) -> tuple[int, list[int]]:
    """Puts the job's descriptors where they belong and closes every other one; (status pipe, channels)."""
    # First out of the way: a descriptor may already have the number that another one is to get.
    high = [os.dup2(fd, 200 + place, inheritable=False) for place, fd in enumerate(descriptors)]
    os.closerange(3, 200)
    status, rest = high[0], high[1:]
    if job["kind"] in ("python", "command"):
        for number, fd in enumerate(rest):
            os.dup2(fd, number)
        rest = []
    else:
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        os.close(null)
    status = os.dup2(status, 3, inheritable=False)
    channels = [os.dup2(fd, 4 + place, inheritable=False) for place, fd in enumerate(rest)]
    os.closerange(200, 200 + len(descriptors))
    return status, channels


def _wall_in(setting: Setting, job: dict[str, Any], place: str) -> None:
    """After this nothing can be undone."""
    isolated = place == "/tmp"
    if sys.platform == "linux":
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # if memory runs out, this and not the fork server is to go
    _limit(job, setting)
    if setting.level == "unsafe":
        return
    linux.drop_capabilities()
    devices = ("/dev/null",)
    if isolated:
        linux.landlock(("/",), ("/tmp", "/dev/shm", *devices))
    else:
        linux.landlock((*_READABLE, setting.python_home), (place, *devices))
    assert setting.system_filter is not None
    setting.system_filter.load()


def _limit(job: dict[str, Any], setting: Setting) -> None:
    limits = {
        resource.RLIMIT_CPU: job["cpu_s"],
        resource.RLIMIT_FSIZE: _MAX_FILE_BYTES,
        resource.RLIMIT_NOFILE: _MAX_OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    if job["memory_mb"]:
        limits[resource.RLIMIT_AS] = (job["memory_mb"] << 20) + _address_space()
    if sys.platform == "linux":
        limits[resource.RLIMIT_NPROC] = setting.max_processes
        limits[resource.RLIMIT_MSGQUEUE] = 0
        limits[resource.RLIMIT_MEMLOCK] = 1 << 16
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (value, value))
        except ValueError:
            if setting.level != "unsafe":  # macOS knows limits that it does not let one set
                raise
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    stack = _MAIN_STACK_BYTES if hard == resource.RLIM_INFINITY else min(_MAIN_STACK_BYTES, hard)
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))


def _address_space() -> int:
    """Bytes the bare interpreter has mapped: the limit is on what the program adds."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _do(job: dict[str, Any], status: int, channels: list[int]) -> None:
    kind = job["kind"]
    if kind == "python":
        program.run(job["code"], status)
    elif kind == "command":
        _run_command(job, status)
    elif kind == "serve":
        os.close(status)
        sys.argv[:] = ["solution.py"]
        server.Server(codec.Channel(channels[0])).serve()
    else:
        os.close(status)
        tester.main(codec.Channel(channels[0]), codec.Channel(channels[1]), job)


def _run_command(job: dict[str, Any], status: int) -> NoReturn:
    for name, content in job["files"].items():
        with open(name, "wb", opener=lambda path, flags: os.open(path, flags, 0o755)) as file:
            file.write(base64.b64decode(content))
    os.close(status)
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")}
    os.execve(job["argv"][0], job["argv"], environment)


def add_interactive_names() -> None:
    """exit() and quit(), which programs use though only the `site` module makes them."""
    import _sitebuiltins

    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))

