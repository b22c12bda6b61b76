"""The tokens of one episode: an append-only buffer that knows which of them the model chose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rlvr.errors import EngineError
from rlvr.generation.engine import Completion


class Span(NamedTuple):
    """Tokens `start <= i < end` of a buffer were sampled by these weights."""

    weight_version: int
    start: int
    end: int


@dataclass(slots=True)
class TokenBuffer:
    """What the model has seen and said so far, token by token. Nothing in it is ever changed or encoded again.

    `ids`, `mask` and `logprobs` always have the same length. The next turn's input is exactly `ids`.
    """

    ids: list[int] = field(default_factory=list)
    mask: list[bool] = field(default_factory=list)
    """True where the model sampled the token; False for prompts, tool replies and the template's own tokens."""
    logprobs: list[float] = field(default_factory=list)
    """Log-probability of a sampled token, in nats, in the distribution it was drawn from; 0.0 elsewhere."""
    spans: list[Span] = field(default_factory=list)
    """Which weights sampled which tokens, in order; more than one entry for a turn if they changed on the way."""

    def __len__(self) -> int:
        return len(self.ids)

    def append_prompt(self, ids: Sequence[int]) -> None:
        """Append tokens that the model did not choose."""
        self.ids += ids
        self.mask += [False] * len(ids)
        self.logprobs += [0.0] * len(ids)

    def append_sampled(self, completion: Completion) -> None:
        """Append one sampled turn, its end token included.

        Raises EngineError, and appends nothing, if tokens and log-probabilities do not pair up or there are none.
        """
        count = len(completion.token_ids)
        if count == 0 or count != len(completion.logprobs):
            raise EngineError(
                f"the engine returned {count} tokens with {len(completion.logprobs)} log-probabilities. "
                "Such a turn cannot be trained on; the engine's answer is damaged."
            )
        starts = completion.version_starts or ((completion.weight_version, 0),)
        ends = [*(start for _, start in starts[1:]), count]
        first = len(self.ids)
        self.spans += [
            Span(version, first + start, first + end) for (version, start), end in zip(starts, ends, strict=True)
        ]
        self.ids += completion.token_ids
        self.mask += [True] * count
        self.logprobs += completion.logprobs

    @property
    def weight_version(self) -> int:
        """The oldest weights that sampled any of it; 0 if nothing was sampled."""
        return min((span.weight_version for span in self.spans), default=0)
