"""Terms and sums of sequences whose kind is stated, so that there is one right answer."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise
from math import comb

import rlvr
from rlvr_envs.math.asking import ask, bounded, one_kind, phrase, signed, verify_answer, worked
from rlvr_envs.math.matrices import product

PHRASINGS = {
    "arithmetic": (
        "An arithmetic sequence begins {terms}, ... What is its {nth} term?",
        "Find term number {n} of the arithmetic progression {terms}, ...",
        "The differences of {terms}, ... are constant. Give the {nth} term.",
    ),
    "geometric": (
        "A geometric sequence begins {terms}, ... What is its {nth} term?",
        "Find term number {n} of the geometric progression {terms}, ...",
        "Each term of {terms}, ... is the one before times a constant. Give the {nth} term.",
    ),
    "polynomial": (
        "The {order} differences of the sequence {terms}, ... are constant. What is its {nth} term?",
        "The sequence {terms}, ... follows a polynomial of degree {degree} in its position. Find term number {n}.",
        "Continue {terms}, ..., whose {order} differences are all equal, up to its {nth} term. What is that term?",
    ),
    "recurrence": (
        "Let a(1) = {a}, a(2) = {b} and a(n) = {p}*a(n-1) + {q}*a(n-2) for n > 2. What is a({n})?",
        "A sequence starts {a}, {b}; from then on, each term is {p} times the last plus {q} times the one before. "
        "Find its {nth} term.",
        "Compute a({n}) if a(1) = {a}, a(2) = {b}, and a(n) = {p}*a(n-1) + {q}*a(n-2).",
    ),
    "sum": (
        "What is the sum of the first {n} terms of the {kind} sequence {terms}, ...?",
        "Add the first {n} terms of the {kind} progression {terms}, ...",
        "Find S_{n}, the sum of the first {n} terms, of the {kind} sequence {terms}, ...",
    ),
}
ORDERS = {2: "second", 3: "third", 4: "fourth"}


@rlvr.register(
    "math/sequence-v0",
    chance=0.015,
    kinds=["arithmetic"],
    size=50,
    position=60,
    levels=[
        {"kinds": ["arithmetic"], "size": 50, "position": 60},
        {"kinds": ["geometric"], "size": 9, "position": 9},
        {"kinds": ["polynomial", "sum"], "size": 9, "position": 12},
        {"kinds": ["recurrence"], "size": 6, "position": 12},
        {"kinds": ["recurrence"], "size": 9, "position": 20},
    ],
)
def sequence(rng: random.Random, kinds: list[str], size: int, position: int) -> rlvr.Task:
    """A late term, or the sum of the first terms, of a sequence whose kind the prompt names.

    Kinds: arithmetic, geometric, polynomial (constant second or third differences), recurrence (linear, two terms back),
    sum (of an arithmetic or geometric one); `size` bounds the numbers, `position` the place asked for. Golds step through
    the sequence, those of a recurrence by powers of its matrix; worked solutions use the closed forms, or step.
    """
    bounded("math/sequence-v0", size=(size, 3, 10**4), position=(position, 8, 500))
    kind = one_kind(rng, "math/sequence-v0", kinds, PHRASINGS)
    fields, gold, lines = _MAKERS[kind](rng, size, position)
    n = fields["n"]
    question = phrase(rng, PHRASINGS[kind], nth=_ordinal(int(str(n))), **fields)
    form = "a whole number or a reduced fraction" if isinstance(gold, Fraction) else "a whole number"
    return rlvr.Task(ask(question, form), answer=str(gold), data={"steps": lines})


sequence.verifier(verify_answer)


@sequence.worked_solution
def _(task: rlvr.Task) -> str:
    lines = (task.data or {})["steps"]
    return worked(lines, lines[-1].rpartition("= ")[2])


Made = tuple[dict[str, object], int | Fraction, list[str]]


def _arithmetic(rng: random.Random, size: int, position: int) -> Made:
    first, step = rng.randint(-size, size), rng.choice([-1, 1]) * rng.randint(2, size)
    n = rng.randint(max(6, position // 4), position)
    gold = first
    for _ in range(n - 1):
        gold += step
    terms = ", ".join(str(first + k * step) for k in range(4))
    value = first + (n - 1) * step
    lines = [
        f"difference: {first + step} - {signed(first)} = {step}",
        f"{first} + {n - 1} * {signed(step)} = {first} + {signed((n - 1) * step)} = {value}",
    ]
    return {"terms": terms, "n": n}, gold, lines


def _ratio(rng: random.Random, size: int) -> Fraction:
    while True:
        ratio = Fraction(rng.choice([-1, 1]) * rng.randint(1, size), rng.choice([1, 1, 2, 3]))
        if abs(ratio) != 1:
            return ratio


def _geometric(rng: random.Random, size: int, position: int) -> Made:
    ratio = _ratio(rng, size)
    first = Fraction(rng.choice([-1, 1]) * rng.randint(1, 4 * size) * ratio.denominator ** rng.randint(1, 3))
    n = rng.randint(5, position)
    gold = first
    for _ in range(n - 1):
        gold *= ratio
    terms = ", ".join(str(first * ratio**k) for k in range(4))
    lines = [
        f"ratio: {first * ratio} / {signed(first)} = {ratio}",
        f"a({n}) = {first} * {signed(ratio)}^{n - 1}",
        f"{signed(ratio)}^{n - 1} = {ratio ** (n - 1)}",
        f"{first} * {signed(ratio ** (n - 1))} = {first * ratio ** (n - 1)}",
    ]
    return {"terms": terms, "n": n}, gold, lines


def _polynomial(rng: random.Random, size: int, position: int) -> Made:
    degree = rng.randint(2, 3)
    c = [rng.randint(-size, size) for _ in range(degree)] + [rng.choice([-1, 1]) * rng.randint(1, size)]
    n = rng.randint(degree + 5, max(position, degree + 5))
    shown = degree + 3
    values = [sum(a * k**m for m, a in enumerate(c)) for k in range(1, n + 1)]
    heads, row, lines = [], values[:shown], []
    for order in range(degree + 1):
        heads.append(row[0])
        if order:
            lines.append(f"differences {order}: {', '.join(map(str, row))}")
        row = [b - a for a, b in pairwise(row)]
    # Newton's forward formula: a(n) = sum of C(n-1, k) times the k-th difference at the start.
    terms = [f"{comb(n - 1, k)}*{signed(head)}" for k, head in enumerate(heads)]
    lines.append(f"{' + '.join(terms)} = {sum(comb(n - 1, k) * head for k, head in enumerate(heads))}")
    fields = {"terms": ", ".join(map(str, values[:shown])), "n": n, "order": ORDERS[degree], "degree": degree}
    return fields, values[-1], lines


def _recurrence(rng: random.Random, size: int, position: int) -> Made:
    a, b = rng.randint(-size, size), rng.randint(1, size)
    p, q = rng.randint(1, 3), rng.choice([-2, -1, 1, 2, 3])
    n = rng.randint(max(6, position // 2), position)
    power = [[1, 0], [0, 1]]
    for bit in f"{n - 2:b}":
        power = product(power, power)
        if bit == "1":
            power = product(power, [[p, q], [1, 0]])
    gold = power[0][0] * b + power[0][1] * a
    values = [a, b]
    lines = []
    for k in range(3, n + 1):
        values.append(p * values[-1] + q * values[-2])
        lines.append(f"a({k}) = {p}*{signed(values[-2])} + {signed(q)}*{signed(values[-3])} = {values[-1]}")
    return {"a": a, "b": b, "p": p, "q": signed(q), "n": n}, gold, lines


def _sum(rng: random.Random, size: int, position: int) -> Made:
    first = rng.choice([-1, 1]) * rng.randint(1, 3 * size)
    n = rng.randint(6, position)
    if rng.random() < 0.5:
        step = rng.choice([-1, 1]) * rng.randint(2, 3 * size)
        n *= 3
        values = [first + k * step for k in range(n)]
        last = first + (n - 1) * step
        lines = [
            f"difference {step}",
            f"last term: {first} + {n - 1} * {signed(step)} = {last}",
            f"{n} * ({first} + {signed(last)}) / 2 = {n} * {signed(first + last)} / 2 = {n * (first + last) // 2}",
        ]
        kind = "arithmetic"
    else:
        ratio = rng.choice([-4, -3, -2, 2, 3, 4, 5])
        values = [first * ratio**k for k in range(n)]
        lines = [
            f"ratio {ratio}",
            f"{signed(ratio)}^{n} = {ratio**n}",
            f"{first} * ({ratio**n} - 1) / ({ratio} - 1) = {first} * {ratio**n - 1} / {signed(ratio - 1)} "
            f"= {first * ((ratio**n - 1) // (ratio - 1))}",
        ]
        kind = "geometric"
    return {"terms": ", ".join(map(str, values[:4])), "n": n, "kind": kind}, sum(values), lines


_MAKERS = {
    "arithmetic": _arithmetic,
    "geometric": _geometric,
    "polynomial": _polynomial,
    "recurrence": _recurrence,
    "sum": _sum,
}


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
