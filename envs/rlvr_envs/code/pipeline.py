"""Programs that can be said in words: steps over a list of whole numbers, each with its sentence and its line of code."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pipeline:
    """A program and what it does in words."""

    words: str
    source: str


def _steps(rng: random.Random) -> list[Callable[[], tuple[str, str]]]:
    k, m = rng.randint(2, 5), rng.randint(2, 9)
    return [
        lambda: (f"keep the numbers greater than {m}", f"xs = [x for x in xs if x > {m}]"),
        lambda: (f"keep the numbers less than {m * 2}", f"xs = [x for x in xs if x < {m * 2}]"),
        lambda: (f"drop the numbers divisible by {k}", f"xs = [x for x in xs if x % {k} != 0]"),
        lambda: ("keep the even numbers", "xs = [x for x in xs if x % 2 == 0]"),
        lambda: (f"multiply each number by {k}", f"xs = [x * {k} for x in xs]"),
        lambda: (f"add {m} to each number", f"xs = [x + {m} for x in xs]"),
        lambda: ("square each number", "xs = [x * x for x in xs]"),
        lambda: ("replace each number by its absolute value", "xs = [abs(x) for x in xs]"),
        lambda: (f"replace each number by its remainder modulo {m + 2}", f"xs = [x % {m + 2} for x in xs]"),
        lambda: ("sort the list from small to large", "xs = sorted(xs)"),
        lambda: ("sort the list from large to small", "xs = sorted(xs, reverse=True)"),
        lambda: ("reverse the list", "xs = xs[::-1]"),
        lambda: ("remove repeated numbers, keeping the first of each", "xs = list(dict.fromkeys(xs))"),
        lambda: (f"drop the first {k} numbers", f"xs = xs[{k}:]"),
        lambda: ("keep every second number, beginning with the first", "xs = xs[::2]"),
        lambda: ("replace the list by its running sums", "xs = [sum(xs[: i + 1]) for i in range(len(xs))]"),
        lambda: ("add to each number its position, counted from 0", "xs = [x + i for i, x in enumerate(xs)]"),
        lambda: (
            "replace the list by the differences of neighbours, each number minus the one before it",
            "xs = [b - a for a, b in zip(xs, xs[1:])]",
        ),
    ]


_ENDS = (
    ("return the list", "return xs"),
    ("return the list", "return xs"),
    ("return the sum of the list", "return sum(xs)"),
    ("return the largest number, or 0 if the list is empty", "return max(xs, default=0)"),
    ("return how many numbers are left", "return len(xs)"),
    ("return the last number, or -1 if the list is empty", "return xs[-1] if xs else -1"),
    ("return the numbers joined by dashes as a text", "return '-'.join(str(x) for x in xs)"),
)


def write_pipeline(rng: random.Random, steps: int) -> Pipeline:
    """A function `f(xs)` of so many steps."""
    words, lines = [], []
    for _ in range(steps):
        sentence, line = rng.choice(_steps(rng))()
        words.append(sentence)
        lines.append("    " + line)
    sentence, line = rng.choice(_ENDS)
    body = "\n".join([*lines, "    " + line])
    return Pipeline("; then ".join([*words, sentence]), f"def f(xs):\n{body}\n")


def draw_lists(rng: random.Random, count: int) -> list[list[Any]]:
    """Arguments for `f`: lists of several lengths, the empty one among them."""
    lists: list[list[Any]] = [[[]]]
    while len(lists) < count:
        lists.append([[rng.randint(-12, 24) for _ in range(rng.randint(1, 9))]])
    rng.shuffle(lists)
    return lists
