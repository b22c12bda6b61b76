"""Integer arithmetic whose answer comes easily only to those who write the steps down."""

from __future__ import annotations

import random
import re

import rlvr
from rlvr.answers import final_answer
from rlvr.errors import ConfigError

_INTEGER = re.compile(r"[+-]?[0-9]{1,400}")
_APPLY = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


@rlvr.register(
    "math/arithmetic-v0",
    chance=0.07,
    terms=4,
    digits=1,
    operators="+-",
    modulus=0,
    levels=[
        {"terms": 2, "digits": 1, "operators": "+-"},
        {"terms": 4, "digits": 1, "operators": "+-"},
        {"terms": 4, "digits": 2, "operators": "+-"},
        {"terms": 4, "digits": 2, "operators": "+-*"},
        {"terms": 6, "digits": 3, "operators": "+-*"},
    ],
)
def arithmetic(rng: random.Random, terms: int, digits: int, operators: str, modulus: int) -> rlvr.Task:
    """Evaluate an expression of integers such as `7+25*3-8`; products bind tighter than sums.

    Knobs: `terms` numbers of `digits` digits, joined by characters of `operators` (from `+-*`). With a `modulus`
    the remainder is asked for, which lies in [0, modulus). The answer is an exact integer, without modulus often negative.
    It counts as given inside `<answer>`, in `\\boxed{}` or alone after the reasoning.
    """
    if terms < 2 or digits < 1 or not operators or set(operators) - set(_APPLY) or modulus < 0 or modulus == 1:
        raise ConfigError(
            f"math/arithmetic-v0 with terms={terms}, digits={digits}, operators={operators!r}, modulus={modulus}: it needs "
            f"at least 2 terms of at least 1 digit, operators from {''.join(_APPLY)!r}, and a modulus of 0 (none) or above 1"
        )
    lowest = 10 ** (digits - 1) if digits > 1 else 0
    numbers = [rng.randrange(lowest, 10**digits) for _ in range(terms)]
    signs = [rng.choice(operators) for _ in range(terms - 1)]
    expression = str(numbers[0]) + "".join(f"{sign}{number}" for sign, number in zip(signs, numbers[1:], strict=True))
    answer = _steps(numbers, signs, modulus)[-1][1]
    asked = f"{expression} mod {modulus}=" if modulus else f"{expression}="
    return rlvr.Task(asked, answer=str(answer), data={"numbers": numbers, "signs": signs, "modulus": modulus})


@arithmetic.verifier
def check(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the final answer is the integer. A bare integer is compared at once, anything else as mathematics."""
    answer = final_answer(text)
    if answer is not None and _INTEGER.fullmatch(answer):
        right = int(answer) == int(task.answer)
        return rlvr.Score(float(right), reason="correct" if right else "wrong integer")
    from rlvr.verifiers.math import verify

    return verify(task.answer, text)


@arithmetic.worked_solution
def work(task: rlvr.Task) -> str:
    """Every step as an equation, then the answer.

    Products come first, then the running total, all modulo the modulus. A sum of longer numbers is done in columns,
    units first, each but those with the carry of the one before: `347+585` is `7+5=12 4+8+1=13 3+5+1=09`.
    """
    assert task.data is not None
    numbers, signs, modulus = task.data["numbers"], task.data["signs"], task.data["modulus"]
    columns = set(signs) == {"+"} and not modulus and max(numbers) > 9
    if columns:
        lines = [f"{column}={total:02}" for column, total in _columns(numbers)]
    else:
        lines = [f"{step}={value}" for step, value in _steps(numbers, signs, modulus)]
    return f"<think>{' '.join(lines)}</think><answer>{task.answer}</answer>"


def _steps(numbers: list[int], signs: list[str], modulus: int) -> list[tuple[str, int]]:
    """Each step as `("12+5", 17)`, in the order in which one would write them."""
    steps: list[tuple[str, int]] = []

    def step(left: int, sign: str, right: int) -> int:
        value = _APPLY[sign](left, right)
        steps.append((f"{left}{sign}{right}", value % modulus if modulus else value))
        return steps[-1][1]

    values, pending = [numbers[0]], []
    for sign, number in zip(signs, numbers[1:], strict=True):
        if sign == "*":
            values[-1] = step(values[-1], sign, number)
        else:
            pending.append(sign)
            values.append(number)
    total = values[0]
    for sign, value in zip(pending, values[1:], strict=True):
        total = step(total, sign, value)
    return steps


def _columns(numbers: list[int]) -> list[tuple[str, int]]:
    """Addition in columns from the units up: each column as `("4+8+1", 13)`, the carry last."""
    columns: list[tuple[str, int]] = []
    carry = 0
    for place in range(max(len(str(number)) for number in numbers)):
        digits = [number // 10**place % 10 for number in numbers]
        total = sum(digits) + carry
        columns.append(("+".join(map(str, [*digits, carry] if place else digits)), total))
        carry = total // 10
    return columns
