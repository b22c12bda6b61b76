"""Tasks whose answers a program can check, and the rewards made from them.

import rlvr

@rlvr.register("text/reverse-v0", length=12)
def reverse(rng, length):
    word = "".join(rng.choices("abcdefgh", k=length))
    return rlvr.Task(f"Reverse: {word}", answer=word[::-1])

env = rlvr.make("text/reverse-v0")          # a gymnasium.Env
rlvr.tasks("text/reverse-v0", split="eval", n=100)
rlvr.score(tasks, texts)                    # in processes that are killed on time
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from rlvr import gymnasium_ids as _gymnasium_ids
from rlvr.errors import (
    CheckpointError,
    ConfigError,
    EngineError,
    EnvironmentFault,
    RecordError,
    RlvrError,
    SandboxUnavailableError,
    StaleWeightsError,
    UnknownEnvironmentError,
)
from rlvr.registry import list_envs, register, spec, tasks
from rlvr.score import Score
from rlvr.task import Message, Task

if TYPE_CHECKING:
    from rlvr.auditing import AuditReport
    from rlvr.env import TaskEnv, TextSpace
    from rlvr.scoring import ScoringPool
    from rlvr.scoring_ray import RayScoringPool

__version__ = "0.1.0"

_LAZY = {
    "AuditReport": "rlvr.auditing",
    "TaskEnv": "rlvr.env",
    "TextSpace": "rlvr.env",
    "RayScoringPool": "rlvr.scoring_ray",
    "ScoringPool": "rlvr.scoring",
}


def make(env_id: str, split: str = "train", *, level: int | None = None, **knobs: Any) -> TaskEnv:
    """The Gymnasium environment of an id; `gymnasium.make(id, ...)` gives the same inside Gymnasium's wrappers.

    Raises UnknownEnvironmentError, or ConfigError for a knob, level or split that does not exist.
    """
    from rlvr.env import make

    return make(env_id, split, level=level, **knobs)


def score(
    tasks: Sequence[Task],
    texts: Sequence[str | Sequence[str]],
    workers: int = 2,
    timeout_s: float = 5.0,
    *,
    backend: Literal["processes", "ray"] = "processes",
) -> list[Score]:
    """The verdict on each text, from processes that are killed at an item's deadline; see `rlvr.ScoringPool`.

    `backend` says where they run: on this machine, or in Ray actors (`rlvr.RayScoringPool`).
    """
    from rlvr.scoring import shared_pool

    return shared_pool(workers, timeout_s, backend).score(tasks, texts)


def audit(env_id: str, **settings: Any) -> AuditReport:
    """Everything an environment must survive before anybody trains on it; see `rlvr.auditing.audit`."""
    from rlvr.auditing import audit

    return audit(env_id, **settings)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'rlvr' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


_gymnasium_ids.announce_after_import(list_envs)

__all__ = [
    "AuditReport",
    "CheckpointError",
    "ConfigError",
    "EngineError",
    "EnvironmentFault",
    "Message",
    "RayScoringPool",
    "RecordError",
    "RlvrError",
    "SandboxUnavailableError",
    "Score",
    "ScoringPool",
    "StaleWeightsError",
    "Task",
    "TaskEnv",
    "TextSpace",
    "UnknownEnvironmentError",
    "audit",
    "list_envs",
    "make",
    "register",
    "score",
    "spec",
    "tasks",
]
