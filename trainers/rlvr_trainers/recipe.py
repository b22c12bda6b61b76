"""A recipe: stages of training in one TOML file, each starting from the model that the one before made.

    out = "runs/quickstart"            # settings above the tables hold for every stage that has them
    env = "math/arithmetic-v0"

    [build]                            # a small model from nothing
    [sft]                              # worked solutions
    [grpo]                             # and reinforcement learning; or [ppo]

The last stage writes to `out` itself, those before it to folders in it, and `out/recipe.toml` holds the whole recipe.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import Any

from rlvr.config import from_dict, parse_words, read_toml, to_dict, to_toml
from rlvr.errors import ConfigError
from rlvr_trainers.checkpoint import list_checkpoints
from rlvr_trainers.distributed import open_ranks
from rlvr_trainers.starting import progress_of, with_model_folders
from rlvr_trainers.thinking import chat_template
from rlvr_trainers.tiny import ASCII, build_tiny_model

SHARED = ("out", "model", "env", "level", "knobs", "envs", "seed", "trackers")
"""What may stand above the tables."""
STAGES = {
    "sft": ("sft", "SFTConfig", "train_sft"),
    "rft": ("rft", "RFTConfig", "train_rft"),
    "reward_model": ("reward_model", "RewardModelConfig", "train_reward_model"),
    "dpo": ("dpo", "DPOConfig", "train_dpo"),
    "grpo": ("grpo", "GRPOConfig", "train_grpo"),
    "ppo": ("ppo", "PPOConfig", "train_ppo"),
}
"""Stage to its module, config and function, in the order in which stages run; `build` comes before all of them."""
JUDGED = ("grpo", "ppo")
"""Stages that a reward model made before them judges in."""


@dataclass(frozen=True)
class BuildConfig:
    """A small model from nothing; see `build_tiny_model`."""

    alphabet: str = ASCII
    """Characters that get a token of their own."""
    layers: int = 2
    """Transformer blocks."""
    hidden: int = 128
    """Width."""
    heads: int = 4
    """Attention heads."""
    feed_forward: int | None = None
    """Width of the inner layer; None takes four times the width."""
    max_length: int = 1024
    """Longest sequence in tokens."""
    chat_template: str = ""
    """How a chat is written: Jinja text, or a name of `thinking.CHAT_TEMPLATES`; empty for the plain format."""
    seed: int = 0
    """Names the weights."""

    def __post_init__(self) -> None:
        if self.chat_template:
            chat_template(self.chat_template)


@dataclass(frozen=True)
class Stage:
    """One stage, ready to run."""

    name: str
    """`build`, or a name of STAGES."""
    config: Any
    """Its settings, with `out` filled in; `model` is still empty where an earlier stage makes it."""


@dataclass(frozen=True)
class Recipe:
    """Stages in order."""

    out: Path
    """Where everything goes."""
    stages: tuple[Stage, ...]
    """At least one."""
    toml: str
    """The recipe with every setting written out; it runs again."""


def load_recipe(path: str | Path, words: Sequence[str] = ()) -> Recipe:
    """Read a recipe and put `key=value` words on top. Raises ConfigError for what does not fit, before anything runs."""
    values = read_toml(path)
    given = parse_words(words)
    for name, value in given.items():
        if isinstance(value, Mapping) and isinstance(values.get(name), Mapping):
            values[name] = {**values[name], **value}
        else:
            values[name] = value
    tables = [name for name in ("build", *STAGES) if name in values]
    if not tables or tables == ["build"]:
        raise ConfigError(f"{path} trains nothing; it needs a table such as [grpo], with the settings of that stage")
    for name in values:
        if name not in SHARED and name not in tables:
            holders = [f"{table}.{name}" for table in tables if name in _settings(table)]
            hint = f"write {' or '.join(holders)}" if holders else f"above the tables stand {', '.join(SHARED)}"
            raise ConfigError(
                f"{path}: {name!r} is no setting of a whole recipe; {hint}. Stages: build, {', '.join(STAGES)}"
            )
    out = Path(values.get("out", f"runs/{Path(path).stem}"))
    stages: list[Stage] = []
    for table in tables:
        shared = {name: value for name, value in values.items() if name in SHARED and name in _settings(table)}
        own = {name: value for name, value in values[table].items() if name not in given or name not in SHARED}
        if own.get("env") or own.get("envs"):
            for name in ("env", "envs", "level", "knobs"):
                shared.pop(name, None)
        if _makes_policy(stages):
            shared.pop("model", None)
        config = from_dict(_config_class(table), {**shared, **own}, where=f"{path}: [{table}]")
        if table != "build":
            config = with_model_folders(replace(config, out=str(out if table == tables[-1] else out / table)))
        stages.append(Stage(table, config))
    if tables[0] != "build" and not stages[0].config.model:
        raise ConfigError(f"{path}: set model = a folder or hub name to start from, or add a [build] table")
    return Recipe(out, tuple(stages), _written_out(out, stages))


def run_recipe(recipe: Recipe, *, resume: bool = False, quiet: bool = False) -> Any:
    """Run the stages that are left and return what the last one returned.

    With `resume`, finished stages are skipped, and an interrupted one goes on from its last checkpoint, or starts again if
    it has none.
    """
    ranks = open_ranks()
    ranks.on_main(lambda: _begin(recipe, resume=resume))
    model, reward_model, result = "", "", None
    for stage in recipe.stages:
        if stage.name == "build":
            model = ranks.on_main(lambda stage=stage: str(_build(stage.config, recipe.out / "model")))  # type: ignore[misc]
            continue
        config = replace(stage.config, model=model) if model else stage.config
        if reward_model and stage.name in JUDGED and not config.reward_model:
            config = replace(config, reward_model=reward_model)
        folder, last = Path(config.out), stage is recipe.stages[-1]
        done = list_checkpoints(folder / "checkpoints") if resume else []
        if done and not last and (_finished(stage, done[-1]) or _begun(recipe, after=stage)):
            made = str(done[-1])
        else:
            ranks.barrier()  # all have looked
            if resume and not done and ranks.main:
                _clear(folder)
            result = _function(stage.name)(config, resume=bool(done), quiet=quiet)
            made = str(getattr(result, "model", result))
        if stage.name == "reward_model":
            reward_model = made  # it judges what comes after; the policy is still the one before
        else:
            model = made
    return result


def _begin(recipe: Recipe, *, resume: bool) -> None:
    recipe.out.mkdir(parents=True, exist_ok=True)
    if not resume and (recipe.out / "recipe.toml").exists():
        raise ConfigError(
            f"{str(recipe.out)!r} holds a run already; give another out=, remove the folder, or go on: "
            f"rlvr train --resume {recipe.out}"
        )
    (recipe.out / "recipe.toml").write_text(recipe.toml, "utf-8")


def sampling_stage(path: Path) -> str:
    """The last stage of a recipe that samples, and may train on stored rollouts instead. Raises ConfigError if none does."""
    values = read_toml(path)
    for name in reversed(STAGES):
        if name in values and "replay" in _settings(name):
            return name
    raise ConfigError(f"{path} has no [grpo] or [ppo] table, so it samples nothing that a replay could stand in for")


def recipe_of_run(run: Path) -> Path:
    """The recipe that a run folder was made from. Raises ConfigError if it holds none."""
    for name in ("recipe.toml", "config.toml"):
        if (run / name).exists():
            return run / name
    raise ConfigError(
        f"{str(run)!r} holds no recipe.toml or config.toml, so it is no run to resume; give the `out` of a run"
    )


def _build(config: BuildConfig, folder: Path) -> Path:
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    values["chat_template"] = chat_template(config.chat_template) if config.chat_template else None
    return build_tiny_model(folder, **values)


def _finished(stage: Stage, checkpoint: Path) -> bool:
    """True if the stage had nothing left to do when it wrote this checkpoint."""
    step, ended = progress_of(checkpoint)
    return bool(ended) or step >= (stage.config.rounds if stage.name == "rft" else stage.config.steps)


def _begun(recipe: Recipe, *, after: Stage) -> bool:
    """True if a later stage has a checkpoint, which stands on the weights that this one ended with."""
    later = recipe.stages[recipe.stages.index(after) + 1 :]
    return any(list_checkpoints(Path(stage.config.out) / "checkpoints") for stage in later)


def _clear(folder: Path) -> None:
    """Remove what a stage that has no checkpoint yet left behind; folders of other stages stay."""
    for path in (*(folder / name for name in ("checkpoints", "rollouts", "eval")), *folder.glob("round-*")):
        shutil.rmtree(path, ignore_errors=True)
    for name in ("config.toml", "metrics.jsonl"):
        (folder / name).unlink(missing_ok=True)


def _config_class(table: str) -> type[Any]:
    if table == "build":
        return BuildConfig
    module, name, _ = STAGES[table]
    found: type[Any] = getattr(importlib.import_module(f"rlvr_trainers.{module}"), name)
    return found


def _function(table: str) -> Callable[..., Any]:
    module, _, name = STAGES[table]
    found: Callable[..., Any] = getattr(importlib.import_module(f"rlvr_trainers.{module}"), name)
    return found


def _settings(table: str) -> set[str]:
    return {field.name for field in fields(_config_class(table))}


def _makes_policy(stages: Sequence[Stage]) -> bool:
    """True if one of the stages makes the model that the next one starts from."""
    return any(stage.name != "reward_model" for stage in stages)


def _written_out(out: Path, stages: Sequence[Stage]) -> str:
    """Every stage with all its settings; `out`, and the models that stages make, are left to be filled in again."""
    tables: dict[str, Any] = {"out": str(out)}
    for number, stage in enumerate(stages):
        derived = {"out", "model"} if _makes_policy(stages[:number]) else {"out"}
        tables[stage.name] = {name: value for name, value in to_dict(stage.config).items() if name not in derived}
    return to_toml(make_dataclass("Tables", list(tables))(**tables))
