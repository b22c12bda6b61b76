"""Counting: arrangements, selections, lattice paths, sums, multiples."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations, product
from math import comb, factorial, lcm, prod

import rlvr
from rlvr_envs.math.asking import ask, bounded, one_kind, phrase, verify_answer, worked

LETTERS = (
    "How many different arrangements do the letters {word} have?",
    "In how many distinguishable orders can the letters of {word} be written?",
    "Count the distinct anagrams of {word}, meaningful or not.",
    "The letters {word} are put in a row. How many different rows are possible?",
)
CHOICES = (
    "A team needs {i} of {a} {first} and {j} of {b} {second}. In how many ways can it be put together?",
    "In how many ways can one choose {i} from {a} {first} and {j} from {b} {second}?",
    "{i} out of {a} {first} and {j} out of {b} {second} are invited. How many guest lists are possible?",
    "How many groups have exactly {i} {first} and {j} {second}, if there are {a} {first} and {b} {second} to choose from?",
)
COMMITTEE = (
    "A club has {a} {first} and {b} {second}. How many committees of {k} members have at least {least} {second}?",
    "From {a} {first} and {b} {second}, {k} are chosen. In how many ways can at least {least} of them be {second}?",
    "How many groups of {k} out of {a} {first} and {b} {second} contain {least} or more {second}?",
)
PATHS = (
    "How many shortest paths on a grid lead from (0, 0) to ({a}, {b}), one step right or up at a time, avoiding ({x}, {y})?",
    "A robot goes from (0, 0) to ({a}, {b}) by steps right or up and must not enter ({x}, {y}). How many routes has it?",
    "Count the lattice paths of unit steps right and up from (0, 0) to ({a}, {b}) that do not pass through ({x}, {y}).",
)
SUMS = (
    "How many solutions in integers has {sum} = {n} with {bounds}?",
    "In how many ways can {n} be written as {sum} where {bounds} and all are integers?",
    "Count the integer solutions of {sum} = {n} subject to {bounds}.",
)
MULTIPLES = (
    "How many of the numbers from 1 to {n} are divisible by at least one of {divisors}?",
    "Count the integers from 1 to {n} that are multiples of {divisors} (of at least one of them).",
    "From 1 to {n}, how many integers have at least one divisor among {divisors}?",
)
SEPARATED = (
    "{n} people stand in a row, {k} of them are {group}. In how many orders are no two {group} next to each other?",
    "How many ways are there to seat {n} different people in a row so that no two of the {k} {group} among them are neighbours?",
    "{k} {group} and {others} other people queue up. In how many queues are no two {group} adjacent?",
    "Among {n} people in a photo are {k} {group}. How many rows of all of them keep the {group} apart from each other?",
)
GROUPS = (
    "pilots",
    "nurses",
    "painters",
    "singers",
    "judges",
    "cooks",
    "guests",
    "drivers",
    "poets",
    "bakers",
    "weavers",
    "clerks",
    "miners",
)


@rlvr.register(
    "math/counting-v0",
    chance=0.03,
    kinds=["groups"],
    size=12,
    levels=[
        {"kinds": ["groups"], "size": 12},
        {"kinds": ["letters", "separated"], "size": 16},
        {"kinds": ["paths", "sums"], "size": 14},
        {"kinds": ["committee", "three-divisors"], "size": 18},
        {"kinds": ["four-divisors"], "size": 18},
    ],
)
def counting(rng: random.Random, kinds: list[str], size: int) -> rlvr.Task:
    """A number of possibilities.

    Kinds: groups (so many of each of two kinds), letters (arrangements with repeated letters), separated (no two
    neighbours), committee (at least so many of one group), paths (a grid with a forbidden point), sums (solutions with
    bounds), three-divisors and four-divisors (multiples of at least one); `size` bounds their numbers. Golds are counted,
    step by step along Pascal's rule or a table, or one by one; worked solutions use the closed formulas.
    """
    bounded("math/counting-v0", size=(size, 8, 40))
    kind = one_kind(rng, "math/counting-v0", kinds, _MAKERS)
    question, gold, lines = _MAKERS[kind](rng, size)
    return rlvr.Task(ask(question, "a whole number"), answer=str(gold), data={"steps": lines})


counting.verifier(verify_answer)


@counting.worked_solution
def _(task: rlvr.Task) -> str:
    lines = (task.data or {})["steps"]
    return worked(lines, lines[-1].rpartition("= ")[2])


Made = tuple[str, int, list[str]]


def _choose(n: int, k: int) -> int:
    """n over k by Pascal's rule, for golds; the solutions use the formula."""
    row = [1] + [0] * k
    for _ in range(n):
        for j in range(k, 0, -1):
            row[j] += row[j - 1]
    return row[k]


