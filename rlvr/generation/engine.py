"""The contract of a generation engine: token ids in, sampled token ids and their log-probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from rlvr.errors import ConfigError, EngineError

FinishReason = Literal["stop", "length", "abort"]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Log-probabilities are of the distribution after all of this."""

    temperature: float = 1.0
    """0 takes the likeliest token; log-probabilities are then those at temperature 1, as vLLM reports them."""
    top_p: float = 1.0
    """Nucleus mass kept, in (0, 1]."""
    top_k: int = 0
    """Likeliest tokens kept; 0 keeps all."""
    min_p: float = 0.0
    """Tokens below this share of the likeliest one's probability are dropped."""
    max_tokens: int = 256
    """Longest completion, in tokens, the end token included."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion. The ids keep the tokens that spelled it."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end a completion, beside the tokenizer's end of sequence. The ids keep it as the last one."""

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ConfigError(f"temperature is {self.temperature}; it must be 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}; it must lie in (0, 1]")
        if self.top_k < 0:
            raise ConfigError(f"top_k is {self.top_k}; it must be 0 (off) or more")
        if not 0 <= self.min_p < 1:
            raise ConfigError(f"min_p is {self.min_p}; it must lie in [0, 1)")
        if self.max_tokens < 1:
            raise ConfigError(f"max_tokens is {self.max_tokens}; it must be at least 1")

    @property
    def full_distribution(self) -> bool:
        """True if no token was cut off, so that sampling log-probabilities are those of a whole softmax."""
        return self.top_p == 1.0 and self.top_k == 0 and self.min_p == 0.0


@dataclass(frozen=True)
class Request:
    """One prompt to continue."""

    prompt_ids: Sequence[int]
    """The exact tokens the model has seen so far."""
    seed: int
    """With the answer's number it fixes every draw, whatever else is in the batch. 0 <= seed < 2**63."""
    n: int = 1
    """Independent answers."""
    max_tokens: int | None = None
    """A tighter limit than the sampling's, where an episode's budget is nearly spent."""
    conversation: str = ""
    """Requests that name the same one begin with the same tokens, so that who answered the first has them cached."""


@dataclass(frozen=True)
class Completion:
    """One sampled continuation."""

    token_ids: list[int]
    """What was sampled, end token included; empty only if it was aborted before its first token."""
    logprobs: list[float]
    """Natural logarithm of each token's probability in the distribution it was drawn from; as long as `token_ids`."""
    finish_reason: FinishReason
    """`stop`: an end token or stop text. `length`: the limit. `abort`: stopped from outside."""
    weight_version: int
    """The version of the weights that sampled the tokens (the oldest, if they changed on the way)."""
    version_starts: tuple[tuple[int, int], ...] = ()
    """Where weights changed on the way: (version, place of its first token) for each; empty if they did not."""


@runtime_checkable
class Engine(Protocol):
    """Continues token sequences with the weights it was last given."""

    tokenizer: Any
    """The Hugging Face tokenizer of the model (or an object with its `encode`, `decode`, `eos_token_id`)."""
    weight_version: int
    """0 for the weights it started from."""
    max_model_len: int
    """Prompt and completion together may not be longer, in tokens."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """`n` completions for each request, in order. Raises EngineError, never returns fewer."""

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]], version: int) -> None:
        """Serve these weights from now on, under this version. Raises EngineError if a name or shape does not fit."""

    def fingerprint(self) -> str:
        """A digest of the weights that are really served; for one engine, equal weights give equal digests."""

    def forced_logprobs(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probability at temperature 1, in nats, of each given token after the first, under the weights served."""

    def close(self) -> None:
        """Free what the engine holds; calling it twice is harmless."""


def answer_limit(request: Request, sampling: Sampling, vocabulary: int, max_model_len: int) -> int:
    """Most tokens the answers to a request may have. Raises EngineError if the prompt cannot be answered at all."""
    length = len(request.prompt_ids)
    if length == 0:
        raise EngineError("a prompt has no tokens; give the model at least one to continue")
    if max(request.prompt_ids) >= vocabulary or min(request.prompt_ids) < 0:
        raise EngineError(
            f"a prompt holds token {max(request.prompt_ids)}, the model knows {vocabulary} tokens; "
            "the tokenizer belongs to another model"
        )
    room = max_model_len - length
    if room < 1:
        raise EngineError(
            f"a prompt of {length} tokens leaves no room for an answer: the model holds {max_model_len}. "
            "Drop or shorten the prompt."
        )
    limit = sampling.max_tokens if request.max_tokens is None else min(sampling.max_tokens, request.max_tokens)
    if limit < 1:
        raise EngineError(f"a request's max_tokens is {limit}; it must be at least 1")
    return min(limit, room)


def describe(sampling: Sampling) -> Mapping[str, Any]:
    """The sampling's fields as JSON values, for configs and records."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop),
        "stop_token_ids": list(sampling.stop_token_ids),
    }
