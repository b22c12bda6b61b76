"""One run: the process that the fork server made becomes small, then reads its job and does it.

The job socket carries the run's descriptors with one byte; the first descriptor is a file with the job (`marshal`, which only
the host writes), the second the status pipe. One "S" on that pipe, written when the walls stand and before any foreign code,
is what tells a program that failed from a program that was never run.

Every page this touches is copied for this run alone, at some three microseconds each: what can be done once, the fork
server has done.
"""

from __future__ import annotations

import _socket
import builtins
import marshal
import os
import resource
import sys
from typing import Any, NamedTuple, NoReturn

from rlvr_sandbox.guest import codec, linux, program, server

NAMESPACES = linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
_INSIDE_UID = 1000
_MAX_FDS = 8
_READABLE = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives",
             "/etc/localtime", "/etc/ssl/openssl.cnf", "/dev/zero", "/dev/urandom", "/dev/random", "/dev/full")  # fmt: skip
_MAIN_STACK_BYTES = 64 << 20
_MAX_FILE_BYTES = 64 << 20
_MAX_OPEN_FILES = 256


class Setting(NamedTuple):
    """What stays the same from run to run."""

    level: str
    control: int
    jobs: int
    log: int
    """Where the fork server's own errors go."""
    place: str
    """The one folder a run may write to."""
    system_filter: linux.Filter | None
    python_home: str
    uid: int
    gid: int
    max_processes: int
    address_space_bytes: int
    """What the bare interpreter has mapped: the limit is on what a program adds."""

    @property
    def isolated(self) -> bool:
        """Runs have namespaces of their own."""
        return self.level in ("bwrap", "namespaces")


def child(setting: Setting) -> NoReturn:
    """The life of a run's first process."""
    try:
        _settle(setting)
        job, descriptors = _receive(setting.jobs)
        status, channels = _arrange(job, descriptors)
        _wall_in(setting, job)
        os.write(status, b"S")
    except BaseException as error:
        os.write(setting.log, f"run was not set up: {error}\n".encode())
        os._exit(97)
    try:
        _do(job, status, channels)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
    os._exit(1)


def _settle(setting: Setting) -> None:
    if sys.platform == "linux":
        linux.die_with_parent()
    os.setsid()
    if setting.isolated:
        linux.map_user(_INSIDE_UID, setting.uid, setting.gid)
        flags = linux.MS_NOSUID | linux.MS_NODEV
        linux.mount("tmpfs", "/tmp", "tmpfs", flags, "size=64m,nr_inodes=4k,mode=1777")
        linux.mount("tmpfs", "/dev/shm", "tmpfs", flags, "size=16m,nr_inodes=1k,mode=1777")
        linux.mount("proc", "/proc", "proc", flags | linux.MS_NOEXEC)
    else:
        import signal

        for number in IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    os.chdir(setting.place)


IGNORED_SIGNALS = (1, 2, 3, 15)
"""SIGHUP, SIGINT, SIGQUIT, SIGTERM: without a pid namespace a run might send them to the fork server."""


def _receive(jobs: int) -> tuple[dict[str, Any], list[int]]:
    connection = _socket.socket(fileno=jobs)
    word, ancillary, _, _ = connection.recvmsg(1, _socket.CMSG_SPACE(4 * _MAX_FDS))
    connection.detach()
    if not word:
        os._exit(0)  # the host has gone
    descriptors = [
        int.from_bytes(data[place : place + 4], sys.byteorder)
        for _, _, data in ancillary
        for place in range(0, len(data) - 3, 4)
    ]
    size = os.fstat(descriptors[0]).st_size
    payload = os.pread(descriptors[0], size, 0)
    while len(payload) < size:
        payload += os.pread(descriptors[0], size - len(payload), len(payload))
    return marshal.loads(payload), descriptors[1:]


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


def _wall_in(setting: Setting, job: dict[str, Any]) -> None:
    """After this nothing can be undone."""
    if sys.platform == "linux":
        fd = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(fd, b"1000")  # if memory runs out, this and not the fork server is to go
        os.close(fd)
        _set_limit(resource.RLIMIT_NPROC, setting.max_processes)
    _set_limit(resource.RLIMIT_CPU, job["cpu_s"])
    if job["memory_mb"] and sys.platform == "linux":
        _set_limit(resource.RLIMIT_AS, (job["memory_mb"] << 20) + setting.address_space_bytes)
    if setting.system_filter is None:
        return
    linux.drop_capabilities()
    if setting.isolated:
        linux.landlock(("/",), ("/tmp", "/dev/shm", "/dev/null"))
    else:
        linux.landlock((*_READABLE, setting.python_home), (setting.place, "/dev/null"))
    setting.system_filter.load()


def limit_all_runs() -> None:
    """The limits that are the same for every run; the fork server takes them on itself and hands them down."""
    _set_limit(resource.RLIMIT_FSIZE, _MAX_FILE_BYTES)
    _set_limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES)
    _set_limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        _set_limit(resource.RLIMIT_MSGQUEUE, 0)
        _set_limit(resource.RLIMIT_MEMLOCK, 1 << 16)
        hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
        stack = _MAIN_STACK_BYTES if hard == resource.RLIM_INFINITY else min(_MAIN_STACK_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_STACK, (stack, hard))


def _set_limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


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
        from rlvr_sandbox.guest import tester  # loaded beforehand in the workers that stand beside a solution

        tester.main(codec.Channel(channels[0]), codec.Channel(channels[1]), job)


def _run_command(job: dict[str, Any], status: int) -> NoReturn:
    for name, content in job["files"].items():
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o755)
        with open(fd, "wb") as file:
            file.write(content)
    os.close(status)
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")}
    os.execve(job["argv"][0], job["argv"], environment)


def add_interactive_names() -> None:
    """exit() and quit(), which programs use though only the `site` module makes them."""
    import _sitebuiltins

    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
