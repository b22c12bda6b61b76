"""Limits of quotients that are 0/0 or infinite at the point."""

from __future__ import annotations

import random
from fractions import Fraction
from math import factorial

import rlvr
from rlvr_envs.math.asking import ask, bounded, one_kind, phrase, verify_answer, worked
from rlvr_envs.math.derivative import nonzero, scaled
from rlvr_envs.math.polynomials import derivative, divided, text, times, value

PHRASINGS = (
    "Find the limit of {f} as {x} approaches {a}.",
    "Compute lim_{{{x} -> {a}}} {f}.",
    "What does {f} tend to as {x} -> {a}?",
    "Evaluate the limit for {x} -> {a} of {f}.",
    "As {x} goes to {a}, what value does {f} approach?",
    "Determine lim {f} for {x} -> {a}.",
)
ORDER = 6
"""Terms of the power series that golds are computed with."""


@rlvr.register(
    "math/limit-v0",
    chance=0.035,
    kinds=["infinity"],
    size=15,
    levels=[
        {"kinds": ["infinity"], "size": 15},
        {"kinds": ["first", "second"], "size": 9},
        {"kinds": ["cancel"], "size": 9},
        {"kinds": ["cancel-twice", "root"], "size": 9},
        {"kinds": ["third"], "size": 6},
    ],
)
def limit(rng: random.Random, kinds: list[str], size: int) -> rlvr.Task:
    """A limit that is a rational number.

    Kinds: infinity (a quotient of polynomials at infinity), cancel and cancel-twice (a common linear factor, once or
    squared), root (a difference of roots), first, second and third (sin, cos, e^, ln whose series cancel up to that
    order). Golds come from l'Hopital's rule or exact power series; the worked solutions cancel, or expand.
    """
    bounded("math/limit-v0", size=(size, 3, 10**4))
    kind = one_kind(rng, "math/limit-v0", kinds, _MAKERS)
    x = rng.choice("xyzt")
    shown, point, gold, lines = _MAKERS[kind](rng, size, x)
    prompt = ask(phrase(rng, PHRASINGS, f=shown, x=x, a=point), "a whole number or a reduced fraction")
    data = {"function": shown, "name": x, "point": point, "steps": lines}
    return rlvr.Task(prompt, answer=str(gold), data=data)


limit.verifier(verify_answer)


@limit.worked_solution
def _(task: rlvr.Task) -> str:
    *lines, answer = (task.data or {})["steps"]
    return worked([*lines, answer], answer.rpartition("= ")[2])


Made = tuple[str, str, Fraction, list[str]]


def _infinity(rng: random.Random, size: int, x: str) -> Made:
    degree = rng.randint(1, 3)
    p, q = ([rng.randint(-size, size) for _ in range(degree)] + [nonzero(rng, size)] for _ in range(2))
    # With u = 1/x both turn into polynomials with the coefficients reversed, and u goes to 0.
    gold = Fraction(value(p[::-1], 0)) / value(q[::-1], 0)
    shown = f"({text(p, x)})/({text(q, x)})"
    power = x if degree == 1 else f"{x}^{degree}"
    return shown, "infinity", gold, [f"divide by {power}", f"{p[-1]}/({q[-1]}) = {Fraction(p[-1], q[-1])}"]


def _cancel(rng: random.Random, size: int, x: str, power: int = 1) -> Made:
    a = nonzero(rng, size)
    common = [1]
    for _ in range(power):
        common = times(common, [-a, 1])
    while True:
        u, v = ([nonzero(rng, size), nonzero(rng, 4)] for _ in range(2))
        if value(u, a) and value(v, a):
            break
    p, q = times(common, u), times(common, v)
    up, down = p, q
    for _ in range(power):
        up, down = derivative(up), derivative(down)
    gold = Fraction(value(up, a)) / value(down, a)
    shown = f"({text(p, x)})/({text(q, x)})"
    up, down = divided(p, common) or [0], divided(q, common) or [0]
    factor = f"({text([-a, 1], x)})" + ("" if power == 1 else f"^{power}")
    lines = [
        f"above: {text(p, x)} = {factor}({text(up, x)})",
        f"below: {text(q, x)} = {factor}({text(down, x)})",
        f"({text(up, x)})/({text(down, x)}) at {x} = {a}",
        f"{value(up, a)}/({value(down, a)}) = {Fraction(value(up, a)) / value(down, a)}",
    ]
    return shown, str(a), gold, lines


def _root(rng: random.Random, size: int, x: str) -> Made:
    """(sqrt(m x + k) - c) / (n (x - a)) with m a + k = c^2."""
    a, c, m, n = nonzero(rng, size), rng.randint(2, size + 2), nonzero(rng, size), nonzero(rng, size)
    k = c * c - m * a
    # The derivative of the root at a, over that of the denominator.
    gold = Fraction(m, 2 * c) / n
    root = f"sqrt({text([k, m], x)})"
    shown = f"({root} - {c})/({text([-n * a, n], x)})"
    lines = [
        f"times {root} + {c}: above {text([k, m], x)} - {c * c} = {text([k - c * c, m], x)} = {m}({text([-a, 1], x)})",
        f"below {n}({text([-a, 1], x)})({root} + {c})",
        f"cancel: {m}/({n}({root} + {c})) at {x} = {a}",
        f"{m}/({n} * ({c} + {c})) = {Fraction(m, n * 2 * c)}",
    ]
    return shown, str(a), gold, lines


Series = list[Fraction]


