"""One finished episode, as the learner and the record need it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rlvr.score import Score
from rlvr.task import Message, Task
from rlvr.tokens import Span

Finish = Literal["stop", "length", "turn_limit", "fault"]


@dataclass(frozen=True, slots=True)
class Trajectory:
    """Tokens, what they earned, and how they came about.

    `token_ids`, `loss_mask` and `logprobs` have the same length: the whole episode, prompt included.
    """

    task: Task
    token_ids: list[int]
    loss_mask: list[bool]
    """True where the model sampled the token."""
    logprobs: list[float]
    """Sampling log-probabilities in nats; 0.0 where nothing was sampled, NaN where an endpoint does not tell."""
    score: Score | None
    """The verdict; `score.error` is set if there is none. None only while an episode runs."""
    finish: Finish
    """`stop`: the episode came to its end. `length`: the model ran out of tokens in the middle of a turn.
    `turn_limit`: it used all its turns. `fault`: something broke, and the reward says nothing about the answer."""
    weight_version: int
    """The oldest weights that sampled any of it."""
    num_turns: int
    texts: list[str]
    """The model's turns, decoded."""
    messages: list[Message]
    """The whole chat."""
    group: int
    """Which task of the rollout it answers."""
    sample: int
    """Which answer to it."""
    prompt_length: int
    """Tokens before the first sampled one."""
    spans: list[Span] = field(default_factory=list)
    """Which weights sampled which tokens."""
    earlier: tuple[Trajectory, ...] = ()
    """Samples of the same episode that were closed because the chat template rewrote what they held; they share the Score.
    A learner trains on `samples`; everything else looks at the last one, which is this."""

    @property
    def reward(self) -> float:
        """The outcome; 0 where there is no verdict."""
        return 0.0 if self.score is None else self.score.reward

    @property
    def truncated(self) -> bool:
        """True if the model was cut off, by tokens or by turns."""
        return self.finish in ("length", "turn_limit")

    @property
    def faulty(self) -> bool:
        """True if the episode has no verdict and must not be trained on."""
        return self.finish == "fault"

    @property
    def num_sampled(self) -> int:
        """Tokens the model chose, over all samples of the episode."""
        return sum(sum(part.loss_mask) for part in self.samples)

    @property
    def samples(self) -> tuple[Trajectory, ...]:
        """Every token sequence of the episode that can be trained on, in order; nearly always just this one."""
        return (*self.earlier, self)

    def to_dict(self) -> dict[str, Any]:
        """A JSON object; the inverse of `from_dict`."""
        return {
            "task": self.task.to_dict(),
            "token_ids": self.token_ids,
            "loss_mask": [int(sampled) for sampled in self.loss_mask],
            "logprobs": [None if math.isnan(value) else value for value in self.logprobs],
            "score": None if self.score is None else self.score.to_dict(),
            "finish": self.finish,
            "weight_version": self.weight_version,
            "num_turns": self.num_turns,
            "texts": self.texts,
            "messages": self.messages,
            "group": self.group,
            "sample": self.sample,
            "prompt_length": self.prompt_length,
            "spans": [list(span) for span in self.spans],
            "earlier": [part.to_dict() for part in self.earlier],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trajectory:
        """The Trajectory that `to_dict` wrote."""
        return cls(
            **{
                **values,
                "task": Task.from_dict(values["task"]),
                "loss_mask": [bool(sampled) for sampled in values["loss_mask"]],
                "logprobs": [math.nan if value is None else value for value in values["logprobs"]],
                "score": None if values["score"] is None else Score.from_dict(values["score"]),
                "spans": [Span(*span) for span in values["spans"]],
                "earlier": tuple(cls.from_dict(part) for part in values["earlier"]),
            }
        )
