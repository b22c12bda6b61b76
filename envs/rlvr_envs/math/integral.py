"""Antiderivatives, and definite integrals of polynomials."""

from __future__ import annotations

import random
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import rlvr
from rlvr_envs.math.asking import ask, bounded, judge, one_kind, phrase, signed, verify_answer, worked
from rlvr_envs.math.derivative import add, nonzero, scaled
from rlvr_envs.math.expressions import Unreadable, read
from rlvr_envs.math.functions import Function, function_of
from rlvr_envs.math.polynomials import Polynomial, text, value

INDEFINITE = (
    "Find an antiderivative of {f} with respect to {x}.",
    "Integrate {f} with respect to {x}.",
    "Which function of {x} has the derivative {f}?",
    "Compute the indefinite integral of ({f}) d{x}.",
    "Find F({x}) such that F'({x}) = {f}.",
    "Give the most general antiderivative of f({x}) = {f}.",
)
DEFINITE = (
    "Compute the integral of ({f}) d{x} from {a} to {b}.",
    "Evaluate the definite integral of {f} over {x} from {a} to {b}.",
    "What is the signed area under y = {f} between {x} = {a} and {x} = {b}?",
    "Integrate {f} with respect to {x} from {a} to {b}.",
)
KINDS = ("power", "bracket", "wave", "exponential", "reciprocal", "parts", "twice")
CONSTANTS = "CcKk"
"""Letters that may stand for the constant of integration."""


class Piece(NamedTuple):
    """A summand of the integrand, an antiderivative of it, and the rule."""

    before: str
    after: str
    rule: str


@rlvr.register(
    "math/integral-v0",
    chance=0.01,
    terms=3,
    size=9,
    kinds=["power"],
    definite=False,
    levels=[
        {"terms": 3, "size": 9, "kinds": ["power"], "definite": False},
        {"terms": 4, "size": 9, "kinds": ["power"], "definite": True},
        {"terms": 4, "size": 9, "kinds": ["power", "bracket", "wave", "exponential", "reciprocal"], "definite": False},
        {"terms": 3, "size": 9, "kinds": ["bracket", "parts"], "definite": False},
        {"terms": 4, "size": 9, "kinds": ["parts", "twice"], "definite": False},
    ],
)
def integral(rng: random.Random, terms: int, size: int, kinds: list[str], definite: bool) -> rlvr.Task:
    """An antiderivative of a sum of `terms` functions of the given `kinds`, or with `definite` a number.

    Kinds: power, bracket (a power of a linear function), wave, exponential, reciprocal, parts (by parts, once), twice
    (by parts, twice). An answer is right if its derivative, taken in the exact ring of `functions`, is the integrand, so
    the constant is free and any form counts. A definite integral is of powers only; its gold comes from Boole's rule,
    which is exact up to degree 5, and not from the antiderivative that the worked solution writes.
    """
    bounded("math/integral-v0", terms=(terms, 1, 20), size=(size, 2, 10**4))
    name = rng.choice("xyzt")
    if definite:
        return _definite(rng, terms, size, name)
    powers = rng.sample(range(7), 7)  # each at most once, or terms would stand there unjoined
    pieces = [
        _piece(rng, one_kind(rng, "math/integral-v0", kinds, KINDS), size, name, powers[number % 7])
        for number in range(terms)
    ]
    shown = add([piece.before for piece in pieces])
    prompt = ask(phrase(rng, INDEFINITE, f=shown, x=name), f"a formula in {name}")
    data = {"function": shown, "name": name, "pieces": [list(piece) for piece in pieces]}
    return rlvr.Task(prompt, answer=add([*(piece.after for piece in pieces), "C"]), data=data)


@integral.verifier
def _(task: rlvr.Task, answer_text: str) -> rlvr.Score:
    """The derivative of the answer is the integrand; a definite integral is a number."""
    data = task.data or {}
    if "coefficients" in data:
        return verify_answer(task, answer_text)
    name = str(data["name"])

    def rule(answer: str) -> bool:
        try:
            given = function_of(read(answer), name, CONSTANTS).derivative()
            return given.equals(_integrand(data["function"], name))
        except Unreadable:
            return False  # the ring holds all that these tasks are made of, so this is another function, or none

    return judge(task, answer_text, rule)


@lru_cache(256)  # the answers of a group all ask for the same
def _integrand(shown: str, name: str) -> Function:
    return function_of(read(shown), name)


@integral.worked_solution
def _(task: rlvr.Task) -> str:
    data = task.data or {}
    if "coefficients" in data:
        start, end = data["limits"]
        return _definite_solution(data["coefficients"], start, end, str(data["name"]))
    pieces = [Piece(*values) for values in data["pieces"]]
    lines = [f"{piece.before} comes from {piece.after} ({piece.rule})" for piece in pieces]
    return worked(lines, add([*(piece.after for piece in pieces), "C"]))


