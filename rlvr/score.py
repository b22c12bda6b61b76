"""What a verifier says about one answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Score:
    """The verdict on one finished episode.

    Raises TypeError or ValueError if `reward` is no finite number in [0, 1] or a part is no finite number; booleans are
    refused, because `Score(text == answer)` hides whether a partial credit was meant.
    """

    reward: float
    """The final outcome, finite, in [0, 1]."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Named terms beside the outcome, such as `format` or `tests_passed`. They weigh nothing unless a run gives them weights."""
    reason: str = ""
    """Why, in a few words, for a person; never the gold answer."""
    error: str | None = None
    """Set if this is no verdict: the verifier failed. The reward is 0 and the episode is counted as a fault."""
    timed_out: bool = False
    """True if the verifier was stopped at its deadline; `error` says which."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """Facts for a closer look, JSON values: extracted text, its span, a verdict per test case."""

    def __post_init__(self) -> None:
        reward = self.reward
        if type(reward) is not float:
            object.__setattr__(self, "reward", _finite_number("reward", reward))
            reward = self.reward
        if not 0.0 <= reward <= 1.0:  # also refuses nan
            raise ValueError(f"reward {reward!r} is not in [0, 1]; scale it before making a Score")
        for name, value in self.parts.items():
            _finite_number(f"part {name!r}", value)
        if self.error is not None and reward != 0.0:
            raise ValueError(f"a Score with error {self.error!r} has reward {reward!r}; a failed check pays nothing")

    @property
    def correct(self) -> bool:
        """Full marks: the reward is exactly 1."""
        return self.reward == 1.0

    @classmethod
    def failure(cls, error: str, *, timed_out: bool = False) -> Score:
        """A Score that says there is no verdict, and why."""
        return cls(0.0, reason="timeout" if timed_out else "error", error=error, timed_out=timed_out)

    def to_dict(self) -> dict[str, Any]:
        """A JSON object; the inverse of `from_dict`."""
        return {
            "reward": self.reward,
            "parts": dict(self.parts),
            "reason": self.reason,
            "error": self.error,
            "timed_out": self.timed_out,
            "detail": dict(self.detail),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Score:
        """The Score that `to_dict` wrote."""
        return cls(**values)

    def to_json(self) -> str:
        """One line of JSON with sorted keys."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Score:
        """The Score that `to_json` wrote."""
        return cls.from_dict(json.loads(text))


def _finite_number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); it must be a number, so write float(...)")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {value!r}; it must be finite")
    return number
