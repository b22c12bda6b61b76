"""When the machine fails, that is said, nobody is paid or blamed for it, and the pool comes back."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlvr.errors import ConfigError, SandboxUnavailableError
from rlvr_sandbox import Pool
from rlvr_sandbox.levels import doctor, first_worker, probe

OK = {"kind": "stdio", "cases": [{"stdin": "", "stdout": "ok\n"}]}
CODE = "print('ok')"
SLOW = "import time\ntime.sleep(0.4)\nprint('ok')"


def keeper(pool: Pool) -> int:
    """The process that everything a pool of one worker starts is below of, the pools of other tests not among it."""
    return pool._stations[0].worker()._process.pid


def started(pid: int) -> str | None:
    """When the process began, which tells it from a later one with its number; None if it is gone or a corpse."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def fork_servers(process: int, descendants: Callable[[int], list[int]]) -> list[int]:
    found = []
    for pid in (process, *descendants(process)):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"forkserver.py" in command and b"bwrap\0--unshare" not in command:
            found.append(pid)
    return found


def test_a_killed_fork_server_costs_one_retry(level: str, descendants: Callable[[int], list[int]]) -> None:
    with Pool(1, level=level) as pool:
        assert pool.judge(CODE, OK).reward == 1.0
        for pid in fork_servers(keeper(pool), descendants):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        assert pool.judge(CODE, OK).reward == 1.0
        assert pool.trouble == 1


def test_a_fork_server_killed_in_mid_run_costs_one_retry(level: str, descendants: Callable[[int], list[int]]) -> None:
    with Pool(1, level=level) as pool, ThreadPoolExecutor(1) as executor:
        pool.judge(CODE, OK)
        before = {keeper(pool), *descendants(keeper(pool))}
        score = executor.submit(pool.judge, SLOW.replace("0.4", "2"), OK)
        time.sleep(0.2)
        for pid in fork_servers(keeper(pool), descendants):
            if pid in before:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        assert score.result().reward == 1.0
        assert pool.trouble >= 1