def _letters(rng: random.Random, size: int) -> Made:
    length = rng.randint(max(6, size - 6), size)
    few = rng.sample("ABCDEGIKLMNOPRSTUVZ", rng.randint(3, max(3, length - 3)))
    word = "".join(rng.choice(few) for _ in range(length - 3)) + "".join(few[:3])
    word = "".join(rng.sample(word, length))
    counts = [n for _, n in sorted(Counter(word).items())]
    gold, left = 1, length
    for n in counts:
        gold *= _choose(left, n)
        left -= n
    below = " * ".join(f"{n}!" for n in counts if n > 1)
    value = factorial(length) // prod(map(factorial, counts))
    lines = [
        "letters: " + ", ".join(f"{letter} {n}" for letter, n in sorted(Counter(word).items())),
        f"{length}! = {factorial(length)}",
        f"{factorial(length)} / ({below or 1}) = {value}",
    ]
    return phrase(rng, LETTERS, word=word), gold, lines


def _groups(rng: random.Random, size: int) -> Made:
    a, b = rng.randint(5, size), rng.randint(5, size)
    i, j = rng.randint(2, a - 2), rng.randint(2, b - 2)
    first, second = rng.sample(GROUPS, 2)
    lines = [
        f"C({a}, {i}) = {comb(a, i)}",
        f"C({b}, {j}) = {comb(b, j)}",
        f"{comb(a, i)} * {comb(b, j)} = {comb(a, i) * comb(b, j)}",
    ]
    question = phrase(rng, CHOICES, a=a, b=b, i=i, j=j, first=first, second=second)
    return question, _choose(a, i) * _choose(b, j), lines


def _committee(rng: random.Random, size: int) -> Made:
    a, b = rng.randint(4, size), rng.randint(4, size)
    k = rng.randint(3, min(6, a + b - 2))
    least = rng.randint(1, min(k, b) - 1)
    first, second = rng.sample(GROUPS, 2)
    top = min(k, b)
    gold = _choose(a + b, k) - sum(_choose(b, j) * _choose(a, k - j) for j in range(least))
    terms = [comb(b, j) * comb(a, k - j) for j in range(least, top + 1)]
    lines = [
        f"{j} {second}: C({b}, {j}) * C({a}, {k - j}) = {comb(b, j)} * {comb(a, k - j)} = {term}"
        for j, term in zip(range(least, top + 1), terms, strict=True)
    ]
    lines.append(f"{' + '.join(map(str, terms))} = {sum(terms)}")
    return phrase(rng, COMMITTEE, a=a, b=b, k=k, least=least, first=first, second=second), gold, lines


def _paths(rng: random.Random, size: int) -> Made:
    a, b = rng.randint(4, size), rng.randint(4, size)
    while True:
        x, y = rng.randint(0, a), rng.randint(0, b)
        if (x, y) not in ((0, 0), (a, b)):
            break
    table = [[0] * (b + 1) for _ in range(a + 1)]
    for i, j in product(range(a + 1), range(b + 1)):
        if (i, j) != (x, y):
            table[i][j] = 1 if i == j == 0 else (table[i - 1][j] if i else 0) + (table[i][j - 1] if j else 0)
    every, before, after = comb(a + b, a), comb(x + y, x), comb(a - x + b - y, a - x)
    lines = [
        f"all paths: C({a + b}, {a}) = {every}",
        f"to ({x}, {y}): C({x + y}, {x}) = {before}",
        f"on from there: C({a - x + b - y}, {a - x}) = {after}",
        f"{every} - {before} * {after} = {every} - {before * after} = {every - before * after}",
    ]
    return phrase(rng, PATHS, a=a, b=b, x=x, y=y), table[a][b], lines


