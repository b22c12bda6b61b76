"""The critic's loss and the losses on pairs."""

import math

import pytest
import torch

from rlvr.errors import ConfigError
from rlvr_trainers import losses

D = torch.float64


def test_value_loss_is_half_the_squared_error_over_policy_tokens():
    # Errors 1 and -2 on two policy tokens: (1 + 4) / 2 / 2 = 1.25; gradients error / 2.
    values_BT = torch.tensor([[1.0, 0.0, -math.inf]], dtype=D, requires_grad=True)
    loss = losses.value_loss(values_BT, torch.tensor([[0.0, 2.0, math.nan]], dtype=D), torch.tensor([[1, 1, 0]]))
    loss.backward()
    assert loss.item() == pytest.approx(1.25, abs=1e-14)
    assert values_BT.grad.tolist() == [[0.5, -1.0, 0.0]]


def test_clipped_value_loss_takes_the_larger_error():
    # Returns 1. Token 0: value 0.8, old 0.2, held to 0.4: max(0.04, 0.36), no gradient.
    # Token 1: value -0.5, old 0.2, held to 0.0: max(2.25, 1.0), gradient -1.5 / 2.
    values_BT = torch.tensor([[0.8, -0.5]], dtype=D, requires_grad=True)
    loss = losses.value_loss(
        values_BT, torch.ones(1, 2, dtype=D), torch.ones(1, 2), torch.full((1, 2), 0.2, dtype=D), clip=0.2
    )
    loss.backward()
    assert loss.item() == pytest.approx((0.36 + 2.25) / 4, abs=1e-14)
    torch.testing.assert_close(values_BT.grad, torch.tensor([[0.0, -0.75]], dtype=D), atol=1e-14, rtol=0)


def test_value_loss_adds_up_over_micro_batches():
    generator = torch.Generator().manual_seed(0)
    values_BT, returns_BT, old_BT = torch.randn(3, 4, 5, generator=generator, dtype=D)
    mask_BT = torch.rand(4, 5, generator=generator) < 0.5
    whole = losses.value_loss(values_BT, returns_BT, mask_BT, old_BT, 0.3)
    parts = sum(
        losses.value_loss(values_BT[i], returns_BT[i], mask_BT[i], old_BT[i], 0.3, num_items=mask_BT.sum())
        for i in (slice(0, 1), slice(1, 4))
    )
    torch.testing.assert_close(parts, whole, atol=1e-14, rtol=0)


def test_a_clip_without_old_values_is_refused():
    with pytest.raises(ConfigError, match="old_values_BT is absent"):
        losses.value_loss(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1, 1), clip=0.2)


def test_bradley_terry_is_minus_log_sigmoid_of_the_difference():
    # Differences ln 3 and 0: -ln(3/4), -ln(1/2); slopes -(1 - sigmoid) / 2 = -1/8, -1/4.
    chosen = torch.tensor([math.log(3), 0.7], dtype=D, requires_grad=True)
    loss = losses.bradley_terry_loss(chosen, torch.tensor([0.0, 0.7], dtype=D))
    loss.backward()
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, abs=1e-14)
    torch.testing.assert_close(chosen.grad, torch.tensor([-1 / 8, -1 / 4], dtype=D), atol=1e-14, rtol=0)


def test_dpo_compares_how_far_each_answer_moved_from_the_reference():
    # Chosen moved by +1, rejected by -1, beta 0.5: -log sigmoid(1); slope -0.5 (1 - sigmoid(1)).
    chosen = torch.tensor([-4.0], dtype=D, requires_grad=True)
    loss = losses.dpo_loss(
        chosen, torch.tensor([-7.0], dtype=D), torch.tensor([-5.0], dtype=D), torch.tensor([-6.0], dtype=D), beta=0.5
    )
    loss.backward()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-14)
    assert chosen.grad.item() == pytest.approx(-0.5 * (1 - 1 / (1 + math.exp(-1))), abs=1e-14)


def test_a_dpo_loss_without_beta_is_refused():
    zero = torch.zeros(1)
    with pytest.raises(ConfigError, match="beta is 0"):
        losses.dpo_loss(zero, zero, zero, zero, beta=0)
