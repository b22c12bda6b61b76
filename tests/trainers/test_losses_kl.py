"""KL estimators, their controller, and what needs the whole distribution."""

import math

import pytest
import torch

from rlvr.errors import ConfigError
from rlvr.generation.engine import Sampling
from rlvr_trainers import losses

INF = math.inf
D = math.log(2.0)  # the reference finds the token twice as likely: 0.25 against 0.5


@pytest.mark.parametrize(
    ("kind", "value", "slope"),
    [
        ("k1", -D, 1.0),  # log pi - log ref; d/d log pi = 1
        ("k2", D * D / 2, -D),  # d = log ref - log pi; d^2 / 2; slope -d
        ("k3", 2 - 1 - D, 1 - 2.0),  # exp(d) - 1 - d; slope 1 - exp(d)
    ],
)
def test_kl_estimates_and_slopes_are_those_worked_by_hand(kind, value, slope):
    logprobs_BT = torch.tensor([[math.log(0.25)]], dtype=torch.float64, requires_grad=True)
    estimate = losses.kl(kind, logprobs_BT, torch.tensor([[math.log(0.5)]], dtype=torch.float64))
    estimate.sum().backward()
    assert estimate.item() == pytest.approx(value, abs=1e-14)
    assert logprobs_BT.grad.item() == pytest.approx(slope, abs=1e-14)


@pytest.mark.parametrize(("kind", "value", "slope"), [("k1", -D, 1.0), ("k2", D * D / 2, -D), ("k3", 1 - D, -1.0)])
def test_the_ratio_corrects_a_kl_of_tokens_from_an_older_policy(kind, value, slope):
    logprobs_BT = torch.tensor([[math.log(0.25)]], dtype=torch.float64, requires_grad=True)
    estimate = losses.kl(
        kind, logprobs_BT, torch.tensor([[math.log(0.5)]], dtype=torch.float64),
        old_logprobs_BT=torch.tensor([[math.log(0.1)]], dtype=torch.float64),
    )  # fmt: skip
    estimate.sum().backward()
    assert estimate.item() == pytest.approx(2.5 * value, abs=1e-14)
    assert logprobs_BT.grad.item() == pytest.approx(2.5 * (slope + value), abs=1e-13)  # product rule


@pytest.mark.parametrize("kind", losses.KL_KINDS)
def test_padding_of_minus_infinity_gives_zero_in_value_and_gradient(kind):
    logprobs_BT = torch.tensor([[-1.0, -INF, -INF]], dtype=torch.float64, requires_grad=True)
    estimate = losses.kl(kind, logprobs_BT, torch.tensor([[-1.5, -INF, 0.0]], dtype=torch.float64))
    estimate.sum().backward()
    assert estimate[0, 1:].tolist() == [0, 0]
    assert logprobs_BT.grad[0, 1:].tolist() == [0, 0]
    masked = losses.kl(kind, logprobs_BT, torch.full((1, 3), math.nan, dtype=torch.float64), torch.zeros(1, 3))
    assert masked.tolist() == [[0, 0, 0]]


def test_k1_and_k3_average_to_the_full_kl_and_k2_has_its_gradient():
    logits = torch.tensor([[0.3, -0.8, 1.1]], dtype=torch.float64, requires_grad=True)
    ref_logits = torch.tensor([[0.0, 0.5, 0.2]], dtype=torch.float64)
    logprobs, ref_logprobs = logits.log_softmax(-1), ref_logits.log_softmax(-1)
    p = logprobs.exp().detach()
    full = losses.full_kl(logits, ref_logits)
    for kind in ("k1", "k3"):
        average = (p * losses.kl(kind, logprobs, ref_logprobs)).sum()
        assert average.item() == pytest.approx(full.item(), abs=1e-14)
    (expected,) = torch.autograd.grad(full.sum(), logits)
    (k2,) = torch.autograd.grad((p * losses.kl("k2", logits.log_softmax(-1), ref_logprobs)).sum(), logits)
    (k1,) = torch.autograd.grad((p * losses.kl("k1", logits.log_softmax(-1), ref_logprobs)).sum(), logits)
    torch.testing.assert_close(k2, expected, atol=1e-14, rtol=0)
    torch.testing.assert_close(k1, torch.zeros_like(k1), atol=1e-14, rtol=0)


