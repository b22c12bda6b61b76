"""Derivatives of sums of elementary functions."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import NamedTuple

import rlvr
from rlvr_envs.math.asking import ask, bounded, judge, one_kind, phrase, worked
from rlvr_envs.math.expressions import Unreadable, read
from rlvr_envs.math.functions import Function, function_of
from rlvr_envs.math.polynomials import text

PHRASINGS = (
    "Differentiate {f} with respect to {x}.",
    "Find the derivative of f({x}) = {f}.",
    "Let g({x}) = {f}. What is g'({x})?",
    "Compute d/d{x} [{f}].",
    "What is the derivative of {f} with respect to {x}?",
    "Give the slope of the graph of h({x}) = {f} as a function of {x}.",
)


KINDS = ("power", "bracket", "wave", "exponential", "nested", "product", "quotient")


class Piece(NamedTuple):
    """A summand of a function, its derivative, and the step between them."""

    before: str
    after: str
    why: str


@rlvr.register(
    "math/derivative-v0",
    terms=3,
    size=12,
    kinds=["power"],
    levels=[
        {"terms": 3, "size": 12, "kinds": ["power"]},
        {"terms": 3, "size": 9, "kinds": ["power", "bracket", "wave", "exponential"]},
        {"terms": 2, "size": 9, "kinds": ["bracket", "nested", "product"]},
        {"terms": 2, "size": 9, "kinds": ["product", "quotient", "nested"]},
        {"terms": 3, "size": 9, "kinds": ["product", "quotient", "nested"]},
    ],
)
def derivative(rng: random.Random, terms: int, size: int, kinds: list[str]) -> rlvr.Task:
    """The derivative of a sum of `terms` functions of the given `kinds`, with numbers up to `size`.

    Kinds: power, bracket (a power of a linear function), wave, exponential, nested (of a quadratic), product, quotient.
    The gold is written by the rules of calculus; what judges is the function shown, differentiated in the exact ring of
    `functions`, so gold and verdict check each other. Any equal form counts.
    """
    bounded("math/derivative-v0", terms=(terms, 1, 20), size=(size, 2, 10**4))
    name = rng.choice("xyzt")
    powers = rng.sample(range(1, 9), 8)  # each at most once, or terms would stand there unjoined
    pieces = [
        _piece(rng, one_kind(rng, "math/derivative-v0", kinds, KINDS), size, name, powers[number % 8])
        for number in range(terms)
    ]
    shown = add([piece.before for piece in pieces])
    prompt = ask(phrase(rng, PHRASINGS, f=shown, x=name), f"the derivative, a formula in {name},")
    data = {"function": shown, "name": name, "pieces": [list(piece) for piece in pieces]}
    return rlvr.Task(prompt, answer=add([piece.after for piece in pieces]), data=data)


@derivative.verifier
def _(task: rlvr.Task, answer_text: str) -> rlvr.Score:
    """The answer equals the derivative as a function."""
    data = task.data or {}
    name = str(data["name"])

    def rule(answer: str) -> bool:
        try:
            return function_of(read(answer), name).equals(_slope(data["function"], name))
        except Unreadable:
            return False  # the ring holds all that these tasks are made of, so this is another function, or none

    return judge(task, answer_text, rule)


@lru_cache(256)  # the answers of a group all ask for the same
def _slope(shown: str, name: str) -> Function:
    return function_of(read(shown), name).derivative()


@derivative.worked_solution
def _(task: rlvr.Task) -> str:
    pieces = [Piece(*values) for values in (task.data or {})["pieces"]]
    lines = [f"({piece.before})' = {piece.why}{' = ' if piece.why else ''}{piece.after}" for piece in pieces]
    return worked(lines, add([piece.after for piece in pieces]))


def add(parts: list[str]) -> str:
    """The sum of some terms, each of which may start with a minus; terms that are 0 are left out."""
    shown = ""
    for part in parts:
        if part == "0":
            continue
        if not shown:
            shown = part
        elif part.startswith("-"):
            shown += f" - {part[1:]}"
        else:
            shown += f" + {part}"
    return shown or "0"


def scaled(number: int, body: str) -> str:
    """number times body, as people write it."""
    return body if number == 1 else f"-{body}" if number == -1 else f"{number}{body}"


def nonzero(rng: random.Random, size: int) -> int:
    """A whole number from -size to size, not 0."""
    return rng.choice([-1, 1]) * rng.randint(1, size)


def _piece(rng: random.Random, kind: str, size: int, x: str, n: int) -> Piece:
    c, a, b = nonzero(rng, size), nonzero(rng, size), nonzero(rng, size)
    if kind == "power":
        p = [0] * n + [c]
        return Piece(text(p, x), text([0] * (n - 1) + [n * c], x), f"{n} * {c}{x}^{n - 1}" if n > 2 else "")
    if kind == "bracket":
        n = rng.randint(3, 8)
        inner = text([b, a], x)
        rest = f"({inner})^{n - 1}"
        return Piece(scaled(c, f"({inner})^{n}"), scaled(c * n * a, rest), f"{c} * {n}{rest} * {a}")
    if kind in ("wave", "exponential"):
        return _outer(rng, kind, c, [b if rng.random() < 0.4 else 0, a], x)
    if kind == "nested":
        return _outer(rng, rng.choice(["wave", "exponential"]), c, [0, rng.choice([0, b]), a], x)
    if kind == "product":
        inner = text([b, a, rng.choice([0, 0, c])], x)
        slope = text([a, 2 * c] if f"{x}^2" in inner else [a], x)
        other = _outer(rng, rng.choice(["wave", "exponential"]), 1, [0, nonzero(rng, size)], x)
        after = add([scaled_by(slope, other.before), f"({inner}){_times(other.after)}"])
        return Piece(f"({inner}){other.before}", after, f"({inner})'{other.before} + ({inner})({other.before})'")
    while True:
        p, q = [nonzero(rng, size), nonzero(rng, size)], [nonzero(rng, size), nonzero(rng, size)]
        top = p[1] * q[0] - p[0] * q[1]
        if top:
            break
    up, down = text(p, x), text(q, x)
    why = f"({p[1]}({down}) - ({q[1]})({up}))/({down})^2"
    return Piece(f"({up})/({down})", f"{top}/({down})^2", why)


def _outer(rng: random.Random, kind: str, c: int, inner: list[int], x: str) -> Piece:
    """c sin, c cos or c e^ of a polynomial."""
    shown = text(inner, x)
    slope = text([n * value for n, value in enumerate(inner)][1:], x)
    name, other, sign = rng.choice([("sin", "cos", 1), ("cos", "sin", -1)])
    before, outside = (f"e^({shown})",) * 2 if kind == "exponential" else (f"{name}({shown})", f"{other}({shown})")
    sign = 1 if kind == "exponential" else sign
    if slope.lstrip("-").isdigit():
        return Piece(scaled(c, before), scaled(sign * c * int(slope), outside), f"{sign * c}{outside} * ({slope})")
    after = scaled(sign * c, f"({slope}){outside}")
    return Piece(scaled(c, before), after, f"{sign * c}{outside} * ({shown})'")


def scaled_by(factor: str, body: str) -> str:
    """A product of a formula and a body."""
    if factor.lstrip("-").isdigit():
        return scaled(int(factor), body)
    return f"({factor}){body}"


def _times(body: str) -> str:
    """How a body that may start with a minus or a number follows a closing parenthesis."""
    return f"({body})" if body[0] in "-0123456789" else body
