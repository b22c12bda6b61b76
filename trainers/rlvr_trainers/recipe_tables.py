"""A stage's settings as a recipe, so that the config of any run folder can be run again."""

from __future__ import annotations

from dataclasses import make_dataclass
from typing import Any

from rlvr.config import to_toml


def recipe_toml(**stages: Any) -> str:
    """TOML with one table a stage: `recipe_toml(grpo=config)` opens with `[grpo]`. `rlvr train` runs it."""
    return to_toml(make_dataclass("Stages", list(stages))(**stages))
