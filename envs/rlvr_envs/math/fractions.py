"""Sums, differences, products and quotients of fractions."""

from __future__ import annotations

import random
from fractions import Fraction
from math import lcm

import rlvr
from rlvr_envs.math.asking import ask, bounded, phrase, signed, verify_answer, worked
from rlvr_envs.math.expressions import Node, read
from rlvr_envs.math.functions import function_of, polynomial_coefficients

PHRASINGS = (
    "Compute {text}.",
    "What is {text}?",
    "Evaluate {text}.",
    "Find the exact value of {text}.",
    "Simplify {text} to a single fraction.",
    "Work out {text}.",
    "Calculate {text}.",
    "Write {text} as one reduced fraction.",
)


@rlvr.register(
    "math/fractions-v0",
    chance=0.015,
    terms=2,
    numerator=20,
    denominator=12,
    signs="+-",
    levels=[
        {"terms": 2, "numerator": 20, "denominator": 12, "signs": "+-"},
        {"terms": 2, "numerator": 30, "denominator": 30, "signs": "+-"},
        {"terms": 3, "numerator": 20, "denominator": 15, "signs": "+-*/"},
        {"terms": 4, "numerator": 20, "denominator": 20, "signs": "+-*/"},
        {"terms": 6, "numerator": 30, "denominator": 30, "signs": "+-*/"},
    ],
)
def fractions(rng: random.Random, terms: int, numerator: int, denominator: int, signs: str) -> rlvr.Task:
    """An expression of `terms` fractions, joined by `signs` (of `+-*/`), to be written as one reduced fraction.

    The text is printed while a random tree grows. The gold is computed from the text, read back by precedence, so a wrong
    pair of parentheses could not hide.
    """
    bounded(
        "math/fractions-v0", terms=(terms, 2, 40), numerator=(numerator, 3, 10**6), denominator=(denominator, 2, 10**6)
    )
    if not signs or set(signs) - set("+-*/"):
        raise rlvr.ConfigError(f"math/fractions-v0: signs={signs!r}; choose some of '+-*/'")
    while (grown := _grow(rng, terms, numerator, denominator, signs)) is None:
        pass
    text = grown[0]
    gold = polynomial_coefficients(function_of(read(text)))[0]
    prompt = ask(phrase(rng, PHRASINGS, text=text), "a reduced fraction or a whole number")
    return rlvr.Task(prompt, answer=str(gold), data={"text": text})


fractions.verifier(verify_answer)


@fractions.worked_solution
def _(task: rlvr.Task) -> str:
    lines: list[str] = []
    value = _solve(read((task.data or {})["text"]), lines)
    return worked(lines, str(value))


def _grow(
    rng: random.Random, terms: int, numerator: int, denominator: int, signs: str
) -> tuple[str, int, Fraction] | None:
    """Text, strength of its loosest sign (1 sum, 2 product, 3 fraction) and value; None if something divides by zero."""
    if terms == 1:
        down = rng.randint(2, denominator)
        up = rng.randint(1, numerator - 1)
        up += up % down == 0
        return f"{up}/{down}", 2, Fraction(up, down)
    size = rng.randint(1, terms - 1)
    sign = rng.choice(signs)
    left = _grow(rng, size, numerator, denominator, signs)
    right = _grow(rng, terms - size, numerator, denominator, signs)
    if left is None or right is None or (sign == "/" and right[2] == 0):
        return None
    strength = 1 if sign in "+-" else 2
    before = f"({left[0]})" if left[1] < strength else left[0]
    # a - (b + c) and a * (b / c): on the right, a sign of the same strength needs parentheses; so does every fraction.
    after = f"({right[0]})" if right[1] <= strength or sign in "*/" else right[0]
    return f"{before} {sign} {after}", strength, _joined(left[2], sign, right[2])


def _solve(node: Node, lines: list[str]) -> Fraction:
    if node.kind == "number":
        return node.value
    left = _solve(node.parts[0], lines)
    if node.kind == "negative":
        return -left
    right = _solve(node.parts[1], lines)
    if node.kind == "/" and left.denominator == right.denominator == 1:
        return left / right
    if node.kind == "+":
        result = left + right
        common = lcm(left.denominator, right.denominator)
        top = [value.numerator * (common // value.denominator) for value in (left, right)]
        sum_text = f"{top[0]} + {signed(top[1])}" if top[1] < 0 else f"{top[0]} + {top[1]}"
        steps = [f"{signed(left)} + {signed(right)}", f"({sum_text})/{common}", f"{sum(top)}/{common}", str(result)]
        lines.append(" = ".join(dict.fromkeys(steps)))
        return result
    if node.kind == "/":
        lines.append(f"{signed(left)} / ({right}) = {signed(left)} * {signed(1 / right)}")
        right = 1 / right
    up, down = left.numerator * right.numerator, left.denominator * right.denominator
    steps = [f"{signed(left)} * {signed(right)}", f"{up}/{down}", str(left * right)]
    lines.append(" = ".join(dict.fromkeys(steps)))
    return left * right


def _joined(left: Fraction, sign: str, right: Fraction) -> Fraction:
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    return left * right if sign == "*" else left / right
