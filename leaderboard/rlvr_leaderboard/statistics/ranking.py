"""Many environments and many models: means over environments, corrected p-values, ranks that the data allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, overload

from rlvr.errors import ConfigError
from rlvr_leaderboard.statistics.checks import ItemScores, finite, item_means, share
from rlvr_leaderboard.statistics.comparing import PairedDifference, difference_of, paired_differences
from rlvr_leaderboard.statistics.intervals import Estimate, Interval, standard_error
from rlvr_leaderboard.statistics.special import t_quantile, t_two_sided


class RankSet(NamedTuple):
    """The ranks that fit the data, best and worst. Models whose rank sets overlap are not separated."""

    best: int
    worst: int


class Comparison(NamedTuple):
    """One comparison of two models."""

    difference: float
    standard_error: float
    low: float
    high: float
    p_value: float
    num_items: int


def macro_mean(means: Sequence[float], standard_errors: Sequence[float]) -> Estimate:
    """The mean over environments, each counting the same, and its standard error sqrt(sum SE_e^2) / E.

    Environments are taken as given and their items as drawn independently. Never the average of the standard errors, which
    overstates the error by sqrt(E).
    """
    if len(means) != len(standard_errors) or not means:
        raise ConfigError(
            f"{len(means)} means and {len(standard_errors)} standard errors; give one of each per environment"
        )
    values = [finite("means", value) for value in means]
    errors = [finite("standard_errors", value) for value in standard_errors]
    if min(errors) < 0:
        raise ConfigError(f"a standard error is {min(errors)}; it cannot be negative")
    count = len(values)
    return Estimate(math.fsum(values) / count, math.sqrt(math.fsum(e * e for e in errors)) / count, count)


def macro_interval(
    means: Sequence[float], standard_errors: Sequence[float], num_items: Sequence[int], confidence: float = 0.95
) -> Interval:
    """An interval for the macro mean: Student's t, with degrees of freedom after Welch and Satterthwaite."""
    found = macro_mean(means, standard_errors)
    if len(num_items) != len(means) or min(num_items) < 2:
        raise ConfigError(f"num_items is {list(num_items)}; give one number of at least 2 per environment")
    if found.standard_error == 0.0:
        return Interval(found.mean, found.mean)
    half = t_quantile(share("confidence", confidence), _freedom(standard_errors, num_items)) * found.standard_error
    return Interval(found.mean - half, found.mean + half)


def _freedom(standard_errors: Sequence[float], num_items: Sequence[int]) -> float:
    """Welch 1947, Biometrika 34:28: (sum SE^2)^2 / sum SE^4 / (n - 1)."""
    squares = [error * error for error in standard_errors]
    return math.fsum(squares) ** 2 / math.fsum(v * v / (n - 1) for v, n in zip(squares, num_items, strict=True))


