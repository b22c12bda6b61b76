"""Is one model better than another? Paired tests on the same items, and resampling of whole items.

What is paired, flipped and resampled is always the item. Flipping single runs claims a difference between equal models in 30 %
of comparisons at 30 items and 32 runs; overlapping intervals, the other popular rule, miss most real differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

from rlvr.errors import ConfigError
from rlvr_leaderboard.statistics.checks import ItemScores, finite, item_means, share, whole
from rlvr_leaderboard.statistics.special import t_quantile, t_two_sided

EXACT = 20
"""Up to so many differing items all sign patterns are counted."""
FLIPS = 10_000
REPLICATES = 10_000


class PairedDifference(NamedTuple):
    """The mean of A minus the mean of B over the same items."""

    difference: float
    standard_error: float
    low: float
    high: float
    p_value: float
    """Two-sided, Student's t with n - 1 degrees of freedom."""
    num_items: int


class Bootstrap(NamedTuple):
    """A statistic and what resampling says of it."""

    estimate: float
    standard_error: float
    low: float
    high: float


def paired_differences(a: ItemScores, b: ItemScores) -> list[float]:
    """A's mean minus B's on each item. Raises ConfigError unless both were scored on exactly the same items."""
    if isinstance(a, Mapping) != isinstance(b, Mapping):
        raise ConfigError("one side names its items and the other does not, so they cannot be paired")
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            only_a, only_b = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
            raise ConfigError(
                f"the item sets differ: {len(only_a)} items only in A {only_a[:3]}, {len(only_b)} only in B {only_b[:3]}. "
                "A paired comparison needs the same items on both sides; evaluate both on one set."
            )
        b = {item: b[item] for item in a}
    if len(a) != len(b):
        raise ConfigError(f"A has {len(a)} items and B has {len(b)}; a paired comparison needs the same items")
    return [x - y for x, y in zip(item_means(a, "a"), item_means(b, "b"), strict=True)]


def paired_difference(a: ItemScores, b: ItemScores, confidence: float = 0.95) -> PairedDifference:
    """Mean difference A - B over items, its standard error sd(d)/sqrt(n), interval and p-value by Student's t, n - 1 df.

    Miller 2024, arXiv:2411.00640, section 4. Mappings are matched by item id. Where all differences are equal the t
    statistic is 0/0 or infinite: the interval has no width then, and p is that of the exact sign-flip test.
    """
    return difference_of(paired_differences(a, b), confidence)


def difference_of(differences: Sequence[float], confidence: float = 0.95) -> PairedDifference:
    """`paired_difference` from the differences themselves. Raises ConfigError for fewer than two items."""
    n = len(differences)
    if n < 2:
        raise ConfigError(f"{n} items cannot be compared; a paired test needs at least two")
    mean = math.fsum(differences) / n
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in differences) / (n - 1) / n)
    if max(differences) == min(differences):
        return PairedDifference(mean, 0.0, mean, mean, 1.0 if mean == 0 else 2.0 ** (1 - n), n)
    half = t_quantile(share("confidence", confidence), n - 1) * error
    return PairedDifference(mean, error, mean - half, mean + half, t_two_sided(mean / error, n - 1), n)


def sign_flip_test(
    a: ItemScores, b: ItemScores | None = None, *, flips: int = FLIPS, seed: int = 0, exact: bool | None = None
) -> float:
    """Two-sided p-value: how often random signs on the items' differences give a mean as far from 0 as theirs.

    Fisher 1935, The Design of Experiments, section 21. Takes A and B, or the differences alone. All 2^m patterns are
    counted if m <= 20 items differ (or `exact`); else `flips` seeded ones are drawn and p = (1 + hits) / (1 + flips).
    """
    differences = paired_differences(a, b) if b is not None else item_means(a, "differences")
    moving = [value for value in differences if value != 0.0]  # flipping a zero changes nothing
    if not moving:
        return 1.0
    bar = abs(math.fsum(moving)) - 1e-12 * math.fsum(map(abs, moving))
    if exact if exact is not None else len(moving) <= EXACT:
        if len(moving) > EXACT + 5:
            raise ConfigError(f"{len(moving)} items differ; 2^{len(moving)} patterns are too many to count exactly")
        sums = [moving[0]]  # its own sign may stay: the mirrored patterns give the mirrored sums
        for value in moving[1:]:
            sums = [total + value for total in sums] + [total - value for total in sums]
        return sum(abs(total) >= bar for total in sums) / len(sums)
    import numpy

    draws, rng, hits = whole("flips", flips, 1), numpy.random.default_rng(seed), 0
    values = numpy.asarray(moving)
    for start in range(0, draws, 1000):
        signs = rng.integers(0, 2, size=(min(1000, draws - start), len(moving))) * 2.0 - 1.0
        hits += int((numpy.abs(signs @ values) >= bar).sum())
    return (1 + hits) / (1 + draws)


def mcnemar_test(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value where each item was run once: `only_a` items that only A passed, `only_b` that only B did.

    2 P(X <= min) for X ~ Binomial(only_a + only_b, 1/2), at most 1. McNemar 1947, Psychometrika 12:153; it equals the
    exact sign-flip test on such items.
    """
    b, c = whole("only_a", only_a), whole("only_b", only_b)
    tail = sum(math.comb(b + c, i) for i in range(min(b, c) + 1))
    return min(1.0, 2 * tail / (1 << (b + c)))


def bootstrap_items(
    scores: ItemScores,
    statistic: Callable[[Sequence[float]], float] | None = None,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    confidence: float = 0.95,
    clusters: Sequence[Hashable] | None = None,
) -> Bootstrap:
    """Percentile bootstrap over items, or over whole clusters of items: the statistic of item means (default: their mean).

    Efron 1979, Annals of Statistics 7:1. The standard error is the standard deviation of the replicates, not divided by
    the root of their number. Seeded: the same call gives the same numbers. Fewer than 1,000 replicates are refused.
    """
    import numpy

    means = numpy.asarray(item_means(scores))
    draws = whole("replicates", replicates, 1000)
    tail = (1 - share("confidence", confidence)) / 2
    names = list(range(len(means))) if clusters is None else list(clusters)
    if len(names) != len(means):
        raise ConfigError(f"{len(means)} items and {len(names)} cluster names; give one for each item")
    members: dict[Hashable, list[int]] = {}
    for item, name in enumerate(names):
        members.setdefault(name, []).append(item)
    groups = [numpy.asarray(group) for group in members.values()]
    if len(groups) < 2:
        raise ConfigError("there is one item or one cluster; resampling it gives no spread. Two are the least.")
    rng = numpy.random.default_rng(seed)
    if statistic is None:
        # A mean needs only the sums and sizes of the groups that were drawn.
        sums = numpy.asarray([means[group].sum() for group in groups])
        sizes = numpy.asarray([len(group) for group in groups])
        values = numpy.empty(draws)
        for place in range(draws):
            drawn = rng.integers(0, len(groups), len(groups))
            values[place] = sums[drawn].sum() / sizes[drawn].sum()
        estimate = float(means.mean())
    else:
        made = []
        for _ in range(draws):
            drawn = rng.integers(0, len(groups), len(groups))
            made.append(
                finite("the statistic", statistic(means[numpy.concatenate([groups[i] for i in drawn])].tolist()))
            )
        values = numpy.asarray(made)
        estimate = finite("the statistic", statistic(means.tolist()))
    low, high = (float(end) for end in numpy.quantile(values, [tail, 1 - tail]))
    return Bootstrap(estimate, float(values.std(ddof=1)), low, high)
