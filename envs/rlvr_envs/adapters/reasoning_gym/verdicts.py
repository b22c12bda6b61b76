"""Verdicts on answers to reasoning-gym's questions: its own scorer at full marks, and strict checks where that is not safe.

Where the scorer evaluates the answer as code, raises on ordinary text, or pays for an answer that only begins with the
right one, the check is ours: it reads the answer with a parser that accepts little, and compares it with the gold answer
or with the rules. An answer much longer than the gold one is refused before any scorer sees it, so that listing
candidates and walking at random to the goal earn nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import rlvr
from rlvr.answers import final_answer
from rlvr_envs.adapters.reasoning_gym.items import dataset, item
from rlvr_envs.logic.arithmetic import parse
from rlvr_envs.math.expressions import Unreadable, read
from rlvr_envs.math.functions import function_of

Rule = Callable[[str, rlvr.Task], bool]
_NUMBER = re.compile(r"[-+]?\$?([0-9]{1,30}(?:,[0-9]{3})*(?:\.[0-9]{1,30})?|\.[0-9]{1,30})(?:/([0-9]{1,30}))?[%.]?")
_COMPLEX = re.compile(r"(?:([-+]?[0-9.]{1,20})(?![0-9.ij]))?(?:([-+]?(?:[0-9.]{1,20})?)[ij])?")
_FRACTION = re.compile(r"\$?(?:\\[dt]?frac\{(-?[0-9]{1,20})\}\{([0-9]{1,20})\}|(-?[0-9]{1,20})\s*/\s*([0-9]{1,20}))\$?")
_WORD = re.compile(r"\w+")
MAX_NESTING = 20


def full_marks(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if reasoning-gym's scorer gives the final answer full marks. Its partial credit is the part `credit`."""
    given, refused = _given(task, text)
    if given is None:
        return refused
    name = task.data["name"]
    credit = float(dataset(name).score_answer(given, item(name, task.data["index"])))
    right = credit >= 1.0
    return rlvr.Score(float(right), {"credit": min(max(credit, 0.0), 1.0)}, reason="correct" if right else "wrong")


def full_marks_at_size(task: rlvr.Task, text: str) -> rlvr.Score:
    """As `full_marks`, of an answer with as many words as the gold one: these scorers skip over what they cannot read."""
    given, refused = _given(task, text)
    if given is None:
        return refused
    if len(_WORD.findall(given)) != len(_WORD.findall(str(task.answer))):
        return rlvr.Score(0.0, reason="wrong_size")
    return full_marks(task, text)


def strict(rule: Rule) -> Callable[[rlvr.Task, str], rlvr.Score]:
    """A verifier that gives 1 if `rule(answer, task)` holds of the final answer; reasoning-gym's scorer is not asked."""

    def verify(task: rlvr.Task, text: str) -> rlvr.Score:
        given, refused = _given(task, text)
        if given is None:
            return refused
        right = rule(given, task)
        return rlvr.Score(float(right), reason="correct" if right else "wrong")

    return verify


def _given(task: rlvr.Task, text: str) -> tuple[str | None, rlvr.Score]:
    given = final_answer(text)
    if not given:
        return None, rlvr.Score(0.0, reason="no_answer")
    if len(given) > 4 * len(str(task.answer)) + 100 or "\x00" in given:
        return None, rlvr.Score(0.0, reason="too_long")
    return given, rlvr.Score(0.0)


def same_text(given: str, task: rlvr.Task) -> bool:
    """The gold answer, but for white space between its words and for the case of letters."""
    return given.casefold().split() == str(task.answer).casefold().split()


def same_number(given: str, task: rlvr.Task) -> bool:
    """One number and nothing else, with the gold answer's exact value; `1,234`, `$5`, `7%` and `3/4` are read."""
    value = number(given)
    return value is not None and value == number(str(task.answer))


def number(text: str) -> Fraction | None:
    """The exact value of a decimal or a fraction, or None if the text is anything else."""
    text = text.strip().replace("−", "-")
    match = _NUMBER.fullmatch(text)
    if match is None or (match[2] is not None and int(match[2]) == 0):
        return None
    value = Fraction(match[1].replace(",", "")) / int(match[2] or 1)
    return -value if text.startswith("-") else value


def same_complex(given: str, task: rlvr.Task) -> bool:
    """A complex number such as `2 - 3i`, `-4` or `i` in decimals, with the gold answer's exact value."""
    value = complex_number(given)
    return value is not None and value == complex_number(str(task.answer))


