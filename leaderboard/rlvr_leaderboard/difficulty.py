"""`rlvr envs difficulty`: how often a model is right, level by level, and a file by which a run leaves the rest out.

A level that a model always or never gets right teaches it nothing: all answers of a group earn the same. The file names the
level to start from and the tasks to leave out; a training run reads it through `filter` of its environment.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

import rlvr
from rlvr.config import parse_words
from rlvr.errors import ConfigError
from rlvr.generation.engine import Engine, Sampling
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool
from rlvr.spec import Knobs
from rlvr.task import Task
from rlvr_leaderboard.models import ENGINES, open_model
from rlvr_leaderboard.statistics import mean_interval
from rlvr_leaderboard.tables import columns

FORMAT = "rlvr-difficulty-1"


@dataclass(frozen=True)
class LevelDifficulty:
    """How a model fared on some tasks of one level."""

    level: int | None
    """None for an environment without levels."""
    knobs: Knobs
    """What the level's tasks were made with."""
    rates: Mapping[str, float]
    """Share of right answers by the task's key; tasks without any verdict are left out."""
    mean: float
    """Mean of the rates."""
    low: float
    """Lower end of the 95 % interval, over tasks."""
    high: float
    """Upper end."""
    useful: float
    """Share of tasks whose answers were neither all right nor all wrong: those that GRPO learns from."""


def measure(
    engine: Engine,
    env_id: str,
    levels: Sequence[int | None],
    *,
    n: int,
    k: int,
    pool: ScoringPool,
    sampling: Sampling,
    split: str = "train",
    seed: int = 0,
    knobs: Mapping[str, Any] | None = None,
) -> list[LevelDifficulty]:
    """`k` answers to each of the first `n` tasks of every level. Raises ConfigError if a data set has fewer than `n` rows."""
    return [
        _measured(engine, level, made, k=k, pool=pool, sampling=sampling, seed=seed)
        for level, made in tasks_by_level(env_id, levels, n=n, split=split, seed=seed, knobs=knobs).items()
    ]


def tasks_by_level(
    env_id: str,
    levels: Sequence[int | None],
    *,
    n: int,
    split: str = "train",
    seed: int = 0,
    knobs: Mapping[str, Any] | None = None,
) -> dict[int | None, list[Task]]:
    """The tasks that are measured."""
    return {level: rlvr.tasks(env_id, split, n, seed, level=level, **(knobs or {})) for level in levels}


def _measured(
    engine: Engine,
    level: int | None,
    tasks: Sequence[Task],
    *,
    k: int,
    pool: ScoringPool,
    sampling: Sampling,
    seed: int,
) -> LevelDifficulty:
    scores: dict[str, list[float]] = {}
    for group in rollout(engine, tasks, group_size=k, sampling=sampling, pool=pool, seed=seed):
        judged = [float(t.score.correct) for t in group if t.score is not None and t.score.error is None]
        if judged:
            scores.setdefault(group[0].task.key, []).extend(judged)
    if not scores:
        raise ConfigError(f"{tasks[0].env_id}: not one answer got a verdict; `rlvr audit {tasks[0].env_id}` says more")
    rates = {key: sum(values) / len(values) for key, values in scores.items()}
    interval = mean_interval(list(scores.values()))
    return LevelDifficulty(
        level=level,
        knobs=dict(tasks[0].knobs),
        rates=rates,
        mean=sum(rates.values()) / len(rates),
        low=interval.low,
        high=interval.high,
        useful=sum(0.0 < rate < 1.0 for rate in rates.values()) / len(rates),
    )


def filter_of(
    env_id: str, model: str, found: Sequence[LevelDifficulty], *, k: int, above: float, below: float
) -> dict[str, Any]:
    """What the file holds: tasks to leave out, because their rate is not between `above` and `below`, and a level to start from.

    The level is the one with the largest share of tasks that are not left out; of equals the easier one.
    """
    kept = [sum(above < rate < below for rate in level.rates.values()) / len(level.rates) for level in found]
    start = found[kept.index(max(kept))]
    drop = sorted(key for level in found for key, rate in level.rates.items() if not above < rate < below)
    return {
        "format": FORMAT,
        "env_id": env_id,
        "model": model,
        "answers_a_task": k,
        "above": above,
        "below": below,
        "level": start.level,
        "drop": drop,
        "levels": [
            {"level": f.level, "knobs": f.knobs, "tasks": len(f.rates), "mean": f.mean, "low": f.low, "high": f.high}
            | {"useful": f.useful, "kept": share}
            for f, share in zip(found, kept, strict=True)
        ],
    }


