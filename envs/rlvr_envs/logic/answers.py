"""Reading the answers to puzzles, and the verdicts they share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import rlvr
from rlvr.answers import final_answer
from rlvr.errors import ConfigError

TAGS = "Give the final answer inside <answer></answer>."
MAX_LENGTH = 5_000
_NUMBER = re.compile(r"-?[0-9]{1,9}")
_WORD = re.compile(r"[a-z0-9]+")
ParsedT = TypeVar("ParsedT")


def judged(text: str, read: Callable[[str], ParsedT | None], right: Callable[[ParsedT], bool]) -> rlvr.Score:
    """The Score of a final answer that `read` turns into a value (None if it cannot) and `right` then accepts or not."""
    given = final_answer(text)
    if given is None or not given or len(given) > MAX_LENGTH:
        return rlvr.Score(0.0, reason="no_answer")
    value = read(given)
    if value is None:
        return rlvr.Score(0.0, reason="unreadable")
    correct = right(value)
    return rlvr.Score(float(correct), reason="correct" if correct else "wrong")


def numbers(text: str) -> list[int] | None:
    """Whole numbers separated by spaces, commas or arrows, and nothing else."""
    parts = _split(text)
    return [int(part) for part in parts] if parts and all(_NUMBER.fullmatch(part) for part in parts) else None


def names(text: str) -> list[str] | None:
    """Words separated by spaces, commas or arrows, in lower case, and nothing else."""
    parts = _split(text.lower())
    return parts if parts and all(_WORD.fullmatch(part) for part in parts) else None


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"(?:\s|,|;|->|→)+", text.strip()) if part]


def grid(text: str) -> list[list[int]] | None:
    """Rows of whole numbers, one row a line; numbers separated by spaces or commas, or digits written without a gap."""
    rows = []
    for line in text.strip().split("\n"):
        parts = line.replace(",", " ").replace("|", " ").split()
        if len(parts) == 1 and parts[0].isascii() and parts[0].isdigit():
            parts = list(parts[0])
        if not parts or not all(_NUMBER.fullmatch(part) for part in parts):
            return None
        rows.append([int(part) for part in parts])
    return rows


def shown(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of cells as lines."""
    return "\n".join(" ".join(map(str, row)) for row in rows)


def answered(answer: str, reasoning: str = "") -> str:
    """A completion with this answer."""
    return f"<think>{reasoning}</think><answer>{answer}</answer>" if reasoning else f"<answer>{answer}</answer>"


def require(env_id: str, condition: bool, says: str) -> None:
    """Raises ConfigError for knobs out of range; `says` names them and what is possible."""
    if not condition:
        raise ConfigError(f"{env_id}: {says}")
