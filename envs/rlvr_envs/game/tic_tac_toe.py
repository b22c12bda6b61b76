"""`game/tic-tac-toe-v0`: win a won position against a perfect player."""

from __future__ import annotations

import functools
import random

import rlvr
from rlvr_envs.game.moves import said

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


def winner(board: str) -> str | None:
    """`x` or `o` if three of them stand in a line."""
    for a, b, c in LINES:
        if board[a] != "." and board[a] == board[b] == board[c]:
            return board[a]
    return None


@functools.cache
def value(board: str, player: str) -> int:
    """1, 0 or -1: what the one to move gets if both play perfectly (minimax)."""
    if winner(board):
        return -1
    if "." not in board:
        return 0
    return max(-value(put(board, place, player), other(player)) for place in free(board))


def put(board: str, place: int, player: str) -> str:
    """The board after a move."""
    return board[:place] + player + board[place + 1 :]


def free(board: str) -> list[int]:
    """The empty cells."""
    return [place for place, mark in enumerate(board) if mark == "."]


def other(player: str) -> str:
    """The opponent."""
    return "o" if player == "x" else "x"


@functools.cache
def won_positions() -> tuple[str, ...]:
    """Boards with x to move that x wins against any play, but not with the next move."""
    found, waiting = set(), ["." * 9]
    seen = set(waiting)
    while waiting:
        board = waiting.pop()
        player = "x" if board.count("x") == board.count("o") else "o"
        immediate = any(winner(put(board, place, player)) for place in free(board))
        if player == "x" and value(board, "x") == 1 and not immediate:
            found.add(board)
        for place in free(board):
            after = put(board, place, player)
            if after not in seen and not winner(after):
                seen.add(after)
                waiting.append(after)
    return tuple(sorted(found))


def shown(board: str) -> str:
    """The board, empty cells by their numbers."""
    marks = [mark.upper() if mark != "." else str(place + 1) for place, mark in enumerate(board)]
    return "\n".join(" ".join(marks[row : row + 3]) for row in (0, 3, 6))


class TicTacToe:
    """Play X from a position that is won by force, against an opponent who never errs."""

    def start(self, rng: random.Random) -> str:
        self.board = rng.choice(won_positions())
        self.rng = rng
        return (
            f"You play X against O; three in a line win. It is your turn, and you can force a win:\n{shown(self.board)}\n"
            "Answer each turn with the number of a free cell only."
        )

    def state(self) -> str:
        """The position; the opponent's choice among equal moves does not make it another task."""
        return self.board

    def turn(self, text: str) -> str | rlvr.Score:
        move = said(text)
        if move not in {str(place + 1) for place in free(self.board)}:
            return rlvr.Score(0.0, reason="illegal_move")
        self.board = put(self.board, int(move) - 1, "x")
        if winner(self.board) == "x":
            return rlvr.Score(1.0, reason="won")
        if free(self.board):
            replies = free(self.board)
            best = max(-value(put(self.board, place, "o"), "x") for place in replies)
            choice = self.rng.choice([place for place in replies if -value(put(self.board, place, "o"), "x") == best])
            self.board = put(self.board, choice, "o")
        if winner(self.board) == "o":
            return rlvr.Score(0.0, reason="lost")
        if not free(self.board):
            return rlvr.Score(0.0, reason="draw")
        return shown(self.board)


TIC_TAC_TOE = rlvr.register("game/tic-tac-toe-v0", max_turns=5)(TicTacToe)


@TIC_TAC_TOE.worked_solution
def play_perfectly(task: rlvr.Task) -> list[str]:
    """Win at once if possible, else keep the position won."""
    session = TIC_TAC_TOE.open(task)
    turns = []
    while True:
        board = session.board
        place = max(
            free(board), key=lambda place: (winner(put(board, place, "x")) == "x", -value(put(board, place, "x"), "o"))
        )
        turns.append(str(place + 1))
        if isinstance(session.turn(turns[-1]), rlvr.Score):
            return turns
