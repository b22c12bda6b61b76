"""What every function of this package asks of its arguments, and how scores per item are read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.errors import ConfigError

ItemScores = Mapping[str, float | Sequence[float]] | Sequence[float | Sequence[float]]
"""One entry an item: its score, or the scores of its runs. As a mapping the items have ids, and are matched by them."""


def plain(value: Any) -> Any:
    """An array as nested lists; anything else as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def whole(name: str, value: object, least: int = 0) -> int:
    """`value` as an int of at least `least`. Raises ConfigError; True and 3.5 are no counts."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ConfigError(f"{name} is {value!r} ({type(value).__name__}); it must be a whole number")
    number = int(value.__index__())
    if number < least:
        raise ConfigError(f"{name} is {number}; it must be at least {least}")
    return number


def finite(name: str, value: object) -> float:
    """`value` as a finite float. Raises ConfigError: a NaN would spread through every mean it touches."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as fault:
        raise ConfigError(f"{name} is {value!r}; it must be a number") from fault
    if not math.isfinite(number):
        raise ConfigError(f"{name} is {value!r}; it must be finite. Leave an item out if it has no score, and say so.")
    return number


def share(name: str, value: float) -> float:
    """A level strictly between 0 and 1, such as a confidence."""
    number = finite(name, value)
    if not 0.0 < number < 1.0:
        raise ConfigError(f"{name} is {value!r}; it must lie between 0 and 1, like 0.95")
    return number


def item_means(scores: ItemScores, name: str = "scores") -> list[float]:
    """Each item's mean over its runs, in order. Raises ConfigError if there is no item, or an item without a run."""
    entries = list(scores.items()) if isinstance(scores, Mapping) else list(enumerate(plain(scores)))
    if not entries:
        raise ConfigError(f"{name} holds no item, so there is nothing to average")
    means = []
    for item, given in entries:
        value = plain(given)
        if isinstance(value, Sequence) and not isinstance(value, str):
            if not value:
                raise ConfigError(
                    f"{name}: item {item!r} has no run; leave it out or run it. A missing run is not a 0."
                )
            means.append(math.fsum(finite(f"{name}[{item!r}]", run) for run in value) / len(value))
        else:
            means.append(finite(f"{name}[{item!r}]", value))
    return means


def run_lists(scores: ItemScores, name: str = "scores") -> list[list[float]]:
    """Each item's runs, in order; a bare score is one run."""
    item_means(scores, name)
    values = [plain(value) for value in (scores.values() if isinstance(scores, Mapping) else plain(scores))]
    return [[float(v) for v in value] if isinstance(value, Sequence) else [float(value)] for value in values]
