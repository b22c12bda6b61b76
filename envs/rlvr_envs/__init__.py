"""The built-in environments, one sub-package per namespace; each is found through the `rlvr.envs` entry points.

verifiers finds a taskset by the name of an importable module, so this one offers `RlvrTaskset` and the class that plays its
tasks, made when they are asked for (extra `verifiers`).
"""

from __future__ import annotations

from typing import Any

__all__ = ["RlvrEnv", "RlvrTaskset"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'rlvr_envs' has no attribute {name!r}")
    from rlvr_envs.adapters import verifiers

    return getattr(verifiers, name)