def test_a_killed_keeper_takes_everything_along(level: str, descendants: Callable[[int], list[int]]) -> None:
    with Pool(1, level=level) as pool:
        pool.judge(CODE, OK)
        everything = {pid: started(pid) for pid in (keeper(pool), *descendants(keeper(pool)))}
        os.kill(keeper(pool), signal.SIGKILL)
        assert pool.judge(CODE, OK).reward == 1.0
        assert len(everything) > 1
        deadline = time.monotonic() + 10  # the kernel kills them at once, and some init or other buries them
        while any(started(pid) == then for pid, then in everything.items()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not [pid for pid, then in everything.items() if started(pid) == then]


def test_nothing_outlives_a_host_that_is_killed(level: str, descendants: Callable[[int], list[int]]) -> None:
    # As a scoring worker is, at its deadline: in the middle of a run that has children of its own.
    program = (
        "import os, sys\nfrom rlvr_sandbox import Pool\n"
        f"pool = Pool(1, level={level!r})\n"
        f"pool.judge({CODE!r}, {OK!r})\n"
        "print('up', flush=True)\n"
        "pool.run('import os, time\\nif os.fork() == 0: os.setsid()\\nos.fork()\\ntime.sleep(60)')\n"
    )
    host = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": _path()}
    )
    assert host.stdout is not None
    assert host.stdout.readline() == b"up\n"
    time.sleep(0.5)
    everything = descendants(host.pid)
    assert len(everything) >= 5
    host.kill()
    host.wait()
    host.stdout.close()
    deadline = time.monotonic() + 10
    while (left := [pid for pid in everything if _is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def _path() -> str:
    return os.pathsep.join(path for path in sys.path if path)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_namespaces_forbidden_in_mid_run_are_trouble_and_not_a_verdict() -> None:
    # In a user namespace of its own, where the limit is ours to set, so that nobody else's namespaces are touched.
    if not any(offer.available for offer in probe() if offer.level in ("bwrap", "namespaces")):
        pytest.skip("this machine gives no namespaces")
    program = f"""
import ctypes, os, sys
from rlvr.errors import SandboxUnavailableError
from rlvr_sandbox import Pool
from rlvr_sandbox.guest import linux
uid, gid = os.getuid(), os.getgid()
try:
    linux.unshare(linux.CLONE_NEWUSER)
    linux.map_user(0, uid, gid)
except OSError as error:
    print("SKIP", error)
    sys.exit()
limit = "/proc/sys/user/max_user_namespaces"
before = open(limit).read()
try:
    pool = Pool(1, level="namespaces")
    assert pool.judge({CODE!r}, {OK!r}).reward == 1.0
except SandboxUnavailableError as error:
    print("SKIP", error)
    sys.exit()
open(limit, "w").write("0")
for _ in range(3):
    try:
        score = pool.judge({CODE!r}, {OK!r})
        print("judged", score.reward)  # the standby child was ready before
    except SandboxUnavailableError as error:
        print("trouble")
open(limit, "w").write(before)
print("recovered", pool.judge({CODE!r}, {OK!r}).reward)
pool.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": _path()}
    )
    if done.stdout.startswith("SKIP"):
        pytest.skip(done.stdout)
    lines = done.stdout.splitlines()
    assert lines[-2:] == ["trouble", "recovered 1.0"], done
    assert "judged 0.0" not in lines


def test_a_full_disk_is_trouble_and_not_a_verdict(best_level: str) -> None:
    # The Landlock level is the one that keeps a run's folder on the host's disk: a tiny one, in a mount of our own.
    program = f"""
import os, sys, tempfile
from rlvr.errors import SandboxUnavailableError
from rlvr_sandbox import Pool
from rlvr_sandbox.guest import linux
try:
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    folder = tempfile.mkdtemp(dir="/tmp")
    os.chmod(folder, 0o755)
    linux.mount("tmpfs", folder, "tmpfs", 0, "size=256k,nr_inodes=12,mode=1777")
    tempfile.tempdir = folder
    pool = Pool(1, level="landlock")
    pool.judge({CODE!r}, {OK!r})
    pool.close()
except (OSError, SandboxUnavailableError) as error:
    print("SKIP", error)
    sys.exit()
pool = Pool(1, level="landlock")
made = []
while True:
    try:
        open(os.path.join(folder, f"fill{{len(made)}}"), "x").close()
        made.append(os.path.join(folder, f"fill{{len(made)}}"))
    except OSError:
        break
for _ in range(2):
    try:
        print("judged", pool.judge({CODE!r}, {OK!r}).reward)
    except SandboxUnavailableError as error:
        print("trouble")
for path in made:
    os.remove(path)
print("recovered", pool.judge({CODE!r}, {OK!r}).reward)
pool.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": _path()}
    )
    if done.stdout.startswith("SKIP"):
        pytest.skip(done.stdout)
    lines = done.stdout.splitlines()
    assert lines.count("trouble") == 2, done
    assert lines[-1] == "recovered 1.0", done
    assert not any(line.startswith("judged") for line in lines), done


@pytest.mark.parametrize("callers", [1, 2, 16])
def test_verdicts_are_the_same_whoever_else_calls(pool: Pool, callers: int) -> None:
    wrong, late = "print('no')", "import time\ntime.sleep(9)"
    programs = [CODE, wrong, "1/0", "print(", CODE, "print('x' * 200_000)", late] * 3
    with ThreadPoolExecutor(callers) as executor:
        verdicts = list(executor.map(lambda code: pool.judge(code, OK, timeout_s=0.5).detail["verdict"], programs))
    assert verdicts == ["AC", "WA", "RE", "CE", "AC", "WA", "TLE"] * 3


def test_a_forked_process_gets_workers_of_its_own(best_pool: Pool) -> None:
    assert best_pool.judge(CODE, OK).reward == 1.0
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(False)

    def child() -> None:
        sender.send(best_pool.judge(CODE, OK).reward)
        best_pool.close()

    process = context.Process(target=child)
    process.start()
    assert receiver.recv() == 1.0
    process.join()
    assert best_pool.judge(CODE, OK).reward == 1.0
    assert best_pool.trouble == 0


def test_a_thread_that_ends_takes_no_worker_along(best_level: str) -> None:
    # The parent death signal follows the thread that forked; the keeper must not.
    with Pool(1, level=best_level) as pool:
        for _ in range(3):
            thread = threading.Thread(target=pool.judge, args=(CODE, OK))
            thread.start()
            thread.join()
        assert pool.judge(CODE, OK).reward == 1.0
        assert pool.trouble == 0


def test_a_closed_pool_leaves_nothing_and_refuses(best_level: str, descendants: Callable[[int], list[int]]) -> None:
    before = set(descendants(os.getpid()))
    descriptors = len(os.listdir("/proc/self/fd"))
    pool = Pool(1, level=best_level)
    pool.judge("def f(): return 1", {"kind": "assert", "code": "for _ in range(2):\n    assert f() == 1"})
    pool.close()
    assert set(descendants(os.getpid())) <= before
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    with pytest.raises(SandboxUnavailableError, match="closed"):
        pool.judge(CODE, OK)


def test_too_many_callers_are_refused(best_level: str) -> None:
    with Pool(1, level=best_level, max_waiting=1) as pool, ThreadPoolExecutor(4) as executor:
        pool.judge(CODE, OK)
        futures = [executor.submit(pool.judge, SLOW, OK) for _ in range(4)]
        refused = [future for future in futures if isinstance(future.exception(), SandboxUnavailableError)]
        assert len(refused) == 2
        assert pool.queue_depth == 0


def test_a_machine_below_the_minimum_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from rlvr_sandbox import levels

    monkeypatch.setattr(levels, "_chosen", {})
    monkeypatch.setattr(sys, "platform", "darwin")  # where no level but "unsafe" can be had
    with pytest.raises(SandboxUnavailableError, match="weaker one was not"):
        first_worker("landlock")
    with pytest.raises(ConfigError, match="no isolation level 'strong'"):
        Pool(minimum="strong")


def test_the_unsafe_level_runs_only_where_it_is_asked_for() -> None:
    with Pool(1, level="unsafe") as pool:
        score = pool.judge(CODE, OK)
        assert (score.reward, score.detail["level"]) == (1.0, "unsafe")
        assert pool.judge("while True: pass", OK, timeout_s=0.3).detail["verdict"] == "TLE"


def test_the_doctor_names_the_level_and_what_is_missing() -> None:
    lines = doctor()
    assert lines[0][0] == "sandbox level"
    assert all(isinstance(label, str) and isinstance(fine, bool) and text for label, fine, text in lines)
    for offer in probe():
        assert offer.available or offer.level in ("bwrap", "namespaces", "landlock")
