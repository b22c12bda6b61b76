"""The policy losses: what an update does with the advantage of each token the policy chose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr_trainers.losses.aggregation import aggregate, denominator_of
from rlvr_trainers.shapes import as_mask, keep, per_token, require_rank, unknown_name

MAX_LOG_RATIO = 60.0
"""Log-ratios are held within this bound, far outside any that trains, so that exp stays finite in float32."""


class _Tokens(NamedTuple):
    """What a loss sees, zero outside the mask."""

    logprobs_BT: Tensor
    log_ratio_BT: Tensor
    advantages_BT: Tensor
    mask_BT: Tensor


@dataclass(frozen=True)
class _Bounds:
    """The settings of `policy_loss` that shape the objective of one token."""

    low: float
    high: float
    delta: float | None
    dual_clip: float | None
    weight_cap: float | None
    temperature_pos: float
    temperature_neg: float


def _clipped(tokens: _Tokens, bounds: _Bounds) -> Tensor:
    """Schulman et al. 2017, arXiv:1707.06347, eq. 7: min(r A, clip(r, 1 - low, 1 + high) A)."""
    return _clipped_surrogate(tokens.log_ratio_BT.exp(), tokens.advantages_BT, bounds)


def _clipped_surrogate(ratio_BT: Tensor, advantages_BT: Tensor, bounds: _Bounds) -> Tensor:
    clipped_BT = ratio_BT.clamp(1 - bounds.low, 1 + bounds.high) * advantages_BT
    if bounds.delta is not None:
        # INTELLECT-2, arXiv:2505.07291, section 3.4: a negative advantage cannot push with a ratio beyond delta.
        ratio_BT = ratio_BT.clamp(max=bounds.delta)
    objective_BT = torch.minimum(ratio_BT * advantages_BT, clipped_BT)
    if bounds.dual_clip is not None:
        # Ye et al. 2020, arXiv:1912.09729: the same aim with a floor under the objective instead.
        floor_BT = torch.maximum(objective_BT, bounds.dual_clip * advantages_BT)
        objective_BT = torch.where(advantages_BT < 0, floor_BT, objective_BT)
    return objective_BT


def _sequence_clipped(tokens: _Tokens, bounds: _Bounds) -> Tensor:
    """GSPO, arXiv:2507.18071, eq. 7, in its token form (GSPO-token): s = exp(mean over the answer of the log-ratio).

    The value is the sequence ratio everywhere; the gradient of token t flows through its own log-probability. With one
    advantage a row the two forms agree; with an advantage a token only this one credits the right token.
    """
    lengths_B1 = tokens.mask_BT.sum(-1, keepdim=True).clamp(min=1)
    mean_B1 = (tokens.log_ratio_BT.sum(-1, keepdim=True) / lengths_B1).detach()
    ratio_BT = (mean_B1 + tokens.logprobs_BT - tokens.logprobs_BT.detach()).exp()
    return _clipped_surrogate(ratio_BT, tokens.advantages_BT, bounds)


def _clipped_weight(tokens: _Tokens, bounds: _Bounds) -> Tensor:
    """CISPO, MiniMax-M1, arXiv:2506.13585, eq. 4: sg(clip(r)) A log pi. No token loses its gradient.

    With `weight_cap` the weight is sg(min(r, cap)), the one-sided bound of ScaleRL, arXiv:2510.13786.
    """
    ratio_BT = tokens.log_ratio_BT.exp().detach()
    if bounds.weight_cap is not None:
        weight_BT = ratio_BT.clamp(max=bounds.weight_cap)
    else:
        weight_BT = ratio_BT.clamp(1 - bounds.low, 1 + bounds.high)
    return weight_BT * tokens.advantages_BT * tokens.logprobs_BT


def _soft_gated(tokens: _Tokens, bounds: _Bounds) -> Tensor:
    """SAPO, arXiv:2511.20347: (4 / tau) sigmoid(tau (r - 1)) A, tau by the sign of A; slope 1 at r = 1."""
    # Filled, not torch.where of two numbers, which is float32 whatever the ratios are.
    temperature_BT = torch.full_like(tokens.log_ratio_BT, bounds.temperature_neg)
    temperature_BT = temperature_BT.masked_fill(tokens.advantages_BT > 0, bounds.temperature_pos)
    gate_BT = torch.sigmoid(temperature_BT * (tokens.log_ratio_BT.exp() - 1)) * 4 / temperature_BT
    return gate_BT * tokens.advantages_BT


def _score_function(tokens: _Tokens, bounds: _Bounds) -> Tensor:
    """REINFORCE, Williams 1992: A log pi. The old log-probabilities are not looked at."""
    return tokens.advantages_BT * tokens.logprobs_BT


@dataclass(frozen=True)
class _Kind:
    objective: Callable[[_Tokens, _Bounds], Tensor]
    aggregation: str
    source: str


_KINDS = {
    "ppo": _Kind(_clipped, "token_mean", "clipped surrogate, mean over tokens (arXiv:1707.06347)"),
    "dual_clip": _Kind(_clipped, "token_mean", "ppo with a floor of `dual_clip` * A where A < 0 (arXiv:1912.09729)"),
    "two_sided": _Kind(_clipped, "token_mean", "ppo whose ratio never exceeds `delta` (arXiv:2505.07291)"),
    "grpo": _Kind(_clipped, "row_mean", "clipped surrogate, mean over rows of token means (arXiv:2402.03300)"),
    "bnpo": _Kind(_clipped, "token_mean", "clipped surrogate, mean over the tokens of the batch (TRL's name)"),
    "dapo": _Kind(
        _clipped, "token_mean", "mean over the tokens of the step; give a higher `clip_high` (arXiv:2503.14476)"
    ),
    "dr_grpo": _Kind(_clipped, "constant_length", "sum over tokens / (rows * `max_length`) (arXiv:2503.20783)"),
    "gspo": _Kind(_sequence_clipped, "row_mean", "clipped sequence ratio (arXiv:2507.18071)"),
    "cispo": _Kind(_clipped_weight, "token_mean", "clipped, detached weight on log pi (arXiv:2506.13585)"),
    "sapo": _Kind(_soft_gated, "row_mean", "soft gate in place of the clip (arXiv:2511.20347)"),
    "reinforce": _Kind(_score_function, "token_mean", "A log pi (Williams 1992)"),
}

_ALIASES = {"ppo_clip": "ppo", "delta": "two_sided", "drgrpo": "dr_grpo"}

POLICY_LOSSES: dict[str, str] = {name: kind.source for name, kind in _KINDS.items()}
"""Every name `policy_loss` knows, with what it is."""


def policy_loss(
    kind: str,
    *,
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor | None = None,
    advantages: Tensor,
    mask_BT: Tensor,
    num_items: float | Tensor | None = None,
    max_length: int | None = None,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    delta: float | None = None,
    dual_clip: float | None = None,
    weight_cap: float | None = None,
    temperature_pos: float = 1.0,
    temperature_neg: float = 1.05,
    weights_BT: Tensor | None = None,
    aggregation: str | None = None,
) -> Tensor:
    """The policy loss named `kind`, a scalar to minimise. `POLICY_LOSSES` lists the names and their sources.

    `logprobs_BT` carries the gradient; `old_logprobs_BT` are those of the policy that the update started from (None: the
    same values, so every ratio is 1). `advantages` has one value a row (B) or a token (BT) and carries no gradient.
    `mask_BT` is True where the policy chose the token.

    `num_items`: the denominator of the whole step, in what `kind` counts (`denominator` counts it); None: this batch is the
    whole step. `max_length`: the constant length of `dr_grpo`.

    `clip_low`, `clip_high`: the ratio is held in [1 - clip_low, 1 + clip_high]. `delta`: upper bound of the ratio where
    A < 0, on top of the clip; `two_sided` needs it, every clipped kind takes it. `dual_clip`: floor under the objective
    where A < 0, in units of A; the kind `dual_clip` uses 3 unless told. `weight_cap`: for `cispo`, a one-sided absolute
    bound in place of the two. `temperature_pos`, `temperature_neg`: SAPO's.

    `weights_BT` multiplies the objective of each token, for instance by `importance_weights`; no gradient flows into it.
    `aggregation` replaces the kind's own average (see `aggregate`). Accepts float64. Raises ConfigError for an unknown kind,
    a shape that would broadcast, or a bound that has no meaning.
    """
    kind = _canonical(kind)
    spec = _KINDS[kind]
    require_rank("logprobs_BT", logprobs_BT, 2)
    mask_BT = as_mask("mask_BT", mask_BT, tuple(logprobs_BT.shape))
    bounds = _bounds(kind, clip_low, clip_high, delta, dual_clip, weight_cap, temperature_pos, temperature_neg)
    logprobs_BT = per_token("logprobs_BT", logprobs_BT, mask_BT)
    old_BT = logprobs_BT if old_logprobs_BT is None else per_token("old_logprobs_BT", old_logprobs_BT, mask_BT)
    log_ratio_BT = (logprobs_BT - old_BT.detach()).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    advantages_BT = per_token("advantages", advantages.detach(), mask_BT).to(logprobs_BT.dtype)
    objective_BT = spec.objective(_Tokens(logprobs_BT, log_ratio_BT, advantages_BT, mask_BT), bounds)
    if weights_BT is not None:
        objective_BT = objective_BT * per_token("weights_BT", weights_BT.detach(), mask_BT)
    return aggregate(
        -objective_BT, mask_BT, aggregation or spec.aggregation, num_items=num_items, max_length=max_length
    )


def denominator(kind: str, mask_BT: Tensor, aggregation: str | None = None) -> Tensor:
    """What a batch adds to the `num_items` of its step: policy tokens, or rows with any, as `kind` counts. At least 1."""
    return denominator_of(aggregation or _KINDS[_canonical(kind)].aggregation, mask_BT)


def clipped_tokens(
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages: Tensor,
    mask_BT: Tensor,
    *,
    clip_low: float,
    clip_high: float,
) -> tuple[Tensor, Tensor]:
    """Where the clip took a token's gradient: (ratio too low with A < 0, ratio too high with A > 0), two booleans BT."""
    mask_BT = as_mask("mask_BT", mask_BT, tuple(logprobs_BT.shape))
    ratio_BT = keep(mask_BT, logprobs_BT.detach() - old_logprobs_BT.detach()).exp()
    advantages_BT = per_token("advantages", advantages, mask_BT)
    low_BT = (ratio_BT < 1 - clip_low) & (advantages_BT < 0)
    high_BT = (ratio_BT > 1 + clip_high) & (advantages_BT > 0)
    return low_BT & mask_BT, high_BT & mask_BT


