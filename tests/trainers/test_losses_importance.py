"""Weights against the mismatch between sampling and training."""

import math

import pytest
import torch

from rlvr.errors import ConfigError
from rlvr_trainers import losses

# Ratios 4 and 0.5 in row 0 (product 2, geometric mean sqrt 2); 3 in row 1, whose second position is padding.
LOGPROBS = torch.tensor([[math.log(0.4), math.log(0.2)], [math.log(0.3), -math.inf]], dtype=torch.float64)
SAMPLED = torch.tensor([[math.log(0.1), math.log(0.4)], [math.log(0.1), -math.inf]], dtype=torch.float64)
MASK = torch.tensor([[1, 1], [1, 0]])
ROOT2 = math.sqrt(2)


@pytest.mark.parametrize(
    ("kind", "bounds", "expected"),
    [
        ("none", {}, [[1, 1], [1, 0]]),
        ("token_truncate", {}, [[2, 0.5], [2, 0]]),
        ("token_truncate", {"low": 0.8, "high": 3.5}, [[3.5, 0.8], [3, 0]]),
        ("token_mask", {}, [[0, 0.5], [0, 0]]),
        ("token_mask", {"low": 0.6, "high": 3.5}, [[0, 0], [3, 0]]),
        ("sequence_truncate", {"high": 1.5}, [[1.5, 1.5], [1.5, 0]]),
        ("sequence_truncate", {"high": 9.0}, [[2, 2], [3, 0]]),
        ("sequence_mask", {"high": 2.5}, [[2, 2], [0, 0]]),
        ("geometric_truncate", {}, [[ROOT2, ROOT2], [2, 0]]),
        ("geometric_mask", {}, [[ROOT2, ROOT2], [0, 0]]),
    ],
)
def test_weights_are_those_worked_by_hand(kind, bounds, expected):
    weights_BT = losses.importance_weights(kind, LOGPROBS, SAMPLED, MASK, **bounds)
    torch.testing.assert_close(weights_BT, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0)


def test_weights_carry_no_gradient():
    logprobs = LOGPROBS.clone().requires_grad_()
    assert not losses.importance_weights("token_truncate", logprobs, SAMPLED, MASK).requires_grad


def test_the_kept_fraction_is_the_mean_weight_over_policy_tokens():
    assert losses.kept_fraction(torch.tensor([[2.0, 0.5], [0.0, 9.0]]), MASK).item() == pytest.approx(2.5 / 3)


def test_masked_sequences_lose_long_answers_and_geometric_means_keep_them():
    # Noise of standard deviation 0.02 a token over 8,000 tokens: Phi((ln 3 - 1.6) / 1.79) = 0.39 of the gradient is left.
    generator = torch.Generator().manual_seed(0)
    noise = 0.02 * torch.randn(200, 8000, generator=generator) - 0.0002  # E[exp] = 1
    zeros, mask = torch.zeros(200, 8000), torch.ones(200, 8000)
    kept = {
        kind: losses.kept_fraction(losses.importance_weights(kind, noise, zeros, mask, high=3.0), mask).item()
        for kind in ("sequence_mask", "token_truncate", "geometric_truncate")
    }
    assert kept["sequence_mask"] < 0.6
    assert kept["token_truncate"] == pytest.approx(1, abs=0.01)
    assert kept["geometric_truncate"] == pytest.approx(1, abs=0.01)


def test_a_cut_distribution_is_refused_unless_its_kept_mass_is_given():
    with pytest.raises(ConfigError, match="top_p, top_k or min_p"):
        losses.importance_weights("token_truncate", LOGPROBS, SAMPLED, MASK, full_distribution=False)
    # The engine drew from the 0.8 that top-p left, so 0.4 / 0.8 is what the trainer must compare with 0.5: ratio 1.
    weights_BT = losses.importance_weights(
        "token_truncate", torch.tensor([[0.4]]).log(), torch.tensor([[0.5]]).log(), torch.ones(1, 1),
        full_distribution=False, kept_log_mass_BT=torch.tensor([[0.8]]).log(),
    )  # fmt: skip
    assert weights_BT.item() == pytest.approx(1.0, abs=1e-6)


def test_bounds_that_keep_nothing_and_unknown_kinds_are_refused():
    with pytest.raises(ConfigError, match="0 <= low < high"):
        losses.importance_weights("token_mask", LOGPROBS, SAMPLED, MASK, low=2.0, high=1.0)
    with pytest.raises(ConfigError, match="Did you mean 'token_mask'"):
        losses.importance_weights("token_maks", LOGPROBS, SAMPLED, MASK)
