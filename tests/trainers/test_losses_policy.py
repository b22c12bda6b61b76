"""Every policy loss by hand, in value and gradient.

The batch of all the tables below: row 0 has two tokens that went from probability 0.1 to 0.3 (ratio 3) and from 0.4 to 0.2
(ratio 0.5) with advantage +1; row 1 has one token that went from 0.2 to 0.3 (ratio 1.5) with advantage -2, and a padding
position of -inf.
"""

import math

import pytest
import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr_trainers import losses

INF = math.inf
LN2, LN3 = math.log(0.2), math.log(0.3)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def gate(x: float) -> float:
    return sigmoid(x) * (1 - sigmoid(x))


def batch() -> dict[str, Tensor]:
    return {
        "logprobs_BT": torch.tensor([[LN3, LN2], [LN3, -INF]], dtype=torch.float64, requires_grad=True),
        "old_logprobs_BT": torch.tensor([[math.log(0.1), math.log(0.4)], [LN2, -INF]], dtype=torch.float64),
        "advantages": torch.tensor([1.0, -2.0], dtype=torch.float64),
        "mask_BT": torch.tensor([[True, True], [True, False]]),
    }


# kind, settings, loss, gradient at the three tokens
CASES = [
    # Objectives min(3, 1.2) = 1.2 (clipped), min(0.5, 0.8) = 0.5, min(-3, -2.4) = -3; their sum is -1.3 over 3 tokens.
    ("ppo", {}, 1.3 / 3, [0, -0.5 / 3, 1.0]),
    ("dapo", {}, 1.3 / 3, [0, -0.5 / 3, 1.0]),
    ("bnpo", {}, 1.3 / 3, [0, -0.5 / 3, 1.0]),
    # Clip-higher: min(3, 1.28) = 1.28, the rest as before.
    ("dapo", {"clip_high": 0.28}, (3 - 1.28 - 0.5) / 3, [0, -0.5 / 3, 1.0]),
    # Row means (1.2 + 0.5) / 2 = 0.85 and -3; their mean is -1.075.
    ("grpo", {}, 1.075, [0, -0.125, 1.5]),
    # -1.3 over 2 rows of constant length 4.
    ("dr_grpo", {"max_length": 4}, 0.1625, [0, -0.0625, 0.375]),
    # Mean over the two rows of the sums 1.7 and -3.
    ("ppo", {"aggregation": "row_sum"}, 0.65, [0, -0.25, 1.5]),
    # Floor 1.25 * -2 = -2.5 under -3, so the third token loses its gradient; 1.2 + 0.5 - 2.5 = -0.8.
    ("dual_clip", {"dual_clip": 1.25}, 0.8 / 3, [0, -0.5 / 3, 0]),
    # The default floor 3 * -2 = -6 is not reached.
    ("dual_clip", {}, 1.3 / 3, [0, -0.5 / 3, 1.0]),
    # Ratio held at 1.3 where A < 0: min(-2.6, -2.4) = -2.6; 1.2 + 0.5 - 2.6 = -0.9.
    ("two_sided", {"delta": 1.3}, 0.3, [0, -0.5 / 3, 0]),
    ("grpo", {"delta": 1.3}, (2.6 - 0.85) / 2, [0, -0.125, 0]),
    # Sequence ratios sqrt(3 * 0.5) = 1.2247 (clipped to 1.2) and 1.5: (1.2 - 3) / 2 = -0.9.
    ("gspo", {}, 0.9, [0, 0, 1.5]),
    # Within a wider clip the first row's two tokens share s * A / length = 1.2247 / 2, over 2 rows.
    ("gspo", {"clip_high": 0.3}, (3 - math.sqrt(1.5)) / 2, [-math.sqrt(1.5) / 4, -math.sqrt(1.5) / 4, 1.5]),
    # Weights 1.2, 0.8, 1.2 without gradient: -(1.2 ln 0.3 + 0.8 ln 0.2 - 2.4 ln 0.3) / 3.
    ("cispo", {}, (1.2 * LN3 - 0.8 * LN2) / 3, [-0.4, -0.8 / 3, 0.8]),
    # One-sided: weights min(3, 2) = 2, 0.5, 1.5: -(2 ln 0.3 + 0.5 ln 0.2 - 3 ln 0.3) / 3.
    ("cispo", {"weight_cap": 2.0}, (LN3 - 0.5 * LN2) / 3, [-2 / 3, -0.5 / 3, 1.0]),
    # 4 sigmoid(2), 4 sigmoid(-0.5) in row 0; -2 * 4 sigmoid(1.05 * 0.5) / 1.05 in row 1; slopes 4 sigmoid'(.) r A.
    (
        "sapo",
        {},
        -((4 * sigmoid(2) + 4 * sigmoid(-0.5)) / 2 - 8 * sigmoid(0.525) / 1.05) / 2,
        [-4 * gate(2) * 3 / 4, -4 * gate(-0.5) * 0.5 / 4, 4 * gate(0.525) * 1.5 * 2 / 2],
    ),
    # A log pi, whatever the old policy was: -(ln 0.3 + ln 0.2 - 2 ln 0.3) / 3.
    ("reinforce", {}, (LN3 - LN2) / 3, [-1 / 3, -1 / 3, 2 / 3]),
    ("reinforce", {"aggregation": "row_sum"}, (LN3 - LN2) / 2, [-0.5, -0.5, 1.0]),
]


