"""The file that `rlvr envs difficulty` writes, as a training run reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rlvr.errors import ConfigError

FORMAT = "rlvr-difficulty-1"


@dataclass(frozen=True)
class DifficultyFilter:
    """What to leave out, and where to start."""

    drop: frozenset[str] = frozenset()
    """Keys of tasks that the measured model got right too seldom or too often."""
    level: int | None = None
    """The level with most tasks that are worth training on."""


def read_filter(path: str, env_id: str) -> DifficultyFilter:
    """The filter in a file. Raises ConfigError if it is none, or was measured on another environment."""
    try:
        facts = json.loads(Path(path).expanduser().read_text("utf-8"))
    except (OSError, ValueError) as fault:
        raise ConfigError(
            f"filter {path!r} of {env_id} cannot be read ({fault}); `rlvr envs difficulty {env_id} -o {path}` writes one"
        ) from fault
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ConfigError(f"filter {path!r} is no file of `rlvr envs difficulty` of this version; write it again")
    if facts["env_id"] != env_id:
        raise ConfigError(f"filter {path!r} was measured on {facts['env_id']}, not on {env_id}; measure this one too")
    return DifficultyFilter(frozenset(facts["drop"]), facts["level"])
