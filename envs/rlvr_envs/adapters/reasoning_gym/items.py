"""Items of reasoning-gym, made one at a time and kept for the answers of a group."""

from __future__ import annotations

import functools
from typing import Any

import reasoning_gym

LARGEST_INDEX = 1 << 20
"""Items are numbered; a task's stream draws a number below this."""


@functools.cache
def dataset(name: str) -> Any:
    """The reasoning-gym data set with its default settings; items are made when they are asked for."""
    return reasoning_gym.create_dataset(name, size=LARGEST_INDEX, seed=0)


@functools.lru_cache(256)
def item(name: str, index: int) -> dict[str, Any]:
    """One question with its answer and metadata; kept, because a group of answers is scored against the same one."""
    return dict(dataset(name)[index])
