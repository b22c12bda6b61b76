"""How often a model is right at each level, and the file that training reads."""

from __future__ import annotations

import json

import pytest

from rlvr.cli import run
from rlvr.generation.engine import Sampling
from rlvr.scoring import ScoringPool
from rlvr_leaderboard.difficulty import LevelDifficulty, filter_of, measure, tasks_by_level
from rlvr_leaderboard.models import open_model
from rlvr_trainers.sampler import EnvConfig, TaskSampler


def level(number: int, *rates: float) -> LevelDifficulty:
    mean = sum(rates) / len(rates)
    return LevelDifficulty(number, {}, {f"{number}/{i}": r for i, r in enumerate(rates)}, mean, 0.0, 1.0, 0.0)


def test_the_level_with_most_mixed_tasks_is_named_and_the_others_tasks_are_left_out():
    found = [level(0, 1.0, 1.0, 0.75), level(1, 0.5, 0.25, 1.0), level(2, 0.0, 0.0, 0.0)]
    facts = filter_of("a/b-v0", "m", found, k=4, above=0.0, below=1.0)
    assert facts["level"] == 1
    assert facts["drop"] == ["0/0", "0/1", "1/2", "2/0", "2/1", "2/2"]
    assert [row["kept"] for row in facts["levels"]] == [1 / 3, 2 / 3, 0.0]
    assert filter_of("a/b-v0", "m", found, k=4, above=0.3, below=0.8)["drop"].count("1/1") == 1


def test_a_scripted_model_is_measured_as_often_right_as_it_is():
    tasks = tasks_by_level("math/arithmetic-v0", [0, 3], n=60)
    engine = open_model("scripted:0.7", "auto", [task for made in tasks.values() for task in made]).engine
    with ScoringPool(2, 5.0) as pool:
        found = measure(engine, "math/arithmetic-v0", [0, 3], n=60, k=4, pool=pool, sampling=Sampling(max_tokens=2048))
    for row in found:
        assert abs(row.mean - 0.7) < 0.15
        assert row.low < row.mean < row.high
    assert found[0].knobs != found[1].knobs


def test_the_command_writes_a_file_that_a_run_reads(tmp_path, capsys):
    path = tmp_path / "filter.json"
    words = f"envs difficulty math/arithmetic-v0 --model scripted:0.5 --levels 0,2 -n 8 -k 4 -o {path} --json"
    assert run(words.split()) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == json.loads(path.read_text())
    assert [row["level"] for row in facts["levels"]] == [0, 2]
    drawn = TaskSampler([EnvConfig("math/arithmetic-v0", filter=str(path))], seed=0).draw(20, step=0)
    assert not {task.key for task in drawn} & set(facts["drop"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--model scripted:0.5 --levels 99", "levels, from 0"),
        ("--model scripted:0.5 --levels a", "numbers"),
        ("", "which model"),
        ("--model scripted:0.5 --above 0.9 --below 0.1", "above is 0.9"),
        ("--model scripted:0.5 -k 0", "k is 0"),
    ],
)
def test_what_cannot_be_measured_is_a_sentence(words, says, capsys):
    assert run(f"envs difficulty math/arithmetic-v0 {words}".split()) == 2
    assert says in capsys.readouterr().err