def _canonical(kind: str) -> str:
    """The name in the table for a name as people write it: any case, hyphens for underscores."""
    name = str(kind).lower().replace("-", "_")
    name = _ALIASES.get(name, name)
    if name not in _KINDS:
        raise unknown_name("policy loss", kind, tuple(_KINDS))
    return name


def _bounds(
    kind: str, low: float, high: float, delta: float | None, dual_clip: float | None, weight_cap: float | None,
    temperature_pos: float, temperature_neg: float,
) -> _Bounds:  # fmt: skip
    if low < 0 or high < 0:
        raise ConfigError(
            f"clip_low is {low}, clip_high is {high}; both are distances from a ratio of 1 and cannot be negative."
        )
    if kind == "two_sided" and delta is None:
        raise ConfigError(
            "the two_sided loss needs delta, the largest ratio a negative advantage may push with, for instance 4."
        )
    if kind == "dual_clip" and dual_clip is None:
        dual_clip = 3.0  # the value of Ye et al. 2020
    if delta is not None and delta < 1:
        raise ConfigError(
            f"delta is {delta}; below 1 it would clip a policy that has not moved. Above 1 + clip_high is usual."
        )
    if dual_clip is not None and dual_clip <= 1:
        raise ConfigError(
            f"dual_clip is {dual_clip}; it must exceed 1, or a policy that has not moved would be clipped."
        )
    if weight_cap is not None and (kind != "cispo" or weight_cap <= 0):
        raise ConfigError(f"weight_cap is {weight_cap} for {kind}; it must be positive and only cispo has it.")
    if temperature_pos <= 0 or temperature_neg <= 0:
        raise ConfigError(f"SAPO's temperatures are {temperature_pos} and {temperature_neg}; both must be positive.")
    return _Bounds(low, high, delta, dual_clip, weight_cap, temperature_pos, temperature_neg)
