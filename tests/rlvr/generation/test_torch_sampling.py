from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from rlvr.generation.engine import Sampling
from rlvr.generation.seeds import derive_seed, row_seed
from rlvr.generation.torch_sampling import draw, processed_logprobs, uniforms

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0, -torch.inf]])
# softmax of (2, 1, 0, -1): e^2, e, 1, 1/e over their sum 11.4752
P = [7.389056 / 11.475217, 2.718282 / 11.475217, 1.0 / 11.475217, 0.367879 / 11.475217, 0.0]


def kept(sampling: Sampling, logits: torch.Tensor = LOGITS) -> list[float]:
    return processed_logprobs(logits, sampling).exp()[0].tolist()


def test_the_whole_distribution_is_the_softmax() -> None:
    assert kept(Sampling()) == pytest.approx(P, abs=1e-6)


def test_temperature_divides_the_logits() -> None:
    # logits (4, 2, 0, -2): e^4 = 54.598, e^2 = 7.389, 1, 0.135; sum 63.123
    assert kept(Sampling(temperature=0.5)) == pytest.approx([0.864955, 0.117059, 0.015842, 0.002144, 0.0], abs=1e-6)


def test_top_k_keeps_the_likeliest_and_renormalises() -> None:
    # e^2 / (e^2 + e) = 0.731059
    assert kept(Sampling(top_k=2)) == pytest.approx([0.731059, 0.268941, 0, 0, 0], abs=1e-6)
    assert kept(Sampling(top_k=99)) == pytest.approx(P, abs=1e-6)


def test_top_k_keeps_tokens_level_with_the_last() -> None:
    assert kept(Sampling(top_k=2), torch.tensor([[1.0, 0.0, 0.0, -9.0]]))[2] > 0


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    # 0.643914, 0.236883, ...: one token reaches 0.6, two reach 0.65
    assert kept(Sampling(top_p=0.6)) == pytest.approx([1, 0, 0, 0, 0])
    assert kept(Sampling(top_p=0.65)) == pytest.approx([0.731059, 0.268941, 0, 0, 0], abs=1e-6)
    assert kept(Sampling(top_p=1e-9)) == pytest.approx([1, 0, 0, 0, 0])


def test_min_p_is_a_share_of_the_likeliest() -> None:
    # shares of the likeliest: 1, e^-1 = 0.368, e^-2 = 0.135
    assert kept(Sampling(min_p=0.2)) == pytest.approx([0.731059, 0.268941, 0, 0, 0], abs=1e-6)


def test_the_token_is_where_the_cumulative_distribution_passes_the_draw() -> None:
    draws = torch.tensor([0.0, P[0] - 1e-6, P[0] + 1e-6, P[0] + P[1] + 1e-6, 1 - 2**-52], dtype=torch.float64)
    tokens, logprobs = draw(LOGITS.expand(5, 5), draws, Sampling())
    assert tokens.tolist() == [0, 0, 1, 2, 3]
    assert logprobs.tolist() == pytest.approx([math.log(P[token]) for token in (0, 0, 1, 2, 3)], abs=3e-6)


def test_a_token_without_probability_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    tokens, _ = draw(
        logits.expand(4, 5), torch.tensor([0.0, 0.49999, 0.5, 1 - 2**-52], dtype=torch.float64), Sampling()
    )
    assert tokens.tolist() == [1, 1, 3, 3]


def test_draws_follow_the_distribution() -> None:
    noise = uniforms([row_seed(11, answer) for answer in range(20_000)], 0, 1)[:, 0]
    tokens, _ = draw(LOGITS.expand(len(noise), 5), noise, Sampling())
    counts = torch.bincount(tokens, minlength=5)[:4]
    assert stats.chisquare(counts.numpy(), [20_000 * share for share in P[:4]]).pvalue > 1e-3


def test_large_vocabularies_are_drawn_in_chunks_with_the_same_result() -> None:
    logits = torch.randn(40, 300_000, generator=torch.Generator().manual_seed(0))
    noise = uniforms(range(40), 0, 1)[:, 0]
    tokens, logprobs = draw(logits, noise, Sampling())
    alone = [draw(logits[row : row + 1], noise[row : row + 1], Sampling()) for row in (0, 27, 28, 39)]
    assert [int(token) for token, _ in alone] == tokens[[0, 27, 28, 39]].tolist()
    assert [float(logprob) for _, logprob in alone] == logprobs[[0, 27, 28, 39]].tolist()


def test_noise_is_a_function_of_row_and_position_alone() -> None:
    whole = uniforms([1, 2**64 - 1, 7], 0, 300)
    assert torch.equal(uniforms([7], 128, 200), whole[2:, 128:200])
    assert whole.min() >= 0
    assert whole.max() < 1


def test_noise_is_splitmix64() -> None:
    # First outputs of SplitMix64 from state 0: e220a8397b1dcdaf, 6e789e6aa1b965f4.
    expected = [(0xE220A8397B1DCDAF >> 12) * 2.0**-52, (0x6E789E6AA1B965F4 >> 12) * 2.0**-52]
    assert uniforms([0], 0, 2)[0].tolist() == expected


def test_noise_is_uniform_and_rows_are_independent() -> None:
    noise = uniforms([row_seed(3, answer) for answer in range(200)], 0, 200)
    assert stats.kstest(noise.flatten().numpy(), "uniform").pvalue > 1e-3
    assert abs(float(torch.corrcoef(noise)[0, 1:].mean())) < 0.02


def test_answers_to_one_request_have_seeds_of_their_own() -> None:
    assert row_seed(0, 0) == 0xE220A8397B1DCDAF
    assert len({row_seed(seed, answer) for seed in range(100) for answer in range(100)}) == 10_000


def test_derived_seeds_are_the_same_everywhere_and_fit_63_bits() -> None:
    assert derive_seed("rollout", 0, "a/b-v0#1") == derive_seed("rollout", 0, "a/b-v0#1")
    assert derive_seed("a", 12) != derive_seed("a1", 2)
    assert all(0 <= derive_seed(number) < 2**63 for number in range(100))
