"""Factorisation of polynomials over the whole numbers."""

from __future__ import annotations

import random
from fractions import Fraction
from math import gcd, isqrt

import rlvr
from rlvr_envs.math.asking import ask, bounded, judge, phrase, worked
from rlvr_envs.math.expressions import Node, Unreadable, read
from rlvr_envs.math.functions import function_of, polynomial_coefficients
from rlvr_envs.math.polynomials import Polynomial, content, divided, factored, product_of, product_text, text

PHRASINGS = (
    "Factor {p} completely over the integers.",
    "Write {p} as a product of irreducible factors with integer coefficients.",
    "Factorise {p} as far as possible over the integers.",
    "What is the complete factorization of {p} over the integers?",
    "Decompose {p} into irreducible polynomials with integer coefficients.",
    "Find the irreducible factors of {p} over the integers and write it as their product.",
    "Split {p} into factors with integer coefficients that cannot be split further.",
)


@rlvr.register(
    "math/factor-v0",
    linear=2,
    quadratic=0,
    size=40,
    leading=1,
    common=1,
    levels=[
        {"linear": 2, "quadratic": 0, "size": 40, "leading": 1, "common": 1},
        {"linear": 2, "quadratic": 0, "size": 20, "leading": 6, "common": 6},
        {"linear": 3, "quadratic": 0, "size": 7, "leading": 2, "common": 4},
        {"linear": 2, "quadratic": 1, "size": 7, "leading": 3, "common": 4},
        {"linear": 2, "quadratic": 2, "size": 4, "leading": 2, "common": 4},
    ],
)
def factor(rng: random.Random, linear: int, quadratic: int, size: int, leading: int, common: int) -> rlvr.Task:
    """A product of `linear` linear and `quadratic` irreducible quadratic factors, multiplied out, to be factored again.

    Coefficients go up to `size`, leading ones up to `leading`; a number up to `common` multiplies the whole. The gold is
    found from the coefficients alone (rational roots, then Kronecker's search), not from the factors drawn. Any order,
    repeated factors written as powers or not, and factors with both signs turned count; a factor that is reducible or
    still has a common number does not.
    """
    bounded(
        "math/factor-v0",
        linear=(linear, 1, 4),
        quadratic=(quadratic, 0, 2),
        size=(size, 2, 60),
        leading=(leading, 1, 12),
        common=(common, 1, 60),
    )
    parts = [_linear(rng, size, leading) for _ in range(linear)] + [
        _quadratic(rng, size, leading) for _ in range(quadratic)
    ]
    scale = rng.choice([-1, 1]) * rng.randint(1, common) if common > 1 else 1
    p = [scale * c for c in product_of(parts)]
    unit, factors = factored(p)
    name = rng.choice("xyzt")
    prompt = ask(phrase(rng, PHRASINGS, p=text(p, name)), "the product, like 2(x - 1)(x + 3)^2,".replace("x", name))
    return rlvr.Task(prompt, answer=product_text(unit, factors, name), data={"coefficients": p, "name": name})


@factor.verifier
def _(task: rlvr.Task, answer_text: str) -> rlvr.Score:
    """The product of the parts is the polynomial, and the parts are its irreducible factors up to sign."""
    data = task.data or {}
    p: Polynomial = data["coefficients"]
    unit, factors = factored(p)

    def rule(answer: str) -> bool:
        try:
            given = _parts(read(answer), str(data["name"]), 1)
        except Unreadable:
            return False  # whatever else it is, it is no product of polynomials
        number = Fraction(1)
        wanted = list(factors)
        for part, power in given:
            if len(part) == 1:
                number *= part[0] ** power
                continue
            whole = [int(c) for c in part]
            if whole != part or power < 1:
                return False
            if whole not in wanted:
                whole, number = [-c for c in whole], number * (-1) ** power
            for _ in range(power):
                if whole not in wanted:
                    return False
                wanted.remove(whole)
        return not wanted and number == unit

    return judge(task, answer_text, rule)


@factor.worked_solution
def _(task: rlvr.Task) -> str:
    data = task.data or {}
    p: Polynomial = data["coefficients"]
    name = data["name"]
    unit = content(p)
    lines = []
    rest = [c // unit for c in p]
    if unit != 1:
        lines.append(f"common factor {unit}: {product_text(unit, [rest], name)}")
    found: list[Polynomial] = []
    for part in factored(rest)[1]:
        if len(part) == len(rest):
            break
        if len(part) == 2:
            lines.append(f"{name} = {Fraction(-part[0], part[1])} is a root, so {text(part, name)} divides it")
        rest = divided(rest, part) or [1]
        found.append(part)
        lines.append(f"({text(part, name)})({text(rest, name)})")
    if len(rest) == 3:
        lines.append(f"{text(rest, name)}: discriminant {rest[1] ** 2 - 4 * rest[0] * rest[2]} is no square")
    found.append(rest)
    found.sort(key=lambda part: (len(part), part[::-1]))
    return worked(lines, product_text(unit, found, name))


def _linear(rng: random.Random, size: int, leading: int) -> Polynomial:
    while True:
        a, b = rng.randint(1, leading), rng.choice([-1, 1]) * rng.randint(1, size)
        if gcd(a, b) == 1:
            return [b, a]


def _quadratic(rng: random.Random, size: int, leading: int) -> Polynomial:
    while True:
        a, b, c = rng.randint(1, leading), rng.randint(-size, size), rng.choice([-1, 1]) * rng.randint(1, size)
        d = b * b - 4 * a * c
        if gcd(a, b, c) == 1 and (d < 0 or isqrt(d) ** 2 != d):
            return [c, b, a]


def _parts(tree: Node, name: str, power: int) -> list[tuple[list[Fraction], int]]:
    """The factors as they are written, each with its power: the coefficients of each, constant first."""
    if tree.kind == "*":
        return [found for part in tree.parts for found in _parts(part, name, power)]
    if tree.kind == "negative":
        return [([Fraction(-1)], power), *_parts(tree.parts[0], name, power)]
    if tree.kind == "^":
        exponent = polynomial_coefficients(function_of(tree.parts[1], name))
        if len(exponent) != 1 or exponent[0] not in range(1, 9):
            raise Unreadable("a power")
        return _parts(tree.parts[0], name, power * int(exponent[0]))
    return [(polynomial_coefficients(function_of(tree, name)), power)]
