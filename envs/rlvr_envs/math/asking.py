"""How the math environments ask, how they want the answer, and how it is judged."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from rlvr import ConfigError, Score, Task

MAX_ANSWER = 4000
"""Characters beyond which an extracted answer is wrong unread; golds have a tenth of that."""


def ask(question: str, form: str) -> str:
    """The prompt: a question and the form of its answer ("a reduced fraction")."""
    return f"{question}\nThink it through, then give {form} as <answer>...</answer>."


def phrase(rng: random.Random, phrasings: Sequence[str], **fields: Any) -> str:
    """One of several wordings, filled in."""
    return rng.choice(phrasings).format_map(fields)


def bounded(env_id: str, **knobs: tuple[int, int, int]) -> None:
    """Raises ConfigError for a knob, given as (value, lowest, highest), that is out of its bounds."""
    for name, (value, lowest, highest) in knobs.items():
        if not lowest <= value <= highest:
            raise ConfigError(f"{env_id}: {name}={value} makes no task; choose {name} from {lowest} to {highest}")


def one_kind(rng: random.Random, env_id: str, kinds: Sequence[str], known: Iterable[str]) -> str:
    """One of the kinds of task a knob allows. Raises ConfigError if there is none, or one that does not exist."""
    if not kinds or not set(kinds) <= set(known):
        wrong = sorted(set(kinds) - set(known))
        says = f"there is no kind {wrong[0]!r}" if wrong else "kinds is empty, so there is nothing to ask"
        raise ConfigError(f"{env_id}: {says}; choose from {', '.join(known)}")
    return rng.choice(kinds)


def worked(lines: Sequence[str], answer: str) -> str:
    """A complete ideal completion: the steps as a thought, then the answer."""
    return "<think>" + "\n".join(lines) + "</think><answer>" + answer + "</answer>"


def verify_answer(task: Task, text: str) -> Score:
    """The math verifier on the task's gold answer."""
    from rlvr.verifiers.math import verify

    return verify(str(task.answer), text)


def judge(task: Task, text: str, rule: Callable[[str], bool | None]) -> Score:
    """The verdict of `rule` on the extracted answer; where it says None (unreadable), that of the math verifier."""
    from rlvr.verifiers.math import extract

    found = extract(text)
    if found is None:
        return Score(0.0, reason="no_answer")
    start, end = found.span
    # The whole of an answer tag comes first: what the extraction takes out of a sentence may be a part of a long formula.
    readings = list(
        dict.fromkeys([text[start:end].strip(), found.text] if found.rule == "answer tag" else [found.text])
    )
    verdicts = [rule(reading) for reading in readings if len(reading) <= MAX_ANSWER]
    if True not in verdicts and None in verdicts:
        return verify_answer(task, text)
    right = True in verdicts
    return Score(float(right), reason="correct" if right else "wrong", detail={"answer": readings[0][:200]})


def signed(value: object) -> str:
    """A number as it stands in the middle of a sum: `(-3)` where it is negative."""
    text = str(value)
    return f"({text})" if text[0] == "-" else text


_RATIONAL = re.compile(r"([-+]?)(\d{1,60})(?:/(\d{1,60})|\.(\d{1,60}))?")
_LATEX_FRACTION = re.compile(r"([-+]?)\\[dtc]?frac\{([-+]?\d{1,60})\}\{(\d{1,60})\}")


def rational(text: str) -> Fraction | None:
    """The number that a text like `-3/4`, `2.5` or `\\frac{1}{2}` is, exactly; None if it is written in another way."""
    plain = text.strip().strip("$").strip().replace("−", "-").replace(" ", "")
    if not plain.isascii():
        return None
    latex = _LATEX_FRACTION.fullmatch(plain)
    if latex is not None:
        plain = f"{latex[2]}/{latex[3]}" if not latex[1] else f"{latex[1]}{latex[2]}/{latex[3]}"
    match = _RATIONAL.fullmatch(plain)
    if match is None:
        return None
    sign, whole, down, decimals = match.groups()
    if down is not None:
        if not int(down):
            return None
        value = Fraction(int(whole), int(down))
    else:
        value = Fraction(int(whole + (decimals or "")), 10 ** len(decimals or ""))
    return -value if sign == "-" else value


_BRACKETS = re.compile(r"\\left|\\right|\\[,;:! ]|\\q?quad|\$")


def split_list(text: str) -> list[str]:
    """The parts of a list, tuple or set like `(1, 2)`, `\\{1, 2\\}`, `1 and 2` or `x = 1, y = 2`, outer brackets removed."""
    plain = _BRACKETS.sub(" ", text).replace("\\{", "{").replace("\\}", "}").strip()
    if plain[:1] + plain[-1:] in ("()", "[]", "{}") and _closes_at_end(plain):
        plain = plain[1:-1]
    plain = (
        re.sub(r"(?<![A-Za-z\\])(?:and|\\text\{ *and *\})(?![A-Za-z])", ",", plain).replace(";", ",").replace("\n", ",")
    )
    return [part.strip() for part in re.sub(r",\s*,", ",", plain).split(",")]


def _closes_at_end(text: str) -> bool:
    depth = 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0:
            return place == len(text) - 1
    return False
