"""The five-letter words of the word games: a list of our own choosing."""

from __future__ import annotations

import functools
import importlib.resources


@functools.cache
def words() -> tuple[str, ...]:
    """The words, sorted."""
    return tuple(sorted(importlib.resources.files(__package__).joinpath("words.txt").read_text("utf-8").split()))