def micro_mean(scores: Sequence[ItemScores]) -> Estimate:
    """The mean over all items of all environments, large ones counting more; SE = sqrt(sum (n_e SE_e)^2) / n."""
    means = [item_means(environment) for environment in scores]
    if not means:
        raise ConfigError("there is no environment to average over")
    total = sum(map(len, means))
    error = math.sqrt(math.fsum((len(part) * standard_error(part)) ** 2 for part in means)) / total
    return Estimate(math.fsum(value for part in means for value in part) / total, error, total)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted so that the chance of any false claim among all of them stays below the level. Order kept.

    Holm 1979, Scandinavian Journal of Statistics 6:65: the i-th smallest times (m - i + 1), made monotone, at most 1.
    """
    values = [finite("p_values", value) for value in p_values]
    if any(not 0.0 <= value <= 1.0 for value in values):
        raise ConfigError(f"p-values {[v for v in values if not 0 <= v <= 1]} are not in [0, 1]")
    adjusted, floor = [0.0] * len(values), 0.0
    for place, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        floor = max(floor, min(1.0, values[index] * (len(values) - place)))
        adjusted[index] = floor
    return adjusted


def compare_models(a: Sequence[ItemScores], b: Sequence[ItemScores], confidence: float = 0.95) -> Comparison:
    """Two models on the same environments, paired by item: the macro difference A - B and its p-value.

    One environment: Student's t on the items' differences. Several: the mean of their differences, SE = sqrt(sum SE_e^2) / E,
    degrees of freedom after Welch and Satterthwaite. Scores must lie in [0, 1]: where no item differs from the others in
    an environment, t would be certain of what n items cannot show, so its interval allows for the share q of unseen
    items that escapes n draws with 2.5 % probability, q = 1 - 0.025^(1/n), and p is that of the sign-flip test.
    """
    if len(a) != len(b):
        raise ConfigError(f"A has {len(a)} environments and B has {len(b)}; compare on the same ones")
    return combine([difference_of(paired_differences(x, y), confidence) for x, y in zip(a, b, strict=True)], confidence)


def combine(found: Sequence[PairedDifference], confidence: float = 0.95) -> Comparison:
    """`compare_models` from the paired differences of each environment."""
    if not found:
        raise ConfigError("there is no environment to compare on")
    tail = (1 - share("confidence", confidence)) / 2
    if len(found) == 1:
        one = found[0]
        low, high = (one.low, one.high) if one.standard_error else _without_spread(one, tail)
        return Comparison(one.difference, one.standard_error, low, high, one.p_value, one.num_items)
    items = sum(part.num_items for part in found)
    mean, error, count = macro_mean([part.difference for part in found], [part.standard_error for part in found])
    if error == 0.0:
        ends = [_without_spread(part, tail) for part in found]
        low, high = (math.fsum(end[side] for end in ends) / count for side in (0, 1))
        return Comparison(mean, 0.0, low, high, min(part.p_value for part in found), items)
    freedom = _freedom([part.standard_error for part in found], [part.num_items for part in found])
    half = t_quantile(confidence, freedom) * error
    return Comparison(mean, error, mean - half, mean + half, t_two_sided(mean / error, freedom), items)


def _without_spread(same: PairedDifference, tail: float) -> tuple[float, float]:
    unseen = 1 - tail ** (1 / same.num_items)
    d = same.difference
    return max(-1.0, d - (1 + d) * unseen), min(1.0, d + (1 - d) * unseen)


@overload
def rank_sets(scores: Mapping[str, ItemScores], alpha: float = 0.05) -> dict[str, RankSet]: ...
@overload
def rank_sets(scores: Sequence[ItemScores], alpha: float = 0.05) -> list[RankSet]: ...
def rank_sets(
    scores: Mapping[str, ItemScores] | Sequence[ItemScores], alpha: float = 0.05
) -> dict[str, RankSet] | list[RankSet]:
    """Every model's rank set from its scores on the same items; all of them hold together with probability 1 - alpha.

    All pairs are tested paired and corrected after Holm; best = 1 + number of models significantly better, worst = M -
    number significantly worse. Mogstad, Romano, Shaikh and Wilhelm 2024, Review of Economic Studies 91:476.
    """
    models = list(scores.values()) if isinstance(scores, Mapping) else list(scores)
    tests = {
        (i, j): compare_models([models[i]], [models[j]]) for i in range(len(models)) for j in range(i + 1, len(models))
    }
    ranks = ranks_from_tests(len(models), tests, alpha)
    return dict(zip(scores, ranks, strict=True)) if isinstance(scores, Mapping) else ranks


def ranks_from_tests(
    num_models: int, tests: Mapping[tuple[int, int], Comparison], alpha: float = 0.05
) -> list[RankSet]:
    """Rank sets from the tests of all pairs i < j, a positive difference meaning that i is better."""
    level = share("alpha", alpha)
    wins, losses = [0] * num_models, [0] * num_models
    for (i, j), test, p_value in zip(tests, tests.values(), holm([t.p_value for t in tests.values()]), strict=True):
        if p_value <= level and test.difference != 0.0:
            better, worse = (i, j) if test.difference > 0 else (j, i)
            wins[better] += 1
            losses[worse] += 1
    return [RankSet(1 + losses[i], num_models - wins[i]) for i in range(num_models)]
