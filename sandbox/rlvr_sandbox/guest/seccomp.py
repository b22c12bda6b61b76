"""The system call filter of a run, as classic BPF for x86-64 and arm64.

A deny list over what no program under test needs (mounts, namespaces, tracing, keys, io_uring, kernel modules, clocks),
and everything newer than the list: a call the kernel learns later is refused until somebody has read about it.
Numbers are the kernel's: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

import errno
import platform
import struct

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NR, _ARCH, _ARG0, _ARG1, _ARG2 = (
    0,
    4,
    16,
    24,
    32,
)  # offsets in struct seccomp_data; low words, both machines little-endian
_NEWEST = 462  # mseal, Linux 6.10
_NEW_NAMESPACES = 0x7E020080

# name: (x86-64, arm64); None where the machine has no such call. First what nobody in a cell needs ...
_NEVER: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "statmount": (457, 457), "listmount": (458, 458),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "fanotify_init": (300, 262),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "syslog": (103, 116), "personality": (135, 92), "vhangup": (153, 58), "lookup_dcookie": (212, 18),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "uselib": (134, None), "ustat": (136, None),
    "sysfs": (139, None), "_sysctl": (156, None),
    "mbind": (237, 235), "set_mempolicy": (238, 237), "migrate_pages": (256, 238), "move_pages": (279, 239),
    "vmsplice": (278, 75), "memfd_create": (319, 279), "memfd_secret": (447, 447),
}  # fmt: skip
# ... then what the fork server uses to set a run up, and the run itself must not.
_SETTING_UP: dict[str, tuple[int, int]] = {
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "unshare": (272, 97), "setns": (308, 268), "sethostname": (170, 161), "setdomainname": (171, 162),
}  # fmt: skip
# Without an ipc namespace: memory and queues that would outlive the run or reach another one.
_SHARED: dict[str, tuple[int, int]] = {
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
}  # fmt: skip
# Without Landlock's signal scope (before Linux 6.12): signals to other processes of the same user.
_SIGNALS: dict[str, tuple[int, int]] = {
    "kill": (62, 129), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
}  # fmt: skip
_CLONE, _CLONE3, _SOCKET, _TKILL, _TGKILL = (56, 220), (435, 435), (41, 198), (200, 130), (234, 131)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7), "arm64": (1, 0xC00000B7)}


class _Program:
    """Instructions, and the column of the tables that holds this machine's numbers."""

    def __init__(self, machine: str | None) -> None:
        machine = machine or platform.machine()
        if machine not in _ARCHITECTURES:
            raise OSError(f"the system call filter knows x86-64 and arm64, not {machine}")
        self.column, self._architecture = _ARCHITECTURES[machine]
        self._out: list[bytes] = []
        self.emit(_LOAD, 0, 0, _ARCH)
        self.emit(_EQUAL, 1, 0, self._architecture)
        self.emit(_RETURN, 0, 0, _KILL)
        self.emit(_LOAD, 0, 0, _NR)

    def emit(self, code: int, if_true: int, if_false: int, value: int) -> None:
        self._out.append(struct.pack("HBBI", code, if_true, if_false, value & 0xFFFFFFFF))

    def deny(self, numbers: tuple[int | None, int | None], reason: int = errno.EPERM) -> None:
        number = numbers[self.column]
        if number is not None:
            self.emit(_EQUAL, 0, 1, number)
            self.emit(_RETURN, 0, 0, _ERRNO | reason)

    def finish(self) -> bytes:
        self.emit(_RETURN, 0, 0, _ALLOW)
        return b"".join(self._out)


def for_fork_server(machine: str | None = None) -> bytes:
    """What the fork server forbids itself and so all its runs: an array of `struct sock_filter`.

    The kernel works a filter out for every call number when it is loaded, so the long list is loaded once, here, and
    not for every run. Raises OSError on machines other than x86-64 and arm64.
    """
    program = _Program(machine)
    program.emit(_AT_LEAST, 0, 1, _NEWEST + 1)  # also the x32 calls of x86-64
    program.emit(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    for numbers in _NEVER.values():
        program.deny(numbers)
    return program.finish()


def for_run(*, namespaces: bool, signals_scoped: bool, machine: str | None = None) -> bytes:
    """What a run is forbidden beside that.

    `namespaces`: the run has its own ipc and network namespaces, so System V objects and local sockets stay inside.
    `signals_scoped`: a pid namespace or Landlock keeps signals inside.
    """
    program = _Program(machine)
    column, emit = program.column, program.emit
    for numbers in _SETTING_UP.values():
        program.deny(numbers)
    program.deny(_CLONE3, errno.ENOSYS)  # its flags lie in memory; the C library then falls back to clone
    emit(_EQUAL, 0, 4, _CLONE[column])
    emit(_LOAD, 0, 0, _ARG0)
    emit(_ANY_BIT, 0, 1, _NEW_NAMESPACES)
    emit(_RETURN, 0, 0, _ERRNO | errno.EPERM)
    emit(_LOAD, 0, 0, _NR)
    if namespaces:
        emit(_EQUAL, 0, 4, _SOCKET[column])
        emit(_LOAD, 0, 0, _ARG0)
        emit(_EQUAL, 1, 0, 1)  # AF_UNIX
        emit(_RETURN, 0, 0, _ERRNO | errno.EACCES)
        emit(_LOAD, 0, 0, _NR)
    else:
        program.deny(_SOCKET, errno.EACCES)  # socketpair stays
        for shared in _SHARED.values():
            program.deny(shared)
    if not signals_scoped:
        for sender in _SIGNALS.values():
            program.deny(sender)
        # abort() and thread cancellation need tgkill; SIGKILL (9) and SIGSTOP (19) could hit the fork server.
        for call, argument in ((_TKILL, _ARG1), (_TGKILL, _ARG2)):
            emit(_EQUAL, 0, 5, call[column])
            emit(_LOAD, 0, 0, argument)
            emit(_EQUAL, 1, 0, 9)
            emit(_EQUAL, 0, 1, 19)
            emit(_RETURN, 0, 0, _ERRNO | errno.EPERM)
            emit(_LOAD, 0, 0, _NR)
    return program.finish()
