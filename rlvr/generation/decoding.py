"""A batched decode loop with a key-value cache: what `generate` does, without its cost for small models.

Prompts that several rows share are read once. Rows that have finished leave the batch as soon as enough of them have.
Nothing in the loop runs Python per row and token, except for rows whose newest token could end a stop text.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlvr.generation.engine import Sampling
from rlvr.generation.torch_sampling import draw, uniforms

_NOISE_POSITIONS = 128
"""Positions whose noise is hashed at once."""
_KEEP_SHARE = 0.75
"""The batch is cut down when no more than this share of it still runs; one cut costs about what one step copies."""


@dataclass(frozen=True)
class Row:
    """One answer to sample."""

    prompt: int
    """Which of the prompts it continues."""
    seed: int
    """64 bits; with the position they are all its noise."""
    limit: int
    """Most tokens it may have."""


@dataclass(frozen=True)
class Sampled:
    """R rows of at most T tokens."""

    tokens: list[list[int]]
    logprobs: list[list[float]]
    stopped: list[bool]
    """False where a row met its limit."""


class StopTexts:
    """Finds stop texts in sampled tokens without decoding each of them.

    Only a token whose own text holds the last character of a stop text can complete one; rows with such a token, and
    no others, have their last few tokens decoded.
    """

    def __init__(self, tokenizer: Any, texts: Sequence[str], vocabulary: int, device: torch.device) -> None:
        self._tokenizer = tokenizer
        self._texts = texts
        # Every token is at least a byte of text or nothing; the slack is for the latter.
        self._tail = max(len(text.encode("utf-8", "surrogatepass")) for text in texts) + 8
        last = {text[-1] for text in texts}
        if all(character.isascii() and not character.isspace() for character in last):
            pieces = tokenizer.batch_decode([[token] for token in range(min(vocabulary, len(tokenizer)))])
            may_end = [any(character in piece for character in last) for piece in pieces]
            may_end += [False] * (vocabulary - len(may_end))
        else:
            # White space can vanish and other characters can be split when a token is decoded alone.
            may_end = [True] * vocabulary
        self.may_end_V = torch.tensor(may_end, device=device)

    def completed(self, tokens_T: Tensor) -> bool:
        """True if the last of these sampled tokens has completed a stop text."""
        text = self._tokenizer.decode(tokens_T[-self._tail :].tolist())
        return any(stop in text for stop in self._texts)


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    rows: Sequence[Row],
    sampling: Sampling,
    *,
    stop_ids: Sequence[int],
    stop_texts: StopTexts | None,
    device: torch.device,
) -> Sampled:
    """Continue each row's prompt until it stops or meets its limit. Call it without gradients and in eval mode."""
    width = max(len(prompt) for prompt in prompts)
    longest = max(row.limit for row in rows)
    padded = any(len(prompt) != width for prompt in prompts)
    prompt_lengths_U = torch.tensor([len(prompt) for prompt in prompts])
    ids_UT = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    places_T = torch.arange(width + longest)
    # True from a row's first token on; the columns for tokens still to come are there already.
    seen_UT = places_T[None, :] >= (width - prompt_lengths_U)[:, None]
    positions_UT = (places_T[None, :width] - (width - prompt_lengths_U)[:, None]).clamp(min=0)
    ids_UT, seen_UT, positions_UT = ids_UT.to(device), seen_UT.to(device).long(), positions_UT.to(device)

    last_only = {"logits_to_keep": 1} if takes_logits_to_keep(model) else {}
    reply = model(
        input_ids=ids_UT,
        attention_mask=seen_UT[:, :width] if padded else None,
        position_ids=positions_UT,
        use_cache=True,
        **last_only,
    )
    cache = reply.past_key_values
    logits_AV = reply.logits[:, -1]

    prompt_R = torch.tensor([row.prompt for row in rows], device=device)
    if len(rows) != len(prompts) or any(row.prompt != number for number, row in enumerate(rows)):
        cache.batch_select_indices(prompt_R)
        logits_AV, seen_AT, position_A = logits_AV[prompt_R], seen_UT[prompt_R], positions_UT[prompt_R, -1]
    else:
        seen_AT, position_A = seen_UT, positions_UT[:, -1]

    num_rows = len(rows)
    seeds = [row.seed for row in rows]
    limit_A = torch.tensor([row.limit for row in rows], device=device)
    ends_V = torch.zeros(logits_AV.shape[-1], dtype=torch.bool, device=device)
    ends_V[[token for token in stop_ids if token < len(ends_V)]] = True
    tokens_RT = torch.zeros((num_rows, longest), dtype=torch.long, device=device)
    logprobs_RT = torch.zeros((num_rows, longest), dtype=torch.float64, device=device)
    lengths_R = torch.zeros(num_rows, dtype=torch.long, device=device)
    stopped_R = torch.zeros(num_rows, dtype=torch.bool, device=device)
    shortest = min(row.limit for row in rows)
    active_A: Tensor | None = None  # the rows still in the batch; None while that is all of them
    alive_A = torch.ones(num_rows, dtype=torch.bool, device=device)
    noise_RT = uniforms(seeds, 0, min(_NOISE_POSITIONS, longest)).to(device)

    for step in range(longest):
        column = step % _NOISE_POSITIONS
        if step and column == 0:
            noise_RT = uniforms(seeds, step, min(step + _NOISE_POSITIONS, longest)).to(device)
        noise_A = noise_RT[:, column] if active_A is None else noise_RT[active_A, column]
        token_A, logprob_A = draw(logits_AV, noise_A, sampling)
        if active_A is None:
            tokens_RT[:, step], logprobs_RT[:, step] = token_A, logprob_A
        else:
            tokens_RT[active_A, step], logprobs_RT[active_A, step] = token_A, logprob_A.double()

        stops_A = ends_V[token_A] & alive_A
        if stop_texts is not None:
            for place in (stop_texts.may_end_V[token_A] & alive_A & ~stops_A).nonzero()[:, 0].tolist():
                row = place if active_A is None else int(active_A[place])
                stops_A[place] = stop_texts.completed(tokens_RT[row, : step + 1])
        ended_A = stops_A if step + 1 < shortest else stops_A | (alive_A & (limit_A <= step + 1))
        ended = ended_A.nonzero()[:, 0]
        if len(ended):
            ended_rows = ended if active_A is None else active_A[ended]
            lengths_R[ended_rows] = step + 1
            stopped_R[ended_rows] = stops_A[ended]
            alive_A = alive_A & ~ended_A
            running = int(alive_A.sum())
            if running == 0:
                break
            if running <= _KEEP_SHARE * len(alive_A):
                kept = alive_A.nonzero()[:, 0]
                active_A = kept if active_A is None else active_A[kept]
                cache.batch_select_indices(kept)
                token_A, seen_AT, position_A = token_A[kept], seen_AT[kept], position_A[kept]
                limit_A, alive_A = limit_A[kept], alive_A[kept]
        position_A = position_A + 1
        reply = model(
            input_ids=token_A[:, None],
            attention_mask=seen_AT[:, : width + step + 1] if padded else None,
            position_ids=position_A[:, None],
            past_key_values=cache,
            use_cache=True,
        )
        logits_AV = reply.logits[:, -1]

    lengths = lengths_R.tolist()
    return Sampled(
        tokens=[tokens[:length] for tokens, length in zip(tokens_RT.tolist(), lengths, strict=True)],
        logprobs=[logprobs[:length] for logprobs, length in zip(logprobs_RT.tolist(), lengths, strict=True)],
        stopped=stopped_R.tolist(),
    )


def takes_logits_to_keep(model: Any) -> bool:
    """True if the model can compute the logits of the last position alone."""
    return "logits_to_keep" in inspect.signature(type(model).forward).parameters
