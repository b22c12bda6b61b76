"""Two local Ray workers give the Scores that the local pool gives, and a killed one costs nothing but time."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

import rlvr
from rlvr.errors import ConfigError, EnvironmentFault

ray = pytest.importorskip("ray", reason="Ray is not installed here; pip install rlvr[ray]")
pytestmark = pytest.mark.slow


@rlvr.register("raytest/moody-v0")
def moody(rng: random.Random) -> rlvr.Task:
    return rlvr.Task(f"Say {rng.randint(0, 10**9)}", answer="yes")


@moody.verifier
def judge(task: rlvr.Task, text: str) -> rlvr.Score:
    import os
    import time

    if text == "hang":
        time.sleep(60)
    if text == "slow":
        time.sleep(0.3)
        return rlvr.Score(1.0)
    if text == "die":
        os._exit(3)
    if text == "raise":
        raise KeyError("missing")
    return rlvr.Score(float(text == task.answer), {"length": float(len(text))}, "checked")


@rlvr.register("raytest/count-v0", max_turns=4)
class Count:
    """Say the numbers in order."""

    def start(self, rng: random.Random) -> rlvr.Task:
        self.first = rng.randint(0, 9)
        return rlvr.Task(f"Count from {self.first}")

    def turn(self, text: str) -> str | rlvr.Score:
        self.first += 1
        return "go on" if text == str(self.first - 1) else rlvr.Score(0.0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    yield
    ray.shutdown()


class Watched(rlvr.RayScoringPool):
    """Remembers the actors it started."""

    def __init__(self, **settings: Any) -> None:
        self.actors: list[Any] = []
        super().__init__(**settings)

    def _start_worker(self) -> Any:
        worker = super()._start_worker()
        if worker._actor not in self.actors:
            self.actors.append(worker._actor)
        return worker


def kill_process(actor: Any) -> None:
    """As a machine that goes down: nobody is told."""
    os.kill(ray.get(actor.__ray_call__.remote(lambda self: os.getpid())), 9)


@pytest.fixture
def pool(cluster: None) -> Iterator[Watched]:
    with Watched(workers=2, timeout_s=1.0) as pool:
        yield pool


def test_two_ray_workers_give_the_scores_of_the_local_pool(pool: Watched) -> None:
    own = rlvr.tasks("raytest/moody-v0", n=30)  # registered in this file: it travels by value
    installed = rlvr.tasks("math/arithmetic-v0", n=30)
    tasks = own + installed
    texts = ["yes", "no", "raise", "die", "hang", "yes"] * 5 + [
        task.answer if i % 3 else "no number" for i, task in enumerate(installed)
    ]
    with rlvr.ScoringPool(workers=2, timeout_s=1.0) as local:
        expected = local.score(tasks, texts)
        scores = pool.score(tasks, texts)
        assert scores == expected
        assert (pool.num_scored, pool.num_faults, pool.num_timeouts) == (
            local.num_scored,
            local.num_faults,
            local.num_timeouts,
        )
    assert sum(score.correct for score in scores) == 10 + 20
    assert sum(score.timed_out for score in scores) == 5


def test_a_killed_actor_is_replaced_and_its_items_are_scored_again(pool: Watched) -> None:
    tasks = rlvr.tasks("raytest/moody-v0", n=12)
    futures = pool.submit_all(tasks, ["slow"] * 12)
    while not pool.actors:
        time.sleep(0.01)
    kill_process(pool.actors[0])
    scores = [future.result(timeout=120) for future in futures]
    assert all(score.correct for score in scores), scores
    assert pool.num_faults == 0
    assert len(pool.actors) == 3


def test_a_session_goes_on_after_its_actor_was_killed(pool: Watched) -> None:
    [task] = rlvr.tasks("raytest/count-v0", n=1)
    first = int(task.prompt.split()[-1])
    assert pool.turn(task, [str(first)]).result(60) == "go on"
    for actor in pool.actors:
        kill_process(actor)
    assert pool.turn(task, [str(first), str(first + 1)]).result(120) == "go on"
    assert pool.turn(task, [str(first), "wrong"]).result(60).reward == 0.0


def test_items_whose_machines_keep_dying_are_an_error_and_no_verdict(pool: Watched) -> None:
    [task] = rlvr.tasks("raytest/moody-v0", n=1)
    future = pool.submit(task, "hang")
    pool.timeout_s = 600.0
    killed = 0
    deadline = time.monotonic() + 120
    while not future.done():
        assert time.monotonic() < deadline
        for actor in pool.actors[killed:]:
            ray.kill(actor)
            killed += 1
        time.sleep(0.05)
    with pytest.raises(EnvironmentFault, match="machines were lost while raytest/moody-v0 was scored"):
        future.result()
    assert pool.num_scored == 0


def test_more_workers_than_the_cluster_has_cpus_are_refused_at_once(cluster: None) -> None:
    with pytest.raises(ConfigError, match="do not fit on a Ray cluster of 4 CPUs"):
        rlvr.RayScoringPool(workers=5)


def test_score_takes_ray_by_name(cluster: None) -> None:
    tasks = rlvr.tasks("math/arithmetic-v0", n=4)
    texts = [str(task.answer) for task in tasks]
    assert rlvr.score(tasks, texts, backend="ray") == rlvr.score(tasks, texts)
    with pytest.raises(ConfigError, match="'dask'"):
        rlvr.score(tasks, texts, backend="dask")  # type: ignore[arg-type]
