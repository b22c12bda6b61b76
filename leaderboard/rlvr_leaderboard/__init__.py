"""Evaluation, statistics and the board.

    from rlvr_leaderboard import build_board, statistics
    from rlvr_leaderboard.evaluate import evaluate

    before = evaluate("checkpoints/cold", ["math/arithmetic-v0"], out="runs/before", n=200, k=4)
    after = evaluate("runs/grpo/checkpoints/step-000100", ["math/arithmetic-v0"], out="runs/after", n=200, k=4)
    build_board(["runs/before", "runs/after"], ["runs/grpo"], "runs/board")

Nothing is imported until one of these names is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlvr_leaderboard import statistics as statistics
    from rlvr_leaderboard.pages import build_board as build_board
    from rlvr_leaderboard.record import Record as Record

__all__ = ["Record", "build_board", "statistics"]


def __getattr__(name: str) -> Any:
    if name == "statistics":
        return importlib.import_module(f"{__name__}.statistics")
    if name in __all__:
        home = "record" if name == "Record" else "pages"
        return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
