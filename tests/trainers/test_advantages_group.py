"""Advantages within a group, over a batch, and of process rewards."""

import math

import pytest
import torch

from rlvr.errors import ConfigError
from rlvr_trainers import advantages

D = torch.float64


def close(actual: torch.Tensor, expected: list, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=D), atol=tolerance, rtol=0)


def test_one_right_answer_of_four_is_worked_by_hand():
    # Mean 1/4; squared deviations 9/16 + 3/16 = 3/4 over G - 1 = 3: standard deviation 1/2.
    rewards_PG = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=D)
    close(advantages.group_relative(rewards_PG, eps=0.0), [[1.5, -0.5, -0.5, -0.5]])
    close(advantages.group_relative(rewards_PG), [[0.75 / 0.5001, *[-0.25 / 0.5001] * 3]])
    close(advantages.group_relative(rewards_PG, scale="none"), [[0.75, -0.25, -0.25, -0.25]])


def test_each_group_has_its_own_mean_and_the_batch_scale_is_shared():
    rewards_PG = torch.tensor([[1.0, 0.0], [3.0, 1.0]], dtype=D)
    root_half = math.sqrt(0.5)
    close(advantages.group_relative(rewards_PG, eps=0.0), [[root_half, -root_half]] * 2)
    # All four rewards: mean 1.25, squared deviations 1/16 + 25/16 + 49/16 + 1/16 = 76/16, over 3.
    deviation = math.sqrt(76 / 48)
    close(
        advantages.group_relative(rewards_PG, scale="batch", eps=0.0),
        [[0.5 / deviation, -0.5 / deviation], [1 / deviation, -1 / deviation]],
    )


@pytest.mark.parametrize("scale", ["std", "batch", "none"])
def test_equal_rewards_give_exactly_zero(scale):
    rewards_PG = torch.tensor([[0.1] * 7, [0.3, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1]])
    advantages_PG = advantages.group_relative(rewards_PG, scale=scale)
    assert advantages_PG[0].tolist() == [0.0] * 7
    assert advantages.leave_one_out(rewards_PG)[0].tolist() == [0.0] * 7
    assert advantages.dead_groups(rewards_PG).tolist() == [True, False]


def test_leave_one_out_is_worked_by_hand():
    # 1 - (2 + 3) / 2, 2 - (1 + 3) / 2, 3 - (1 + 2) / 2.
    close(advantages.leave_one_out(torch.tensor([[1.0, 2.0, 3.0]], dtype=D)), [[-1.5, 0.0, 1.5]])


def test_answers_without_a_verdict_count_nowhere():
    rewards_PG = torch.tensor([[1.0, math.nan, 0.0, 0.0, 0.0]], dtype=D)
    valid_PG = torch.tensor([[True, False, True, True, True]])
    close(advantages.group_relative(rewards_PG, eps=0.0, valid_PG=valid_PG), [[1.5, 0, -0.5, -0.5, -0.5]])
    close(advantages.leave_one_out(rewards_PG, valid_PG=valid_PG), [[1, 0, -1 / 3, -1 / 3, -1 / 3]])
    close(
        advantages.group_relative(rewards_PG, scale="batch", eps=0.0, valid_PG=valid_PG), [[1.5, 0, -0.5, -0.5, -0.5]]
    )
    assert advantages.dead_groups(torch.tensor([[1.0, math.nan, 1.0]]), valid_PG=torch.tensor([[1, 0, 1]])).item()


def test_a_group_of_one_is_named_and_teaches_nothing():
    for function in (advantages.group_relative, advantages.leave_one_out):
        with pytest.warns(advantages.GroupWarning, match=r"2 of 2 groups .*group size 1"):
            assert function(torch.tensor([[1.0], [0.0]])).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("reward", [math.nan, math.inf])
def test_a_reward_that_is_not_finite_is_refused(reward):
    with pytest.raises(ConfigError, match="a reward is"):
        advantages.group_relative(torch.tensor([[1.0, reward]]))


def test_an_unknown_scale_and_a_flat_list_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'std'"):
        advantages.group_relative(torch.zeros(1, 2), scale="sdt")
    with pytest.raises(ConfigError, match="must have 2 axes"):
        advantages.group_relative(torch.zeros(4))


