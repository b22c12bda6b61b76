"""Out of n runs of an item c passed: what k runs would have done. And what a vote of k runs would have answered.

Each function takes one item, or a sequence of items whose mean it returns. `n` is the number of runs that were really
made: a declared number that some items did not reach halves the score with every doubling. Fewer runs than k is an error,
because nothing unbiased can be said; the tempting 1 - (1 - c/n)^k is biased downwards.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

from rlvr.errors import ConfigError
from rlvr_leaderboard.statistics.checks import finite, plain, whole

Counts = int | Sequence[int]
_PerItem = Callable[[int, int, int], Fraction]


def pass_at_k(n: Counts, c: Counts, k: int) -> float:
    """Probability that at least one of k runs passes: 1 - C(n-c, k) / C(n, k), averaged over items.

    Chen et al. 2021, arXiv:2107.03374, eq. 1. Raises ConfigError if an item has n < k.
    """
    return _mean(n, c, k, lambda n, c, k: 1 - Fraction(math.comb(n - c, k), math.comb(n, k)))


def pass_hat_k(n: Counts, c: Counts, k: int) -> float:
    """Probability that all of k runs pass, written pass^k: C(c, k) / C(n, k), averaged over items.

    Yao et al. 2024 (tau-bench), arXiv:2406.12045, section 4. Raises ConfigError if an item has n < k.
    """
    return _mean(n, c, k, lambda n, c, k: Fraction(math.comb(c, k), math.comb(n, k)))


def g_pass_at_k(n: Counts, c: Counts, k: int, tau: float | str | Decimal) -> float:
    """G-Pass@k_tau: probability that at least max(1, ceil(tau k)) of k runs pass, averaged over items.

    Liu et al. 2024, arXiv:2412.13147, eq. 4: a hypergeometric tail. `tau` is read as the decimal it is written as:
    ceil(50 * 0.14) is 8 in binary floats and 7 in truth. Raises ConfigError if tau is not in [0, 1] or n < k.
    """
    try:
        threshold = Decimal(str(tau))
        in_range = 0 <= threshold <= 1
    except InvalidOperation as fault:
        raise ConfigError(f"tau is {tau!r}; it must be a decimal in [0, 1], like 0.55") from fault
    if not in_range:
        raise ConfigError(f"tau is {tau!r}; it must lie in [0, 1]")
    need = max(1, math.ceil(whole("k", k, 1) * Fraction(threshold)))
    return _mean(n, c, k, lambda n, c, k: _at_least(n, c, k, need))


def mg_pass_at_k(n: Counts, c: Counts, k: int) -> float:
    """mG-Pass@k: G-Pass@k averaged over thresholds from one half to one, (2/k) sum_{i=k/2+1..k} G-Pass@k_{i/k}.

    Liu et al. 2024, arXiv:2412.13147, eq. 6. Only for even k: the sum has k/2 terms then, while an odd k gives a perfect
    model less than 1 (0 at k = 1, 0.8 at k = 5) and is refused with ConfigError.
    """
    if whole("k", k, 1) % 2:
        raise ConfigError(f"k is {k}; mG-Pass@k is defined for even k only. An odd k scores a perfect model below 1.")
    half = k // 2
    return _mean(
        n, c, k, lambda n, c, k: sum((_at_least(n, c, k, i) for i in range(half + 1, k + 1)), Fraction(0)) / half
    )


def maj_at_k(
    answers: Sequence[Hashable | None],
    correct: Hashable | Set[Any] | Mapping[Any, float] | list[float],
    k: int | None = None,
) -> float:
    """maj@k (cons@k) of one item: the expected score of the answer that most of k runs gave.

    Wang et al. 2022 (self-consistency), arXiv:2203.11171. `answers` are equivalence classes as the environment decides
    them; None is an answer that could not be read, and does not vote. `correct` is the right class, a set of right
    classes, a mapping from class to score, or a list of one score for each answer. A tie counts the mean score of those
    that tie, whatever their order; no vote at all counts 0. Without `k` all runs vote; with it, the exact mean over all
    subsets of k runs, which are counted and not enumerated. Raises ConfigError if there are fewer than k runs.
    """
    n = len(answers)
    k = whole("k", n if k is None else k, 1)
    _enough(n, k, "maj@k")
    votes = Counter(answer for answer in answers if answer is not None)
    worth = _worth(answers, correct)
    silent = n - sum(votes.values())
    total = Fraction(0)
    for label, count in votes.items():
        if value := Fraction(worth.get(label, 0.0)):
            others = tuple(sorted(other for name, other in votes.items() if name != label))
            total += value * _wins(count, others, silent, k)
    return float(total / math.comb(n, k))


def _mean(n: Counts, c: Counts, k: int, value: _PerItem) -> float:
    k = whole("k", k, 1)
    ns, cs = _items("n", n), _items("c", c)
    if not isinstance(plain(n), Sequence):
        ns *= len(cs)
    if len(ns) != len(cs):
        raise ConfigError(f"n has {len(ns)} items and c has {len(cs)}; give both for the same items")
    values = []
    for runs, passed in zip(ns, cs, strict=True):
        if passed > runs:
            raise ConfigError(f"c is {passed} and n is {runs}; more runs passed than were made")
        _enough(runs, k, "pass@k and its kin")
        values.append(float(value(runs, passed, k)))
    return math.fsum(values) / len(values)


def _items(name: str, value: Counts) -> list[int]:
    value = plain(value)
    if not isinstance(value, Sequence):
        return [whole(name, value)]
    if not value:
        raise ConfigError(f"{name} holds no item, so there is nothing to average")
    return [whole(name, count) for count in value]


def _enough(n: int, k: int, what: str) -> None:
    if n < k:
        raise ConfigError(
            f"{what}: an item has n={n} runs and k={k}; with fewer runs than k there is no unbiased value. "
            f"Make {k} runs of every item, or ask for k <= {n}."
        )


def _at_least(n: int, c: int, k: int, need: int) -> Fraction:
    ways = sum(math.comb(c, j) * math.comb(n - c, k - j) for j in range(need, min(c, k) + 1))
    return Fraction(ways, math.comb(n, k))


def _worth(answers: Sequence[Hashable | None], correct: object) -> dict[Hashable, float]:
    if isinstance(correct, Mapping):
        return {label: finite(f"correct[{label!r}]", value) for label, value in correct.items()}
    if isinstance(correct, set | frozenset):
        return dict.fromkeys(correct, 1.0)
    if not isinstance(correct, list):
        if correct is None:
            raise ConfigError(
                "correct is None, which stands for an answer that could not be read; name the right class"
            )
        assert isinstance(correct, Hashable)
        return {correct: 1.0}
    if len(correct) != len(answers):
        raise ConfigError(f"{len(answers)} answers and {len(correct)} scores; give one score for each answer")
    worth: dict[Hashable, float] = {}
    for label, value in zip(answers, correct, strict=True):
        if label is not None and worth.setdefault(label, finite("correct", value)) != value:
            raise ConfigError(
                f"class {label!r} has the scores {worth[label]} and {value}; answers of one class must earn the same"
            )
    return worth


@functools.lru_cache(maxsize=65536)  # many items split their votes alike
def _wins(count: int, others: tuple[int, ...], silent: int, k: int) -> Fraction:
    """Over all subsets of k runs: how often a class of `count` runs wins the vote, a tie of t+1 classes counting 1/(t+1).

    For each number of its votes, a table over the other classes: (runs used, classes tied) -> number of ways.
    """
    won = Fraction(0)
    for mine in range(1, min(count, k) + 1):
        ways = {(mine, 0): math.comb(count, mine)}
        for other in others:
            grown: Counter[tuple[int, int]] = Counter()
            for (used, tied), number in ways.items():
                for theirs in range(min(other, mine, k - used) + 1):
                    grown[used + theirs, tied + (theirs == mine)] += number * math.comb(other, theirs)
            ways = dict(grown)
        won += sum(
            (Fraction(number * math.comb(silent, k - used), tied + 1) for (used, tied), number in ways.items()),
            Fraction(0),
        )
    return won
