"""Linear equations in one unknown."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from math import lcm

import rlvr
from rlvr_envs.math.asking import ask, bounded, phrase, signed, verify_answer, worked
from rlvr_envs.math.polynomials import text

PHRASINGS = (
    "Solve for {x}: {equation}",
    "Find {x} if {equation}.",
    "What value of {x} satisfies {equation}?",
    "Determine {x}: {equation}",
    "The equation {equation} has one solution. What is {x}?",
    "Solve the equation {equation} for {x}.",
)
Part = list[int]
"""[k, a, b, d]: the term k (a x + b) / d."""


@rlvr.register(
    "math/linear-equation-v0",
    chance=0.035,
    left=1,
    right=0,
    size=20,
    factors=False,
    denominators=False,
    levels=[
        {"left": 1, "right": 0, "size": 20, "factors": False, "denominators": False},
        {"left": 1, "right": 1, "size": 40, "factors": False, "denominators": False},
        {"left": 2, "right": 1, "size": 15, "factors": True, "denominators": False},
        {"left": 2, "right": 2, "size": 15, "factors": True, "denominators": True},
        {"left": 3, "right": 3, "size": 20, "factors": True, "denominators": True},
    ],
)
def linear_equation(
    rng: random.Random, left: int, right: int, size: int, factors: bool, denominators: bool
) -> rlvr.Task:
    """An equation whose sides are `left` and `right` terms with the unknown; a side of none is a number.

    Terms are a x + b with coefficients up to `size`; `factors` puts numbers before parentheses, `denominators` below
    them, and both make the solution a fraction. The text is printed from the terms; the gold comes from the values of the
    two sides at 0 and at 1, which fix a line; the worked solution expands and collects.
    """
    bounded("math/linear-equation-v0", left=(left, 1, 20), right=(right, 0, 20), size=(size, 3, 10**6))
    name = rng.choice("xyztnkw")
    while True:
        sides = [[_part(rng, size, factors, denominators) for _ in range(count)] for count in (left, right)]
        at = [_gap(sides, Fraction(x)) for x in (0, 1)]
        if at[0] == at[1]:
            continue
        if not right:  # the constant that makes the solution a whole number, as in schoolbooks
            root = rng.choice([n for n in range(-size, size + 1) if n])
            sides[1] = (
                [[1, 0, int(_gap(sides, Fraction(root))), 1]] if not denominators else [[1, 0, rng.randint(1, size), 1]]
            )
            at = [_gap(sides, Fraction(x)) for x in (0, 1)]
        gold = at[0] / (at[0] - at[1])
        # Small answers come up by chance alone too often to be worth anything.
        if gold not in (0, 1, -1) and gold.denominator <= max(60, 4 * size):
            break
    equation = " = ".join(_side(side, name) for side in sides)
    question = phrase(rng, PHRASINGS, equation=equation, x=name)
    form = "a whole number" if not right and not denominators else "a whole number or a reduced fraction"
    return rlvr.Task(ask(question, form), answer=str(gold), data={"sides": sides, "name": name})


linear_equation.verifier(verify_answer)


@linear_equation.worked_solution
def _(task: rlvr.Task) -> str:
    data = task.data or {}
    name = data["name"]
    sides: list[list[Part]] = data["sides"]
    lines = [" = ".join(_side(side, name) for side in sides)]
    common = lcm(*(part[3] for side in sides for part in side))
    if common > 1:
        sides = [[[part[0] * common // part[3], part[1], part[2], 1] for part in side] for side in sides]
        lines.append(f"times {common}: " + " = ".join(_side(side, name) for side in sides))
    if any(part[0] != 1 for side in sides for part in side):
        sides = [[[1, part[0] * part[1], part[0] * part[2], 1] for part in side] for side in sides]
        lines.append("expand: " + " = ".join(_side(side, name) for side in sides))
    (a, b), (c, d) = ([sum(part[1] for part in side), sum(part[2] for part in side)] for side in sides)
    collected = f"{text([b, a], name)} = {text([d, c], name)}"
    if collected != lines[0]:
        lines.append(f"collect: {collected}")
    if c or b:
        lines.append(f"{text([0, a - c], name)} = {d} - {signed(b)} = {d - b}")
    value = Fraction(d - b, a - c)
    if a - c != 1:
        lines.append(f"{name} = {d - b}/{signed(a - c)} = {value}")
    return worked(lines, str(value))


def _part(rng: random.Random, size: int, factors: bool, denominators: bool) -> Part:
    a = rng.choice([n for n in range(-size, size + 1) if n])
    b = rng.choice([n for n in range(-size, size + 1) if n])
    k = rng.choice([-6, -5, -4, -3, -2, 2, 3, 4, 5, 6]) if factors and rng.random() < 0.7 else 1
    d = rng.randint(2, 9) if denominators and rng.random() < 0.5 else 1
    if d > 1:
        k = 1 if k > 0 else -1
    return [k, a, b, d]


def _gap(sides: Sequence[Sequence[Part]], x: Fraction) -> Fraction:
    """The left side minus the right side at x."""
    values = [sum((Fraction(k, d) * (a * x + b) for k, a, b, d in side), Fraction(0)) for side in sides]
    return values[0] - values[1]


def _side(side: Sequence[Part], name: str) -> str:
    shown = ""
    for k, a, b, d in side:
        inner = text([b, a], name)
        if d > 1:
            piece = f"({inner})/{d}"
            piece = f"-{piece}" if k < 0 else piece
        elif k != 1:
            piece = f"-({inner})" if k == -1 else f"{k}({inner})"
        else:
            piece = inner
        if not shown:
            shown = piece
        elif piece.startswith("-"):
            shown += f" - {piece[1:]}"
        else:
            shown += f" + {piece}"
    return shown
