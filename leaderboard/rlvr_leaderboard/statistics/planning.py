"""How many items and runs an evaluation needs, and what it can tell apart. Miller 2024, arXiv:2411.00640, section 5."""

from __future__ import annotations

import math
from typing import NamedTuple

from rlvr.errors import ConfigError
from rlvr_leaderboard.statistics.checks import ItemScores, finite, run_lists, share, whole
from rlvr_leaderboard.statistics.special import normal_quantile


class Variances(NamedTuple):
    """What the score of one run of a random item varies by."""

    between: float
    """Between items: the variance of their true means."""
    within: float
    """Within an item: the mean variance of its runs."""


def minimum_detectable_difference(
    n: int,
    between: float,
    within_a: float = 0.0,
    runs_a: int = 1,
    within_b: float | None = None,
    runs_b: int | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """The smallest true difference that a paired test on n items finds with probability `power` at level `alpha`.

    (z_{1-alpha/2} + z_power) sqrt((w^2 + s_A^2 / K_A + s_B^2 / K_B) / n): eq. 9 solved for the difference. `between` is w^2,
    the variance over items of the true difference; `within_*` is s^2, the mean variance of an item's runs, of which
    there are `runs_*`. B is like A where it is left out.
    """
    spread = _spread(between, within_a, runs_a, within_b, runs_b)
    return _reach(alpha, power) * math.sqrt(spread / whole("n", n, 1))


def required_items(
    difference: float,
    between: float,
    within_a: float = 0.0,
    runs_a: int = 1,
    within_b: float | None = None,
    runs_b: int | None = None,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """Items needed to find a true `difference`, rounded up: (z_{1-alpha/2} + z_power)^2 (w^2 + s_A^2/K_A + s_B^2/K_B) / d^2.

    Miller's examples: 3 points with w^2 = 1/9 and many runs take 969 items; with s^2 = 1/6 and one run 3,876.
    """
    if not finite("difference", difference) > 0:
        raise ConfigError(f"difference is {difference}; it must be above 0, like 0.03 for three points")
    spread = _spread(between, within_a, runs_a, within_b, runs_b)
    return max(1, math.ceil(_reach(alpha, power) ** 2 * spread / difference**2 - 1e-9))


def variances(scores: ItemScores) -> Variances:
    """Variance between and within items, estimated from items with at least two runs each (one-way random effects).

    Within: the mean of the unbiased variances of the runs. Between: the variance of the item means less within / K, not below 0.
    """
    runs = run_lists(scores)
    if len(runs) < 2 or any(len(item) < 2 for item in runs):
        raise ConfigError("variance between and within items needs two items with two runs each, at the least")
    means = [math.fsum(item) / len(item) for item in runs]
    within = [math.fsum((v - m) ** 2 for v in item) / (len(item) - 1) for item, m in zip(runs, means, strict=True)]
    mean = math.fsum(means) / len(means)
    total = math.fsum((m - mean) ** 2 for m in means) / (len(means) - 1)
    noise = math.fsum(v / len(item) for v, item in zip(within, runs, strict=True)) / len(runs)
    return Variances(max(0.0, total - noise), math.fsum(within) / len(within))


def _reach(alpha: float, power: float) -> float:
    return normal_quantile(1 - share("alpha", alpha) / 2) + normal_quantile(share("power", power))


def _spread(between: float, within_a: float, runs_a: int, within_b: float | None, runs_b: int | None) -> float:
    within_b = within_a if within_b is None else within_b
    runs_b = runs_a if runs_b is None else runs_b
    values = {"between": between, "within_a": within_a, "within_b": within_b}
    for name, value in values.items():
        if finite(name, value) < 0:
            raise ConfigError(f"{name} is {value}; a variance cannot be negative")
    return between + within_a / whole("runs_a", runs_a, 1) + within_b / whole("runs_b", runs_b, 1)
