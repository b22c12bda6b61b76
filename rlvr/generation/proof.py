"""Proof that an engine serves the weights it was given: by what it says, not by what it claims.

Labels and checksums have been right while a stale output head or an old prefix cache was being sampled from. So the engine
is made to score a fixed sequence of tokens, and the learner's own forward pass must give the same log-probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rlvr.errors import StaleWeightsError
from rlvr.generation.engine import Engine

PROBE_TOKENS = 48
TOLERANCE_NATS = {torch.float64: 5e-5, torch.float32: 5e-5, torch.bfloat16: 0.05, torch.float16: 0.02}
"""By the dtype that is served. float32: the largest difference; it finds weights that are off by a thousandth of their
spread. Half precision: the mean difference, whose noise is 0.02; it finds a stale layer, not a stale step."""


def probe_tokens(vocabulary: int) -> list[int]:
    """A fixed sequence that visits tokens all over the vocabulary."""
    return [(7919 * place + 17) % vocabulary for place in range(PROBE_TOKENS)]


def forced_logprobs(model: Any, token_ids: Sequence[int]) -> list[float]:
    """Log-probability at temperature 1, in nats, of each token after the first, by one forward pass of a causal model."""
    ids_1T = torch.tensor([list(token_ids)], device=model.device)
    logits_TV = model(input_ids=ids_1T).logits[0, :-1]
    logits_TV = logits_TV if logits_TV.dtype == torch.float64 else logits_TV.float()
    return [float(value) for value in torch.log_softmax(logits_TV, -1).gather(1, ids_1T[0, 1:, None])[:, 0]]


def difference(expected: Sequence[float], served: Sequence[float], dtype: torch.dtype) -> float:
    """How far two sets of log-probabilities of the same tokens are apart, in nats, by the measure of `TOLERANCE_NATS`."""
    gaps = (torch.tensor(served) - torch.tensor(expected)).abs()
    return float(gaps.max() if dtype in (torch.float32, torch.float64) else gaps.mean())


def prove_served(engine: Engine, model: Any, version: int, *, served_dtype: torch.dtype | None = None) -> float:
    """Compare what `engine` serves with the learner's `model`; returns the difference in nats.

    `served_dtype` is what the engine computes in, where that is coarser than the model's own. Raises StaleWeightsError if
    the engine names another version than `version` or if its log-probabilities are not the model's.
    """
    if engine.weight_version != version:
        raise StaleWeightsError(
            f"the engine serves weight version {engine.weight_version}, the learner is at {version}. "
            "Nothing may be sampled until the new weights have arrived: call load_weights."
        )
    tokens = probe_tokens(model.get_input_embeddings().weight.shape[0])
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            expected = forced_logprobs(model, tokens)
    finally:
        model.train(training)
    dtype = served_dtype or next(model.parameters()).dtype
    gap = difference(expected, engine.forced_logprobs(tokens), dtype)
    if not gap <= TOLERANCE_NATS[dtype]:  # also refuses nan
        raise StaleWeightsError(
            f"the engine says it serves weight version {version}, but its log-probabilities of {PROBE_TOKENS} fixed tokens "
            f"differ from the learner's by {gap:.3g} nats ({TOLERANCE_NATS[dtype]:g} is allowed in {dtype}). Some "
            "weights did not arrive or are cached; sampling from them would train on another model's rollouts."
        )
    return gap