def difficulty_table(facts: Mapping[str, Any]) -> str:
    """A line a level, for a terminal."""
    rows = [
        [
            "all" if level["level"] is None else str(level["level"]),
            f"{100 * level['mean']:.1f}",
            f"{100 * level['low']:.1f} to {100 * level['high']:.1f}",
            f"{100 * level['useful']:.0f}",
            str(level["tasks"]),
            ", ".join(f"{name}={value!r}" for name, value in level["knobs"].items()),
        ]
        for level in facts["levels"]
    ]
    return columns(["level", "right %", "95 % interval", "mixed %", "tasks", "knobs"], rows)


def difficulty(
    env_id: str,
    words: Annotated[list[str] | None, typer.Argument(metavar="[KNOB=VALUE]...", help="Knobs.")] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="What `rlvr eval` takes: a folder, a name, an address.")
    ] = "",
    engine: Annotated[str, typer.Option(help=f"One of {', '.join(ENGINES)}.")] = "auto",
    levels: Annotated[str, typer.Option(help="Levels, such as 0,1,2. Default: all.")] = "",
    n: Annotated[int, typer.Option("--n", "-n", help="Tasks a level.")] = 50,
    k: Annotated[int, typer.Option("--k", "-k", help="Answers a task.")] = 4,
    split: Annotated[str, typer.Option(help="train or eval.")] = "train",
    seed: Annotated[int, typer.Option(help="Of the task stream; a run's own seed measures the tasks it will see.")] = 0,
    above: Annotated[float, typer.Option(help="Leave out tasks that are right this often or less.")] = 0.0,
    below: Annotated[float, typer.Option(help="Leave out tasks that are right this often or more.")] = 1.0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the filter file here.")] = None,
    temperature: float = 1.0,
    max_tokens: int = 1024,
    workers: Annotated[int, typer.Option(help="Processes that judge answers.")] = 2,
    timeout_s: Annotated[float, typer.Option("--timeout-s", help="Seconds a verdict may take.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how often a model is right at each level, and write the file that a run's `filter` reads.

    Example: rlvr envs difficulty math/arithmetic-v0 --model runs/quickstart --levels 0,1,2 -o filter.json
    """
    if not model:
        raise ConfigError("which model? give --model a folder, a name or an address, as for `rlvr eval`")
    if not 0.0 <= above < below <= 1.0:
        raise ConfigError(f"above is {above} and below is {below}; it needs 0 <= above < below <= 1")
    if n < 1 or k < 1:
        raise ConfigError(f"n is {n} and k is {k}; both must be 1 or more")
    spec, knobs = rlvr.spec(env_id), parse_words(words or [])
    chosen = _levels(env_id, levels, len(spec.levels))
    tasks = tasks_by_level(env_id, chosen, n=n, split=split, seed=seed, knobs=knobs)
    opened = open_model(model, engine, [task for made in tasks.values() for task in made])
    found = []
    with ScoringPool(workers, timeout_s) as pool:
        sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
        for level in chosen:
            found.append(_measured(opened.engine, level, tasks[level], k=k, pool=pool, sampling=sampling, seed=seed))
            print(f"level {level}: {100 * found[-1].mean:.1f} % right", file=sys.stderr)
    facts = filter_of(env_id, opened.name, found, k=k, above=above, below=below)
    if out is not None:
        out.write_text(json.dumps(facts, indent=1), "utf-8")
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    print(difficulty_table(facts))
    measured = sum(level["tasks"] for level in facts["levels"])
    print(f"{len(facts['drop'])} of {measured} tasks would be left out; start from level {facts['level']}")
    if out is not None:
        print(f"filter: {out}")


def _levels(env_id: str, asked: str, count: int) -> list[int | None]:
    if not asked:
        return list(range(count)) or [None]
    try:
        levels = [int(part) for part in asked.split(",")]
    except ValueError as fault:
        raise ConfigError(f"levels is {asked!r}; write numbers such as 0,1,2") from fault
    if any(not 0 <= level < count for level in levels):
        raise ConfigError(f"{env_id} has {count} levels, from 0; levels is {asked!r}")
    return list(dict.fromkeys(levels))
