"""Reading a player's move."""

from __future__ import annotations

import re

from rlvr.answers import final_answer

_CELL = re.compile(r"([a-z]) ?([0-9]{1,2})")


def said(text: str) -> str:
    """What the player says, reasoning and tags taken off, in lower case; empty if there is no answer or a very long one."""
    answer = final_answer(text)
    return "" if answer is None or len(answer) > 200 else answer.lower()


def cell(text: str, rows: int, columns: int) -> tuple[int, int] | None:
    """Row and column, from 0, of a move like `b3`: column b, row 3; None if it is no cell of the board."""
    match = _CELL.fullmatch(text)
    if match is None:
        return None
    column, row = ord(match[1]) - ord("a"), int(match[2]) - 1
    return (row, column) if 0 <= row < rows and 0 <= column < columns else None


def name(row: int, column: int) -> str:
    """The name of a cell: `b3` is column b, row 3."""
    return f"{chr(ord('a') + column)}{row + 1}"
