"""Advantages over time, worked by hand; tool text is no time."""

import math

import pytest
import torch

from rlvr.errors import ConfigError
from rlvr_trainers import advantages

D = torch.float64


def rows(*values: list) -> torch.Tensor:
    return torch.tensor(values, dtype=D)


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("lam", "horizon", "first"),
    [
        (0.5, 4, 1.525),  # 1.2 + 0.15 + 0.2 - 0.025
        (0.9, 4, 1.9722),  # 1.2 + 0.27 + 0.648 - 0.1458
        (0.9, None, 1.9722),
        (0.9, 9, 1.9722),
        (0.9, 2, 1.47),  # 1.2 + 0.27
        (0.9, 1, 1.2),
        (0.0, None, 1.2),
        (1.0, None, 2.1),
        (1.0, 3, 2.3),
    ],
)
def test_td_errors_are_summed_with_weights_of_lambda_up_to_the_horizon(lam, horizon, first):
    deltas = rows([1.2, 0.3, 0.8, -0.2])  # with values of 0 the rewards are the TD errors
    advantages_BT, returns_BT = advantages.gae(deltas, torch.zeros(1, 4, dtype=D), torch.ones(1, 4), 1.0, lam, horizon)
    assert advantages_BT[0, 0].item() == pytest.approx(first, abs=1e-12)
    close(returns_BT, advantages_BT)


def test_the_same_td_errors_from_values_give_the_same_advantages():
    # V = 0.5, 0.6, 0.7, 0.4; r = 1.1, 0.2, 1.1, 0.2: deltas 1.2, 0.3, 0.8, -0.2.
    values = rows([0.5, 0.6, 0.7, 0.4])
    advantages_BT, returns_BT = advantages.gae(rows([1.1, 0.2, 1.1, 0.2]), values, torch.ones(1, 4), 1.0, 0.5)
    close(advantages_BT, rows([1.525, 0.65, 0.7, -0.2]))
    close(returns_BT, advantages_BT + values)


def test_gamma_discounts_the_next_value_and_the_next_advantage():
    # Last: 1 - 0.5 = 0.5. First: 0 + 0.5 * 0.5 - 0.2 = 0.05, plus 0.5 * 0.5 * 0.5 = 0.125.
    advantages_BT, _ = advantages.gae(rows([0.0, 1.0]), rows([0.2, 0.5]), torch.ones(1, 2), 0.5, 0.5)
    close(advantages_BT, rows([0.175, 0.5]))


def test_a_tool_reply_in_the_middle_leaves_plus_three_tenths_before_the_call():
    # Policy tokens with values 0.5 and 0.8, a tool's token between them that the critic finds worth 0.2, reward 1 at the end.
    # lam = 0: before the call 0 + 0.8 - 0.5 = +0.3. Reading the tool's token would give 0.2 - 0.5 = -0.3.
    rewards_BT, values_BT = rows([0.0, 0.0, 1.0]), rows([0.5, 0.2, 0.8])
    advantages_BT, returns_BT = advantages.gae(rewards_BT, values_BT, torch.tensor([[1, 0, 1]]), 1.0, 0.0)
    close(advantages_BT, rows([0.3, 0.0, 0.2]))
    close(returns_BT, rows([0.8, 0.0, 1.0]))


@pytest.mark.parametrize("junk", [5.0, math.nan, -math.inf])
@pytest.mark.parametrize("horizon", [None, 2])
def test_what_stands_outside_the_mask_is_never_read(junk, horizon):
    generator = torch.Generator().manual_seed(0)
    rewards_BT, values_BT = torch.randn(2, 3, 5, generator=generator, dtype=D)
    narrow = advantages.gae(rewards_BT, values_BT, torch.ones(3, 5), 0.9, 0.8, horizon)
    columns = [1, 2, 5, 6, 8]
    wide_rewards, wide_values = torch.full((2, 3, 10), junk, dtype=D)
    mask_BT = torch.zeros(3, 10)
    wide_rewards[:, columns], wide_values[:, columns], mask_BT[:, columns] = rewards_BT, values_BT, 1
    wide = advantages.gae(wide_rewards, wide_values, mask_BT, 0.9, 0.8, horizon)
    for wide_BT, narrow_BT in zip(wide, narrow, strict=True):
        close(wide_BT[:, columns], narrow_BT)
        assert not wide_BT[mask_BT == 0].any()
    close(
        advantages.discounted_returns(wide_rewards, mask_BT, 0.9)[:, columns],
        advantages.discounted_returns(rewards_BT, torch.ones(3, 5), 0.9),
    )


def test_lambda_one_is_the_return_minus_the_value():
    generator = torch.Generator().manual_seed(1)
    rewards_BT, values_BT = torch.randn(2, 4, 6, generator=generator, dtype=D)
    mask_BT = torch.rand(4, 6, generator=generator) < 0.7
    expected = torch.where(mask_BT, advantages.discounted_returns(rewards_BT, mask_BT, 0.95) - values_BT, 0.0)
    close(advantages.gae(rewards_BT, values_BT, mask_BT, 0.95, 1.0)[0], expected)
    close(advantages.critic_baseline(rewards_BT, values_BT, mask_BT, 0.95), expected)


def test_the_final_reward_is_discounted_by_policy_tokens_still_to_come():
    mask_BT = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0]])
    close(
        advantages.discounted_final(torch.tensor([1.0, 1.0], dtype=D), mask_BT, 0.5),
        rows([0.25, 0, 0.5, 1, 0], [0, 0, 0, 0, 0]),
    )
    close(
        advantages.place_final_reward(torch.tensor([0.7, 1.0], dtype=D), mask_BT),
        rows([0, 0, 0, 0.7, 0], [0, 0, 0, 0, 0]),
    )


def test_a_kl_in_the_reward_is_charged_on_policy_tokens_only():
    rewards_BT, kl_BT = rows([0.0, math.nan, 1.0]), rows([0.5, math.inf, -0.1])
    close(advantages.kl_in_reward(rewards_BT, kl_BT, torch.tensor([[1, 0, 1]]), 0.2), rows([-0.1, 0.0, 1.02]))


def test_the_soft_overlong_penalty_falls_in_a_line():
    # Limit 10 with a buffer of 4: free up to 6, then -1/4 a token.
    lengths_B = torch.tensor([0, 6, 7, 9, 10, 12])
    assert advantages.soft_overlong_penalty(lengths_B, 10, 4).tolist() == [0, 0, -0.25, -0.75, -1, -1]
    with pytest.raises(ConfigError, match="0 < buffer <= max_length"):
        advantages.soft_overlong_penalty(lengths_B, 10, 11)


def test_rows_of_no_length_are_no_error():
    empty = torch.zeros(2, 0)
    assert advantages.gae(empty, empty, empty, 1.0, 0.9)[0].shape == (2, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gamma": 1.1}, "gamma is 1.1"),
        ({"lam": -0.1}, "lam is -0.1"),
        ({"horizon": 0}, "horizon is 0"),
        ({"values_BT": torch.zeros(1, 3)}, "values_BT has shape"),
    ],
)
def test_settings_without_meaning_are_refused(settings, message):
    inputs = {"rewards_BT": torch.zeros(1, 2), "values_BT": torch.zeros(1, 2), "mask_BT": torch.ones(1, 2)}
    with pytest.raises(ConfigError, match=message):
        advantages.gae(**{**inputs, **settings})