def _definite(rng: random.Random, terms: int, size: int, name: str) -> rlvr.Task:
    powers = sorted(rng.sample(range(6), min(terms, 6)))
    p = [nonzero(rng, size) if n in powers else 0 for n in range(powers[-1] + 1)]
    start = rng.randint(-3, 2)
    end = rng.randint(start + 1, start + 4)
    gold = _boole(p, start, end)
    question = phrase(rng, DEFINITE, f=text(p, name), x=name, a=start, b=end)
    prompt = ask(question, "a whole number or a reduced fraction")
    return rlvr.Task(prompt, answer=str(gold), data={"coefficients": p, "limits": [start, end], "name": name})


def _boole(p: Polynomial, start: int, end: int) -> Fraction:
    """(b-a)/90 (7 f0 + 32 f1 + 12 f2 + 32 f3 + 7 f4) at five equally spaced points: exact for degrees up to 5."""
    points = [start + Fraction(n * (end - start), 4) for n in range(5)]
    values = [Fraction(value(p, x)) for x in points]
    total = sum((weight * y for weight, y in zip((7, 32, 12, 32, 7), values, strict=True)), Fraction(0))
    return total * (end - start) / 90


def _definite_solution(p: Polynomial, start: int, end: int, name: str) -> str:
    whole = [Fraction(0), *(Fraction(c, n + 1) for n, c in enumerate(p))]
    at: list[Fraction] = []
    lines = [f"F({name}) = {text(whole, name)}"]
    for x in (end, start):
        terms = [c * x**n for n, c in enumerate(whole) if c]
        at.append(sum(terms, Fraction(0)))
        put_in = " + ".join(f"{signed(c)}*{signed(x)}^{n}" for n, c in enumerate(whole) if c)
        steps = [f"F({x})", put_in, add([str(term) for term in terms]), str(at[-1])]
        lines.append(" = ".join(dict.fromkeys(steps)))
    lines.append(f"{at[0]} - {signed(at[1])} = {at[0] - at[1]}")
    return worked(lines, str(at[0] - at[1]))


def over(number: int, body: str, divisor: int) -> str:
    """number/divisor times body, reduced: `-(2/3)x^3`, `5x`, `x^2`."""
    c = Fraction(number, divisor)
    if c.denominator == 1:
        return scaled(c.numerator, body)
    return f"{'-' if c < 0 else ''}({abs(c)}){body}"


def _piece(rng: random.Random, kind: str, size: int, x: str, n: int) -> Piece:
    c, a, b = nonzero(rng, size), nonzero(rng, size), nonzero(rng, size)
    if kind == "power":
        after = over(c, x if n == 0 else f"{x}^{n + 1}", n + 1)
        return Piece(text([0] * n + [c], x), after, "power rule")
    if kind == "bracket":
        n = rng.randint(2, 6)
        inner = text([b, a], x)
        return Piece(
            scaled(c, f"({inner})^{n}"), over(c, f"({inner})^{n + 1}", a * (n + 1)), f"u = {inner}, du = {a} d{x}"
        )
    if kind == "wave":
        name, other, sign = rng.choice([("sin", "cos", -1), ("cos", "sin", 1)])
        inner = text([0, a], x)
        return Piece(scaled(c, f"{name}({inner})"), over(sign * c, f"{other}({inner})", a), f"divide by {a}")
    if kind == "exponential":
        inner = text([0, a], x)
        return Piece(scaled(c, f"e^({inner})"), over(c, f"e^({inner})", a), f"divide by {a}")
    if kind == "reciprocal":
        return Piece(f"{c}/{x}", scaled(c, f"ln|{x}|"), f"1/{x} comes from ln|{x}|")
    return _by_parts(rng, 1 if kind == "parts" else 2, c, a, x)


def _by_parts(rng: random.Random, times: int, c: int, a: int, x: str) -> Piece:
    """c x^n times e^, sin, cos of a x, or c x^n ln x."""
    inner = text([0, a], x)
    power = x if times == 1 else f"{x}^2"
    outer = rng.choice(["e", "sin", "cos", "ln"] if times == 1 else ["e", "sin", "cos"])
    if outer == "ln":
        n = rng.randint(1, 4)
        body = x if n == 1 else f"{x}^{n}"
        after = add([over(c, f"{x}^{n + 1} ln({x})", n + 1), over(-c, f"{x}^{n + 1}", (n + 1) ** 2)])
        return Piece(scaled(c, f"{body} ln({x})"), after, f"by parts, u = ln({x})")
    # Repeated integration of the outer function, with alternating derivatives of the power (the tabular method).
    chain = {"e": ["e", "e", "e", "e"], "sin": ["sin", "-cos", "-sin", "cos"], "cos": ["cos", "sin", "-cos", "-sin"]}[
        outer
    ]
    parts = []
    slopes = [(1, power), (1, "1")] if times == 1 else [(1, power), (2, x), (2, "1")]
    for step, (number, body) in enumerate(slopes):
        name = chain[step + 1].lstrip("-")
        sign = (-1) ** step * (-1 if chain[step + 1].startswith("-") else 1)
        call = f"e^({inner})" if name == "e" else f"{name}({inner})"
        parts.append(over(sign * c * number, ("" if body == "1" else f"{body} ") + call, a ** (step + 1)))
    before = scaled(c, f"{power} " + (f"e^({inner})" if outer == "e" else f"{outer}({inner})"))
    return Piece(before, add(parts), "by parts" if times == 1 else "by parts, twice")
