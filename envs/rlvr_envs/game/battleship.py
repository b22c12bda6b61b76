"""`game/battleship-v0`: find and sink the ships on a small board."""

from __future__ import annotations

import random
from collections.abc import Sequence

import rlvr
from rlvr.errors import ConfigError
from rlvr_envs.game.moves import cell, name, said


class Battleship:
    """Sink all ships on a `size` x `size` board within `shots` shots. Ships do not overlap; they may touch."""

    def start(self, rng: random.Random, size: int, ships: Sequence[int], shots: int) -> str:
        if not (3 <= size <= 10 and ships and all(1 <= ship <= size for ship in ships) and sum(ships) <= shots <= 60):
            raise ConfigError(
                f"game/battleship-v0: size {size}, ships {list(ships)} and shots {shots} do not make a game of at most 60 turns"
            )
        self.size, self.shots_left = size, shots
        self.ships = place(rng, size, ships)
        self.shot: list[tuple[int, int]] = []
        columns = "abcdefghij"[:size]
        return (
            f"Ships of length {', '.join(map(str, ships))} lie on a board with columns {columns[0]} to {columns[-1]} and rows "
            f"1 to {size}, each in a straight line. Sink them all with at most {shots} shots. Answer each turn with one cell "
            f"only, like {name(1, 1)}."
        )

    def turn(self, text: str) -> str | rlvr.Score:
        self.shots_left -= 1
        target = cell(said(text), self.size, self.size)
        if target is None:
            says = "That is no cell of the board."
        else:
            self.shot.append(target)
            ship = next((ship for ship in self.ships if target in ship), None)
            sunk = ship is not None and set(ship) <= set(self.shot)
            says = "miss" if ship is None else f"hit, and a ship of length {len(ship)} is sunk" if sunk else "hit"
        if {part for ship in self.ships for part in ship} <= set(self.shot):
            return rlvr.Score(1.0, reason="sunk")
        if self.shots_left == 0:
            return rlvr.Score(0.0, reason="out_of_shots")
        return f"{says}; {self.shots_left} shots are left."


def place(rng: random.Random, size: int, ships: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Cells of each ship, none shared, all inside. Raises ConfigError if they cannot be fitted in."""
    for _ in range(1000):
        placed: list[list[tuple[int, int]]] = []
        taken: set[tuple[int, int]] = set()
        for length in ships:
            along, across = rng.randrange(size - length + 1), rng.randrange(size)
            across_first = rng.random() < 0.5
            ship = [(across, along + step) if across_first else (along + step, across) for step in range(length)]
            if taken & set(ship):
                break
            placed.append(ship)
            taken |= set(ship)
        else:
            return placed
    raise ConfigError(
        f"game/battleship-v0: ships {list(ships)} do not fit on a board of size {size}; use fewer or a larger board"
    )


BATTLESHIP = rlvr.register(
    "game/battleship-v0",
    max_turns=60,
    size=5,
    ships=[3, 2],
    shots=18,
    levels=[
        {"size": 4, "ships": [3], "shots": 12},
        {"size": 5, "ships": [3, 2], "shots": 18},
        {"size": 6, "ships": [4, 3, 2], "shots": 26},
        {"size": 8, "ships": [4, 3, 3, 2], "shots": 44},
    ],
)(Battleship)


@BATTLESHIP.worked_solution
def shortest(task: rlvr.Task) -> list[str]:
    """The shortest winning play: it knows where the ships lie."""
    session = BATTLESHIP.open(task)
    return [name(*part) for ship in session.ships for part in ship]
