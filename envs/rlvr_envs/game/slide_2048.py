"""`game/2048-target-v0`: slide and merge tiles until one reaches the target."""

from __future__ import annotations

import copy
import random

import rlvr
from rlvr.errors import ConfigError
from rlvr_envs.game.moves import said

SIZE, MAX_MOVES = 4, 10
DIRECTIONS = ("left", "right", "up", "down")


def slide(row: list[int]) -> list[int]:
    """One row moved to the left: equal neighbours merge once."""
    tiles = [tile for tile in row if tile]
    out = []
    while tiles:
        tile = tiles.pop(0)
        if tiles and tiles[0] == tile:
            tile += tiles.pop(0)
        out.append(tile)
    return out + [0] * (len(row) - len(out))


class Grid:
    """The tiles and the stream that brings new ones."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.rows = [[0] * SIZE for _ in range(SIZE)]
        self.spawn()
        self.spawn()

    def spawn(self) -> None:
        """A new tile on a free cell: 2, or 4 once in ten times."""
        free = [(r, c) for r in range(SIZE) for c in range(SIZE) if not self.rows[r][c]]
        row, column = self.rng.choice(free)
        self.rows[row][column] = 4 if self.rng.random() < 0.1 else 2

    def move(self, direction: str) -> bool:
        """Slide all tiles; a new one comes if something moved. False if nothing did."""
        lines = [list(line) for line in zip(*self.rows, strict=True)] if direction in ("up", "down") else self.rows
        if direction in ("right", "down"):
            moved = [slide(line[::-1])[::-1] for line in lines]
        else:
            moved = [slide(line) for line in lines]
        after = [list(line) for line in zip(*moved, strict=True)] if direction in ("up", "down") else moved
        if after == self.rows:
            return False
        self.rows = after
        self.spawn()
        return True

    @property
    def largest(self) -> int:
        """The largest tile."""
        return max(map(max, self.rows))

    def text(self) -> str:
        """The grid, `.` for a free cell."""
        return "\n".join(" ".join(f"{tile or '.':>4}" for tile in row) for row in self.rows)


class Slide2048:
    """Reach the target tile; up to ten moves a turn."""

    def start(self, rng: random.Random, target: int, turns: int) -> str:
        if target not in (16, 32, 64, 128, 256) or not 1 <= turns <= 24:
            raise ConfigError(
                f"game/2048-target-v0: target is {target} (16, 32, 64, 128 or 256) and turns is {turns} (1 to 24)"
            )
        self.target, self.turns_left = target, turns
        self.grid = Grid(rng)
        return (
            f"Slide the tiles of this 4 x 4 grid left, right, up or down; equal tiles that meet merge into their sum, and a "
            f"new 2 or 4 comes after each move. Reach the tile {target} within {turns} turns.\n{self.grid.text()}\n"
            f"Answer each turn with up to {MAX_MOVES} moves separated by spaces, like: left down left"
        )

    def state(self) -> list[list[int]]:
        """The opening and what the next tiles will be."""
        grid = copy.deepcopy(self.grid)
        return [*self.grid.rows, [grid.rng.getrandbits(32)]]

    def turn(self, text: str) -> str | rlvr.Score:
        self.turns_left -= 1
        moves = said(text).split()
        legal = 0 < len(moves) <= MAX_MOVES and all(move in DIRECTIONS for move in moves)
        if legal:
            for move in moves:
                self.grid.move(move)
                if self.grid.largest >= self.target:
                    return rlvr.Score(1.0, reason="reached")
        stuck = not any(copy.deepcopy(self.grid).move(move) for move in DIRECTIONS)
        if stuck or self.turns_left == 0:
            return rlvr.Score(0.0, reason="stuck" if stuck else "turn_limit")
        says = "" if legal else f"Those are no moves. Answer with up to {MAX_MOVES} of {', '.join(DIRECTIONS)}.\n"
        return f"{says}{self.grid.text()}\n{self.turns_left} turns are left."


def worth(grid: Grid) -> float:
    """Free cells, and large tiles in order along the top: what a good player keeps."""
    free = sum(not tile for row in grid.rows for tile in row)
    order = sum(
        tile * weight
        for row, weights in zip(grid.rows, _WEIGHTS, strict=True)
        for tile, weight in zip(row, weights, strict=True)
    )
    return free * 8 + order


_WEIGHTS = ((16.0, 12.0, 9.0, 7.0), (2.0, 3.0, 4.0, 5.0), (1.5, 1.2, 1.0, 0.8), (0.1, 0.2, 0.3, 0.4))


SLIDE_2048 = rlvr.register(
    "game/2048-target-v0",
    max_turns=24,
    target=128,
    turns=12,
    levels=[{"target": 64, "turns": 6}, {"target": 128, "turns": 12}, {"target": 256, "turns": 20}],
    chance=0.02,
)(Slide2048)


@SLIDE_2048.worked_solution
def foresee(task: rlvr.Task) -> list[str]:
    """Look two moves ahead, knowing which tiles will come."""
    session = SLIDE_2048.open(task)
    grid, moves = session.grid, []
    while grid.largest < session.target:
        grid, move = max(_futures(grid, 2), key=lambda future: future[2])[:2]
        moves.append(move)
    return [" ".join(moves[start : start + MAX_MOVES]) for start in range(0, len(moves), MAX_MOVES)]


def _futures(grid: Grid, depth: int) -> list[tuple[Grid, str, float]]:
    """Each legal move with the grid after it and the best worth within `depth` moves."""
    found = []
    for move in DIRECTIONS:
        after = Grid.__new__(Grid)
        after.rows, after.rng = [list(row) for row in grid.rows], copy.copy(grid.rng)
        after.rng.setstate(grid.rng.getstate())
        if after.move(move):
            later = [worth_of for _, _, worth_of in _futures(after, depth - 1)] if depth > 1 else [worth(after)]
            found.append((after, move, max(later, default=-1e9)))
    return found
