"""What a verdict costs: rlvr's sandbox beside a bubblewrap per run and a process per problem, in one interleaved run.

    python bench/sandbox.py [--runs 200] [--rounds 5] [--callers 2] [--data FOLDER]

The peers, written here because neither is a package to import:

    same      what rlvr does for a function test (its own guest, values out, compared here), with a fresh bubblewrap per run
              in place of the fork server: equal in what it promises, but for Landlock
    bwrap     a fresh `prlimit bwrap --unshare-all python -I -S` per run; the right output on stdout passes
    checker   the design of openai/human-eval's execution.py (6d43fb9): a Manager and a Process per problem, the solution and
              its test exec'ed together there under a timer, an exception is a failure. No isolation, and forgeable.

Rounds of all methods alternate, so that the load of the machine is the same for each. CPU time is that of the whole method,
children included, from a cpuacct control group where one can be made; wall time is printed beside it. With --data (a
folder with humaneval.jsonl and mbpp_sanitized.json) the canonical solutions are judged, too. Exit status 1 if a goal of
`docs/sandbox.md` is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import rlvr_sandbox
from rlvr_sandbox import Pool
from rlvr_sandbox.compare import Comparison
from rlvr_sandbox.guest import codec

FUNCTION = {"kind": "function", "entry": "f", "cases": [{"args": [n], "expected": n + 1} for n in range(3)]}
STDIO = {"kind": "stdio", "cases": [{"stdin": "1 2\n", "stdout": "3\n"}]}
LOOP = {"kind": "assert", "code": "for n in range(3):\n    assert f(n) == n + 1"}
SOLUTION = "def f(n):\n    return n + 1\n"
PROGRAM = "print(sum(map(int, input().split())))"


def bwrap_command(*bound: str) -> list[str]:
    """Everything before the interpreter of a bubblewrap of its own.

    The same limits; what is set before exec is set by a program, since preexec_fn is not safe in a process with threads.
    """
    command = ["prlimit", "--cpu=6", f"--as={600 << 20}", f"--fsize={64 << 20}", "--nofile=256", "--core=0"]
    command += ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/lib", "/lib64"):
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
        elif os.path.exists(name):
            command += ["--ro-bind", name, name]
    for path in bound:
        command += ["--ro-bind", path, path]
    return [*command, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]


def bwrap_run(code: str, stdin: str) -> str:
    """One program in a bubblewrap of its own."""
    python = os.path.realpath("/usr/bin/python3")
    command = [*bwrap_command(), python, "-I", "-S", "-c", code]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30).stdout


_GUEST = """
import sys
sys.path.insert(0, sys.argv[1])
from rlvr_sandbox.guest import codec, server
server.Server(codec.Channel(int(sys.argv[2]))).serve()
"""


def bwrap_function(code: str, tests: dict[str, Any]) -> bool:
    """A function test by rlvr's own guest in a bubblewrap of its own."""
    package = str(Path(rlvr_sandbox.__file__).parent)
    home, python = os.path.realpath(sys.base_prefix), os.path.realpath(sys.executable)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [*bwrap_command(home, package), python, "-I", "-S", "-c", _GUEST, str(Path(package).parent)]
        process = subprocess.Popen([*command, str(theirs.fileno())], pass_fds=[theirs.fileno()])
        theirs.close()
        channel = codec.Channel(ours.fileno())
        channel.send({"op": "load", "code": code, "want": []})
        channel.receive()
        right = True
        for case in tests["cases"]:
            channel.send({"op": "call", "n": tests["entry"], "a": case["args"], "k": {}, "reduce": True})
            right &= Comparison().same(channel.receive()["v"], case["expected"])
    process.kill()
    process.wait()
    return right


def _checked(program: str, timeout_s: float, result: Any) -> None:
    class TimeUp(Exception):
        pass

    def ring(number: int, frame: Any) -> None:
        raise TimeUp

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
            exec(program, {})  # noqa: S102  the peer's way
        result.append("passed")
    except BaseException:
        result.append("failed")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def checker(program: str, timeout_s: float = 5.0) -> bool:
    """Solution and test together in a process of their own."""
    with multiprocessing.Manager() as manager:
        result = manager.list()
        process = multiprocessing.Process(target=_checked, args=(program, timeout_s, result))
        process.start()
        process.join(timeout_s + 1)
        if process.is_alive():
            process.kill()
        return list(result) == ["passed"]


@contextlib.contextmanager
def cpu_meter() -> Iterator[Callable[[], float] | None]:
    """Seconds of CPU used by this process and all below it since; None where no control group can be made."""
    group = Path(f"/sys/fs/cgroup/cpuacct/rlvr-bench-{os.getpid()}")
    try:
        group.mkdir()
        home = next(line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().split() if "cpuacct" in line)
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except (OSError, StopIteration):
        yield None
        return
    try:
        yield lambda: int((group / "cpuacct.usage").read_text()) / 1e9
    finally:
        Path(f"/sys/fs/cgroup/cpuacct{home}/cgroup.procs").write_text(str(os.getpid()))
        for pid in (group / "cgroup.procs").read_text().split():
            Path(f"/sys/fs/cgroup/cpuacct{home}/cgroup.procs").write_text(pid)
        with contextlib.suppress(OSError):
            group.rmdir()


