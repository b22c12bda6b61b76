"""What needs the whole distribution over the vocabulary, not only the sampled token."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlvr.generation.engine import Sampling
from rlvr_trainers.shapes import require_shape


def entropy(logits: Tensor) -> Tensor:
    """Entropy of softmax(logits) over the last axis, in nats: one value for each position, any leading axes.

    Tokens with a logit of -inf have probability 0 and add nothing; a position of nothing but -inf (padding) gives 0.
    """
    if not (logits.requires_grad and torch.is_grad_enabled()):
        return _entropy_value(logits)
    logprobs = _log_softmax(logits)
    return -(logprobs.exp() * _zero_where_impossible(logprobs)).sum(-1)


@torch.no_grad()
def _entropy_value(logits: Tensor) -> Tensor:
    """The entropy alone, log Z - sum of p * (logit - max): holds two tensors of the logits' size where the graph needs five."""
    top = logits.amax(-1, keepdim=True)
    shifted = logits - torch.where(top == -math.inf, torch.zeros_like(top), top)
    weights = shifted.exp()
    total = weights.sum(-1)
    # A token that cannot be has weight 0 and must not make it 0 * inf.
    weighted = weights.mul_(shifted.clamp_(min=torch.finfo(logits.dtype).min)).sum(-1)
    return torch.where(total == 0, torch.zeros_like(total), total.log() - weighted / total)


def full_kl(logits: Tensor, ref_logits: Tensor) -> Tensor:
    """KL(policy || reference) over the whole vocabulary, in nats: one value for each position, any leading axes.

    Sum over v of p(v) (log p(v) - log q(v)). Infinite where the reference rules out a token that the policy does not.
    """
    require_shape("ref_logits", ref_logits, tuple(logits.shape))
    logprobs, ref_logprobs = _log_softmax(logits), _log_softmax(ref_logits)
    possible = logprobs.detach() > -math.inf
    zero = torch.zeros((), dtype=logprobs.dtype, device=logprobs.device)
    difference = torch.where(possible, logprobs, zero) - torch.where(possible, ref_logprobs, zero)
    return (logprobs.exp() * difference).sum(-1)


@torch.no_grad()
def kept_log_mass(logits: Tensor, sampling: Sampling) -> Tensor:
    """Log of the probability mass that top-k, top-p and min-p leave of softmax(logits / temperature); 0 where they are off.

    An engine's log-probabilities are of the distribution it drew from, which these cuts made sharper. Subtract this from
    the trainer's log-probability of the same token to compare like with like. One value for each position.
    """
    logprobs = _log_softmax(logits / (sampling.temperature or 1.0))
    kept = torch.ones_like(logprobs, dtype=torch.bool)
    if 0 < sampling.top_k < logprobs.shape[-1]:
        kept &= logprobs >= logprobs.topk(sampling.top_k, dim=-1).values[..., -1:]
    if sampling.top_p < 1.0:
        remaining = torch.where(kept, logprobs, torch.full_like(logprobs, -math.inf)).log_softmax(-1).exp()
        ordered, order = remaining.sort(dim=-1, descending=True, stable=True)
        # A token stays if the mass before it has not reached top_p, so the likeliest always stays.
        stays = ordered.cumsum(-1) - ordered < sampling.top_p
        kept &= torch.zeros_like(kept).scatter(-1, order, stays)
    if sampling.min_p > 0.0:
        kept &= logprobs >= logprobs.amax(-1, keepdim=True) + math.log(sampling.min_p)
    return torch.where(kept, logprobs, torch.full_like(logprobs, -math.inf)).logsumexp(-1)


def _log_softmax(logits: Tensor) -> Tensor:
    # A row of nothing but -inf has no distribution; zeros in its place keep nan out of value and gradient.
    empty = logits.detach().amax(-1, keepdim=True) == -math.inf
    safe = torch.where(empty, torch.zeros((), dtype=logits.dtype, device=logits.device), logits)
    return torch.where(empty, torch.full_like(logits[..., :1], -math.inf), safe.log_softmax(-1))


def _zero_where_impossible(logprobs: Tensor) -> Tensor:
    return torch.where(
        logprobs.detach() > -math.inf, logprobs, torch.zeros((), dtype=logprobs.dtype, device=logprobs.device)
    )
