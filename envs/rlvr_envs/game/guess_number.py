"""`game/guess-number-v0`: find a number by halving."""

from __future__ import annotations

import random

import rlvr
from rlvr.errors import ConfigError
from rlvr_envs.game.moves import said


class GuessNumber:
    """Find a number between 1 and `largest` from "higher" and "lower", in the turns that halving needs plus `spare`."""

    def start(self, rng: random.Random, largest: int, spare: int) -> str:
        if not 2 <= largest <= 32767 or not 0 <= spare <= 1:
            raise ConfigError(f"game/guess-number-v0: largest is {largest} (2 to 32767) and spare is {spare} (0 or 1)")
        self.secret = rng.randint(1, largest)
        self.turns_left = largest.bit_length() + spare
        return (
            f"I have a number from 1 to {largest}. Guess it in at most {self.turns_left} turns; "
            "I say 'higher' or 'lower' after each guess. Answer with the number only."
        )

    def turn(self, text: str) -> str | rlvr.Score:
        self.turns_left -= 1
        guess = said(text)
        number = int(guess) if guess.isascii() and guess.isdigit() and len(guess) < 9 else None
        if number == self.secret:
            return rlvr.Score(1.0, reason="found")
        if self.turns_left == 0:
            return rlvr.Score(0.0, reason="turn_limit")
        if number is None:
            return f"That is no number. {self.turns_left} turns are left."
        return f"{'higher' if number < self.secret else 'lower'}; {self.turns_left} turns are left."


GUESS_NUMBER = rlvr.register(
    "game/guess-number-v0",
    max_turns=16,
    largest=1000,
    spare=1,
    levels=[{"largest": 100}, {"largest": 1000}, {"largest": 10000}, {"largest": 10000, "spare": 0}],
    chance=0.01,
)(GuessNumber)


@GUESS_NUMBER.worked_solution
def halve(task: rlvr.Task) -> list[str]:
    """Always guess the middle of what is left."""
    session = GUESS_NUMBER.open(task)
    low, high = 1, int(task.knobs["largest"])
    turns = []
    while True:
        middle = (low + high) // 2
        turns.append(str(middle))
        reply = session.turn(turns[-1])
        if isinstance(reply, rlvr.Score):
            return turns
        low, high = (middle + 1, high) if str(reply).startswith("higher") else (low, middle - 1)
