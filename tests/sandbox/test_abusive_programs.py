"""Programs that take more than they are given: each is stopped on time, with its verdict, and leaves nothing behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from rlvr_sandbox import Limits, Pool

STDIO = {"kind": "stdio", "cases": [{"stdin": "", "stdout": "ok\n"}]}
FUNCTION = {"kind": "function", "entry": "f", "cases": [{"args": [], "expected": 1}]}
ASSERT = {"kind": "assert", "code": "for _ in range(1):\n    assert f() == 1"}

ABUSE: list[tuple[str, str, dict[str, Any], set[str]]] = [
    ("endless loop", "while True: pass", STDIO, {"TLE"}),
    ("sleeps", "import time\ntime.sleep(100)", STDIO, {"TLE"}),
    ("waits for input that never comes", "import os\nr, w = os.pipe()\nos.read(r, 1)", STDIO, {"TLE"}),
    ("right output, then an endless loop", "print('ok', flush=True)\nwhile True: pass", STDIO, {"TLE"}),
    ("closes its streams and stays", "import os, time\nprint('ok', flush=True)\nos.close(1)\nos.close(2)\nos.close(0)\ntime.sleep(100)", STDIO, {"TLE"}),
    ("ignores signals", "import signal\nfor s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(s, signal.SIG_IGN)\nwhile True: pass", STDIO, {"TLE"}),
    ("stops itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\nimport time\ntime.sleep(100)", STDIO, {"TLE", "RE"}),
    ("loop in C", "(1 << 5_000_000) ** 1000", STDIO, {"TLE", "MLE", "RE"}),
    ("loop in a regular expression", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')", STDIO, {"TLE"}),
    ("loop at import", "while True: pass", FUNCTION, {"TLE"}),
    ("loop in a call", "def f():\n    while True: pass", FUNCTION, {"TLE"}),
    ("loop in a call of a test", "def f():\n    while True: pass", ASSERT, {"TLE"}),
    ("endless generator", "def f():\n    while True: yield 1", FUNCTION, {"TLE", "MLE"}),
    ("loop at the end", "import atexit\n@atexit.register\ndef f():\n    while True: pass\nprint('ok')", STDIO, {"TLE"}),
    ("many busy children", "import os\nfor _ in range(10):\n    if os.fork() == 0:\n        while True: pass\nwhile True: pass", STDIO, {"TLE"}),
    ("fork bomb", "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", STDIO, {"TLE", "MLE", "RE"}),
    ("thread bomb", "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(100,)).start()", STDIO, {"TLE", "MLE", "RE"}),
    ("memory at once", "x = bytearray(4 << 30)\nprint('ok')", STDIO, {"MLE"}),
    ("memory bit by bit", "x = []\nwhile True: x.append(bytearray(1 << 20))", STDIO, {"MLE"}),
    ("memory by text", "s = 'x'\nwhile True: s += s", STDIO, {"MLE"}),
    ("memory of a list", "x = [0] * (1 << 30)\nprint('ok')", STDIO, {"MLE"}),
    ("memory in a call", "def f(): return len([0] * (1 << 30))", FUNCTION, {"MLE"}),
    ("memory of many processes", "import os, time\nfor _ in range(12):\n    if os.fork() == 0:\n        x = bytearray(b'x') * (100 << 20)\n        time.sleep(100)\ntime.sleep(100)", STDIO, {"MLE", "RE", "TLE"}),
    ("memory shared between processes", "import mmap, os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        m = mmap.mmap(-1, 100 << 20)\n        m.write(b'x' * (100 << 20))\n        time.sleep(100)\ntime.sleep(100)", STDIO, {"MLE", "RE", "TLE"}),
    ("endless output", "while True: print('x' * 1000)", STDIO, {"OLE"}),
    ("endless output without lines", "import os\nwhile True: os.write(1, b'x' * 65536)", STDIO, {"OLE"}),
    ("endless errors", "import sys\nwhile True: print('x' * 1000, file=sys.stderr)", STDIO, {"TLE", "OLE"}),
    ("40 MB from a call", "def f(): return 'x' * 40_000_000", FUNCTION, {"OLE"}),
    ("a value nested a million deep", "def f():\n    x = []\n    for _ in range(1_000_000): x = [x]\n    return x", FUNCTION, {"WA", "RE"}),
    ("a value that holds itself", "def f():\n    x = []\n    x.append(x)\n    return x", FUNCTION, {"WA", "RE"}),
    ("fills its file system", "try:\n    with open('big', 'wb') as f:\n        while True: f.write(b'x' * (1 << 20))\nexcept OSError: pass\nn = 0\ntry:\n    while True:\n        open(f'b{n}', 'wb').write(b'x' * (1 << 20)).bit_length()\n        n += 1\nexcept OSError: print('full')", STDIO, {"WA", "OLE", "RE", "TLE"}),
    ("a hundred thousand files", "n = 0\ntry:\n    while True:\n        open(f'f{n}', 'w').close()\n        n += 1\n        assert n < 100_000\nexcept OSError: print('full')", STDIO, {"WA", "OLE", "TLE"}),
    ("deep recursion in C", "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n    def __getattr__(self, n): return getattr(self, n + 'x')\nA().x", STDIO, {"RE", "TLE", "MLE"}),
    ("a crash", "import ctypes\nctypes.string_at(0)", STDIO, {"RE"}),
    ("a crash in a call", "import ctypes\ndef f(): return ctypes.string_at(0)", FUNCTION, {"RE"}),
    ("abort", "import os\nos.abort()", STDIO, {"RE"}),
    ("kills itself", "import os, signal\nprint('ok', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\nos.kill(0, 9)\nraise SystemExit(1)", STDIO, {"RE"}),
    ("leaves in a call", "import os\ndef f(): os._exit(0)", FUNCTION, {"RE"}),
    ("leaves in a call of a test", "import os\ndef f(): os._exit(0)", ASSERT, {"RE"}),
    ("a child that lives on", "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(100)\n    os._exit(0)\nprint('ok')", STDIO, {"AC"}),
    ("a child that keeps the output open", "import subprocess\nsubprocess.Popen(['/bin/sleep', '100'])\nprint('ok')", STDIO, {"AC"}),
    ("many descriptors", "import os\nfds = []\ntry:\n    while True: fds.append(os.dup(0))\nexcept OSError: print('ok')", STDIO, {"AC"}),
]  # fmt: skip


@pytest.mark.parametrize("program", ABUSE)
def test_an_abusive_program_is_stopped(
    pool: Pool, program: tuple[str, str, dict[str, Any], set[str]], descendants: Callable[[int], list[int]]
) -> None:
    _, code, tests, verdicts = program
    pool.judge("print('ok')", STDIO)  # the worker is up before the clock starts
    before = len(descendants(os.getpid()))
    started = time.monotonic()
    score = pool.judge(code, tests, timeout_s=0.5, memory_mb=256)
    assert score.detail["verdict"] in verdicts, score
    assert score.reward == (1.0 if score.detail["verdict"] == "AC" else 0.0)
    assert time.monotonic() - started < 20
    # Two stations may each have gained a worker (three processes, a standby child) since; a fork bomb is more.
    assert len(descendants(os.getpid())) <= before + 24
    assert pool.judge("print('ok')", STDIO).reward == 1.0
    assert pool.trouble == 0


def test_time_spent_waiting_for_a_processor_is_not_counted(best_pool: Pool) -> None:
    from concurrent.futures import ThreadPoolExecutor

    code = "import time\nt = time.process_time()\nwhile time.process_time() - t < 0.4: pass\nprint('ok')"
    with Pool(4) as many, ThreadPoolExecutor(4) as executor:
        scores = list(executor.map(lambda _: many.judge(code, STDIO, timeout_s=0.6), range(4)))
    assert [score.detail["verdict"] for score in scores] == ["AC"] * 4


def test_output_beyond_a_pipe_is_neither_cut_nor_late(pool: Pool) -> None:
    outcome = pool.run("print('x' * 190_000)")
    assert (outcome.verdict, len(outcome.stdout)) == ("OK", 190_001)


def test_an_outcome_tells_how_a_program_ended(best_pool: Pool) -> None:
    failed = best_pool.run("import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(3)")
    assert (failed.verdict, failed.exit_code, failed.stdout, failed.stderr) == ("RE", 3, "out\n", "err\n")
    slow = best_pool.run("print('first', flush=True)\nwhile True: pass", limits=Limits(timeout_s=0.3))
    assert (slow.verdict, slow.stdout, slow.exit_code) == ("TLE", "first\n", None)
    large = best_pool.run("print('x' * 5000)", limits=Limits(output_bytes=1000))
    assert large.verdict == "OLE"
    assert best_pool.run("print(").verdict == "CE"
    assert best_pool.run("print(input())", "a ü\n").stdout == "a ü\n"
