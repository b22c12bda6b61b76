"""Sympy in its own processes: asked only where needed, killed on time, never outliving its parent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlvr.verifiers.math import STRICT, verify, verify_async, verify_batch, workers
from rlvr.verifiers.math.tree import Node, number, power, symbol
from rlvr.verifiers.math.wire import pack, unpack
from rlvr.verifiers.math.workers import ProofTimeoutError, WorkerPool

CASES = [
    ("42", r"\boxed{42}", True),
    ("42", r"\boxed{43}", False),
    (r"\sqrt{3+2\sqrt{2}}", r"\boxed{1+\sqrt{2}}", True),
    (r"\sin 2x", r"\boxed{2\sin x\cos x}", True),
    (r"(-\infty, 2]", r"\boxed{x \le 2}", True),
    (r"\frac{1}{2}", r"\boxed{0.51}", False),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1, 2)", True),
]


def test_sums_integrals_and_limits_are_proved_by_sympy() -> None:
    assert verify(r"\frac{\pi^2}{6}", r"\boxed{\sum_{n=1}^\infty \frac{1}{n^2}}").correct
    assert verify("1", r"\lim_{x \to 0} \frac{\sin x}{x}").correct
    assert verify(r"\frac{n(n+1)}{2}", r"\sum_{k=1}^n k").correct
    score = verify(r"\int_0^1 x^2 dx", "1/2")
    assert (score.reason, score.detail["stage"]) == ("wrong", "symbolic")


def test_a_proof_that_takes_too_long_is_a_timeout_and_the_next_one_works() -> None:
    score = verify("1", r"\boxed{\sum_{k=1}^{10^{12}} \frac{1}{k^2+k+7}}")
    assert (score.reason, score.timed_out, score.error, score.reward) == ("timeout", True, None, 0.0)
    assert verify("1", r"\lim_{x \to 0} \frac{\sin x}{x}").correct


def test_the_strict_policy_wants_a_proof() -> None:
    score = verify(r"\sin^2 x + \cos^2 x", "1", policy=STRICT)
    assert (score.reason, score.detail["stage"]) == ("correct", "symbolic")


def test_a_killed_worker_is_replaced() -> None:
    pool = WorkerPool()
    third = power(number(3), number(1))
    assert pool.same(third, number(3), 20.0) is True
    pool._idle[0].process.kill()
    pool._idle[0].process.wait()
    assert pool.same(third, number(4), 20.0) is False
    with pytest.raises(ProofTimeoutError):
        pool.same(third, number(3), 0.0)
    assert pool.same(third, number(3), 20.0) is True
    pool.close()


def test_a_worker_that_cannot_start_is_an_error_and_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    workers.pool().close()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    score = verify("1", r"\lim_{x \to 0} \frac{\sin x}{x}")
    assert (score.reason, score.timed_out, score.reward) == ("error", False, 0.0)
    assert score.error is not None
    assert "did not start" in score.error


def test_a_tree_survives_the_pipe() -> None:
    tree = Node("add", (number(1, 2), power(symbol("x"), number(-3)), Node("call", (symbol("n"),), "sin")))
    assert unpack(pack(tree)) == tree


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads the process table")
def test_workers_die_with_a_parent_that_is_killed() -> None:
    program = """
import os, sys, time
from rlvr.verifiers.math.workers import WorkerPool
from rlvr.verifiers.math.tree import number
pool = WorkerPool()
pool.same(number(1), number(1), 20.0)
print(pool._idle[0].process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        parent.kill()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _running(worker):
        time.sleep(0.05)
    assert not _running(worker)


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_eight_threads_give_the_verdicts_of_one() -> None:
    with ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(lambda case: verify(case[0], case[1]).correct, CASES * 20))
    assert verdicts == [expected for _, _, expected in CASES] * 20


def test_asyncio_gives_the_same_verdicts() -> None:
    async def run() -> list[bool]:
        scores = await asyncio.gather(*(verify_async(gold, response) for gold, response, _ in CASES * 3))
        return [score.correct for score in scores]

    assert asyncio.run(run()) == [expected for _, _, expected in CASES] * 3


def test_a_batch_gives_the_verdicts_of_single_calls() -> None:
    responses = [response for _, response, _ in CASES]
    golds = [gold for gold, _, _ in CASES]
    assert [score.correct for score in verify_batch(golds, responses)] == [expected for _, _, expected in CASES]
    assert [score.correct for score in verify_batch("42", ["42", "43", "forty-two"])] == [True, False, True]
    assert verify_batch("", ["42"])[0].reason == "gold_unparsable"
    with pytest.raises(ValueError, match="2 golds for 1 responses"):
        verify_batch(["1", "2"], ["1"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_asks_workers_of_its_own() -> None:
    assert verify("1", r"\lim_{x \to 0} \frac{\sin x}{x}").correct
    child = os.fork()
    if child == 0:
        os._exit(0 if verify("1", r"\lim_{x \to 0} \frac{\sin x}{x}").correct else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert verify("2", r"\lim_{x \to 0} \frac{2\sin x}{x}").correct
