"""Linux isolation by system call: namespaces, mounts, capabilities, Landlock, seccomp.

Sources: clone(2), mount(2), mount_setattr(2), pivot_root(2), capabilities(7), landlock(7), seccomp(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
from collections.abc import Iterable

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP = 1, 4, 22
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID = 1, 2

NOBODY = 65534
_SIGKILL, _SIGCHLD = 9, 17

# clone, pivot_root and capset differ between the two machines; everything since Linux 5.1 has one number.
_NUMBERS = {"x86_64": (56, 155, 126), "aarch64": (220, 41, 91), "arm64": (220, 41, 91)}
_MOUNT_SETATTR, _LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 442, 444, 445, 446

# PyDLL keeps the interpreter lock, as os.fork does: a fork between release and take would leave it in nobody's hands.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _call(number: int, *arguments: object) -> int:
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *wide))


def _machine_numbers() -> tuple[int, int, int]:
    try:
        return _NUMBERS[platform.machine()]
    except KeyError:
        raise OSError(f"system call numbers are known for x86-64 and arm64, not for {platform.machine()}") from None


def fork_into(namespaces: int) -> int:
    """fork() straight into new namespaces: one clone where unshare would need two forks. 0 in the child.

    Only for processes with one thread: Python's fork hooks do not run. None is needed (thread identity and locks are as
    they were), and the hook of `threading` alone would copy a hundred pages in every child.
    """
    clone, _, _ = _machine_numbers()
    pid = _call(clone, namespaces | _SIGCHLD, 0, 0, 0, 0)
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"clone with namespaces {namespaces:#x}: {os.strerror(number)}")
    return pid


def unshare(namespaces: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(namespaces), f"unshare {namespaces:#x}")


def set_hostname(name: str) -> None:
    """sethostname(2)."""
    _check(_libc.sethostname(name.encode(), ctypes.c_size_t(len(name.encode()))), "sethostname")


def map_user(inside: int, outside_uid: int, outside_gid: int) -> None:
    """In a fresh user namespace: the one identity we came with is `inside` from now on."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {outside_uid} 1"),
        ("gid_map", f"{inside} {outside_gid} 1"),
    ):
        fd = os.open("/proc/self/" + name, os.O_WRONLY)
        os.write(fd, text.encode())
        os.close(fd)


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None) -> None:
    """mount(2)."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        None if kind is None else kind.encode(),
        ctypes.c_ulong(flags),
        None if options is None else options.encode(),
    )
    _check(result, f"mount {kind or source} on {target}")


def bind(source: str, target: str, *, read_only: bool = True) -> None:
    """Show `source` with everything mounted below it at `target`."""
    mount(source, target, None, MS_BIND | MS_REC)
    if read_only:
        seal_mount(target)


def seal_mount(target: str, *, recursive: bool = True) -> None:
    """Make a mount, and all below it, read-only and without set-user-id programs."""
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    result = _call(_MOUNT_SETATTR, _AT_FDCWD, target.encode(), flags, attributes, len(attributes))
    _check(result, f"mount_setattr {target}")


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    _, number, _ = _machine_numbers()
    _check(_call(number, new.encode(), old.encode()), f"pivot_root {new}")


def detach(target: str) -> None:
    """umount2(2) with MNT_DETACH."""
    _check(_libc.umount2(target.encode(), _MNT_DETACH), f"umount {target}")


def _prctl(option: int, value: object = 0) -> int:
    wide = ctypes.c_ulong(value) if isinstance(value, int) else value
    return int(_libc.prctl(option, wide, ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)))


def die_with_parent() -> None:
    """SIGKILL for us when the thread that made us ends; only for children of processes with one thread."""
    _check(_prctl(_PR_SET_PDEATHSIG, _SIGKILL), "PR_SET_PDEATHSIG")


def adopt_orphans() -> None:
    """Descendants that lose their parent become our children."""
    _check(_prctl(_PR_SET_CHILD_SUBREAPER, 1), "PR_SET_CHILD_SUBREAPER")


def dumpable() -> None:
    """After a change of identity /proc/self belongs to root; this gives it back, so that user maps can be written."""
    _prctl(_PR_SET_DUMPABLE, 1)


def no_new_privileges() -> None:
    """Nothing that is executed from here on gains rights, by set-user-id or otherwise."""
    _check(_prctl(_PR_SET_NO_NEW_PRIVS, 1), "PR_SET_NO_NEW_PRIVS")


def drop_capabilities() -> None:
    """No capability in any set, and none to be gained."""
    _, _, capset = _machine_numbers()
    _check(_call(capset, struct.pack("Ii", 0x20080522, 0), bytes(24)), "capset")
    no_new_privileges()


def can_step_down() -> bool:
    """Whether we are root and the user nobody exists for us: in a user namespace of one user it does not."""
    if os.geteuid() != 0:
        return False
    with contextlib.suppress(OSError, ValueError), open("/proc/self/uid_map") as file:
        spans = [[int(number) for number in line.split()] for line in file]
        return any(first <= NOBODY < first + count for first, _, count in spans)
    return False


def become(uid: int, gid: int) -> None:
    """Give up root for good."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    dumpable()


class Filter:
    """A seccomp program, kept in memory so that loading it is one call."""

    def __init__(self, program: bytes) -> None:
        self._code = ctypes.create_string_buffer(program, len(program))
        head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(self._code))
        self._head = ctypes.create_string_buffer(head, len(head))

    def load(self) -> None:
        """From here on, for this process and all it makes."""
        zero = ctypes.c_ulong(0)
        _check(_libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(2), self._head, zero, zero), "PR_SET_SECCOMP")


def landlock_abi() -> int:
    """The version of Landlock the kernel speaks, 0 for none."""
    return max(0, _call(_LANDLOCK_CREATE, None, 0, 1))


# Landlock's rights on files, in the order of their bits: execute, write, read, list, remove folder, remove file, make
# character device, folder, file, socket, pipe, block device, symlink, refer, truncate, device ioctl.
_READ = 1 << 0 | 1 << 2 | 1 << 3
_ON_A_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
_DEVICES = 1 << 6 | 1 << 11


def landlock(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Confine this process to these paths; no TCP, and (Linux 6.12) no signal or abstract socket beyond itself."""
    abi = landlock_abi()
    if abi == 0:
        return
    handled = (1 << 13) - 1
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        if abi >= since:
            handled |= 1 << bit
    attributes = struct.pack("QQQ", handled, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _check(_call(_LANDLOCK_CREATE, attributes, size, 0), "landlock_create_ruleset")
    for paths, rights in ((readable, _READ), (writable, handled & ~_DEVICES)):
        for path in paths:
            with contextlib.suppress(FileNotFoundError, PermissionError):
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
                allowed = rights & handled if os.path.isdir(path) else rights & handled & _ON_A_FILE
                _check(_call(_LANDLOCK_ADD, ruleset, 1, struct.pack("<Qi", allowed, fd), 0), f"landlock {path}")
                os.close(fd)
    _check(_call(_LANDLOCK_RESTRICT, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)
