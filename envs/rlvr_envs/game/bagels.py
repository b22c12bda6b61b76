"""`game/bagels-v0`: find a number from hints about its digits."""

from __future__ import annotations

import itertools
import random

import rlvr
from rlvr.errors import ConfigError
from rlvr_envs.game.moves import said


def hint(guess: str, secret: str) -> str:
    """`fermi` for each digit in its place, `pico` for each in another, in this order; `bagels` if there is none."""
    placed = sum(a == b for a, b in zip(guess, secret, strict=True))
    found = len(set(guess) & set(secret))
    return " ".join(["fermi"] * placed + ["pico"] * (found - placed)) or "bagels"


class Bagels:
    """Find a secret number with different digits from hints about each guess."""

    def start(self, rng: random.Random, digits: int) -> str:
        if not 1 <= digits <= 6:
            raise ConfigError(f"game/bagels-v0: digits is {digits}; it must be from 1 to 6")
        self.secret = "".join(rng.sample("0123456789", digits))
        return (
            f"I have a secret number of {digits} different digits; it may begin with 0. Guess it in at most 12 turns. "
            "After each guess I say 'fermi' for each digit in its right place and 'pico' for each that stands in another "
            f"place, or 'bagels' if none is right. Answer with {digits} digits only."
        )

    def turn(self, text: str) -> str | rlvr.Score:
        guess, digits = said(text), len(self.secret)
        if not (guess.isascii() and guess.isdigit() and len(guess) == digits and len(set(guess)) == digits):
            return f"That is no guess. Answer with {digits} different digits only."
        return rlvr.Score(1.0, reason="found") if guess == self.secret else hint(guess, self.secret)


BAGELS = rlvr.register(
    "game/bagels-v0",
    max_turns=12,
    digits=3,
    levels=[{"digits": 2}, {"digits": 3}, {"digits": 4}, {"digits": 5}],
    chance=0.0,
)(Bagels)


@BAGELS.worked_solution
def deduce(task: rlvr.Task) -> list[str]:
    """Always guess the first number that fits all hints."""
    session = BAGELS.open(task)
    digits = int(task.knobs["digits"])
    left = ["".join(number) for number in itertools.permutations("0123456789", digits)]
    turns = []
    while True:
        turns.append(left[len(left) // 2])
        reply = session.turn(turns[-1])
        if isinstance(reply, rlvr.Score):
            return turns
        left = [number for number in left if hint(turns[-1], number) == reply and number != turns[-1]]
