"""Arithmetic modulo a number: expressions, powers, inverses, congruences."""

from __future__ import annotations

import random
from math import gcd

import rlvr
from rlvr_envs.math.asking import ask, bounded, one_kind, phrase, verify_answer, worked

EXPRESSION = (
    "What is the remainder when {e} is divided by {m}?",
    "Compute ({e}) mod {m}.",
    "Reduce {e} modulo {m}.",
    "Find the number from 0 to {top} that is congruent to {e} modulo {m}.",
)
INVERSE = (
    "Find the inverse of {a} modulo {m}.",
    "Which number x from 1 to {top} satisfies {a}x = 1 (mod {m})?",
    "What is {a}^(-1) mod {m}?",
)
CONGRUENCE = (
    "Solve {a}x + {b} = {c} (mod {m}) for x from 0 to {top}.",
    "Which x from 0 to {top} satisfies {a}x + {b} = {c} (mod {m})?",
    "Find the residue x modulo {m}, 0 <= x <= {top}, with {a}x + {b} congruent to {c}.",
)


@rlvr.register(
    "math/modular-v0",
    chance=0.035,
    kinds=["expression"],
    modulus=99,
    size=99,
    levels=[
        {"kinds": ["expression"], "modulus": 99, "size": 99},
        {"kinds": ["power"], "modulus": 400, "size": 60},
        {"kinds": ["inverse", "congruence"], "modulus": 400, "size": 99},
        {"kinds": ["power", "congruence"], "modulus": 9999, "size": 9999},
        {"kinds": ["tower"], "modulus": 9999, "size": 9999},
    ],
)
def modular(rng: random.Random, kinds: list[str], modulus: int, size: int) -> rlvr.Task:
    """A residue modulo a number from a quarter of `modulus` to it, of numbers up to `size`.

    Kinds: expression (a b + c), inverse, congruence (a x + b = c), power (a^n), tower (a^(b^c)). Powers are golds by
    Python's pow on the whole exponent and worked by repeated squaring; inverses are golds by pow and worked by Euclid; a
    tower's exponent is reduced by nothing, so no theorem is trusted.
    """
    bounded("math/modular-v0", modulus=(modulus, 23, 10**12), size=(size, 12, 10**5))
    kind = one_kind(rng, "math/modular-v0", kinds, _MAKERS)
    while True:
        m = rng.randint(max(23, modulus // 4), max(23, modulus))
        question, gold, data = _MAKERS[kind](rng, m, size)
        # Powers come back to 1 and -1 so often that guessing them would pay.
        if kind not in ("power", "tower") or gold not in (1, m - 1):
            break
    prompt = ask(question, f"a whole number from 0 to {m - 1}")
    return rlvr.Task(prompt, answer=str(gold), data={"kind": kind, "modulus": m, **data})


modular.verifier(verify_answer)


@modular.worked_solution
def _(task: rlvr.Task) -> str:
    data = task.data or {}
    m: int = data["modulus"]
    lines: list[str] = []
    if data["kind"] == "expression":
        a, b, c = data["numbers"]
        lines = [f"{a} * {b} = {a * b}", f"{a * b} + {c} = {a * b + c}"]
        value = a * b + c
        lines.append(f"{value} = {value // m} * {m} + {value % m}")
        return worked(lines, str(value % m))
    if data["kind"] in ("power", "tower"):
        a, *exponents = data["numbers"]
        n = exponents[0]
        if data["kind"] == "tower":
            n = exponents[0] ** exponents[1]
            lines.append(f"{exponents[0]}^{exponents[1]} = {n}")
        return worked(lines, str(_square_and_multiply(a, n, m, lines)))
    a, b, c = data["numbers"]
    if data["kind"] == "congruence":
        lines.append(f"{a}x = {c} - {b} = {c - b} = {(c - b) % m} (mod {m})")
    inverse = _euclid(a, m, lines)
    if data["kind"] == "inverse":
        return worked(lines, str(inverse))
    right = (c - b) % m
    lines.append(f"x = {inverse} * {right} = {inverse * right} = {inverse * right % m} (mod {m})")
    return worked(lines, str(inverse * right % m))


Made = tuple[str, int, dict[str, list[int]]]


def _expression(rng: random.Random, m: int, size: int) -> Made:
    a, b, c = (rng.randint(11, size) for _ in range(3))
    gold = sum(a for _ in range(b)) + c  # a product as a repeated sum
    return phrase(rng, EXPRESSION, e=f"{a} * {b} + {c}", m=m, top=m - 1), gold % m, {"numbers": [a, b, c]}


def _inverse(rng: random.Random, m: int, size: int) -> Made:
    a = _unit(rng, m)
    return phrase(rng, INVERSE, a=a, m=m, top=m - 1), pow(a, -1, m), {"numbers": [a, 0, 1]}


def _congruence(rng: random.Random, m: int, size: int) -> Made:
    a, b, x = _unit(rng, m), rng.randint(1, m - 1), rng.randrange(m)
    c = (a * x + b) % m
    gold = pow(a, -1, m) * (c - b) % m
    return phrase(rng, CONGRUENCE, a=a, b=b, c=c, m=m, top=m - 1), gold, {"numbers": [a, b, c]}


def _power(rng: random.Random, m: int, size: int) -> Made:
    # A unit, because other bases soon get stuck at 0.
    a, n = _unit(rng, m), rng.randint(9, size)
    return phrase(rng, EXPRESSION, e=f"{a}^{n}", m=m, top=m - 1), pow(a, n, m), {"numbers": [a, n]}


def _tower(rng: random.Random, m: int, size: int) -> Made:
    a, b, c = _unit(rng, m), rng.randint(3, 20), rng.randint(4, 9)
    return phrase(rng, EXPRESSION, e=f"{a}^({b}^{c})", m=m, top=m - 1), pow(a, b**c, m), {"numbers": [a, b, c]}


_MAKERS = {
    "expression": _expression,
    "inverse": _inverse,
    "congruence": _congruence,
    "power": _power,
    "tower": _tower,
}


def _unit(rng: random.Random, m: int) -> int:
    while True:
        a = rng.randint(2, m - 1)
        if gcd(a, m) == 1:
            return a


def _square_and_multiply(a: int, n: int, m: int, lines: list[str]) -> int:
    lines.append(f"{n} in binary is {n:b}")
    result = 1
    for bit in f"{n:b}":
        step = f"{result}^2"
        squared = result * result
        if bit == "1":
            step += f" * {a}"
            squared = squared % m * a
        lines.append(f"{bit}: {step} = {squared % m}")
        result = squared % m
    return result


def _euclid(a: int, m: int, lines: list[str]) -> int:
    """The inverse of a modulo m by Euclid's algorithm, each remainder written as a multiple of a."""
    old, new, old_times, new_times = m, a, 0, 1
    while new:
        quotient = old // new
        old, new, old_times, new_times = new, old - quotient * new, new_times, old_times - quotient * new_times
        if new:
            lines.append(f"{new} = {new_times} * {a} (mod {m})")
    lines.append(f"the inverse of {a} is {old_times} = {old_times % m} (mod {m})")
    return old_times % m
