"""`game/wordle-v0`: find a five-letter word from coloured letters."""

from __future__ import annotations

import collections
import functools
import random

import rlvr
from rlvr_envs.game.moves import said
from rlvr_envs.game.words import words


@functools.lru_cache(1 << 18)
def marks(guess: str, secret: str) -> str:
    """G for a letter in its place, Y for one in another place, - for one that is not there (or not once more)."""
    left = collections.Counter(b for a, b in zip(guess, secret, strict=True) if a != b)
    found = []
    for a, b in zip(guess, secret, strict=True):
        if a == b:
            found.append("G")
        elif left[a] > 0:
            left[a] -= 1
            found.append("Y")
        else:
            found.append("-")
    return "".join(found)


class Wordle:
    """Find a five-letter English word; each guess is marked letter by letter."""

    def start(self, rng: random.Random, turns: int) -> str:
        self.secret = rng.choice(words())
        self.turns_left = turns
        return (
            f"I have an English word of five letters. Guess it in at most {turns} turns. After each guess I mark its letters: "
            "G for a letter in its right place, Y for a letter that stands elsewhere in the word, - for a letter that is not "
            "in it. Answer with one five-letter word only."
        )

    def turn(self, text: str) -> str | rlvr.Score:
        self.turns_left -= 1
        guess = said(text)
        if guess == self.secret:
            return rlvr.Score(1.0, reason="found")
        if self.turns_left <= 0:
            return rlvr.Score(0.0, reason="turn_limit")
        if not (len(guess) == 5 and guess.isascii() and guess.isalpha()):
            return f"That is no word of five letters. {self.turns_left} turns are left."
        return f"{' '.join(guess.upper())}\n{' '.join(marks(guess, self.secret))}\n{self.turns_left} turns are left."


WORDLE = rlvr.register(
    "game/wordle-v0", max_turns=8, turns=6, levels=[{"turns": 8}, {"turns": 6}, {"turns": 5}], chance=0.01
)(Wordle)


@WORDLE.worked_solution
def deduce(task: rlvr.Task) -> list[str]:
    """Always guess the possible word that leaves the fewest possible words at worst."""
    session = WORDLE.open(task)
    left = list(words())
    turns = ["raise"]
    while True:
        reply = session.turn(turns[-1])
        if isinstance(reply, rlvr.Score):
            return turns
        shown = str(reply).split("\n")[1].replace(" ", "")
        left = [word for word in left if marks(turns[-1], word) == shown and word != turns[-1]]
        turns.append(
            min(left, key=lambda guess: max(collections.Counter(marks(guess, word) for word in left).values()))
        )
