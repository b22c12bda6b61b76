"""Losses as pure functions of tensors: one meaning each, in value and in gradient.

Letters: B rows (answers), T positions, V vocabulary. Log-probabilities are in nats. A mask is True where the policy chose
the token; what stands anywhere else (prompt, tool text, padding, even -inf or nan) reaches neither value nor gradient.

Every loss divides by the denominator of the *whole* optimizer step if it is given as `num_items`; then the losses of any
micro-batches or ranks add up to the loss of the step. `denominator(kind, mask_BT)` counts what a batch contributes to it.
"""

from rlvr_trainers.losses.aggregation import aggregate, denominator_of
from rlvr_trainers.losses.distribution import entropy, full_kl, kept_log_mass
from rlvr_trainers.losses.importance import IMPORTANCE_KINDS, importance_weights, kept_fraction
from rlvr_trainers.losses.kl import KL_KINDS, adapt_kl_coefficient, kl
from rlvr_trainers.losses.policy import POLICY_LOSSES, clipped_tokens, denominator, policy_loss
from rlvr_trainers.losses.preference import bradley_terry_loss, dpo_loss
from rlvr_trainers.losses.value import value_loss

__all__ = [
    "IMPORTANCE_KINDS",
    "KL_KINDS",
    "POLICY_LOSSES",
    "adapt_kl_coefficient",
    "aggregate",
    "bradley_terry_loss",
    "clipped_tokens",
    "denominator",
    "denominator_of",
    "dpo_loss",
    "entropy",
    "full_kl",
    "importance_weights",
    "kept_fraction",
    "kept_log_mass",
    "kl",
    "policy_loss",
    "value_loss",
]