@pytest.mark.parametrize(("kind", "settings", "value", "gradient"), CASES)
def test_loss_and_gradient_are_those_worked_by_hand(kind, settings, value, gradient):
    inputs = batch()
    loss = losses.policy_loss(kind, **inputs, **settings)
    loss.backward()
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(value, abs=1e-12)
    expected = torch.tensor([[gradient[0], gradient[1]], [gradient[2], 0.0]], dtype=torch.float64)
    torch.testing.assert_close(inputs["logprobs_BT"].grad, expected, atol=1e-12, rtol=0)


def test_every_name_stands_in_the_table_above():
    assert {case[0] for case in CASES} == set(losses.POLICY_LOSSES)


@pytest.mark.parametrize(("advantage", "objective"), [(1.0, 1.2), (-1.0, -3.0), (2.5, 3.0), (-2.5, -7.5)])
def test_a_token_that_went_from_a_tenth_to_three_tenths_is_clipped_only_if_it_was_good(advantage, objective):
    loss = losses.policy_loss(
        "ppo",
        logprobs_BT=torch.tensor([[0.3]], dtype=torch.float64).log(),
        old_logprobs_BT=torch.tensor([[0.1]], dtype=torch.float64).log(),
        advantages=torch.tensor([advantage], dtype=torch.float64),
        mask_BT=torch.ones(1, 1),
    )
    assert loss.item() == pytest.approx(-objective, abs=1e-12)


