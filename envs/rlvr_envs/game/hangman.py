"""`game/hangman-v0`: find a word letter by letter."""

from __future__ import annotations

import collections
import random

import rlvr
from rlvr.errors import ConfigError
from rlvr_envs.game.moves import said
from rlvr_envs.game.words import words

MAX_TURNS = 26


class Hangman:
    """Find a five-letter word by naming letters; too many letters that are not in it lose the game."""

    def start(self, rng: random.Random, misses: int) -> str:
        if not 1 <= misses <= 20:
            raise ConfigError(f"game/hangman-v0: misses is {misses}; it must be from 1 to 20")
        self.secret = rng.choice(words())
        self.misses_left = misses
        self.tried: list[str] = []
        return (
            f"I have an English word of five letters: _ _ _ _ _. Name one letter a turn, or the whole word. {misses} misses lose "
            f"the game, and so does a game longer than {MAX_TURNS} turns. Answer with the letter or the word only."
        )

    def turn(self, text: str) -> str | rlvr.Score:
        guess = said(text)
        if guess == self.secret:
            return rlvr.Score(1.0, reason="found")
        if len(guess) == 1 and "a" <= guess <= "z" and guess not in self.tried:
            self.tried.append(guess)
            hit = guess in self.secret
        else:
            hit = False
        if set(self.secret) <= set(self.tried):
            return rlvr.Score(1.0, reason="found")
        self.misses_left -= not hit
        if self.misses_left == 0:
            return rlvr.Score(0.0, reason="hanged")
        return f"{'yes' if hit else 'no'}: {self.shown()}  misses left: {self.misses_left}"

    def shown(self) -> str:
        """The word with the letters that were found."""
        return " ".join(letter if letter in self.tried else "_" for letter in self.secret)


HANGMAN = rlvr.register(
    "game/hangman-v0", max_turns=MAX_TURNS, misses=8, levels=[{"misses": 12}, {"misses": 8}, {"misses": 7}], chance=0.01
)(Hangman)


@HANGMAN.worked_solution
def deduce(task: rlvr.Task) -> list[str]:
    """Always name the letter that stands in the most words that still fit; the word once only one fits."""
    session = HANGMAN.open(task)
    left, tried, turns = list(words()), list[str](), list[str]()
    while True:
        counts = collections.Counter(letter for word in left for letter in set(word) - set(tried))
        guess = left[0] if len(left) == 1 else max(sorted(counts), key=lambda letter: counts[letter])
        turns.append(guess)
        reply = session.turn(guess)
        if isinstance(reply, rlvr.Score):
            return turns
        tried.append(guess)
        shown = str(reply).partition(": ")[2].partition("  ")[0].split()
        left = [word for word in left if [letter if letter in tried else "_" for letter in word] == shown]
