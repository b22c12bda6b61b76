"""Roots of polynomials with rational roots."""

from __future__ import annotations

import random
from fractions import Fraction
from math import isqrt, lcm

import rlvr
from rlvr_envs.math.asking import ask, bounded, judge, phrase, rational, signed, split_list, worked
from rlvr_envs.math.polynomials import Polynomial, product_of, rational_roots, text

PHRASINGS = (
    "Find all roots of {p}.",
    "Solve {p} = 0.",
    "For which values of {x} is {p} equal to 0?",
    "Determine every solution of the equation {p} = 0.",
    "The polynomial {p} has only rational roots. List them.",
    "What are the zeros of the polynomial {p}?",
    "At which {x} does {p} vanish?",
    "Give the solution set of {p} = 0.",
)


@rlvr.register(
    "math/polynomial-roots-v0",
    chance=0.005,
    degree=2,
    size=30,
    denominator=1,
    repeated=False,
    levels=[
        {"degree": 2, "size": 30, "denominator": 1, "repeated": False},
        {"degree": 2, "size": 20, "denominator": 8, "repeated": False},
        {"degree": 3, "size": 8, "denominator": 1, "repeated": True},
        {"degree": 3, "size": 8, "denominator": 4, "repeated": True},
        {"degree": 4, "size": 7, "denominator": 3, "repeated": True},
    ],
)
def polynomial_roots(rng: random.Random, degree: int, size: int, denominator: int, repeated: bool) -> rlvr.Task:
    """A polynomial of a degree, multiplied out, whose roots p/q have |p| up to `size` and q up to `denominator`.

    With `repeated`, roots may coincide; each is listed once. The text comes from the roots; the gold is found again from
    the coefficients alone by the rational root theorem. Any order counts.
    """
    bounded(
        "math/polynomial-roots-v0", degree=(degree, 2, 5), size=(size, degree, 100), denominator=(denominator, 1, 12)
    )
    factors = [_linear(rng, size, denominator) for _ in range(degree)]
    while len(factors) != len({tuple(factor) for factor in factors}) and not repeated:
        factors = [_linear(rng, size, denominator) for _ in range(degree)]
    scale = rng.choice([1, 1, 1, -1, 2])
    p = [scale * c for c in product_of(factors)]
    gold = rational_roots(p)
    name = rng.choice("xyzt")
    prompt = ask(phrase(rng, PHRASINGS, p=text(p, name), x=name), "the set of all distinct roots, like {1, 2/3},")
    return rlvr.Task(prompt, answer=_set(gold), data={"coefficients": p, "name": name})


@polynomial_roots.verifier
def _(task: rlvr.Task, text: str) -> rlvr.Score:
    """The set of the roots, exactly; a root named twice is no mistake."""
    gold = {Fraction(part) for part in str(task.answer).strip("{}").split(", ")}
    name = str((task.data or {})["name"])

    def rule(answer: str) -> bool | None:
        given = set()
        for part in split_list(answer.replace(" or ", ", ")):
            left, _, right = part.rpartition("=")
            value = rational(right)
            if value is None or left.strip().rstrip("_0123456789{}") not in ("", name):
                return None
            given.add(value)
        return given == gold

    return judge(task, text, rule)


@polynomial_roots.worked_solution
def _(task: rlvr.Task) -> str:
    data = task.data or {}
    p: list[Fraction] = [Fraction(c) for c in data["coefficients"]]
    name = data["name"]
    lines: list[str] = []
    if p[-1] != 1:
        p = [c / p[-1] for c in p]
        lines.append(f"divide by the leading coefficient: {text(p, name)}")
    found: list[Fraction] = []
    while len(p) > 3:
        scale = 1
        for c in p:
            scale = lcm(scale, c.denominator)
        root = next(iter(rational_roots([int(c * scale) for c in p])))
        terms = [str(c * root**n) for n, c in enumerate(p) if c]
        p = _divided(p, root)
        found.append(root)
        lines.append(f"{name} = {root}: {' + '.join(map(signed, terms))} = 0, a root")
        lines.append(f"divide by {name} - {signed(root)}: {text(p, name)}")
    half, inner = -p[1] / 2, p[1] * p[1] / 4 - p[0]
    lines.append(f"{name} = {half} +- sqrt({inner})")
    root = _square_root(inner)
    found += [half - root, half + root]
    lines.append(f"sqrt({inner}) = {root}, so {name} = {half - root} or {name} = {half + root}")
    return worked(lines, _set(sorted(set(found))))


def _linear(rng: random.Random, size: int, denominator: int) -> Polynomial:
    """q x - p in lowest terms."""
    root = Fraction(rng.choice([-1, 1]) * rng.randint(1, size), rng.randint(1, denominator))
    return [-root.numerator, root.denominator]


def _set(roots: list[Fraction]) -> str:
    return "{" + ", ".join(map(str, roots)) + "}"


def _divided(p: list[Fraction], root: Fraction) -> list[Fraction]:
    """Synthetic division by x - root."""
    quotient = [p[-1]]
    for c in p[-2:0:-1]:
        quotient.append(c + quotient[-1] * root)
    return quotient[::-1]


def _square_root(value: Fraction) -> Fraction:
    return Fraction(isqrt(value.numerator), isqrt(value.denominator))
