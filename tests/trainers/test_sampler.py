"""Which task comes next is a function of the seed and of the state."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

import rlvr
from rlvr import registry
from rlvr.errors import ConfigError
from rlvr_trainers.evaluation import eval_tasks
from rlvr_trainers.sampler import CURRICULUM_WINDOW, EnvConfig, TaskSampler, env_mix

LEVELS = [{"size": 2}, {"size": 4}, {"size": 6}]


@pytest.fixture(autouse=True)
def environments():
    @rlvr.register("test/levels-v0", size=2, levels=LEVELS)
    def levels(rng, size):
        return rlvr.Task(" ".join(str(rng.randrange(10**size)) for _ in range(3)))

    rlvr.register(
        "test/ten-rows-v0",
        rows=lambda: [{"q": f"row {i}", "answer": "", "split": "train" if i < 10 else "test"} for i in range(12)],
        prompt="{q}",
        split="split",
    )
    yield
    for name in ("test/levels-v0", "test/ten-rows-v0"):
        registry._specs.pop(name)


def sampler(*envs: EnvConfig, seed: int = 0) -> TaskSampler:
    return TaskSampler(envs, seed=seed)


def test_a_data_set_is_gone_through_once_an_epoch_in_another_order_each_time():
    rows = sampler(EnvConfig("test/ten-rows-v0"), seed=1)
    epochs = [[task.prompt for task in rows.draw(10, step=step)] for step in range(3)]
    assert all(len(set(epoch)) == 10 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_a_resumed_sampler_draws_what_the_other_would_have():
    envs = (EnvConfig("test/levels-v0", weight=2.0, curriculum=True), EnvConfig("test/ten-rows-v0", drop_solved=True))
    one = sampler(*envs, seed=5)
    for step in range(3):
        for task in one.draw(7, step=step):
            one.observe(task, 1.0 if task.env_id == "test/levels-v0" or task.prompt < "row 5" else 0.5)
    two = sampler(*envs, seed=5)
    two.load_state_dict(one.state_dict())
    assert [t.id for t in one.draw(20, step=9)] == [t.id for t in two.draw(20, step=9)]
    assert one.state_dict() == two.state_dict()


def test_weights_are_shares_of_the_prompts():
    mixed = sampler(EnvConfig("test/levels-v0", weight=3.0), EnvConfig("test/ten-rows-v0", weight=1.0))
    counts = Counter(task.env_id for step in range(20) for task in mixed.draw(50, step=step))
    assert counts["test/levels-v0"] / 1000 == pytest.approx(0.75, abs=0.05)


def test_solved_rows_are_left_out_until_none_is_left():
    rows = sampler(EnvConfig("test/ten-rows-v0", drop_solved=True))
    for task in rows.draw(10, step=0):
        rows.observe(task, 1.0 if task.prompt != "row 3" else 0.5)
    assert {task.prompt for task in rows.draw(4, step=1)} == {"row 3"}
    for task in rows.draw(1, step=2):
        rows.observe(task, 1.0)
    assert rows.metrics() == {"test/ten-rows-v0/solved": 10.0}
    assert rows.solved
    assert rows.draw(1, step=3) == []


def test_a_data_set_that_is_solved_leaves_its_share_to_the_rest_of_the_mix():
    mixed = sampler(EnvConfig("test/ten-rows-v0", weight=9.0, drop_solved=True), EnvConfig("test/levels-v0"))
    seen = mixed.draw(40, step=0)
    assert {task.env_id for task in seen} == {"test/ten-rows-v0", "test/levels-v0"}
    for task in seen:
        mixed.observe(task, 1.0)
    assert not mixed.solved
    assert {task.env_id for task in mixed.draw(40, step=1)} == {"test/levels-v0"}


def test_rewards_reach_the_level_they_were_earned_at_where_an_environment_stands_twice():
    low, high = (EnvConfig("test/levels-v0", level=level, curriculum=True) for level in (0, 1))
    twice = sampler(low, high)
    tasks = twice.draw(300, step=0)
    for task in tasks:
        twice.observe(task, 1.0 if task.knobs == {"size": 4} else 0.5)
    levels = [stream["level"] for stream in twice.state_dict()["streams"]]
    assert levels == [0, 2]


def test_a_curriculum_rises_after_a_good_window_and_falls_after_a_bad_one():
    climbing = sampler(EnvConfig("test/levels-v0", curriculum=True, promote_at=0.75, demote_at=0.25))

    def window(reward: float) -> float:
        for task in climbing.draw(CURRICULUM_WINDOW, step=0):
            climbing.observe(task, reward)
        return climbing.metrics()["test/levels-v0/level"]

    assert [window(reward) for reward in (0.5, 0.9, 1.0, 1.0, 0.5, 0.0)] == [0.0, 1.0, 2.0, 2.0, 2.0, 1.0]
    assert all(task.knobs == {"size": 4} for task in climbing.draw(3, step=1))


def test_a_curriculum_says_while_it_is_on_its_way_to_another_level():
    climbing = sampler(EnvConfig("test/levels-v0", level=1, curriculum=True, promote_at=0.75, demote_at=0.25))
    assert climbing.moving, "it has just begun"
    task, *_ = climbing.draw(1, step=0)
    said = []
    for reward in (1.0, 0.0, 0.0, 0.0):  # means 1, 0.5, 0.33, 0.25
        climbing.observe(task, reward)
        said.append(climbing.moving)
    assert said == [True, False, False, True]
    top = sampler(EnvConfig("test/levels-v0", level=2, curriculum=True))
    top.observe(top.draw(1, step=0)[0], 1.0)
    assert not top.moving, "there is no level above"


def test_what_cannot_be_sampled_is_refused():
    rows = EnvConfig("test/ten-rows-v0")
    with pytest.raises(ConfigError, match=r"prompts_per_step is 11 .* 10 training tasks"):
        sampler(rows).check(11)
    with pytest.raises(ConfigError, match=r"is 16, of which 12 are its share, .* 10 training tasks.* to 13 or fewer"):
        sampler(replace(rows, weight=3.0), EnvConfig("test/levels-v0")).check(16)
    sampler(replace(rows, weight=3.0), EnvConfig("test/levels-v0")).check(13)
    with pytest.raises(ConfigError, match="0 levels; a curriculum needs"):
        sampler(replace(rows, curriculum=True))
    with pytest.raises(ConfigError, match="drop_solved would never"):
        sampler(EnvConfig("test/levels-v0", drop_solved=True))
    with pytest.raises(ConfigError, match="weight"):
        EnvConfig("test/levels-v0", weight=0.0)
    with pytest.raises(ConfigError, match="both env"):
        env_mix("test/levels-v0", None, {}, (rows,))
    with pytest.raises(ConfigError, match="was trained on"):
        sampler(rows).load_state_dict(sampler(EnvConfig("test/levels-v0")).state_dict())


def test_a_run_is_evaluated_on_the_items_that_an_evaluation_asks():
    mix = (EnvConfig("math/arithmetic-v0", knobs={"terms": 2, "digits": 3}),)
    asked = [task.id for task in eval_tasks(mix, 40)]
    assert asked == [task.id for task in rlvr.tasks("math/arithmetic-v0", "eval", 40, terms=2, digits=3)]
