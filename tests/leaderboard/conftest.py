"""Records to test on, made once by real evaluations of the scripted engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import rlvr
from rlvr_leaderboard.evaluate import evaluate
from rlvr_leaderboard.record import Record

ENVS = ["math/arithmetic-v0", "text/sort-v0"]


@rlvr.register("leaderboard/fragile-v0", size=1000)
def fragile(rng, size):
    """A number to be repeated; its verifier cannot judge what begins with `break`."""
    number = rng.randrange(size)
    return rlvr.Task(f"Repeat {number}", answer=str(number))


@fragile.verifier
def check(task, text):
    if text.startswith("break"):
        raise OSError("the disk is gone")
    return rlvr.Score(1.0 if text == task.answer else 0.5 if text.isdigit() else 0.0, reason="compared")


@pytest.fixture(scope="session")
def records(tmp_path_factory) -> dict[str, Path]:
    """`weak` and `strong`: two models on the same 20 items of two environments, 4 runs each."""
    home = tmp_path_factory.mktemp("records")
    for name, model in {"weak": "scripted:0.3", "strong": "scripted:0.9"}.items():
        evaluate(model, ENVS, out=home / name, name=name, n=20, k=4, quiet=True)
    return {name: home / name for name in ("weak", "strong")}


@pytest.fixture
def weak(records, tmp_path) -> Record:
    """A copy of a record that a test may damage."""
    shutil.copytree(records["weak"], tmp_path / "weak")
    return Record(tmp_path / "weak")


@pytest.fixture
def strong(records, tmp_path) -> Record:
    """A copy of the other one."""
    shutil.copytree(records["strong"], tmp_path / "strong")
    return Record(tmp_path / "strong")
