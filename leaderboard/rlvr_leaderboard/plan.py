"""What an evaluation will run: environments, items and runs, all fixed before the first token."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import rlvr
from rlvr.config import parse_words
from rlvr.errors import ConfigError
from rlvr.streams import split_named
from rlvr.task import Task

DEFAULT_ITEMS = 100
FEW_ITEMS, FEW_ITEM_RUNS, RUNS = 60, 32, 8
"""A set of 60 items or fewer gets 32 runs an item, a larger one 8: small sets move by 5 to 15 points with the seed."""

SUITES: dict[str, tuple[str, ...]] = {
    "quick": ("math/arithmetic-v0", "text/sort-v0", "text/count-v0"),
    "core": (
        "math/arithmetic-v0",
        "math/word-problem-v0",
        "math/linear-system-v0",
        "math/polynomial-roots-v0",
        "math/integral-v0",
        "text/constraints-v0",
        "text/json-v0",
        "text/sort-v0",
        "game/bagels-v0",
        "game/minesweeper-v0",
    ),
}
"""Named lists of environments. All are procedural: they need no download, and fresh items can be drawn to check a claim."""


@dataclass(frozen=True)
class EnvironmentPlan:
    """One environment of an evaluation."""

    name: str
    """Its id, with the knobs that differ from their defaults: two levels of one environment are two entries."""
    id: str
    knobs: dict[str, Any]
    split: str
    k: int
    tasks: list[Task] = field(repr=False)


def plan(
    envs: str | Sequence[str | Mapping[str, Any]],
    *,
    n: int | None = None,
    k: int | None = None,
    seed: int = 0,
    split: str = "eval",
) -> list[EnvironmentPlan]:
    """The environments with their items. Each entry is an id, `ID:knob=value,...` (`level` is allowed), a suite, or a mapping.

    A mapping has `id` and may have `n`, `k`, `split`, `level` and `knobs`. `n` items are drawn (default: all rows of a data
    set, 100 of a generator); an item that is drawn twice is kept once. Raises ConfigError for what does not exist.
    """
    entries = [envs] if isinstance(envs, str) else list(envs)
    chosen: list[Mapping[str, Any]] = []
    for entry in entries:
        if isinstance(entry, Mapping):
            chosen.append(entry)
        else:
            chosen += [_parse(word) for part in _split(entry) for word in SUITES.get(part, (part,))]
    if not chosen:
        raise ConfigError(
            "no environment was named; give ids such as math/arithmetic-v0, or a suite: " + ", ".join(SUITES)
        )
    plans: dict[str, EnvironmentPlan] = {}
    for entry in chosen:
        made = _plan_one({"n": n, "k": k, "split": split, **entry}, seed)
        if made.name in plans:
            raise ConfigError(f"{made.name} is named twice; one entry would overwrite the other in the record")
        plans[made.name] = made
    return list(plans.values())


def environment_name(env_id: str, knobs: Mapping[str, Any]) -> str:
    """An environment's name in a record: its id and what differs from its defaults."""
    defaults = rlvr.spec(env_id).knobs
    changed = [f"{name}={value}" for name, value in sorted(knobs.items()) if value != defaults.get(name)]
    return f"{env_id}:{','.join(changed)}" if changed else env_id


def default_runs(num_items: int) -> int:
    """Runs an item where nobody said otherwise."""
    return FEW_ITEM_RUNS if num_items <= FEW_ITEMS else RUNS


def _plan_one(entry: Mapping[str, Any], seed: int) -> EnvironmentPlan:
    known = {"id", "n", "k", "split", "level", "knobs"}
    if unknown := set(entry) - known:
        raise ConfigError(f"an environment's entry has {sorted(unknown)}; it may have {sorted(known)}")
    spec = rlvr.spec(entry["id"])
    home = split_named(entry["split"], where=spec.id)
    knobs = spec.resolve_knobs(entry.get("level"), entry.get("knobs") or {})
    wanted, k = entry["n"], entry["k"]
    for name, value in (("n", wanted), ("k", k)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f"{spec.id}: {name} is {value!r}; it must be a whole number of at least 1")
    held = spec.count(home, knobs)
    count = wanted or held or DEFAULT_ITEMS
    if held is not None and count > held:
        raise ConfigError(f"{spec.id} has {held} items in the split {home!r}; n={count} would repeat some")
    tasks: dict[str, Task] = {}
    draws = count if held is not None else 3 * count
    for index in range(draws):
        task = spec.task(index, split=home, seed=seed, knobs=knobs)
        tasks.setdefault(task.id, task)
        if len(tasks) == count:
            break
    runs = k if k is not None else default_runs(len(tasks))
    return EnvironmentPlan(environment_name(spec.id, knobs), spec.id, knobs, home, runs, list(tasks.values()))


def _split(entry: str) -> list[str]:
    """A list of ids separated by commas; commas between knobs stay."""
    return [part for part in re.split(r",(?=[^,=]*(?:/|$))(?![^,/]*=)", entry.strip()) if part]


def _parse(word: str) -> dict[str, Any]:
    env_id, _, settings = word.partition(":")
    if "/" not in env_id and word not in SUITES:
        raise ConfigError(
            f"{word!r} is neither an environment's id nor a suite. Ids look like namespace/name-vN (`rlvr envs list`); "
            f"suites are {', '.join(SUITES)}."
        )
    knobs = parse_words([part for part in settings.split(",") if part])
    level = knobs.pop("level", None)
    return {"id": env_id, "knobs": knobs, "level": level}
