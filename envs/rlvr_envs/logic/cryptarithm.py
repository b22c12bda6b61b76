"""`logic/cryptarithm-v0`: letters that stand for digits in a sum."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

import rlvr
from rlvr_envs.logic.answers import TAGS, answered, judged, require

LETTERS = "ABCDEFGHIJ"
_PAIR = re.compile(r"\s*([A-J])\s*=\s*([0-9])\s*")


def adds_up(words: Sequence[str], digits: Mapping[str, str]) -> bool:
    """Whether the letters of the words, and no others, have different digits with which the sum is right."""
    if set(digits) != set("".join(words)) or len(set(digits.values())) != len(digits):
        return False
    one, two, total = ("".join(digits[letter] for letter in word) for word in words)
    return "0" not in (one[0], two[0], total[0]) and int(one) + int(two) == int(total)


@rlvr.register("logic/cryptarithm-v0", digits=3, levels=[{"digits": 2}, {"digits": 3}, {"digits": 4}, {"digits": 5}])
def cryptarithm(rng: random.Random, digits: int) -> rlvr.Task:
    """Find digits for the letters of a sum; no word starts with 0. Any digits with which the sum is right count."""
    require("logic/cryptarithm-v0", 2 <= digits <= 6, f"digits is {digits}; it must be from 2 to 6")
    low, high = 10 ** (digits - 1), 10**digits - 1
    used: list[str] = []
    while len(used) < min(5, digits + 2):
        one, two = rng.randint(low, high), rng.randint(low, high)
        used = sorted(set(f"{one}{two}{one + two}"))
    letters = dict(zip(used, rng.sample(LETTERS, len(used)), strict=True))
    words = ["".join(letters[digit] for digit in str(number)) for number in (one, two, one + two)]
    prompt = (
        f"Each letter stands for a digit, different letters for different digits, and no word starts with 0:\n"
        f"{words[0]} + {words[1]} = {words[2]}\nWhich digits can they be? {TAGS} Write each letter with its digit, like A=1, B=2."
    )
    answer = ", ".join(
        f"{letter}={digit}" for letter, digit in sorted((letter, digit) for digit, letter in letters.items())
    )
    return rlvr.Task(prompt, answer=answer, data={"words": words})


def read(text: str) -> dict[str, str] | None:
    """Letters and digits from `A=1, B=2`; None if it is anything else or a letter stands twice."""
    matches = [_PAIR.fullmatch(part) for part in re.split(r"[,;\n]", text.strip().strip(",;"))]
    pairs = [(match[1], match[2]) for match in matches if match]
    return dict(pairs) if len(pairs) == len(matches) == len(dict(pairs)) else None


@cryptarithm.verifier
def same_digits(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the sum is right with these digits."""
    return judged(text, read, lambda digits: adds_up(task.data["words"], digits))


@cryptarithm.worked_solution
def solved(task: rlvr.Task) -> str:
    """The digits."""
    return answered(task.answer)