def test_full_kl_of_a_coin_is_worked_by_hand():
    # p = (3/4, 1/4) against (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2).
    p = torch.tensor([0.75, 0.25], dtype=torch.float64).log()
    q = torch.tensor([0.5, 0.5], dtype=torch.float64).log()
    assert losses.full_kl(p, q).item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-14)
    impossible = torch.tensor([0.0, -INF], dtype=torch.float64)
    assert losses.full_kl(p, impossible).item() == INF
    assert losses.full_kl(impossible, q).item() == pytest.approx(math.log(2), abs=1e-14)


def test_entropy_and_its_gradient_are_worked_by_hand():
    # p = (1/2, 1/4, 1/4): H = 1.5 ln 2; dH/dz_i = -p_i (ln p_i + H).
    logits = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log().requires_grad_()
    entropy = losses.entropy(logits)
    entropy.backward()
    assert entropy.item() == pytest.approx(1.5 * math.log(2), abs=1e-14)
    p = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    torch.testing.assert_close(logits.grad, -p * (p.log() + 1.5 * math.log(2)), atol=1e-14, rtol=0)


def test_entropy_of_impossible_tokens_and_empty_positions_is_zero_without_nan():
    logits = torch.tensor([[0.0, 0.0, -INF], [-INF, -INF, -INF]], dtype=torch.float64, requires_grad=True)
    ref_logits = torch.tensor([[0.0, 0.0, -INF], [-INF, -INF, -INF]], dtype=torch.float64)
    entropy, divergence = losses.entropy(logits), losses.full_kl(logits, ref_logits)
    (entropy.sum() + divergence.sum()).backward()
    assert entropy.tolist() == pytest.approx([math.log(2), 0.0], abs=1e-14)
    assert divergence.tolist() == [0, 0]
    assert bool(torch.isfinite(logits.grad).all())
    assert logits.grad[1].tolist() == [0, 0, 0]


def test_the_adaptive_coefficient_follows_its_target_and_is_held_to_a_fifth():
    # KL 0.11 against 0.1: error 0.1; 64 rows of a horizon of 640 move it by 1 %.
    assert losses.adapt_kl_coefficient(0.2, 0.11, target=0.1, num_samples=64, horizon=640) == pytest.approx(0.202)
    assert losses.adapt_kl_coefficient(0.2, 9.0, target=0.1, num_samples=64, horizon=640) == pytest.approx(0.204)
    assert losses.adapt_kl_coefficient(0.2, 0.0, target=0.1, num_samples=64, horizon=640) == pytest.approx(0.196)
    with pytest.raises(ConfigError, match="target is 0"):
        losses.adapt_kl_coefficient(0.2, 0.1, target=0, num_samples=1, horizon=1)


@pytest.mark.parametrize(
    ("settings", "mass"),
    [
        ({}, 1.0),
        ({"top_k": 2}, 0.8),
        ({"top_p": 0.7}, 0.8),  # 0.5 does not reach 0.7, 0.5 + 0.3 does
        ({"top_p": 0.5}, 0.5),
        ({"min_p": 0.5}, 0.8),  # at least half of the likeliest: 0.25
        ({"top_k": 3, "top_p": 0.9}, 0.95),  # of (0.5, 0.3, 0.15) / 0.95, the third starts at 0.842 < 0.9
        ({"top_k": 3, "top_p": 0.8}, 0.8),
    ],
)
def test_the_kept_mass_of_a_cut_distribution_is_counted(settings, mass):
    logits = torch.tensor([[0.15, 0.5, 0.05, 0.3]], dtype=torch.float64).log()
    assert losses.kept_log_mass(logits, Sampling(**settings)).exp().item() == pytest.approx(mass, abs=1e-12)


def test_an_unknown_estimator_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'k3'"):
        losses.kl("k33", torch.zeros(1, 1), torch.zeros(1, 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_entropy_is_the_same_with_a_graph_and_without(dtype: torch.dtype) -> None:
    logits = 5 * torch.randn(7, 31, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    logits[1, :30] = -math.inf  # one token is left
    logits[2] = -math.inf  # padding
    logits[3, ::2] = -math.inf
    logits[4] *= 1e4 if dtype == torch.float32 else 1.0
    with_graph = losses.entropy(logits.clone().requires_grad_())
    assert with_graph.requires_grad
    without = losses.entropy(logits)
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-6, torch.bfloat16: 0.05}[dtype]
    assert torch.allclose(without, with_graph.detach(), rtol=0, atol=tolerance)
    assert without[1:3].tolist() == [0.0, 0.0]