@pytest.mark.parametrize("kind", sorted(losses.POLICY_LOSSES))
def test_without_old_logprobs_the_gradient_is_the_policy_gradient(kind):
    logprobs_BT = torch.tensor([[LN3, LN2], [LN3, LN2]], dtype=torch.float64, requires_grad=True)
    loss = losses.policy_loss(
        kind, logprobs_BT=logprobs_BT, advantages=torch.tensor([1.0, -2.0]), mask_BT=torch.ones(2, 2),
        max_length=2, delta=3.0 if kind == "two_sided" else None,
    )  # fmt: skip
    loss.backward()
    expected = torch.tensor([[-0.25, -0.25], [0.5, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(logprobs_BT.grad, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("kind", ["ppo", "gspo"])
def test_an_advantage_for_each_token_credits_that_token(kind):
    logprobs_BT = torch.full((1, 2), LN3, dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([[1.0, -3.0]], dtype=torch.float64)
    losses.policy_loss(kind, logprobs_BT=logprobs_BT, advantages=advantages, mask_BT=torch.ones(1, 2)).backward()
    torch.testing.assert_close(logprobs_BT.grad, torch.tensor([[-0.5, 1.5]], dtype=torch.float64), atol=1e-12, rtol=0)


def test_importance_weights_multiply_the_objective_and_carry_no_gradient():
    inputs = batch()
    weights_BT = torch.tensor([[0.5, 2.0], [1.0, INF]], dtype=torch.float64, requires_grad=True)
    loss = losses.policy_loss("ppo", **inputs, weights_BT=weights_BT)
    loss.backward()
    assert loss.item() == pytest.approx(-(0.5 * 1.2 + 2 * 0.5 - 3) / 3, abs=1e-12)
    assert weights_BT.grad is None


def random_batch(rows: int = 8, length: int = 7) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logprobs_BT = -3 * torch.rand(rows, length, generator=generator, dtype=torch.float64)
    mask_BT = torch.rand(rows, length, generator=generator) < 0.6
    mask_BT[5] = False  # an answer that was masked whole, such as one that ran over its length
    return {
        "logprobs_BT": logprobs_BT,
        "old_logprobs_BT": logprobs_BT + 0.4 * torch.randn(rows, length, generator=generator, dtype=torch.float64),
        "advantages": torch.randn(rows, generator=generator, dtype=torch.float64),
        "mask_BT": mask_BT,
    }


def loss_and_gradient(kind: str, inputs: dict[str, Tensor], num_items: Tensor | None = None) -> tuple[Tensor, Tensor]:
    logprobs_BT = inputs["logprobs_BT"].clone().requires_grad_()
    loss = losses.policy_loss(
        kind, **{**inputs, "logprobs_BT": logprobs_BT}, num_items=num_items, max_length=9, clip_high=0.3,
        delta=2.0 if kind == "two_sided" else None,
    )  # fmt: skip
    loss.backward()
    assert logprobs_BT.grad is not None
    return loss.detach(), logprobs_BT.grad


@pytest.mark.parametrize("parts", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", sorted(losses.POLICY_LOSSES))
def test_micro_batches_add_up_to_the_whole_step(kind, parts):
    inputs = random_batch()
    whole, whole_gradient = loss_and_gradient(kind, inputs)
    num_items = losses.denominator(kind, inputs["mask_BT"])
    pieces = [
        loss_and_gradient(kind, {name: tensor.chunk(parts)[i] for name, tensor in inputs.items()}, num_items)
        for i in range(parts)
    ]
    torch.testing.assert_close(sum(loss for loss, _ in pieces), whole, atol=1e-14, rtol=0)
    torch.testing.assert_close(torch.cat([gradient for _, gradient in pieces]), whole_gradient, atol=1e-14, rtol=0)


@pytest.mark.parametrize("junk", [0.0, 7.0, -INF, INF, math.nan])
@pytest.mark.parametrize("kind", sorted(losses.POLICY_LOSSES))
def test_tool_text_and_padding_change_nothing_whatever_stands_there(kind, junk):
    inputs = random_batch()
    inputs["mask_BT"][:] = True
    whole, gradient = loss_and_gradient(kind, inputs)
    columns = [0, 1, 2, 5, 6, 7, 9]  # where the policy's tokens land; 3, 4 are a tool's reply, 8 and 10 padding
    wide = {name: torch.full((8, 11), junk, dtype=torch.float64) for name in inputs}
    for name in ("logprobs_BT", "old_logprobs_BT"):
        wide[name][:, columns] = inputs[name]
    wide["advantages"][:, columns] = inputs["advantages"][:, None]
    wide["mask_BT"] = mask_BT = torch.zeros(8, 11, dtype=torch.bool)
    mask_BT[:, columns] = True
    loss, wide_gradient = loss_and_gradient(kind, wide)
    torch.testing.assert_close(loss, whole, atol=1e-14, rtol=0)
    torch.testing.assert_close(wide_gradient[:, columns], gradient, atol=1e-14, rtol=0)
    assert bool((wide_gradient[~mask_BT] == 0).all())


def test_a_row_without_policy_tokens_is_no_row():
    with_empty = random_batch()
    without = {name: torch.cat([tensor[:5], tensor[6:]]) for name, tensor in with_empty.items()}
    for kind in losses.POLICY_LOSSES:
        torch.testing.assert_close(
            loss_and_gradient(kind, with_empty)[0], loss_and_gradient(kind, without)[0], atol=1e-14, rtol=0
        )


def test_a_batch_without_policy_tokens_gives_zero_and_a_gradient_of_zero():
    inputs = random_batch()
    inputs["mask_BT"] = torch.zeros_like(inputs["mask_BT"])
    for kind in losses.POLICY_LOSSES:
        loss, gradient = loss_and_gradient(kind, inputs)
        assert loss.item() == 0.0
        assert not gradient.any()


def test_no_gradient_flows_into_advantages_or_old_logprobs():
    inputs = batch()
    inputs["advantages"].requires_grad_()
    inputs["old_logprobs_BT"].requires_grad_()
    losses.policy_loss("grpo", **inputs).backward()
    assert inputs["advantages"].grad is None
    assert inputs["old_logprobs_BT"].grad is None


def test_clipped_tokens_are_those_whose_gradient_the_clip_took():
    inputs = batch()
    low_BT, high_BT = losses.clipped_tokens(*inputs.values(), clip_low=0.2, clip_high=0.2)
    assert low_BT.tolist() == [[False, False], [False, False]]
    assert high_BT.tolist() == [[True, False], [False, False]]


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'gspo'"):
        losses.policy_loss("gspoo", **batch())
    assert losses.policy_loss("PPO-clip", **batch()) == losses.policy_loss("ppo", **batch())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "dr_grpo"}, "max_length is None"),
        ({"kind": "two_sided"}, "needs delta"),
        ({"kind": "grpo", "delta": 0.9}, "has not moved"),
        ({"kind": "ppo", "dual_clip": 0.9}, "must exceed 1"),
        ({"kind": "ppo", "clip_low": -0.2}, "cannot be negative"),
        ({"kind": "ppo", "weight_cap": 5.0}, "only cispo"),
        ({"kind": "ppo", "num_items": 0}, "num_items is 0"),
        ({"kind": "ppo", "aggregation": "token_men"}, "Did you mean 'token_mean'"),
        ({"kind": "ppo", "advantages": torch.ones(3)}, "advantages has shape \\(3,\\)"),
        ({"kind": "ppo", "advantages": torch.ones(2, 1)}, "advantages has shape \\(2, 1\\)"),
        ({"kind": "ppo", "mask_BT": torch.ones(2)}, "mask_BT has shape \\(2,\\)"),
    ],
)
def test_a_setting_without_meaning_is_refused_by_name(settings, message):
    with pytest.raises(ConfigError, match=message):
        losses.policy_loss(**{**batch(), **settings})
