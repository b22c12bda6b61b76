"""A model of a few thousand weights and an environment it learns in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import rlvr
from rlvr import registry
from rlvr_trainers.tiny import build_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer of width 32 over the letters a to d, untrained."""
    return build_tiny_model(tmp_path_factory.mktemp("tiny") / "model", alphabet="abcd\n", layers=1, hidden=32, heads=2)


@pytest.fixture
def last_letter() -> Iterator[str]:
    """The id of an environment that shows four letters and wants to hear the last one first."""

    @rlvr.register("test/last-letter-v0")
    def last_letter_task(rng):
        letters = "".join(rng.choice("abcd") for _ in range(4))
        return rlvr.Task(letters, answer=letters[-1])

    @last_letter_task.verifier
    def check(task, text):
        return rlvr.Score(float(text.startswith(task.answer)), parts={"short": float(len(text) < 3)})

    yield "test/last-letter-v0"
    registry._specs.pop("test/last-letter-v0")


@pytest.fixture
def say_b() -> Iterator[str]:
    """The id of an environment that wants to hear b first, whatever it shows: nothing but the reward tells."""

    @rlvr.register("test/say-b-v0")
    def say_b_task(rng):
        return rlvr.Task("".join(rng.choice("abcd") for _ in range(4)))

    @say_b_task.verifier
    def check(task, text):
        return rlvr.Score(float(text.startswith("b")))

    yield "test/say-b-v0"
    registry._specs.pop("test/say-b-v0")


@pytest.fixture
def even_length() -> Iterator[str]:
    """The id of an environment that pays for answers of an even length: even an untrained model has some right."""

    @rlvr.register("test/even-length-v0")
    def even_length_task(rng):
        return rlvr.Task("".join(rng.choice("abcd") for _ in range(4)))

    @even_length_task.verifier
    def check(task, text):
        return rlvr.Score(float(len(text) % 2 == 0))

    yield "test/even-length-v0"
    registry._specs.pop("test/even-length-v0")
