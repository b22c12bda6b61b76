"""`logic/arc-grid-v0`: find the rule behind pairs of grids and apply it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import rlvr
from rlvr_envs.logic.answers import TAGS, answered, grid, judged, require, shown

Rows = list[list[int]]
Change = Callable[[Rows], Rows]


def _gravity(rows: Rows) -> Rows:
    columns = [[cell for cell in column if cell] for column in zip(*rows, strict=True)]
    full = [[0] * (len(rows) - len(column)) + column for column in columns]
    return [list(row) for row in zip(*full, strict=True)]


def _outline(rows: Rows) -> Rows:
    height, width = len(rows), len(rows[0])
    return [
        [5 if r in (0, height - 1) or c in (0, width - 1) else rows[r][c] for c in range(width)] for r in range(height)
    ]


CHANGES: dict[str, Change] = {
    "turned right": lambda rows: [list(row) for row in zip(*rows[::-1], strict=True)],
    "turned around": lambda rows: [row[::-1] for row in rows[::-1]],
    "mirrored left to right": lambda rows: [row[::-1] for row in rows],
    "mirrored top to bottom": lambda rows: [list(row) for row in rows[::-1]],
    "reflected on the diagonal": lambda rows: [list(row) for row in zip(*rows, strict=True)],
    "moved one to the right, around the edge": lambda rows: [row[-1:] + row[:-1] for row in rows],
    "moved one down, around the edge": lambda rows: [list(row) for row in rows[-1:] + rows[:-1]],
    "fallen to the bottom": _gravity,
    "framed with 5": _outline,
    "1 and 2 exchanged": lambda rows: [[{1: 2, 2: 1}.get(cell, cell) for cell in row] for row in rows],
    "raised by one, 4 to 0": lambda rows: [[(cell + 1) % 5 for cell in row] for row in rows],
    "each cell doubled": lambda rows: [[cell for cell in row for _ in range(2)] for row in rows for _ in range(2)],
}


def apply(names: Sequence[str], rows: Rows) -> Rows:
    """The grid after all changes in order."""
    for name in names:
        rows = CHANGES[name](rows)
    return rows


@rlvr.register(
    "logic/arc-grid-v0",
    size=4,
    changes=1,
    pairs=3,
    levels=[{"size": 3}, {"size": 4}, {"size": 4, "changes": 2}, {"size": 6, "changes": 3}],
)
def arc_grid(rng: random.Random, size: int, changes: int, pairs: int) -> rlvr.Task:
    """See what is done to some grids, and do it to another. No other rule of the same length explains the examples
    and says something else about the question."""
    require(
        "logic/arc-grid-v0",
        2 <= size <= 10 and 1 <= changes <= 3 and 1 <= pairs <= 6,
        f"size is {size} (2 to 10), changes is {changes} (1 to 3), pairs is {pairs} (1 to 6)",
    )
    while True:
        names = rng.sample(list(CHANGES), changes)
        inputs = [
            [[rng.choice((0, 0, 1, 2, 3, 4)) for _ in range(size)] for _ in range(size)] for _ in range(pairs + 1)
        ]
        outputs = [apply(names, rows) for rows in inputs]
        if (
            all(a != b for a, b in zip(inputs, outputs, strict=True))
            and len(outputs[-1]) <= 12
            and not _ambiguous(inputs, outputs, changes)
        ):
            break
    examples = "\n\n".join(
        f"Input:\n{shown(a)}\nOutput:\n{shown(b)}" for a, b in zip(inputs[:-1], outputs[:-1], strict=True)
    )
    prompt = (
        f"The same is done to each of these grids:\n\n{examples}\n\nDo it to this one.\nInput:\n{shown(inputs[-1])}\n{TAGS} "
        "Write the grid row by row, numbers separated by spaces."
    )
    return rlvr.Task(prompt, answer=shown(outputs[-1]), data={"changes": names})


def _ambiguous(inputs: list[Rows], outputs: list[Rows], changes: int) -> bool:
    """Whether a rule of up to two changes fits the examples and gives another answer."""
    rules = [(name,) for name in CHANGES] + (
        [(a, b) for a in CHANGES for b in CHANGES if a != b] if changes == 2 else []
    )
    for rule in rules:
        if (
            all(apply(rule, a) == b for a, b in zip(inputs[:-1], outputs[:-1], strict=True))
            and apply(rule, inputs[-1]) != outputs[-1]
        ):
            return True
    return False


@arc_grid.verifier
def same_grid(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if every cell is right."""
    return judged(text, grid, lambda rows: rows == grid(task.answer))


@arc_grid.worked_solution
def done(task: rlvr.Task) -> str:
    """Name the rule and apply it."""
    return answered(task.answer, "The grids are " + ", then ".join(task.data["changes"]) + ".")
