"""Losses on pairs of answers, one preferred over the other."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

from rlvr.errors import ConfigError
from rlvr_trainers.shapes import require_rank, require_shape


def bradley_terry_loss(
    chosen_scores_B: Tensor, rejected_scores_B: Tensor, *, margin: float = 0.0, num_items: float | None = None
) -> Tensor:
    """Mean of -log sigmoid(chosen - rejected - margin): a scalar to minimise. Ouyang et al. 2022, arXiv:2203.02155, eq. 1.

    `num_items` counts the pairs of the whole step; None: this batch is the whole step.
    """
    require_rank("chosen_scores_B", chosen_scores_B, 1)
    require_shape("rejected_scores_B", rejected_scores_B, tuple(chosen_scores_B.shape))
    losses_B = -logsigmoid(chosen_scores_B - rejected_scores_B - margin)
    return losses_B.sum() / (num_items or max(len(losses_B), 1))


def dpo_loss(
    chosen_logprobs_B: Tensor,
    rejected_logprobs_B: Tensor,
    ref_chosen_logprobs_B: Tensor,
    ref_rejected_logprobs_B: Tensor,
    *,
    beta: float = 0.1,
    num_items: float | None = None,
) -> Tensor:
    """Mean of -log sigmoid(beta ((chosen - ref chosen) - (rejected - ref rejected))): a scalar to minimise.

    Rafailov et al. 2023, arXiv:2305.18290, eq. 7. Each input is the log-probability of a whole answer: the sum over its policy
    tokens. `num_items` counts the pairs of the whole step; None: this batch is the whole step.
    """
    if beta <= 0:
        raise ConfigError(
            f"beta is {beta}; DPO needs a positive one, which says how far the policy may leave the reference."
        )
    shape = tuple(chosen_logprobs_B.shape)
    for name, tensor in (
        ("rejected_logprobs_B", rejected_logprobs_B), ("ref_chosen_logprobs_B", ref_chosen_logprobs_B),
        ("ref_rejected_logprobs_B", ref_rejected_logprobs_B),
    ):  # fmt: skip
        require_shape(name, tensor, shape)
    chosen_B = chosen_logprobs_B - ref_chosen_logprobs_B.detach()
    rejected_B = rejected_logprobs_B - ref_rejected_logprobs_B.detach()
    return bradley_terry_loss(beta * chosen_B, beta * rejected_B, num_items=num_items)