def test_every_rung_of_the_ladder_has_a_name():
    rewards_PG = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=D)
    close(advantages.outcome("raw", rewards_PG), [[1, 0], [1, 1]])
    close(advantages.outcome("batch_mean", rewards_PG), [[0.25, -0.75], [0.25, 0.25]])
    close(advantages.outcome("none", rewards_PG), [[0.5, -0.5], [0, 0]])
    close(advantages.outcome("leave_one_out", rewards_PG), [[1, -1], [0, 0]])
    for kind in ("std", "batch"):
        assert torch.equal(advantages.outcome(kind, rewards_PG), advantages.group_relative(rewards_PG, kind))
    valid_PG = torch.tensor([[True, True], [False, False]])
    close(advantages.outcome("batch_mean", rewards_PG, valid_PG=valid_PG), [[0.5, -0.5], [0, 0]])
    close(advantages.outcome("raw", rewards_PG, valid_PG=valid_PG), [[1, 0], [0, 0]])
    with pytest.raises(ConfigError, match="Did you mean 'raw'"):
        advantages.outcome("rwa", rewards_PG)


def test_the_batch_baseline_subtracts_the_mean():
    close(advantages.batch_baseline(torch.tensor([1.0, 0.0, 0.5], dtype=D)), [0.5, -0.5, 0.0])


def test_whitening_reads_policy_tokens_only():
    # 1, 2, 3: mean 2, variance of a sample 1.
    values_BT = torch.tensor([[1.0, math.nan, 2.0], [3.0, -math.inf, 99.0]], dtype=D)
    mask_BT = torch.tensor([[1, 0, 1], [1, 0, 0]])
    close(advantages.whiten(values_BT, mask_BT, eps=0.0), [[-1, 0, 0], [1, 0, 0]])
    close(advantages.whiten(values_BT, mask_BT, shift_mean=False, eps=0.0), [[1, 0, 2], [3, 0, 0]])
    close(advantages.whiten(values_BT, mask_BT), [[-1 / math.sqrt(1 + 1e-8), 0, 0], [1 / math.sqrt(1 + 1e-8), 0, 0]])


def test_whitening_one_token_does_not_divide_by_zero():
    close(advantages.whiten(torch.tensor([[5.0, 1.0]], dtype=D), torch.tensor([[1, 0]])), [[0, 0]])


def test_reinforce_plus_plus_whitens_the_reward_to_come_over_tokens():
    # Rewards to come: 1 and 1 in row 0, 0 in row 1: mean 2/3, squared deviations 2/9 + 4/9, over 2: variance 1/3.
    rewards_BT = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=D)
    mask_BT = torch.tensor([[1, 1], [1, 0]])
    scale = 1 / math.sqrt(1 / 3 + 1e-8)
    close(advantages.reinforce_plus_plus(rewards_BT, mask_BT), [[scale / 3, scale / 3], [-2 * scale / 3, 0]])


def test_process_rewards_are_normalised_over_the_group_and_summed_to_the_right():
    # Steps end at tokens 1 and 3 of row 0 (rewards 1, 0) and at token 2 of row 1 (reward 2).
    # 1, 0, 2: mean 1, deviation of a sample 1: normalised 0, -1, +1.
    step_rewards_BT = torch.tensor([[9.0, 1.0, 9.0, 0.0], [9.0, 9.0, 2.0, 9.0]], dtype=D)
    step_mask_BT = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 0]])
    mask_BT = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1]])
    close(
        advantages.process_supervision(step_rewards_BT, step_mask_BT, mask_BT, 2, eps=0.0),
        [[-1, -1, -1, -1], [1, 0, 1, 0]],
    )
    close(advantages.total_reward(torch.tensor([1.0, 0.0], dtype=D), step_rewards_BT, step_mask_BT), [2, 2])


def test_process_groups_do_not_see_each_other():
    step_rewards_BT = torch.tensor([[1.0], [0.0], [5.0], [5.0]], dtype=D)
    ones = torch.ones(4, 1)
    root_half = math.sqrt(0.5)
    close(
        advantages.process_supervision(step_rewards_BT, ones, ones, 2, eps=0.0),
        [[root_half], [-root_half], [0], [0]],
    )
    with pytest.raises(ConfigError, match="4 rows do not divide into groups of 3"):
        advantages.process_supervision(step_rewards_BT, ones, ones, 3)