def complex_number(text: str) -> tuple[Fraction, Fraction] | None:
    """Real and imaginary part, or None if the text is anything else."""
    match = _COMPLEX.fullmatch("".join(text.split()).replace("−", "-"))
    if match is None or not any(part is not None for part in match.groups()):
        return None
    real, imaginary = match[1] or "0", match[2] if match[2] is not None else "0"
    if imaginary in ("", "+", "-"):
        imaginary += "1"
    if match[1] is not None and match[2] is not None and imaginary[0] not in "+-":
        return None
    try:
        return Fraction(real), Fraction(imaginary)
    except ValueError:
        return None


def same_fraction(given: str, task: rlvr.Task) -> bool:
    """The gold answer's numerator and denominator, in plain signs or in LaTeX: a value that is not reduced is wrong."""
    parts = []
    for text in (given, str(task.answer)):
        match = _FRACTION.fullmatch(text.strip())
        if match is None:
            return False
        parts.append((int(match[1] or match[3]), int(match[2] or match[4])))
    return parts[0] == parts[1]


def same_factors(given: str, task: rlvr.Task) -> bool:
    """The prime factors in any order, joined by ×, x or *."""
    factors = [re.split(r"\s*[×x*·]\s*", text.strip()) for text in (given, str(task.answer))]
    return all(part.isascii() and part.isdigit() for part in factors[0]) and Counter(factors[0]) == Counter(factors[1])


def same_decimals(given: str, task: rlvr.Task) -> bool:
    """As many decimals as the gold answer has, in any order, each within 0.0001 of its own: it is rounded to four places."""
    values = [number(part) for part in given.strip("[]() ").split(",")]
    gold = sorted(Fraction(part.strip()) for part in str(task.answer).split(","))
    if None in values or len(values) != len(gold):
        return False
    given_in_order = sorted(value for value in values if value is not None)
    return all(abs(one - other) <= Fraction(1, 10_000) for one, other in zip(given_in_order, gold, strict=True))


def near_probability(given: str, task: rlvr.Task) -> bool:
    """The exact probability, or a decimal within 0.0001 of it."""
    value = number(given)
    rational = task.data["rational"]
    return value is not None and abs(value - Fraction(rational["numerator"], rational["denominator"])) <= Fraction(
        1, 10_000
    )


def same_grid(given: str, task: rlvr.Task) -> bool:
    """The gold answer's rows as a JSON list of lists."""
    return bool(json_value(given) == json.loads(str(task.answer)))


def json_value(text: str) -> Any:
    """The JSON value of a text that is no deeper than a list of lists of lists, else None."""
    depth = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if depth > MAX_NESTING:
            return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def makes_target(given: str, task: rlvr.Task) -> bool:
    """An expression with the target as its exact value that uses every number given, once each."""
    expression = parse(given) if "=" not in given else None
    return (
        expression is not None
        and expression.value == task.data.get("target", 24)
        and Counter(expression.numbers) == Counter(task.data["numbers"])
    )


def antiderivative(given: str, task: rlvr.Task) -> bool:
    """A formula whose exact derivative is the integrand; the constant is free."""
    variable = task.data["variable"]
    try:
        derivative = function_of(read(given), variable, "Cc").derivative()
        return derivative.equals(function_of(read(task.data["integrand"]), variable))
    except Unreadable:
        return False


def queens(given: str, task: rlvr.Task) -> bool:
    """A full board that keeps the queens given, with as many as rows and none attacking another."""
    board = [line.split() for line in given.strip().split("\n")]
    puzzle = task.data["puzzle"]
    size = len(puzzle)
    if len(board) != size or any(len(row) != size or set(row) - {"_", "Q"} for row in board):
        return False
    places = [(r, c) for r in range(size) for c in range(size) if board[r][c] == "Q"]
    if any(puzzle[r][c] == "Q" and board[r][c] != "Q" for r in range(size) for c in range(size)):
        return False
    lines = [[r for r, _ in places], [c for _, c in places], [r + c for r, c in places], [r - c for r, c in places]]
    return len(places) == size and all(len(set(line)) == size for line in lines)


def each_right(given: str, task: rlvr.Task) -> bool:
    """As many lines as there are questions, every one the answer to its own."""
    lines = [line.strip().casefold() for line in given.strip().split("\n")]
    return lines == [line.strip().casefold() for line in str(task.answer).split("\n")]
