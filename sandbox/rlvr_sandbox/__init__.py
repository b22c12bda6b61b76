"""Runs programs that nobody trusts and judges them from outside.

    from rlvr_sandbox import Limits, judge, run

    run("print(input())", stdin="hello").stdout                                   # "hello\\n"
    judge("def f(x): return x + 1", {"kind": "function", "entry": "f", "cases": [{"args": [1], "expected": 2}]}).reward

`run` says what a program did, `judge` whether it does what tests ask, as an `rlvr.Score`. Both go through one pool of
warm fork servers; both raise `SandboxUnavailableError` where the program could not be run at all. `docs/sandbox.md` says
what this protects against and what not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlvr_sandbox.levels import Level, probe
    from rlvr_sandbox.limits import Limits, Outcome
    from rlvr_sandbox.pool import Pool, default_pool, judge, judge_async, run, run_async

_HOMES = {
    "Level": "levels",
    "probe": "levels",
    "Limits": "limits",
    "Outcome": "limits",
    "Pool": "pool",
    "default_pool": "pool",
    "judge": "pool",
    "judge_async": "pool",
    "run": "pool",
    "run_async": "pool",
}

__all__ = [
    "Level",
    "Limits",
    "Outcome",
    "Pool",
    "default_pool",
    "judge",
    "judge_async",
    "probe",
    "run",
    "run_async",
]


def __getattr__(name: str) -> Any:
    # On demand, because inside a cell this package is imported with nothing of the host beside it.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"rlvr_sandbox.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'rlvr_sandbox' has no attribute {name!r}")
