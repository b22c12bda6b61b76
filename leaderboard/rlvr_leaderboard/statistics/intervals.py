"""How far a mean over items can be trusted.

The unit is the item, never the single run: K runs of one item share its difficulty. Pooled as if they were independent,
nominal 95 % intervals cover 34 to 63 % (`bench/coverage.py`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from rlvr.errors import ConfigError
from rlvr_leaderboard.statistics.checks import ItemScores, finite, item_means, run_lists, share, whole
from rlvr_leaderboard.statistics.special import beta_quantile, normal_quantile, t_quantile

SMALL = 30
"""Below so many items with one run each, a pass rate gets the exact interval."""


class Interval(NamedTuple):
    """Two ends of a confidence interval."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A mean and how much it would move with other items."""

    mean: float
    standard_error: float
    num_items: int


def avg_at_k(scores: ItemScores, k: int | None = None, *, clusters: Sequence[Hashable] | None = None) -> Estimate:
    """avg@k: the mean over items of each item's mean over its runs, with its standard error over items or over clusters.

    With `k`, every item must have exactly k runs; a partial run is refused with ConfigError, not averaged in.
    """
    runs = run_lists(scores)
    if k is not None and any(len(item) != whole("k", k, 1) for item in runs):
        counts = sorted({len(item) for item in runs})
        raise ConfigError(
            f"avg@{k}: the items have {counts} runs; finish the runs, or leave k out to take what there is"
        )
    means = item_means(scores)
    error = standard_error(means) if clusters is None else clustered_standard_error(means, clusters)
    return Estimate(math.fsum(means) / len(means), error, len(means))


def standard_error(scores: ItemScores) -> float:
    """Standard error of the mean over items: sqrt(sum_i (m_i - m)^2 / (n - 1) / n), m_i the mean of item i's runs.

    Miller 2024, arXiv:2411.00640, section 2; equal to clustering runs by item. Raises ConfigError for a single item.
    """
    means = item_means(scores)
    n = len(means)
    if n < 2:
        raise ConfigError("one item has no spread, so its mean has no standard error; evaluate at least two items")
    mean = math.fsum(means) / n
    return math.sqrt(math.fsum((value - mean) ** 2 for value in means) / (n - 1) / n)


def clustered_standard_error(scores: ItemScores, clusters: Sequence[Hashable]) -> float:
    """The same where items come in clusters that share a passage or a template; `clusters` names each item's.

    SE^2 = C/(C-1) * sum_c (sum_{i in c} (m_i - m))^2 / n^2 with C clusters: Miller 2024, arXiv:2411.00640, eq. 4, with the
    small-sample factor of Liang and Zeger. Raises ConfigError for a single cluster.
    """
    means = item_means(scores)
    if len(clusters) != len(means):
        raise ConfigError(f"{len(means)} items and {len(clusters)} cluster names; give one for each item")
    mean = math.fsum(means) / len(means)
    sums: dict[Hashable, list[float]] = defaultdict(list)
    for name, value in zip(clusters, means, strict=True):
        sums[name].append(value - mean)
    count = len(sums)
    if count < 2:
        raise ConfigError("all items are in one cluster, so there is no spread between clusters; two are the least")
    return math.sqrt(count / (count - 1) * math.fsum(math.fsum(part) ** 2 for part in sums.values())) / len(means)


def run_standard_error(scores: ItemScores) -> float:
    """Standard error for these items only: how much the mean would move if the same items were run again.

    sqrt(sum_i v_i / K_i) / n with v_i the unbiased variance of item i's K_i runs; for passes and failures that is
    sqrt(sum_i p_i (1 - p_i) / (K - 1)) / n. Says nothing about other items. Raises ConfigError where an item has one run.
    """
    total = 0.0
    runs = run_lists(scores)
    for item in runs:
        if len(item) < 2:
            raise ConfigError("an item has one run, so the noise between runs is unknown; make at least two")
        mean = math.fsum(item) / len(item)
        total += math.fsum((value - mean) ** 2 for value in item) / (len(item) - 1) / len(item)
    return math.sqrt(total) / len(runs)


