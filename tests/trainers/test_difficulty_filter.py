"""A run leaves out what `rlvr envs difficulty` found too easy or too hard, and starts where it said."""

from __future__ import annotations

import json

import pytest

import rlvr
from rlvr import registry
from rlvr.errors import ConfigError
from rlvr_trainers.difficulty_filter import FORMAT
from rlvr_trainers.sampler import EnvConfig, TaskSampler


@pytest.fixture(autouse=True)
def rows():
    made = [{"q": f"row {i}", "answer": "", "split": "train" if i < 10 else "test"} for i in range(12)]
    rlvr.register("test/filtered-v0", rows=made, prompt="{q}", split="split")
    yield
    registry._specs.pop("test/filtered-v0")


@pytest.fixture
def write(tmp_path):
    def write(env_id, drop, level=None, **more):
        path = tmp_path / "filter.json"
        path.write_text(json.dumps({"format": FORMAT, "env_id": env_id, "drop": drop, "level": level, **more}))
        return str(path)

    return write


def draws(env: EnvConfig, count: int) -> list[rlvr.Task]:
    return TaskSampler([env], seed=0).draw(count, step=0)


def test_rows_that_are_named_never_come_up(write):
    drop = [task.key for task in rlvr.tasks("test/filtered-v0", n=4)]
    drawn = draws(EnvConfig("test/filtered-v0", filter=write("test/filtered-v0", drop)), 60)
    assert len({task.key for task in drawn}) == 6
    assert not {task.key for task in drawn} & set(drop)


def test_a_generator_goes_past_the_tasks_that_are_named_and_starts_at_the_level_found(write):
    plain = draws(EnvConfig("math/arithmetic-v0", level=2), 8)
    filtered = draws(EnvConfig("math/arithmetic-v0", filter=write("math/arithmetic-v0", [plain[1].key], level=2)), 7)
    assert [task.key for task in filtered] == [task.key for task in plain if task.key != plain[1].key]
    own_level = draws(EnvConfig("math/arithmetic-v0", level=1, filter=write("math/arithmetic-v0", [], level=2)), 1)[0]
    assert own_level.knobs == rlvr.tasks("math/arithmetic-v0", n=1, level=1)[0].knobs


def test_a_filter_that_is_none_or_leaves_nothing_is_an_error_that_says_so(write, tmp_path):
    everything = write("test/filtered-v0", [task.key for task in rlvr.tasks("test/filtered-v0")])
    with pytest.raises(ConfigError, match="all 10"):
        draws(EnvConfig("test/filtered-v0", filter=everything), 1)
    with pytest.raises(ConfigError, match="measured on math/gcd-lcm-v0"):
        draws(EnvConfig("test/filtered-v0", filter=write("math/gcd-lcm-v0", [])), 1)
    with pytest.raises(ConfigError, match="rlvr envs difficulty"):
        draws(EnvConfig("test/filtered-v0", filter=str(tmp_path / "none.json")), 1)
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ConfigError, match="no file of"):
        draws(EnvConfig("test/filtered-v0", filter=str(tmp_path / "other.json")), 1)
