"""`logic/sudoku-v0` and `logic/futoshiki-v0`: fill a square so that no row or column repeats a number."""

from __future__ import annotations

import random
from collections.abc import Sequence

import rlvr
from rlvr_envs.logic.answers import TAGS, answered, grid, judged, require, shown

Rows = list[list[int]]
Less = list[tuple[tuple[int, int], tuple[int, int]]]
BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}


class Square:
    """The rules of one square: rows, columns, boxes if it has them, and pairs of cells in order."""

    def __init__(self, size: int, box: tuple[int, int] | None, less: Sequence[Sequence[Sequence[int]]] = ()) -> None:
        self.size, self.box = size, box
        self.smaller: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self.larger: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for low, high in less:
            self.larger.setdefault((low[0], low[1]), []).append((high[0], high[1]))
            self.smaller.setdefault((high[0], high[1]), []).append((low[0], low[1]))
        self.peers = {(r, c): self._peers(r, c) for r in range(size) for c in range(size)}

    def _peers(self, row: int, column: int) -> list[tuple[int, int]]:
        cells = {(row, c) for c in range(self.size)} | {(r, column) for r in range(self.size)}
        if self.box:
            height, width = self.box
            top, left = row // height * height, column // width * width
            cells |= {(r, c) for r in range(top, top + height) for c in range(left, left + width)}
        return sorted(cells - {(row, column)})

    def candidates(self, rows: Rows, row: int, column: int) -> list[int]:
        """The numbers that a free cell may still hold."""
        taken = {rows[r][c] for r, c in self.peers[row, column]}
        low = max((rows[r][c] for r, c in self.smaller.get((row, column), ())), default=0)
        bounds = [rows[r][c] for r, c in self.larger.get((row, column), ()) if rows[r][c]]
        high = min(bounds, default=self.size + 1)
        return [number for number in range(low + 1, high) if number not in taken]

    def solutions(self, rows: Rows, limit: int, rng: random.Random | None = None) -> list[Rows]:
        """Up to `limit` ways to fill the free cells (0), the most constrained cell first; in random order with `rng`."""
        best: tuple[int, int, list[int]] | None = None
        for row in range(self.size):
            for column in range(self.size):
                if rows[row][column] == 0:
                    options = self.candidates(rows, row, column)
                    if best is None or len(options) < len(best[2]):
                        best = (row, column, options)
                        if len(options) <= 1:
                            break
            if best is not None and len(best[2]) <= 1:
                break
        if best is None:
            return [[list(row) for row in rows]]
        row, column, options = best
        if rng is not None:
            rng.shuffle(options)
        found: list[Rows] = []
        for number in options:
            rows[row][column] = number
            found += self.solutions(rows, limit - len(found), rng)
            if len(found) >= limit:
                break
        rows[row][column] = 0
        return found

    def holds(self, rows: Rows) -> bool:
        """Whether a full square keeps all rules."""
        if len(rows) != self.size or any(len(row) != self.size for row in rows):
            return False
        cells = [(r, c) for r in range(self.size) for c in range(self.size)]
        return all(1 <= rows[r][c] <= self.size for r, c in cells) and all(
            rows[r][c] not in {rows[i][j] for i, j in self.peers[r, c]} and rows[r][c] in self.candidates(rows, r, c)
            for r, c in cells
        )

    def thin(self, rng: random.Random, full: Rows, keep: int) -> Rows:
        """Clear cells in random order while the solution stays the only one, down to `keep` given cells."""
        rows = [list(row) for row in full]
        cells = [(r, c) for r in range(self.size) for c in range(self.size)]
        rng.shuffle(cells)
        given = len(cells)
        for row, column in cells:
            if given <= keep:
                break
            number, rows[row][column] = rows[row][column], 0
            if len(self.solutions(rows, 2)) > 1:
                rows[row][column] = number
            else:
                given -= 1
        return rows


def _fits(given: Rows, rows: Rows) -> bool:
    return all(a in (0, b) for line, other in zip(given, rows, strict=True) for a, b in zip(line, other, strict=True))


