"""Settings: TOML, overrides, types, and the way back."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from rlvr.config import from_dict, load_config, parse_words, to_toml
from rlvr.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Mix:
    env: str
    weight: float = 1.0
    knobs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Settings:
    model: str = "tiny"
    steps: int = 10
    learning_rate: float = 1e-3
    engine: Literal["auto", "vllm", "transformers"] = "auto"
    clip: tuple[float, float] = (0.2, 0.2)
    out: Path | None = None
    cap: int | float | None = None
    resume: bool = False
    envs: tuple[Mix, ...] = ()


def test_a_file_and_words_on_top(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('steps = 5\nlearning_rate = 1\n[[envs]]\nenv = "a/b-v0"\nknobs = {digits = 3}\n')
    config = load_config(path, ["steps=7", "model=org/name", "clip=[0.1, 0.3]", "cap=0.5", "out=x/y"], Settings)
    assert config == Settings(
        "org/name", 7, 1.0, clip=(0.1, 0.3), out=Path("x/y"), cap=0.5, envs=(Mix("a/b-v0", 1.0, {"digits": 3}),)
    )
    assert type(config.learning_rate) is float


def test_what_is_written_reads_back_equal(tmp_path):
    config = Settings(
        'a "b"\n\\ \x7f ü',
        3,
        float("inf"),
        "vllm",
        out=Path("p"),
        resume=True,
        envs=(Mix("a", 0.5, {"x": [1, "2"]}), Mix("b")),
    )
    path = tmp_path / "again.toml"
    path.write_text(to_toml(config), "utf-8")
    assert load_config(path, [], Settings) == config


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["step=7"], "did you mean 'steps'"),
        (["steps=7.5"], "steps is 7.5 .float.; it must be a whole number"),
        (["steps=true"], "must be a whole number"),
        (["learning_rate=fast"], "must be a number"),
        (["resume=1"], "true or false"),
        (["engine=vlm"], "Did you mean 'vllm'"),
        (["clip=[0.1]"], "a list of 2"),
        (["envs=[{weight = 1.0}]"], "env must be set"),
        (["steps"], "key=value"),
        (["steps.more=1", "steps=2", "steps.x=1"], "is a value, not a table"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(words, says):
    with pytest.raises(ConfigError, match=says):
        load_config(None, words, Settings)


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml", [], Settings)
    (tmp_path / "bad.toml").write_text("steps = = 1")
    with pytest.raises(ConfigError, match="is no TOML"):
        load_config(tmp_path / "bad.toml", [], Settings)


def test_words_become_values_and_text_needs_no_quotes():
    assert parse_words(["a=1", "b=math/x-v0", "c.d=[1, 2]", "e=true", 'f="1"']) == {
        "a": 1,
        "b": "math/x-v0",
        "c": {"d": [1, 2]},
        "e": True,
        "f": "1",
    }


def test_an_instance_is_taken_as_it_is():
    assert from_dict(Settings, {"envs": [Mix("a")]}, where="here").envs == (Mix("a"),)
