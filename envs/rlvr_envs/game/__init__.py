"""The `game/` environments: several turns, hidden state, one outcome."""

from rlvr_envs.game import (  # noqa: F401 (importing registers them)
    bagels,
    battleship,
    guess_number,
    hangman,
    minesweeper,
    slide_2048,
    tic_tac_toe,
    wordle,
)