@rlvr.register(
    "logic/sudoku-v0",
    size=4,
    given=6,
    levels=[
        {"size": 4, "given": 8},
        {"size": 4, "given": 5},
        {"size": 6, "given": 14},
        {"size": 9, "given": 36},
        {"size": 9, "given": 28},
    ],
)
def sudoku(rng: random.Random, size: int, given: int) -> rlvr.Task:
    """Fill a 4 x 4, 6 x 6 or 9 x 9 sudoku. About `given` cells are filled; the solution is proved to be the only one."""
    require("logic/sudoku-v0", size in BOXES, f"size is {size}; it must be 4, 6 or 9")
    square = Square(size, BOXES[size])
    full = square.solutions([[0] * size for _ in range(size)], 1, rng)[0]
    rows = square.thin(rng, full, given)
    height, width = BOXES[size]
    prompt = (
        f"Fill this sudoku: each row, each column and each box of {height} rows and {width} columns holds the numbers "
        f"1 to {size} once; 0 is a free cell.\n{shown(rows)}\n{TAGS} Write the {size} rows on {size} lines, "
        "numbers separated by spaces."
    )
    return rlvr.Task(prompt, answer=shown(full), data={"given": rows, "size": size})


@sudoku.verifier
def sudoku_holds(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the filled square keeps the given cells and all rules."""
    square = Square(task.data["size"], BOXES[task.data["size"]])
    return judged(text, grid, lambda rows: square.holds(rows) and _fits(task.data["given"], rows))


@sudoku.worked_solution
def sudoku_filled(task: rlvr.Task) -> str:
    """The filled square."""
    return answered(str(task.answer))


@rlvr.register(
    "logic/futoshiki-v0",
    size=4,
    signs=6,
    levels=[{"size": 3, "signs": 3}, {"size": 4, "signs": 6}, {"size": 5, "signs": 9}, {"size": 6, "signs": 12}],
)
def futoshiki(rng: random.Random, size: int, signs: int) -> rlvr.Task:
    """Fill a square from a few numbers and "smaller than" between neighbours; proved to have one solution."""
    require(
        "logic/futoshiki-v0",
        3 <= size <= 7 and 0 <= signs <= 40,
        f"size is {size} (3 to 7), signs is {signs} (0 to 40)",
    )
    full = Square(size, None).solutions([[0] * size for _ in range(size)], 1, rng)[0]
    pairs = [((r, c), (r, c + 1)) for r in range(size) for c in range(size - 1)]
    pairs += [((r, c), (r + 1, c)) for r in range(size - 1) for c in range(size)]
    chosen = rng.sample(pairs, min(signs, len(pairs)))
    less = [pair if full[pair[0][0]][pair[0][1]] < full[pair[1][0]][pair[1][1]] else pair[::-1] for pair in chosen]
    rows = Square(size, None, less).thin(rng, full, 0)
    facts = "\n".join(f"row {a + 1} column {b + 1} < row {c + 1} column {d + 1}" for (a, b), (c, d) in sorted(less))
    prompt = (
        f"Fill this square: each row and each column holds the numbers 1 to {size} once; 0 is a free cell.\n{shown(rows)}\n"
        f"These cells are in order:\n{facts}\n{TAGS} Write the {size} rows on {size} lines, numbers separated by spaces."
    )
    return rlvr.Task(
        prompt, answer=shown(full), data={"given": rows, "size": size, "less": [[list(a), list(b)] for a, b in less]}
    )


@futoshiki.verifier
def futoshiki_holds(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the filled square keeps the given cells, the order of the pairs, and repeats no number."""
    square = Square(task.data["size"], None, task.data["less"])
    return judged(text, grid, lambda rows: square.holds(rows) and _fits(task.data["given"], rows))


@futoshiki.worked_solution
def futoshiki_filled(task: rlvr.Task) -> str:
    """The filled square."""
    return answered(str(task.answer))
