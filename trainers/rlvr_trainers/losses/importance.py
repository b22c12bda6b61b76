"""Weights that undo the difference between the engine's probabilities and the trainer's."""

from __future__ import annotations

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr_trainers.losses.policy import MAX_LOG_RATIO
from rlvr_trainers.shapes import as_mask, keep, per_token, require_rank, unknown_name

IMPORTANCE_KINDS = (
    "none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask", "geometric_truncate", "geometric_mask",
)  # fmt: skip


@torch.no_grad()
def importance_weights(
    kind: str,
    logprobs_BT: Tensor,
    sampling_logprobs_BT: Tensor,
    mask_BT: Tensor,
    *,
    low: float = 0.0,
    high: float = 2.0,
    full_distribution: bool = True,
    kept_log_mass_BT: Tensor | None = None,
) -> Tensor:
    """A weight for each token, BT, without gradient: how much likelier the trainer finds it than the engine that drew it.

    `logprobs_BT` are the trainer's for the weights that sampled, `sampling_logprobs_BT` the engine's. The first word of
    `kind` says what is compared: `token` the ratio of one token; `sequence` the product over the row (unbiased, but its
    spread grows with length, so long answers lose their gradient); `geometric` the row's product to the power 1 / length,
    which does not depend on length. The second says what happens outside [low, high]: `truncate` clamps (Yao et al. 2025,
    truncated importance sampling, C = 2), `mask` gives weight 0 (IcePop, arXiv:2510.18855, per token). `none` gives 1.
    Outside the mask the weight is 0.

    Where top-p, top-k or min-p cut the distribution, the engine's log-probabilities are larger than those of the full
    softmax by the mass that was cut; then say `full_distribution=False` and give `kept_log_mass_BT` (`kept_log_mass` of the
    trainer's logits). Without it this raises ConfigError rather than weigh every token down.
    """
    if kind not in IMPORTANCE_KINDS:
        raise unknown_name("importance weight", kind, IMPORTANCE_KINDS)
    if not 0 <= low < high:
        raise ConfigError(f"the importance weights' bounds are low={low}, high={high}; they need 0 <= low < high.")
    require_rank("logprobs_BT", logprobs_BT, 2)
    mask_BT = as_mask("mask_BT", mask_BT, tuple(logprobs_BT.shape))
    logprobs_BT = keep(mask_BT, logprobs_BT)
    if kind == "none":
        return mask_BT.to(logprobs_BT.dtype)
    if kept_log_mass_BT is not None:
        logprobs_BT = logprobs_BT - per_token("kept_log_mass_BT", kept_log_mass_BT, mask_BT)
    elif not full_distribution:
        raise ConfigError(
            "the answers were sampled with top_p, top_k or min_p, so the engine's log-probabilities are of a cut distribution "
            "and every ratio would be too small. Give kept_log_mass_BT, sample the full distribution, or use kind='none'."
        )
    log_ratio_BT = logprobs_BT - per_token("sampling_logprobs_BT", sampling_logprobs_BT, mask_BT)
    level, action = kind.split("_")
    if level != "token":
        log_ratio_B1 = log_ratio_BT.sum(-1, keepdim=True)
        if level == "geometric":
            log_ratio_B1 = log_ratio_B1 / mask_BT.sum(-1, keepdim=True).clamp(min=1)
        log_ratio_BT = log_ratio_B1.expand(log_ratio_BT.shape)
    ratio_BT = log_ratio_BT.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    if action == "truncate":
        weights_BT = ratio_BT.clamp(low, high)
    else:
        weights_BT = keep((ratio_BT >= low) & (ratio_BT <= high), ratio_BT)
    return keep(mask_BT, weights_BT)


@torch.no_grad()
def kept_fraction(weights_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The share of the gradient that the weights leave: their mean over policy tokens, a scalar.

    Exact weights have mean 1 under the distribution that sampled, so what is missing from 1 was cut away. The share of rows
    that were cut does not show this: long rows keep a weight, but one near 0.
    """
    mask_BT = as_mask("mask_BT", mask_BT, tuple(weights_BT.shape))
    return keep(mask_BT, weights_BT).sum() / mask_BT.sum().clamp(min=1)