class Method:
    """One way to get a verdict, and what it has cost so far."""

    def __init__(self, name: str, once: Callable[[], bool]) -> None:
        self.name, self.once = name, once
        self.wall_s = self.cpu_s = 0.0
        self.runs = 0
        self.latencies: list[float] = []

    def round(self, runs: int, executor: ThreadPoolExecutor, meter: Callable[[], float] | None) -> None:
        def timed(_: int) -> float:
            started = time.perf_counter()
            assert self.once(), f"{self.name} gave the wrong verdict"
            return time.perf_counter() - started

        started, cpu = time.perf_counter(), meter() if meter else 0.0
        self.latencies += executor.map(timed, range(runs))
        self.wall_s += time.perf_counter() - started
        self.cpu_s += (meter() if meter else 0.0) - cpu
        self.runs += runs

    @property
    def per_s(self) -> float:
        return self.runs / self.wall_s

    @property
    def cpu_ms(self) -> float:
        return self.cpu_s / self.runs * 1e3

    def row(self) -> str:
        ordered = sorted(self.latencies)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        cpu = f"{self.cpu_ms:.1f}" if self.cpu_s else "-"
        p50 = statistics.median(ordered)
        return f"| {self.name} | {self.per_s:.0f} | {cpu} | {p50 * 1e3:.1f} | {p99 * 1e3:.1f} |"


def problems(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """(canonical solution, assert tests) of HumanEval and sanitized MBPP."""
    found: list[tuple[str, dict[str, Any]]] = []
    for line in (folder / "humaneval.jsonl").read_text().splitlines():
        row = json.loads(line)
        test = f"{row['test']}\ncheck({row['entry_point']})"
        found.append((row["prompt"] + row["canonical_solution"], {"kind": "assert", "code": test}))
    for row in json.loads((folder / "mbpp_sanitized.json").read_text()):
        found.append((row["code"], {"kind": "assert", "code": "\n".join(row["test_imports"] + row["test_list"])}))
    return found


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=200, help="runs a round of rlvr; the peers do a quarter")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--callers", type=int, default=2)
    arguments.add_argument("--level", default=None)
    arguments.add_argument("--data", type=Path, default=os.environ.get("RLVR_DATA"))
    options = arguments.parse_args()
    missed: list[str] = []

    def goal(text: str, value: float, wanted: float, better: str = ">=") -> None:
        met = value >= wanted if better == ">=" else value <= wanted
        print(f"{'met   ' if met else 'MISSED'}  {text}: {value:.1f} (goal {better} {wanted:g})")
        if not met:
            missed.append(text)

    with (
        cpu_meter() as meter,
        Pool(options.callers, level=options.level) as pool,
        ThreadPoolExecutor(options.callers) as ex,
    ):
        test = "\n".join(f"assert f({n}) == {n + 1}" for n in range(3))
        methods = {
            "function": Method("rlvr, function test", lambda: pool.judge(SOLUTION, FUNCTION).correct),
            "stdio": Method("rlvr, stdio test", lambda: pool.judge(PROGRAM, STDIO).correct),
            "run": Method("rlvr, run", lambda: pool.run(PROGRAM, "1 2\n").stdout == "3\n"),
            "assert": Method("rlvr, assert test in a tester", lambda: pool.judge(SOLUTION, LOOP).correct),
            "checker": Method("process per problem", lambda: checker(SOLUTION + test)),
        }
        if shutil.which("bwrap"):
            methods["same"] = Method("bwrap per run, same verdict", lambda: bwrap_function(SOLUTION, FUNCTION))
            methods["bwrap"] = Method("bwrap per run", lambda: bwrap_run(PROGRAM, "1 2\n") == "3\n")
        for method in methods.values():
            list(ex.map(lambda _, method=method: method.once(), range(options.callers * 2)))
        for _ in range(options.rounds):
            for name, method in methods.items():
                method.round(options.runs // (4 if name in ("checker", "bwrap", "same") else 1), ex, meter)
        print(f"{os.cpu_count()} cores, {options.callers} callers, level {pool.level}, load {os.getloadavg()[0]:.1f}, "
              f"Python {sys.version.split()[0]}, Linux {os.uname().release}\n")  # fmt: skip
        print("| method | verdicts/s | CPU-ms each | p50 ms | p99 ms |\n| --- | --- | --- | --- | --- |")
        for method in methods.values():
            print(method.row())
        print()
        if "bwrap" in methods:
            ratio = methods["run"].per_s / methods["bwrap"].per_s
            print(f"        runs/s against a bare bwrap per run, without a verdict: {ratio:.1f}")
            goal("verdicts/s against a bwrap per run", methods["function"].per_s / methods["same"].per_s, 5)
        goal("function tests/s against a process per problem", methods["function"].per_s / methods["checker"].per_s, 3)
        goal("verdicts/s", max(methods["function"].per_s, methods["stdio"].per_s), 300)
        p99 = sorted(methods["function"].latencies)[int(methods["function"].runs * 0.99)]
        goal("p99 of a trivial check in ms", p99 * 1e3, 50, "<=")
        if options.data:
            rows = problems(Path(options.data))
            started = time.perf_counter()
            scores = list(ex.map(lambda row: pool.judge(*row), rows))
            wall_s = time.perf_counter() - started
            print(f"{sum(score.correct for score in scores)} of {len(rows)} canonical solutions pass")
            goal("HumanEval and MBPP problems/s", len(rows) / wall_s, 100)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
