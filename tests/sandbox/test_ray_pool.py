"""Sandboxes in Ray actors give the verdicts of local ones, and a killed actor costs nothing but time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rlvr.errors import ConfigError, SandboxUnavailableError
from rlvr.score import Score
from rlvr_sandbox import Limits, Pool
from rlvr_sandbox.ray_pool import RayPool

ray = pytest.importorskip("ray", reason="Ray is not installed here; pip install rlvr[ray]")
pytestmark = pytest.mark.slow

TESTS = {"kind": "stdio", "cases": [{"stdin": "2 3\n", "stdout": "5\n"}, {"stdin": "4 4\n", "stdout": "8\n"}]}
RIGHT = "a, b = map(int, input().split())\nprint(a + b)"
PROGRAMS = [RIGHT, "print(5)", "while True: pass", "import sys; sys.exit(3)", "print(", "raise ValueError('no')"]


@pytest.fixture(scope="module")
def two_actors() -> Iterator[RayPool]:
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    with RayPool(2) as pool:
        yield pool
    ray.shutdown()


def test_two_actors_give_the_verdicts_of_a_local_pool(two_actors: RayPool) -> None:
    with Pool(1) as local:
        for program in PROGRAMS:
            ours = two_actors.judge(program, TESTS, timeout_s=1.0)
            theirs = local.judge(program, TESTS, timeout_s=1.0)
            assert (ours.reward, ours.reason, ours.parts, ours.detail["verdicts"]) == (
                theirs.reward,
                theirs.reason,
                theirs.parts,
                theirs.detail["verdicts"],
            )
        assert ours.reward == 0.0
        assert two_actors.judge(RIGHT, TESTS).correct
        assert two_actors.run("print(input())", "hello").stdout == "hello\n"


def test_errors_of_the_caller_arrive_as_they_do_from_a_local_pool(two_actors: RayPool) -> None:
    with pytest.raises(ConfigError):
        two_actors.judge("print(1)", {"kind": "no such kind"})


def test_a_killed_actor_is_replaced_and_its_program_is_judged_again(two_actors: RayPool) -> None:
    scores: list[Score] = []

    def judge() -> None:
        scores.append(two_actors.judge("import time; time.sleep(1)\n" + RIGHT, TESTS, timeout_s=10.0))

    threads = [threading.Thread(target=judge) for _ in range(4)]
    victim = process_of(two_actors._actors[0])
    before = two_actors.replaced
    for thread in threads:
        thread.start()
    os.kill(victim, 9)
    for thread in threads:
        thread.join(120)
    assert [score.correct for score in scores] == [True] * 4
    assert two_actors.replaced == before + 1
    assert process_of(two_actors._actors[0]) != victim


def test_actors_that_keep_dying_give_an_error_and_no_verdict(two_actors: RayPool) -> None:
    over = threading.Event()

    def murder() -> None:
        while not over.wait(0.02):
            for actor in list(two_actors._actors.values()):
                ray.kill(actor)

    murderer = threading.Thread(target=murder)
    murderer.start()
    try:
        with pytest.raises(SandboxUnavailableError, match="3 Ray actors in turn died"):
            two_actors.run("import time; time.sleep(30)", limits=Limits(timeout_s=60))
    finally:
        over.set()
        murderer.join()
    assert two_actors.judge(RIGHT, TESTS).correct


def test_a_pool_that_does_not_fit_is_refused(two_actors: RayPool) -> None:
    with pytest.raises(ConfigError, match="3 CPUs"):
        RayPool(2, workers=2)
    with pytest.raises(ConfigError, match="at least one"):
        RayPool(0)


def process_of(actor: Any) -> int:
    return int(ray.get(actor.__ray_call__.remote(lambda self: os.getpid())))
