"""What one update of a policy minimises: clip objective, KL and entropy, with the metrics that tell how it went."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr_trainers import losses
from rlvr_trainers.batch import Batch

Metrics = dict[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """The settings of one update. Each share of it is divided by the denominators of the whole update."""

    loss: str
    """A name of `losses.POLICY_LOSSES`."""
    num_items: float
    """The policy loss's denominator: tokens or rows of the whole update, as `losses.denominator` counts them."""
    num_tokens: int
    """Answer tokens of the whole update: the denominator of everything that is a mean over tokens."""
    max_length: int
    """Longest answer in tokens, for the loss that divides by it."""
    clip_low: float
    clip_high: float
    delta: float | None = None
    dual_clip: float | None = None
    kl_coef: float = 0.0
    """Weight of the KL from the reference, added to the loss where the batch has `ref_logprobs`."""
    kl_kind: str = "k3"
    """A name of `losses.KL_KINDS`."""
    entropy_coef: float = 0.0
    """Weight of the entropy, taken off the loss."""
    importance: str = "none"
    """A name of `losses.IMPORTANCE_KINDS`."""
    importance_cap: float = 2.0
    full_distribution: bool = True
    """False if sampling cut the distribution; the batch then has `kept_log_mass`."""


def policy_objective(
    objective: Objective, micro: Batch, logprobs_BT: Tensor, entropy_BT: Tensor | None, kl_BT: Tensor | None = None
) -> tuple[Tensor, Metrics]:
    """A micro-batch's share of policy loss + kl_coef * KL - entropy_coef * entropy, and of its metrics.

    The batch has the fields `advantages` (B or BT) and `sampling_logprobs`, and where they are needed `old_logprobs`,
    `ref_logprobs` and `kept_log_mass`. Without `old_logprobs` the update is on-policy and every ratio is 1.
    `kl_BT` is the KL from the reference where it was computed from whole distributions; else it is estimated by `kl_kind`.
    """
    mask_BT, fields, tokens = micro.mask_BT, micro.fields, objective.num_tokens
    old_logprobs_BT = fields.get("old_logprobs", logprobs_BT.detach())
    metrics: Metrics = {}
    weights_BT = None
    if objective.importance != "none":
        weights_BT = losses.importance_weights(
            objective.importance,
            old_logprobs_BT,
            fields["sampling_logprobs"],
            mask_BT,
            high=objective.importance_cap,
            full_distribution=objective.full_distribution,
            kept_log_mass_BT=fields.get("kept_log_mass"),
        )
        metrics["importance_kept"] = weights_BT.sum() / tokens
    loss = losses.policy_loss(
        objective.loss,
        logprobs_BT=logprobs_BT,
        old_logprobs_BT=old_logprobs_BT,
        advantages=fields["advantages"],
        mask_BT=mask_BT,
        num_items=objective.num_items,
        max_length=objective.max_length,
        clip_low=objective.clip_low,
        clip_high=objective.clip_high,
        delta=objective.delta,
        dual_clip=objective.dual_clip,
        weights_BT=weights_BT,
    )
    metrics["policy_loss"] = loss
    if kl_BT is None and "ref_logprobs" in fields:
        kl_BT = losses.kl(objective.kl_kind, logprobs_BT, fields["ref_logprobs"], mask_BT)
    if kl_BT is not None:
        metrics["kl"] = losses.aggregate(kl_BT, mask_BT, num_items=tokens)
        if objective.kl_coef:
            loss = loss + objective.kl_coef * metrics["kl"]
    if entropy_BT is not None:
        metrics["entropy"] = entropy_BT.sum() / tokens
        if objective.entropy_coef:
            loss = loss - objective.entropy_coef * metrics["entropy"]
    with torch.no_grad():
        if "old_logprobs" in fields:
            low_BT, high_BT = losses.clipped_tokens(
                logprobs_BT,
                old_logprobs_BT,
                fields["advantages"],
                mask_BT,
                clip_low=objective.clip_low,
                clip_high=objective.clip_high,
            )
            metrics["clip_low_share"], metrics["clip_high_share"] = low_BT.sum() / tokens, high_BT.sum() / tokens
            metrics["kl_from_old"] = losses.kl("k3", logprobs_BT, old_logprobs_BT, mask_BT).sum() / tokens
        gap_BT = torch.where(mask_BT, old_logprobs_BT - fields["sampling_logprobs"], 0.0).abs()
        metrics["mismatch"] = gap_BT.sum() / tokens
    return loss, metrics