def wilson_interval(successes: float, n: float, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a pass rate of `successes` out of `n` independent items; both may be fractions.

    Wilson 1927, JASA 22:209. For items that were run more than once use `wilson_effective`.
    """
    count, total = finite("successes", successes), finite("n", n)
    _check_rate(count, total)
    z = normal_quantile((1 + share("confidence", confidence)) / 2)
    rate, square = count / total, z * z / total
    centre = (rate + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(rate * (1 - rate) / total + square / total / 4)
    low = 0.0 if count == 0 else max(0.0, centre - half)
    return Interval(low, 1.0 if count == total else min(1.0, centre + half))


def effective_items(mean: float, standard_error: float, n: int) -> float:
    """How many independent items with one run each would give this standard error: p (1 - p) / SE^2.

    Where that says nothing, because SE is 0 or p is 0 or 1, it is the number of items `n`.
    """
    p, error = finite("mean", mean), finite("standard_error", standard_error)
    if not 0.0 <= p <= 1.0:
        raise ConfigError(f"mean is {mean}; a pass rate lies in [0, 1]. For other scores use t_interval.")
    if error <= 0.0 or p in (0.0, 1.0):
        return float(whole("n", n, 1))
    return p * (1 - p) / error**2


def wilson_effective(mean: float, standard_error: float, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's interval on the effective number of items, for a mean of passes over items with several runs each."""
    size = effective_items(mean, standard_error, n)
    return wilson_interval(mean * size, size, confidence)


def clopper_pearson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """The exact interval for a pass rate, never below its nominal coverage. Clopper and Pearson 1934, Biometrika 26:404."""
    count, total = whole("successes", successes), whole("n", n, 1)
    _check_rate(count, total)
    tail = (1 - share("confidence", confidence)) / 2
    low = 0.0 if count == 0 else beta_quantile(tail, count, total - count + 1)
    return Interval(low, 1.0 if count == total else beta_quantile(1 - tail, count + 1, total - count))


def jeffreys_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Quantiles of Beta(x + 1/2, n - x + 1/2), the posterior under Jeffreys' prior; 0 and 1 where none or all passed.

    Brown, Cai and DasGupta 2001, Statistical Science 16:101, section 3.1.2. A good choice below 30 items
    (Bowyer et al. 2025, arXiv:2503.01747).
    """
    count, total = whole("successes", successes), whole("n", n, 1)
    _check_rate(count, total)
    tail = (1 - share("confidence", confidence)) / 2
    low = 0.0 if count == 0 else beta_quantile(tail, count + 0.5, total - count + 0.5)
    return Interval(low, 1.0 if count == total else beta_quantile(1 - tail, count + 0.5, total - count + 0.5))


def t_interval(scores: ItemScores, confidence: float = 0.95) -> Interval:
    """Student's interval for a mean over items, n - 1 degrees of freedom; for rewards that are not just passes.

    Without any spread both ends are the mean.
    """
    means = item_means(scores)
    mean, error = math.fsum(means) / len(means), standard_error(means)
    half = t_quantile(share("confidence", confidence), len(means) - 1) * error
    return Interval(mean - half, mean + half)


def mean_interval(scores: ItemScores, confidence: float = 0.95) -> Interval:
    """The interval that fits the scores, which must lie in [0, 1]: what every table and page of rlvr shows.

    Passes with one run an item: Clopper-Pearson below 30 items, else Wilson. Passes with several runs: Wilson on the
    effective number of items, which passes cannot push above the number of runs. Other rewards: Student's t, cut to
    [0, 1]. Scores without spread, and single items: Wilson on the number of items, never an interval of no width.
    """
    runs, means = run_lists(scores), item_means(scores)
    n, mean = len(means), math.fsum(means) / len(means)
    if not all(0.0 <= value <= 1.0 for item in runs for value in item):
        raise ConfigError("a score lies outside [0, 1]; use t_interval for other scales")
    binary = all(value in (0.0, 1.0) for item in runs for value in item)
    if binary and all(len(item) == 1 for item in runs):
        passed = round(math.fsum(means))
        return (clopper_pearson_interval if n < SMALL else wilson_interval)(passed, n, confidence)
    error = standard_error(means) if n > 1 else 0.0
    if error == 0.0 or binary:
        size = min(effective_items(mean, error, n), float(sum(map(len, runs))))
        return wilson_interval(mean * size, size, confidence)
    low, high = t_interval(means, confidence)
    return Interval(max(0.0, low), min(1.0, high))


def _check_rate(count: float, total: float) -> None:
    if total <= 0 or not 0 <= count <= total:
        raise ConfigError(f"{count:g} successes of n={total:g}; n must be above 0 and successes between 0 and n")
