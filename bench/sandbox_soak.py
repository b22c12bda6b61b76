"""Whether the sandbox stays as it was: many runs, some of them hostile, and what has grown by the end.

    python bench/sandbox_soak.py [--runs 10000] [--callers 2] [--hostile 0.02] [--level LEVEL]

Counts, before and after, of descriptors of this process, processes below it, files in the folders of the workers, System V
segments, control groups, and the resident memory (PSS) of this process and of all below it. Counting begins after a tenth
of the runs, when every worker has been started and has run everything once. Exit status 1 if anything has grown, or memory
by more than 5 MB.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rlvr_sandbox import Pool

STDIO = {"kind": "stdio", "cases": [{"stdin": "2 3\n", "stdout": "5\n"}]}
FUNCTION = {"kind": "function", "entry": "f", "cases": [{"args": [n], "expected": n + 1} for n in range(3)]}
LOOP = {"kind": "assert", "code": "for n in range(3):\n    assert f(n) == n + 1"}
HONEST: list[tuple[str, dict[str, Any]]] = [
    ("print(sum(map(int, input().split())))", STDIO),
    ("def f(n): return n + 1", FUNCTION),
    ("def f(n): return n", FUNCTION),
    ("def f(n): return n + 1", LOOP),
    ("print(", STDIO),
    ("raise ValueError", STDIO),
]
HOSTILE: list[tuple[str, dict[str, Any]]] = [
    ("while True: pass", STDIO),
    ("import os\nwhile True: os.fork()", STDIO),
    ("x = []\nwhile True: x.append(bytearray(1 << 20))", STDIO),
    ("while True: print('x' * 1000)", STDIO),
    ("import os\nfor n in range(2000): open(f'f{n}', 'w').write('x')", STDIO),
    ("import ctypes\nctypes.CDLL(None).shmget(4711, 1 << 20, 0o1666)", STDIO),
    ("import os\nif os.fork() == 0:\n    os.setsid()\n    while True: pass", STDIO),
    ("import os\ndef f(n): os._exit(0)", LOOP),
    (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'x' * 100)\n    except OSError: pass\nos._exit(0)",
        FUNCTION,
    ),
]


def below(process: int) -> list[int]:
    """Ids of all processes below one."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parent = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(name))
    found, todo = [], [process]
    while todo:
        found += parents.get(todo[0], [])
        todo = [*todo[1:], *parents.get(todo[0], [])]
    return found


def pss_mb(pid: int) -> float:
    """Resident memory with shared pages shared out, in MiB."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def count(pool: Pool) -> dict[str, float]:
    """What might grow."""
    time.sleep(0.5)  # the standby children have settled
    folders = [Path(station.worker()._folder) for station in pool._stations]
    processes = below(os.getpid())
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "processes": len(processes),
        "files": sum(1 for folder in folders for _ in folder.rglob("*")),
        "segments": len(Path("/proc/sysvipc/shm").read_text().splitlines()),
        "groups": len(list(Path("/sys/fs/cgroup").rglob(f"rlvr-sandbox-{os.getpid()}-*"))),
        "memory of the host MB": pss_mb(os.getpid()),
        "memory of the workers MB": sum(map(pss_mb, processes)),
    }


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=10_000)
    arguments.add_argument("--callers", type=int, default=2)
    arguments.add_argument("--hostile", type=float, default=0.02)
    arguments.add_argument("--level", default=None)
    options = arguments.parse_args()
    rng = random.Random(0)
    work = [rng.choice(HOSTILE if rng.random() < options.hostile else HONEST) for _ in range(options.runs)]
    warm = len(work) // 10
    verdicts: Counter[str] = Counter()
    with Pool(options.callers, level=options.level) as pool, ThreadPoolExecutor(options.callers) as executor:

        def judge(item: tuple[str, dict[str, Any]]) -> str:
            return str(pool.judge(*item, timeout_s=0.5, memory_mb=128).detail["verdict"])

        list(executor.map(judge, [*HONEST, *HOSTILE] * options.callers))
        verdicts.update(executor.map(judge, work[:warm]))
        before, started = count(pool), time.monotonic()
        for begin in range(warm, len(work), warm):  # as many futures at a time as before, whose memory is not the pool's
            verdicts.update(executor.map(judge, work[begin : begin + warm]))
        wall_s, after = time.monotonic() - started, count(pool)
        if pool.trouble:
            print("last trouble:", pool.last_trouble)
        print(f"{options.runs} runs, level {pool.level}, {(len(work) - warm) / wall_s:.0f}/s, trouble {pool.trouble}, "
              f"verdicts {dict(verdicts)}\n")  # fmt: skip
    print("| what | before | after |\n| --- | --- | --- |")
    for name in before:
        print(f"| {name} | {before[name]:.1f} | {after[name]:.1f} |")
    grown = [name for name in before if after[name] > before[name] + (5 if "memory" in name else 0)]
    print(f"\ngrown: {', '.join(grown) or 'nothing'}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
