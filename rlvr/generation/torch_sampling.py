"""Drawing tokens from logits, vectorised over rows. R rows, V vocabulary, T positions.

The noise of row r at position t is a hash of (row seed, t) and nothing else, so what a row draws depends neither on its
neighbours nor on the shape of the batch, and no generator holds state. One uniform number a token is enough: the token
is the point where the cumulative distribution passes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from rlvr.generation.engine import Sampling

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_CHUNK_ELEMENTS = 1 << 23
"""Rows are drawn in chunks of at most this many float64 values (64 MiB), which bounds memory for large vocabularies."""


def uniforms(row_seeds: Sequence[int], start: int, stop: int) -> Tensor:
    """Numbers in [0, 1), float64, shape (R, stop - start): position t of a row with seed s is SplitMix64's output t for state s.

    Steele, Lea and Flood 2014 (OOPSLA), figure 16. 52 bits, so that a number times a total in (0, 1] stays below the total.
    """
    seeds_R = np.array(row_seeds, dtype=np.uint64)
    steps_T = np.arange(start + 1, stop + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        state_RT = seeds_R[:, None] + steps_T[None, :] * _GOLDEN
        state_RT = (state_RT ^ (state_RT >> np.uint64(30))) * _MIX_1
        state_RT = (state_RT ^ (state_RT >> np.uint64(27))) * _MIX_2
        state_RT ^= state_RT >> np.uint64(31)
    return torch.from_numpy((state_RT >> np.uint64(12)).astype(np.float64) * 2.0**-52)


def processed_logprobs(logits_RV: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities, in nats, of the distribution that tokens are drawn from; -inf where a token was cut off.

    Temperature, then min-p, top-k and top-p over what is left, renormalised over the survivors: vLLM's order. Tokens
    level with the last one kept by top-k stay. At temperature 0 these are the log-probabilities at temperature 1, as
    vLLM reports them: the draw itself is certain.
    """
    logits_RV = logits_RV if logits_RV.dtype == torch.float64 else logits_RV.float()
    if sampling.temperature not in (0.0, 1.0):
        logits_RV = logits_RV / sampling.temperature
    if sampling.temperature > 0 and not sampling.full_distribution:
        logits_RV = _truncate(logits_RV, sampling)
    return torch.log_softmax(logits_RV, dim=-1)


def draw(logits_RV: Tensor, uniforms_R: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """One token a row and its log-probability, both of shape (R,)."""
    rows_at_once = max(1, _CHUNK_ELEMENTS // logits_RV.shape[1])
    if len(logits_RV) <= rows_at_once:
        return _draw(logits_RV, uniforms_R, sampling)
    drawn = [
        _draw(logits_RV[start : start + rows_at_once], uniforms_R[start : start + rows_at_once], sampling)
        for start in range(0, len(logits_RV), rows_at_once)
    ]
    return torch.cat([tokens for tokens, _ in drawn]), torch.cat([logprobs for _, logprobs in drawn])


def _draw(logits_RV: Tensor, uniforms_R: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    logprobs_RV = processed_logprobs(logits_RV, sampling)
    if sampling.temperature == 0:
        tokens_R1 = logprobs_RV.argmax(dim=-1, keepdim=True)
    else:
        # float64: in float32 a sum over 150,000 tokens loses the tail.
        cumulative_RV = logprobs_RV.exp().cumsum(dim=-1, dtype=torch.float64)
        point_R1 = uniforms_R[:, None] * cumulative_RV[:, -1:]
        # right=True: the first place strictly above the point, so a token of probability 0 is never taken.
        tokens_R1 = torch.searchsorted(cumulative_RV, point_R1, right=True)
    return tokens_R1[:, 0], logprobs_RV.gather(1, tokens_R1)[:, 0]


def _truncate(logits_RV: Tensor, sampling: Sampling) -> Tensor:
    if sampling.min_p > 0:
        floor_R1 = logits_RV.amax(dim=-1, keepdim=True) + float(np.log(sampling.min_p))
        logits_RV = logits_RV.masked_fill(logits_RV < floor_R1, -torch.inf)
    if 0 < sampling.top_k < logits_RV.shape[1]:
        least_R1 = logits_RV.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits_RV = logits_RV.masked_fill(logits_RV < least_R1, -torch.inf)
    if sampling.top_p < 1:
        sorted_RV, order_RV = logits_RV.sort(dim=-1, descending=True, stable=True)
        probabilities_RV = sorted_RV.softmax(dim=-1, dtype=torch.float64)
        # A token stays while the mass before it is below top_p: the smallest set that reaches top_p, never empty.
        mass_before_RV = probabilities_RV.cumsum(dim=-1) - probabilities_RV
        dropped_RV = torch.zeros_like(logits_RV, dtype=torch.bool).scatter_(
            1, order_RV, mass_before_RV >= sampling.top_p
        )
        logits_RV = logits_RV.masked_fill(dropped_RV, -torch.inf)
    return logits_RV