def _series(kind: str, a: int) -> Series:
    """The first coefficients of sin(ax), 1 - cos(ax), e^(ax) - 1 or ln(1 + ax) around 0."""
    terms = [Fraction(0)] * ORDER
    for n in range(1, ORDER):
        if kind == "exp":
            terms[n] = Fraction(a**n, factorial(n))
        elif kind == "ln":
            terms[n] = Fraction((-1) ** (n + 1) * a**n, n)
        elif kind == "sin" and n % 2:
            terms[n] = Fraction((-1) ** (n // 2) * a**n, factorial(n))
        elif kind == "cos" and n % 2 == 0:
            terms[n] = -Fraction((-1) ** (n // 2) * a**n, factorial(n))
    return terms


_NAMES = {"sin": "sin({u})", "cos": "1 - cos({u})", "exp": "e^({u}) - 1", "ln": "ln(1 + {u})"}


def _function(kind: str, a: int, x: str) -> str:
    inner = text([0, a], x)
    if kind == "ln":
        return f"ln({text([1, a], x)})"
    return _NAMES[kind].format(u=inner)


def _first(rng: random.Random, size: int, x: str) -> Made:
    kind, other = rng.choice(["sin", "exp", "ln"]), rng.choice(["sin", "exp", "ln", "plain", "plain"])
    a, b, c = nonzero(rng, size), nonzero(rng, size), nonzero(rng, size)
    top = _series(kind, a)
    if other == "plain":
        shown, bottom = f"({_function(kind, a, x)})/({text([0, b], x)})", [Fraction(0), Fraction(b)]
    else:
        shown, bottom = f"({_function(kind, a, x)})/({_function(other, b, x)})", _series(other, b)
    shown = f"({text([c, 1], x)}) * {shown}"
    gold = c * top[1] / bottom[1]
    lines = [
        f"near 0: {_function(kind, a, x)} ~ {text([0, a], x)}",
        *([] if other == "plain" else [f"near 0: {_function(other, b, x)} ~ {text([0, b], x)}"]),
        f"{text([c, 1], x)} -> {c}",
        f"{c} * {a}/({b}) = {Fraction(c * a, b)}",
    ]
    return shown, "0", gold, lines


def _second(rng: random.Random, size: int, x: str) -> Made:
    a, b = nonzero(rng, size), nonzero(rng, size)
    kind = rng.choice(["cos", "exp", "ln"])
    series = _series(kind, a)
    if kind == "cos":
        above, rule = f"1 - cos({text([0, a], x)})", f"1 - cos(u) ~ u^2/2 with u = {text([0, a], x)}"
        factor = Fraction(a * a, 2)
    elif kind == "exp":
        above = f"e^({text([0, a], x)}) - 1 {'-' if a > 0 else '+'} {text([0, abs(a)], x)}"
        rule = f"e^u ~ 1 + u + u^2/2 with u = {text([0, a], x)}"
        factor = Fraction(a * a, 2)
    else:
        above = f"ln({text([1, a], x)}) {'-' if a > 0 else '+'} {text([0, abs(a)], x)}"
        rule = f"ln(1 + u) ~ u - u^2/2 with u = {text([0, a], x)}"
        factor = Fraction(-a * a, 2)
    shown = f"({above})/({text([0, 0, b], x)})"
    lines = [
        f"near 0: {rule}",
        f"above ~ {text([Fraction(0), Fraction(0), factor], x)}",
        f"({factor})/({b}) = {factor / b}",
    ]
    return shown, "0", series[2] / b, lines


def _third(rng: random.Random, size: int, x: str) -> Made:
    """(f(ax) - its terms up to order 2) / (b x^3), with f = sin, e^ or ln."""
    a, b, c = nonzero(rng, size), nonzero(rng, size), nonzero(rng, size)
    kind = rng.choice(["sin", "exp", "ln"])
    series = _series(kind, a)
    shown_part = {"sin": f"sin({text([0, a], x)})", "exp": f"e^({text([0, a], x)})", "ln": f"ln({text([1, a], x)})"}[
        kind
    ]
    known = [Fraction(kind == "exp"), *series[1:3]]
    minus = text([-c * k for k in known], x)
    minus = f" - {minus[1:]}" if minus.startswith("-") else f" + {minus}"
    shown = f"({scaled(c, shown_part)}{minus})/({text([0, 0, 0, b], x)})"
    third = {"sin": Fraction(-(a**3), 6), "exp": Fraction(a**3, 6), "ln": Fraction(a**3, 3)}[kind]
    rule = {"sin": "sin u ~ u - u^3/6", "exp": "e^u ~ 1 + u + u^2/2 + u^3/6", "ln": "ln(1 + u) ~ u - u^2/2 + u^3/3"}[
        kind
    ]
    lines = [
        f"near 0: {rule} with u = {text([0, a], x)}",
        f"u^2 = {text([0, 0, a * a], x)}, u^3 = {text([0, 0, 0, a**3], x)}",
        f"{shown_part} ~ {text([*known, third], x)}",
        f"times {c}: the x^3 term is {c} * ({third}) = {c * third}, the others cancel".replace("x^3", f"{x}^3"),
        f"({c * third})/({b}) = {c * third / b}",
    ]
    return shown, "0", c * series[3] / b, lines


_MAKERS = {
    "infinity": _infinity,
    "cancel": _cancel,
    "cancel-twice": lambda rng, size, x: _cancel(rng, size, x, 2),
    "root": _root,
    "first": _first,
    "second": _second,
    "third": _third,
}
