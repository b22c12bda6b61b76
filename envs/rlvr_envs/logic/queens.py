"""`logic/n-queens-v0`: complete a board of queens."""

from __future__ import annotations

import random

import rlvr
from rlvr_envs.logic.answers import TAGS, answered, judged, numbers, require


def complete(size: int, placed: dict[int, int], rng: random.Random | None = None) -> list[int] | None:
    """The column of the queen in each row so that none attacks another, keeping those placed; None if impossible."""
    columns: list[int] = []

    def safe(row: int, column: int) -> bool:
        return all(other != column and abs(other - column) != row - above for above, other in enumerate(columns))

    def extend() -> bool:
        row = len(columns)
        if row == size:
            return True
        choices = [placed[row]] if row in placed else list(range(size))
        if rng is not None:
            rng.shuffle(choices)
        for column in choices:
            if safe(row, column):
                columns.append(column)
                if extend():
                    return True
                columns.pop()
        return False

    return list(columns) if extend() else None


@rlvr.register(
    "logic/n-queens-v0",
    size=6,
    placed=2,
    levels=[{"size": 5, "placed": 2}, {"size": 6, "placed": 2}, {"size": 8, "placed": 2}, {"size": 10, "placed": 3}],
)
def n_queens(rng: random.Random, size: int, placed: int) -> rlvr.Task:
    """Place queens on a board on which some stand already, so that none attacks another; any completion counts."""
    require(
        "logic/n-queens-v0",
        4 <= size <= 14 and 0 <= placed < size,
        f"size is {size} (4 to 14), placed is {placed} (0 to size - 1)",
    )
    full = complete(size, {}, rng)
    assert full is not None, "every board from 4 up has a solution"
    rows = sorted(rng.sample(range(size), placed))
    asked = ", ".join(f"row {row + 1} column {full[row] + 1}" for row in rows) or "none"
    prompt = (
        f"Place {size} queens on a {size} x {size} board, one in each row, so that no two share a column or a diagonal. "
        f"These stand already: {asked}. {TAGS} Write the column (1 to {size}) of the queen in each row from 1 to "
        f"{size}, separated by spaces."
    )
    answer = " ".join(str(column + 1) for column in full)
    return rlvr.Task(prompt, answer=answer, data={"size": size, "placed": {str(row): full[row] for row in rows}})


@n_queens.verifier
def none_attacks(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if there is one queen a row, those placed are kept, and none attacks another."""
    size = task.data["size"]

    def right(given: list[int]) -> bool:
        columns = {row: column - 1 for row, column in enumerate(given)}
        kept = all(columns.get(int(row)) == column for row, column in task.data["placed"].items())
        return len(given) == size and kept and complete(size, columns) is not None

    return judged(text, numbers, right)


@n_queens.worked_solution
def placed(task: rlvr.Task) -> str:
    """A completion."""
    return answered(task.answer)
