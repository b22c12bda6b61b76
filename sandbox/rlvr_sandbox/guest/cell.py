"""The cell around a fork server: a read-only root with the system's programs, no network, an unprivileged user.

Built by bubblewrap, or by ourselves where it is not installed. At the Landlock level there is no cell.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from typing import Any

from rlvr_sandbox.guest import linux

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    # One arena: more of them reserve address space by the gigabyte, which is what the memory limit counts.
    "MALLOC_ARENA_MAX": "1",
}
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_PACKAGE_PLACE = "/rlvr"
_CELL = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS


def start(config: dict[str, Any]) -> int:
    """Starts the fork server at the level that `config` names; its process id. What fails is said on stderr."""
    level = config["level"]
    root = linux.can_step_down() if sys.platform == "linux" else False
    uid, gid = os.geteuid(), os.getegid()
    if level == "namespaces":
        process = linux.fork_into(_CELL if root else _CELL | linux.CLONE_NEWUSER)
    else:
        process = os.fork()
    if process:
        return process
    try:
        if sys.platform == "linux":
            linux.die_with_parent()
        os.close(config["leash"])
        if config["host"] >= 0:
            os.close(config["host"])
        command = [config["python"]]
        if level == "bwrap":
            command = [*_bwrap_command(config, root=root), config["python"]]
        elif level == "namespaces":
            if not root:
                linux.map_user(uid, uid, gid)
            _enter_own_root(config)
        if level in ("bwrap", "namespaces"):
            config["package"] = _PACKAGE_PLACE
            if root:
                linux.become(linux.NOBODY, linux.NOBODY)
                linux.die_with_parent()  # a change of identity forgets it
        os.execve(command[0], [*command, *_fork_server_arguments(config)], ENVIRONMENT)
    except BaseException as error:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
    os._exit(97)


def _fork_server_arguments(config: dict[str, Any]) -> list[str]:
    # No user or site packages, no bytecode written, UTF-8 whatever the locale.
    script = os.path.join(config["package"], "rlvr_sandbox", "guest", "forkserver.py")
    wanted = ("control", "jobs", "level", "package", "folder", "python_home", "tester")
    return ["-I", "-S", "-B", "-X", "utf8", script, json.dumps({key: config[key] for key in wanted})]


def _shown_paths(config: dict[str, Any]) -> list[tuple[str, str | None]]:
    """(path, target of the symbolic link or None) for what the cell shows of the machine."""
    found: list[tuple[str, str | None]] = []
    for path in _SYSTEM:
        with contextlib.suppress(OSError):
            found.append((path, os.readlink(path) if stat.S_ISLNK(os.lstat(path).st_mode) else None))
    found += [(path, None) for path in _SETTINGS if os.path.exists(path)]
    home = config["python_home"]
    if not any(home == path or home.startswith(path + "/") for path in _SYSTEM):
        found.append((home, None))
    return found


def _package(config: dict[str, Any]) -> str:
    return os.path.join(config["package"], "rlvr_sandbox")


def _enter_own_root(config: dict[str, Any]) -> None:
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    flags = linux.MS_NOSUID | linux.MS_NODEV
    paths = _shown_paths(config)
    package = _package(config)
    # The new root lies over /tmp, with the old one inside until everything has been carried across.
    linux.mount("tmpfs", "/tmp", "tmpfs", flags, "size=1m,mode=755")
    os.mkdir("/tmp/old")
    linux.pivot_root("/tmp", "/tmp/old")
    os.chdir("/")
    for path, link in paths:
        if link is None:
            _make_place(path, folder=os.path.isdir("/old" + path))
            linux.bind("/old" + path, path)
        else:
            os.symlink(link, path)
    place = os.path.join(_PACKAGE_PLACE, "rlvr_sandbox")
    _make_place(place, folder=True)
    linux.bind("/old" + package, place)
    for name in _DEVICES:
        _make_place("/dev/" + name, folder=False)
        linux.bind("/old/dev/" + name, "/dev/" + name, read_only=False)
    for name, target in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(target, "/dev/" + name)
    for path in ("/dev/shm", "/tmp", "/proc"):
        _make_place(path, folder=True)
    linux.mount("proc", "/proc", "proc", flags | linux.MS_NOEXEC)
    linux.detach("/old")
    os.rmdir("/old")
    linux.seal_mount("/", recursive=False)
    linux.set_hostname("sandbox")


def _make_place(path: str, *, folder: bool) -> None:
    os.makedirs(path if folder else os.path.dirname(path), mode=0o755, exist_ok=True)
    if not folder:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def _bwrap_command(config: dict[str, Any], *, root: bool) -> list[str]:
    home, package = config["python_home"], _package(config)
    if root:
        # Run by root, bubblewrap hides parts of /proc and no run could mount its own; so it is run as nobody. What
        # nobody cannot reach is laid where it can, in a mount namespace of this process.
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
        sources = [os.open(path, os.O_PATH) for path in (home, package)]  # either may lie below /tmp
        linux.mount("tmpfs", "/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,mode=755")
        home, package = "/tmp/home", "/tmp/package"
        for source, target in zip(sources, (home, package), strict=True):
            os.mkdir(target)
            linux.bind(f"/proc/self/fd/{source}", target)
            os.close(source)
    command = [
        config["bwrap"],
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--as-pid-1",
        "--hostname",
        "sandbox",
    ]
    for path, link in _shown_paths(config):
        if link is None:
            command += ["--ro-bind", home if path == config["python_home"] else path, path]
        else:
            command += ["--symlink", link, path]
    command += ["--ro-bind", package, os.path.join(_PACKAGE_PLACE, "rlvr_sandbox")]
    command += ["--proc", "/proc", "--dev", "/dev", "--dir", "/tmp", "--remount-ro", "/dev", "--remount-ro", "/"]
    return [*command, "--chdir", "/", "--"]
