"""The `logic/` environments: puzzles whose solutions are checked by their rules, so any right solution counts."""

from rlvr_envs.logic import (  # noqa: F401 (importing registers them)
    cryptarithm,
    expressions,
    graphs,
    grids,
    inference,
    knights,
    latin,
    queens,
    search,
    word_ladder,
    zebra,
)
