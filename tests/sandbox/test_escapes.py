"""Programs that reach for what is outside: the host's files, processes, network, kernel, and other runs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rlvr_sandbox import Pool
from rlvr_sandbox.guest import seccomp

# Each prints "escaped" if it got what it wanted. {secret}, {outside} and {port} are filled in.
ESCAPES: list[tuple[str, str]] = [
    ("reads a file of the host", "print(open('{secret}').read())\nprint('escaped')"),
    ("reads the password file", "open('/etc/shadow').read()\nprint('escaped')"),
    ("lists home", "import os\nprint(os.listdir(os.path.dirname('{secret}')))\nprint('escaped')"),
    ("writes beside the host's files", "open('{outside}/x', 'w').write('x')\nprint('escaped')"),
    ("writes into /usr", "open('/usr/lib/x.py', 'w').write('x')\nprint('escaped')"),
    ("writes into the standard library", "import os\nopen(os.__file__, 'a').write('#')\nprint('escaped')"),
    ("makes a file in the root", "open('/x', 'w').write('x')\nprint('escaped')"),
    ("makes a file in /etc", "open('/etc/x', 'w').write('x')\nprint('escaped')"),
    ("makes a file in /dev", "open('/dev/x', 'w').write('x')\nprint('escaped')"),
    ("makes a device", "import os, stat\nos.mknod('sda', 0o600 | stat.S_IFBLK, os.makedev(8, 0))\nopen('sda', 'rb').read(1)\nprint('escaped')"),
    ("links to a secret", "import os\nos.symlink('{secret}', 'l')\nprint(open('l').read())\nprint('escaped')"),
    ("hard link to a secret", "import os\nos.link('{secret}', 'l')\nprint(open('l').read())\nprint('escaped')"),
    ("climbs out", "import os\nos.chdir('/tmp')\nprint(open('../../..' + '{secret}').read())\nprint('escaped')"),
    ("goes through another process's root", "import os\nfor p in os.listdir('/proc'):\n    if p.isdigit():\n        try: print(open(f'/proc/{{p}}/root{secret}').read(), 'escaped')\n        except OSError: pass"),
    ("goes through its own root", "print(open('/proc/self/root{secret}').read())\nprint('escaped')"),
    ("reads the host's command lines", "import os\nfor p in os.listdir('/proc'):\n    if p.isdigit() and b'pytest' in open(f'/proc/{{p}}/cmdline', 'rb').read(): print('escaped')"),
    ("reads the host's environment", "import os\nif os.environ.get('RLVR_TEST_SECRET'): print('escaped')"),
    ("reads the environment of its parents", "import os\nfor p in (os.getppid(), 1, {host}):\n    try:\n        if b'RLVR_TEST_SECRET' in open(f'/proc/{{p}}/environ', 'rb').read(): print('escaped')\n    except OSError: pass"),
    ("kills the host", "import os\nos.kill({host}, 0)\nprint('escaped')"),
    ("kills its parent", "import os\np = os.getppid()\nassert p > 1\nos.kill(p, 0)\nprint('escaped')"),
    ("kills everybody", "import os\nif os.fork() == 0:\n    try:\n        os.kill(-1, 9)\n    except OSError: pass\n    os._exit(0)\nos.wait()\nos.kill({host}, 9)\nprint('escaped')"),
    ("traces a process", "import ctypes\nif ctypes.CDLL(None).ptrace(16, {host}, 0, 0) == 0: print('escaped')"),
    ("reads memory of a process", "open('/proc/{host}/mem', 'rb').read(1)\nprint('escaped')"),
    ("signals by descriptor", "import os, signal\nfd = os.pidfd_open({host})\nsignal.pidfd_send_signal(fd, 0)\nprint('escaped')"),
    ("connects to the host", "import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)\nprint('escaped')"),
    ("connects to the world", "import socket\nsocket.create_connection(('1.1.1.1', 53), 2)\nprint('escaped')"),
    ("opens a datagram socket", "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))\nprint('escaped')"),
    ("opens a raw socket", "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_RAW, 1)\nprint('escaped')"),
    ("talks to the kernel by netlink", "import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\nprint('escaped')"),
    ("opens a vsock", "import socket\nsocket.socket(40, socket.SOCK_STREAM)\nprint('escaped')"),
    ("finds an abstract socket of the host", "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0{abstract}')\nprint('escaped')"),
    ("connects to a socket file", "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('{outside}/socket')\nprint('escaped')"),
    ("mounts", "import ctypes\nif ctypes.CDLL(None).mount(b'tmpfs', b'/usr', b'tmpfs', 0, None) == 0: print('escaped')"),
    ("unmounts", "import ctypes\nif ctypes.CDLL(None).umount2(b'/proc', 2) == 0: print('escaped')"),
    ("makes namespaces", "import ctypes\nif ctypes.CDLL(None).unshare(0x10000000) == 0: print('escaped')"),
    ("makes namespaces by clone", "import ctypes\nif ctypes.CDLL(None).syscall({clone}, 0x10000000 | 17, 0, 0, 0, 0) >= 0: print('escaped')"),
    ("changes its root", "import os\nos.chroot('/tmp')\nprint('escaped')"),
    ("becomes root", "import os\nos.setuid(0)\nprint('escaped')"),
    ("gains by set-user-id programs", "import subprocess\nfor p in ('/bin/su', '/usr/bin/passwd', '/usr/bin/sudo'):\n    try:\n        if subprocess.run([p, '-c', 'id'], capture_output=True, timeout=2).stdout.startswith(b'uid=0'): print('escaped')\n    except OSError: pass"),
    ("uses the keyring", "import ctypes\nif ctypes.CDLL(None).syscall({add_key}, b'user', b'k', b'v', 1, -3) >= 0: print('escaped')"),
    ("loads a bpf program", "import ctypes\nif ctypes.CDLL(None).syscall({bpf}, 0, ctypes.create_string_buffer(64), 64) >= 0: print('escaped')"),
    ("uses io_uring", "import ctypes\nif ctypes.CDLL(None).syscall(425, 4, ctypes.create_string_buffer(200)) >= 0: print('escaped')"),
    ("sets the clock", "import time\ntime.clock_settime(time.CLOCK_REALTIME, time.time())\nprint('escaped')"),
    ("renames the machine", "import socket\nsocket.sethostname('x')\nprint('escaped')"),
    ("raises its limits", "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))\nprint('escaped')"),
    ("raises its open files", "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (1 << 16, 1 << 16))\nprint('escaped')"),
    ("makes memory that nobody counts", "import os\nfd = os.memfd_create('x')\nprint('escaped')"),
    ("writes to the kernel's settings", "open('/proc/sys/kernel/hostname', 'w').write('x')\nprint('escaped')"),
    ("spares itself from the memory killer", "open('/proc/self/oom_score_adj', 'w').write('-1000')\nprint('escaped')"),
    ("reads the disk", "open('/dev/vda', 'rb').read(1)\nprint('escaped')"),
    ("reads the kernel log", "import ctypes\nb = ctypes.create_string_buffer(100)\nif ctypes.CDLL(None).klogctl(3, b, 100) >= 0: print('escaped')"),
    ("finds the fork server's sockets", "import os\nfor fd in range(3, 300):\n    try:\n        os.fstat(fd)\n        print('escaped', fd)\n    except OSError: pass"),
    ("finds them in /proc", "import os\nfor fd in os.listdir('/proc/self/fd'):\n    if 'socket' in os.readlink('/proc/self/fd/' + fd): print('escaped')"),
    ("writes to the sockets it can guess", "import os\nfor fd in range(3, 300):\n    try:\n        os.write(fd, b'E' * 24)\n        print('escaped')\n    except OSError: pass"),
]  # fmt: skip

# The first part leaves something for the second, which prints "escaped" if it finds it.
CHANNELS: list[tuple[str, str, str]] = [
    ("a file in its folder", "open('left', 'w').write('x')", "open('left')\nprint('escaped')"),
    ("a file in /tmp", "open('/tmp/left', 'w').write('x')", "open('/tmp/left')\nprint('escaped')"),
    ("a file in /dev/shm", "open('/dev/shm/left', 'w').write('x')", "open('/dev/shm/left')\nprint('escaped')"),
    ("System V memory", "import ctypes\nctypes.CDLL(None).shmget(4711, 4096, 0o1666)", "import ctypes\nif ctypes.CDLL(None).shmget(4711, 4096, 0) >= 0: print('escaped')"),
    ("a System V queue", "import ctypes\nctypes.CDLL(None).msgget(4711, 0o1666)", "import ctypes\nif ctypes.CDLL(None).msgget(4711, 0) >= 0: print('escaped')"),
    ("a patched module", "import random\nrandom.left = 1", "import random\nif hasattr(random, 'left'): print('escaped')"),
    ("the random state", "import random\nprint(random.random())", "import random\nif random.random() == random.Random(0).random(): print('escaped')"),
]  # fmt: skip


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    (folder / "secret").write_text("secret")
    return folder


@pytest.mark.parametrize("program", ESCAPES)
def test_nothing_outside_can_be_reached(pool: Pool, outside: Path, program: tuple[str, str]) -> None:
    column = 0 if seccomp.platform.machine() == "x86_64" else 1
    abstract = f"rlvr-test-{os.getpid()}"
    os.environ["RLVR_TEST_SECRET"] = "1"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as hidden:
        hidden.bind("\0" + abstract)
        hidden.listen()
        code = program[1].format(
            secret=outside / "secret",
            outside=outside,
            host=os.getpid(),
            port=server.getsockname()[1],
            abstract=abstract,
            clone=seccomp._CLONE[column],
            add_key=seccomp._NEVER["add_key"][column],
            bpf=seccomp._NEVER["bpf"][column],
        )
        outcome = pool.run(code)
    assert "escaped" not in outcome.stdout, outcome
    assert "secret" not in outcome.stdout
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert pool.trouble == 0


@pytest.mark.parametrize("channel", CHANNELS)
def test_nothing_passes_from_one_run_to_the_next(level: str, channel: tuple[str, str, str]) -> None:
    _, leave, find = channel
    with Pool(1, level=level) as pool:
        pool.run(leave)
        assert "escaped" not in pool.run(find).stdout


def test_runs_do_not_share_their_randomness(pool: Pool) -> None:
    code = "import random, uuid\nprint(random.random(), uuid.uuid4())"
    assert len({pool.run(code).stdout for _ in range(5)}) == 5


def test_a_run_leaves_no_file(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    code = "import os\nos.makedirs('a/b')\nopen('a/b/c', 'w').write('x')\nos.chmod('a', 0)\nprint('ok')"
    with Pool(1, level=level) as pool:
        assert pool.run(code).stdout == "ok\n"
        pool.run("print(1)")
    folder.rmdir()  # fails unless it is empty


def test_the_filter_knows_both_machines() -> None:
    for machine in ("x86_64", "aarch64"):
        for namespaces in (True, False):
            program = seccomp.for_run(namespaces=namespaces, signals_scoped=namespaces, machine=machine)
            for filters in (program, seccomp.for_fork_server(machine)):
                assert len(filters) % 8 == 0
                assert len(filters) // 8 < 4096  # the kernel's limit
    with pytest.raises(OSError, match="not riscv64"):
        seccomp.for_run(namespaces=True, signals_scoped=True, machine="riscv64")


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
def test_without_landlocks_signal_scope_the_filter_keeps_signals_in() -> None:
    # What a kernel before 6.12 would be given: kill and its kin are refused, abort still works.
    code = """
import os, signal, sys
sys.path[:0] = [sys.argv[1]]
from rlvr_sandbox.guest import linux, seccomp
linux.drop_capabilities()
linux.Filter(seccomp.for_run(namespaces=False, signals_scoped=False)).load()
for attempt in (lambda: os.kill(os.getppid(), 0), lambda: signal.pthread_kill(1, 9)):
    try:
        attempt()
        print("escaped")
    except OSError as error:
        print(error.errno)
        break
os.abort()
"""
    folder = str(Path(seccomp.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert (done.stdout.split(), done.returncode) == (["1"], -6), done
