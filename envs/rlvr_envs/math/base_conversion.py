"""Numbers in other bases."""

from __future__ import annotations

import random
import re

import rlvr
from rlvr_envs.math.asking import ask, bounded, judge, phrase, worked

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
PHRASINGS = (
    "Convert {n} from base {a} to base {b}.",
    "The number {n} is written in base {a}. Write it in base {b}.",
    "What is {n} (base {a}) in base {b}?",
    "Express the base-{a} number {n} in base {b}.",
    "Rewrite {n}, a number in base {a}, with base {b} digits.",
)
SUMS = (
    "Add {n} and {k}, both written in base {a}, and give the sum in base {b}.",
    "What is {n} + {k} in base {b}, where both numbers are in base {a}?",
    "In base {a}, take the numbers {n} and {k}. Write their sum in base {b}.",
)


@rlvr.register(
    "math/base-conversion-v0",
    size=5000,
    sources=[10],
    targets=[5, 6, 7, 8, 9],
    add=False,
    levels=[
        {"size": 5000, "sources": [10], "targets": [5, 6, 7, 8, 9], "add": False},
        {"size": 5000, "sources": [10], "targets": [2, 3, 4], "add": False},
        {"size": 5000, "sources": [2, 3, 4, 5, 6, 7, 8, 9], "targets": [2, 3, 4, 5, 6, 7, 8, 9], "add": False},
        {"size": 99999, "sources": [11, 12, 13, 16, 20], "targets": [2, 3, 5, 7], "add": False},
        {"size": 999999, "sources": [7, 9, 11, 12, 13, 16], "targets": [2, 3, 5, 7], "add": True},
    ],
)
def base_conversion(rng: random.Random, size: int, sources: list[int], targets: list[int], add: bool) -> rlvr.Task:
    """A number up to `size`, or with `add` the sum of two, from a base of `sources` into another of `targets`.

    Digits above 9 are letters. The gold is built from the highest power down; the worked solution takes remainders from
    the lowest digit up.
    """
    bounded("math/base-conversion-v0", size=(size, 10, 10**12))
    for name, bases in (("sources", sources), ("targets", targets)):
        if not bases or not all(2 <= base <= 36 for base in bases):
            raise rlvr.ConfigError(f"math/base-conversion-v0: {name}={bases!r}; give bases from 2 to 36")
    a = rng.choice(sources)
    b = rng.choice([target for target in targets if target != a] or [2 if a != 2 else 3])
    numbers = [rng.randint(size // 10, size) for _ in range(2 if add else 1)]
    shown = [_digits(number, a) for number in numbers]
    wordings = SUMS if add else PHRASINGS
    question = phrase(rng, wordings, n=shown[0], k=shown[-1], a=a, b=b)
    prompt = ask(question, "the digits, with letters from A for ten on," if b > 10 else "the digits")
    return rlvr.Task(prompt, answer=_digits(sum(numbers), b), data={"numbers": numbers, "from": a, "to": b})


_WRITTEN = re.compile(r"([0-9A-Za-z]{1,80})(?:_\{?([0-9]{1,2})\}?|\(base([0-9]{1,2})\)|base([0-9]{1,2}))?")
_PREFIXES = {2: "0b", 8: "0o", 16: "0x"}


@base_conversion.verifier
def _(task: rlvr.Task, text: str) -> rlvr.Score:
    """The same digits; a prefix like 0b, the base as an index, spaces, leading zeros and lower case are no matter."""
    gold = str(task.answer)
    base: int = (task.data or {})["to"]

    def rule(answer: str) -> bool:
        plain = re.sub(r"[$\s{}]|\\(text|mathrm|,)", "", answer[:400])
        match = _WRITTEN.fullmatch(plain.removeprefix(_PREFIXES.get(base, "")))
        if match is None or any(index is not None and int(index) != base for index in match.groups()[1:]):
            return False
        return match[1].upper().lstrip("0") == gold

    return judge(task, text, rule)


@base_conversion.worked_solution
def _(task: rlvr.Task) -> str:
    data = task.data or {}
    a, b = data["from"], data["to"]
    lines: list[str] = []
    values = []
    for number in data["numbers"]:
        shown = _digits(number, a)
        if a != 10:
            powers = [f"{DIGITS.index(c)}*{a}^{n}" for n, c in enumerate(reversed(shown))]
            lines.append(f"{shown} = {' + '.join(powers[::-1])} = {number}")
        values.append(int(shown, a))
    total = sum(values)
    if len(values) > 1:
        lines.append(f"{' + '.join(map(str, values))} = {total}")
    digits = ""
    while total:
        lines.append(f"{total} = {total // b}*{b} + {total % b}")
        digits = DIGITS[total % b] + digits
        total //= b
    return worked(lines, digits)


def _digits(number: int, base: int) -> str:
    """From the highest power of the base down."""
    power = 1
    while power * base <= number:
        power *= base
    written = ""
    while power:
        digit, number = divmod(number, power)
        written += DIGITS[digit]
        power //= base
    return written
