"""Estimates of the KL divergence from sampled tokens, and the controller that holds it near a target."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr_trainers.shapes import as_mask, keep, require_shape, unknown_name

KL_KINDS = ("k1", "k2", "k3")


def kl(
    kind: str,
    logprobs_BT: Tensor,
    ref_logprobs_BT: Tensor,
    mask_BT: Tensor | None = None,
    *,
    old_logprobs_BT: Tensor | None = None,
) -> Tensor:
    """KL(policy || reference) estimated at each sampled token, BT, in nats. Schulman 2020, "Approximating KL divergence".

    With d = log ref - log pi: `k1` = -d (unbiased, either sign), `k2` = d^2 / 2, `k3` = exp(d) - 1 - d (unbiased, never
    negative; GRPO's, arXiv:2402.03300, eq. 4). As a *loss*, the gradient of k2 is that of the KL itself, the gradient
    of k1 is zero on average and that of k3 only close to it; in a *reward*, where no gradient flows, k1 is unbiased.

    `old_logprobs_BT`, if given, multiplies the estimate by the ratio pi / old, gradient included: that makes k1 and k3
    unbiased in value and gradient for tokens sampled from the old policy (DeepSeek-V3.2, arXiv:2512.02556, section 3.1).
    Outside `mask_BT`, and where the policy itself gives a token no probability (padding as -inf), the estimate is 0.
    """
    if kind not in KL_KINDS:
        raise unknown_name("KL estimator", kind, KL_KINDS)
    require_shape("ref_logprobs_BT", ref_logprobs_BT, tuple(logprobs_BT.shape))
    kept_BT = logprobs_BT.detach() > -math.inf
    if mask_BT is not None:
        kept_BT = kept_BT & as_mask("mask_BT", mask_BT, tuple(logprobs_BT.shape))
    logprobs_BT = keep(kept_BT, logprobs_BT)
    difference_BT = keep(kept_BT, ref_logprobs_BT.detach()) - logprobs_BT
    if kind == "k1":
        estimate_BT = -difference_BT
    elif kind == "k2":
        estimate_BT = difference_BT.square() / 2
    else:
        estimate_BT = torch.expm1(difference_BT) - difference_BT
    if old_logprobs_BT is not None:
        require_shape("old_logprobs_BT", old_logprobs_BT, tuple(logprobs_BT.shape))
        estimate_BT = estimate_BT * (logprobs_BT - keep(kept_BT, old_logprobs_BT.detach())).exp()
    return estimate_BT


def adapt_kl_coefficient(
    coefficient: float, observed_kl: float, *, target: float, num_samples: int, horizon: int
) -> float:
    """The KL coefficient after a step of `num_samples` rows whose mean KL was `observed_kl`.

    coefficient * (1 + clip(observed / target - 1, -0.2, 0.2) * num_samples / horizon). Ziegler et al. 2019,
    arXiv:1909.08593, section 2.2, with the gain written as rows over `horizon`, the rows it takes to follow.
    """
    if target <= 0 or horizon < 1:
        raise ConfigError(f"the KL target is {target} and its horizon {horizon}; both must be positive.")
    error = min(max(observed_kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + error * num_samples / horizon)
