"""`game/minesweeper-v0`: open every safe cell; pure logic is enough on every board."""

from __future__ import annotations

import itertools
import random

import rlvr
from rlvr.errors import ConfigError
from rlvr_envs.game.moves import cell, name, said

Cell = tuple[int, int]


def around(place: Cell, size: int) -> list[Cell]:
    """The up to eight neighbours of a cell."""
    row, column = place
    return [
        (r, c)
        for r, c in itertools.product(range(row - 1, row + 2), range(column - 1, column + 2))
        if (r, c) != place and 0 <= r < size and 0 <= c < size
    ]


def every_cell(size: int) -> list[Cell]:
    """All cells of a board, row by row."""
    return [(row, column) for row in range(size) for column in range(size)]


class Board:
    """Mines, and what has been opened."""

    def __init__(self, size: int, mines: set[Cell]) -> None:
        self.size, self.mines = size, mines
        self.opened: dict[Cell, int] = {}

    def open(self, place: Cell) -> bool:
        """Open a cell, and its neighbours while no mine is near; False if it is a mine."""
        if place in self.mines:
            return False
        waiting = [place]
        while waiting:
            here = waiting.pop()
            if here not in self.opened:
                near = around(here, self.size)
                self.opened[here] = sum(other in self.mines for other in near)
                if self.opened[here] == 0:
                    waiting += near
        return True

    @property
    def cleared(self) -> bool:
        """Whether all safe cells are open."""
        return len(self.opened) + len(self.mines) == self.size**2

    def text(self) -> str:
        """The board as the player sees it."""
        head = "   " + " ".join("abcdefghij"[: self.size])
        rows = [" ".join(str(self.opened.get((r, c), "?")) for c in range(self.size)) for r in range(self.size)]
        return "\n".join([head, *(f"{number:2} {row}" for number, row in enumerate(rows, 1))])


def deduced(board: Board) -> Cell | None:
    """A cell that must be safe, by single numbers and by pairs of them; None if those tell nothing."""
    facts: set[tuple[frozenset[Cell], int]] = set()
    for place, count in board.opened.items():
        closed = frozenset(other for other in around(place, board.size) if other not in board.opened)
        if closed:
            facts.add((closed, count))
    everything = frozenset(every_cell(board.size)) - set(board.opened)
    facts.add((everything, len(board.mines)))
    for _ in range(3):
        for cells, count in facts:
            if count == 0 and cells:
                return min(cells)
        new = set()
        for (small, few), (large, many) in itertools.permutations(facts, 2):
            if small < large:
                new.add((large - small, many - few))
            elif len(common := small & large) and many - few == len(large - common):
                new |= {(small - common, 0), (large - common, len(large - common))}  # all of the surplus are mines
        if new <= facts or len(facts) > 200:
            return None
        facts |= new
    return None


class Minesweeper:
    """Open all cells without a mine. The first cell is open, and no board needs a guess."""

    def start(self, rng: random.Random, size: int, mines: int) -> str:
        if not (3 <= size <= 10 and 1 <= mines <= size * size // 4):
            raise ConfigError(
                f"game/minesweeper-v0: size {size} (3 to 10) and mines {mines} (at most a quarter of the cells) make no game"
            )
        self.board = solvable(rng, size, mines)
        return (
            f"{mines} mines lie on this board. A number tells how many of the up to eight neighbours of its cell are mines; "
            f"? is closed. Open every cell that is no mine; opening a mine loses. No guess is needed.\n{self.board.text()}\n"
            "Answer each turn with one cell to open, column and row, like b3, and nothing else."
        )

    def state(self) -> list[list[int]]:
        """Where the mines are."""
        return sorted(map(list, self.board.mines))

    def turn(self, text: str) -> str | rlvr.Score:
        place = cell(said(text), self.board.size, self.board.size)
        if place is None:
            return "That is no cell of the board. Answer with one cell, like b3."
        if place in self.board.opened:
            return f"{name(*place)} is open already."
        if not self.board.open(place):
            return rlvr.Score(0.0, reason="mine")
        return rlvr.Score(1.0, reason="cleared") if self.board.cleared else self.board.text()


def solvable(rng: random.Random, size: int, mines: int) -> Board:
    """A board with its first cell open that logic clears, with at least two moves to make."""
    cells = every_cell(size)
    for _ in range(2000):
        board = Board(size, set(rng.sample(cells, mines)))
        first = rng.choice([place for place in cells if place not in board.mines])
        if len(plan(board, first)) >= 2:
            fresh = Board(size, board.mines)
            fresh.open(first)
            return fresh
    raise ConfigError(
        f"game/minesweeper-v0: found no board of size {size} with {mines} mines that needs no guess; use fewer mines"
    )


def plan(board: Board, first: Cell) -> list[Cell]:
    """The moves that clear the board by logic after `first`; empty if logic does not suffice. Opens the board."""
    board.open(first)
    moves: list[Cell] = []
    while not board.cleared:
        move = deduced(board)
        if move is None:
            return []
        board.open(move)
        moves.append(move)
    return moves


MINESWEEPER = rlvr.register(
    "game/minesweeper-v0",
    max_turns=100,
    size=5,
    mines=4,
    levels=[{"size": 4, "mines": 2}, {"size": 5, "mines": 4}, {"size": 6, "mines": 6}, {"size": 8, "mines": 10}],
)(Minesweeper)


@MINESWEEPER.worked_solution
def deduce(task: rlvr.Task) -> list[str]:
    """Open what must be safe until the board is clear."""
    board = MINESWEEPER.open(task).board
    turns = []
    while not board.cleared:
        move = deduced(board)
        assert move is not None, "boards are drawn until logic clears them"
        board.open(move)
        turns.append(name(*move))
    return turns
