"""`logic/countdown-v0` and `logic/game24-v0`: reach a number with given ones."""

from __future__ import annotations

import collections
import itertools
import random
from fractions import Fraction

import rlvr
from rlvr_envs.logic.answers import TAGS, answered, judged, require
from rlvr_envs.logic.arithmetic import Expression, parse


@rlvr.register(
    "logic/countdown-v0",
    count=4,
    largest=50,
    levels=[{"count": 3}, {"count": 4}, {"count": 5}, {"count": 6, "largest": 99}],
)
def countdown(rng: random.Random, count: int, largest: int) -> rlvr.Task:
    """Make a target from some of the given numbers, each used at most once, with + - * /. The target is built from them."""
    require(
        "logic/countdown-v0",
        2 <= count <= 8 and 10 <= largest <= 999,
        f"count is {count} (2 to 8), largest is {largest} (10 to 999)",
    )
    while True:
        numbers = [rng.randint(1, largest) for _ in range(count)]
        value, text = numbers[0], str(numbers[0])
        for number in numbers[1:]:
            value, text = _combine(rng, value, text, number)
        if value not in numbers and 10 <= value <= 999:
            break
    shuffled = rng.sample(numbers, count)
    prompt = (
        f"Use the numbers {', '.join(map(str, shuffled))} and the operations + - * / to make {value}. Use each number at most "
        f"once; brackets are allowed. {TAGS} The answer is one expression, like (1 + 2) * 3."
    )
    return rlvr.Task(prompt, answer=text, data={"numbers": shuffled, "target": value})


def _combine(rng: random.Random, value: int, text: str, number: int) -> tuple[int, str]:
    operation = rng.choice("+-*/+-")
    if operation == "*" and value * number <= 999:
        return value * number, f"({text}) * {number}"
    if operation == "/" and value % number == 0:
        return value // number, f"({text}) / {number}"
    if operation == "-" and value > number:
        return value - number, f"{text} - {number}"
    return value + number, f"{text} + {number}"


@countdown.verifier
def reaches(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the expression has the target as its exact value and uses no number more often than it is given."""
    given = collections.Counter(task.data["numbers"])

    def right(expression: Expression) -> bool:
        return expression.value == task.data["target"] and not collections.Counter(expression.numbers) - given

    return judged(text, parse, right)


@countdown.worked_solution
def one_way(task: rlvr.Task) -> str:
    """The expression the target was built with."""
    return answered(str(task.answer), f"{task.answer} = {task.data['target']}")


@rlvr.register("logic/game24-v0", largest=9, levels=[{"largest": 6}, {"largest": 9}, {"largest": 13}])
def game24(rng: random.Random, largest: int) -> rlvr.Task:
    """Make 24 from four numbers, each used exactly once. Only fours that have a solution are asked."""
    require("logic/game24-v0", 4 <= largest <= 99, f"largest is {largest}; it must be from 4 to 99")
    while True:
        numbers = [rng.randint(1, largest) for _ in range(4)]
        text = solve24([(Fraction(number), str(number)) for number in numbers])
        if text is not None:
            break
    prompt = (
        f"Use the numbers {', '.join(map(str, numbers))}, each exactly once, and the operations + - * / to make 24; brackets "
        f"are allowed. {TAGS} The answer is one expression."
    )
    return rlvr.Task(prompt, answer=text, data={"numbers": numbers})


def solve24(parts: list[tuple[Fraction, str]]) -> str | None:
    """An expression with value 24 from all the parts, or None: joins any two, then the rest."""
    if len(parts) == 1:
        return parts[0][1] if parts[0][0] == 24 else None
    for one, two in itertools.permutations(range(len(parts)), 2):
        (a, left), (b, right) = parts[one], parts[two]
        rest = [part for place, part in enumerate(parts) if place not in (one, two)]
        joined = [(a - b, f"({left} - {right})")]
        if one < two:
            joined += [(a + b, f"({left} + {right})"), (a * b, f"({left} * {right})")]
        if b:
            joined.append((a / b, f"({left} / {right})"))
        for value, text in joined:
            found = solve24([*rest, (value, text)])
            if found is not None:
                return found
    return None


@game24.verifier
def is_24(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the expression's exact value is 24 and it uses the four numbers and nothing else."""

    def right(expression: Expression) -> bool:
        return expression.value == 24 and sorted(expression.numbers) == sorted(task.data["numbers"])

    return judged(text, parse, right)


@game24.worked_solution
def one_24(task: rlvr.Task) -> str:
    """The expression found by search."""
    return answered(str(task.answer), f"{task.answer} = 24")
