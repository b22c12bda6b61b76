"""What must not pass in silence: a run that trains nothing, or something else than it seems."""

from __future__ import annotations

from rlvr.errors import RlvrError


class TrainingError(RlvrError):
    """Training cannot go on, or would go on without learning anything."""


class TrainingWarning(UserWarning):
    """Training goes on, but probably not where you want it; the message starts with the alarm's name."""