def _sums(rng: random.Random, size: int) -> Made:
    count = rng.randint(3, 4)
    lows = [rng.randint(0, 3) for _ in range(count)]
    n = sum(lows) + rng.randint(4, size)
    high = rng.randint(lows[0] + 1, n - sum(lows[1:]) - 1)
    ways = [1] + [0] * n
    for place, low in enumerate(lows):
        top = high if place == 0 else n
        ways = [sum(ways[total - part] for part in range(low, min(top, total) + 1)) for total in range(n + 1)]
    names = "abcd"[:count]
    bounds = ", ".join(
        f"{low} <= {name} <= {high}" if place == 0 else f"{name} >= {low}"
        for place, (name, low) in enumerate(zip(names, lows, strict=True))
    )
    free = n - sum(lows)
    every = comb(free + count - 1, count - 1)
    over = free - (high + 1 - lows[0])
    many = comb(over + count - 1, count - 1)
    lines = [
        f"take away the lower bounds: {n} - {sum(lows)} = {free} is left for {count} numbers",
        f"without the upper bound: C({free + count - 1}, {count - 1}) = {every}",
        f"with a >= {high + 1}: {over} left, C({over + count - 1}, {count - 1}) = {many}",
        f"{every} - {many} = {every - many}",
    ]
    return phrase(rng, SUMS, sum=" + ".join(names), n=n, bounds=bounds), ways[n], lines


def _multiples(rng: random.Random, size: int, count: int) -> Made:
    n = rng.randint(100, 999)
    divisors = sorted(rng.sample(range(4, max(size, count) + 4), count))
    gold = len(set().union(*(range(d, n + 1, d) for d in divisors)))
    lines = []
    total = 0
    for taken in range(1, count + 1):
        for chosen in combinations(divisors, taken):
            multiple = lcm(*chosen)
            total += (-1) ** (taken + 1) * (n // multiple)
            lines.append(f"{'+' if taken % 2 else '-'} {n} / {multiple} -> {n // multiple}")
    lines.append(f"together = {total}")
    shown = ", ".join(map(str, divisors[:-1])) + f" and {divisors[-1]}"
    return phrase(rng, MULTIPLES, n=n, divisors=shown), gold, lines


def _separated(rng: random.Random, size: int) -> Made:
    n = rng.randint(max(5, size - 8), size)
    k = rng.randint(2, (n + 1) // 2)
    # without[j], with_[j]: rows so far with j of the group, the last place not taken, or taken, by one of them.
    without, with_ = [1] + [0] * k, [0] * (k + 1)
    for _ in range(n):
        without, with_ = (
            [without[j] + with_[j] for j in range(k + 1)],
            [0] + [without[j - 1] for j in range(1, k + 1)],
        )
    gold = (without[k] + with_[k]) * factorial(k) * factorial(n - k)
    others = n - k
    places = prod(range(others + 2 - k, others + 2))
    lines = [
        f"the other {others} in a row: {others}! = {factorial(others)}",
        f"the {k} into {k} of the {others + 1} gaps: "
        + " * ".join(str(others + 1 - j) for j in range(k))
        + f" = {places}",
        f"{factorial(others)} * {places} = {factorial(others) * places}",
    ]
    return phrase(rng, SEPARATED, n=n, k=k, others=others, group=rng.choice(GROUPS)), gold, lines


_MAKERS = {
    "groups": _groups,
    "letters": _letters,
    "committee": _committee,
    "paths": _paths,
    "sums": _sums,
    "three-divisors": lambda rng, size: _multiples(rng, size, 3),
    "four-divisors": lambda rng, size: _multiples(rng, size, 4),
    "separated": _separated,
}
