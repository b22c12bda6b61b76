"""pass@k and its relatives: values worked by hand, and counted out subset by subset."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from rlvr_leaderboard.statistics import g_pass_at_k, maj_at_k, mg_pass_at_k, pass_at_k, pass_hat_k

TOLERANCE = 1e-9


def close(value, expected):
    return value == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (4, 2, 2, 5 / 6),  # 1 - C(2,2)/C(4,2) = 1 - 1/6
        (5, 1, 1, 1 / 5),
        (5, 1, 3, 3 / 5),  # 1 - C(4,3)/C(5,3) = 1 - 4/10
        (10, 3, 5, 11 / 12),  # 1 - C(7,5)/C(10,5) = 1 - 21/252
        (8, 0, 8, 0.0),
        (8, 1, 8, 1.0),
        (1, 1, 1, 1.0),
        (200, 7, 100, 1 - math.comb(193, 100) / math.comb(200, 100)),
    ],
)
def test_pass_at_k_is_one_minus_the_share_of_subsets_without_a_pass(n, c, k, expected):
    assert close(pass_at_k(n, c, k), expected)
    assert close(pass_at_k(n, c, k), 1 - stats.hypergeom(n, c, k).pmf(0))


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"), [(4, 2, 2, 1 / 6), (5, 4, 2, 3 / 5), (8, 8, 8, 1.0), (8, 3, 4, 0.0), (10, 5, 1, 1 / 2)]
)
def test_pass_hat_k_is_the_share_of_subsets_in_which_all_pass(n, c, k, expected):
    assert close(pass_hat_k(n, c, k), expected)
    assert close(pass_hat_k(n, c, k), stats.hypergeom(n, c, k).sf(k - 1))


def test_items_are_averaged_with_their_own_number_of_runs():
    # 1 - C(2,2)/C(4,2) = 5/6; one item with 6 runs: 1 - C(5,2)/C(6,2) = 1/3
    assert close(pass_at_k([4, 6], [2, 1], 2), (5 / 6 + 1 / 3) / 2)
    assert close(pass_at_k(4, [2, 0], 2), 5 / 12)
    assert close(pass_hat_k([4, 6], [2, 3], 2), (1 / 6 + 3 / 15) / 2)


def test_more_runs_do_not_move_pass_at_1():
    # The fault of a declared n: every doubling of it halves the score.
    assert [pass_at_k(n, n // 4, 1) for n in (4, 8, 16, 32)] == [0.25] * 4


@pytest.mark.parametrize("function", [pass_at_k, pass_hat_k, mg_pass_at_k, lambda n, c, k: g_pass_at_k(n, c, k, 0.5)])
@pytest.mark.parametrize(
    ("n", "c", "k", "says"),
    [
        (3, 1, 4, "fewer runs than k"),
        ([8, 3], [1, 1], 4, "fewer runs than k"),
        (4, 5, 2, "more runs passed"),
        (4, -1, 2, "at least 0"),
        (4, 1, 0, "at least 1"),
        (4.0, 1, 2, "whole number"),
        (True, 1, 2, "whole number"),
        ([4, 4], [1], 2, "same items"),
        ([], [], 2, "no item"),
    ],
)
def test_counts_that_allow_no_answer_are_refused(function, n, c, k, says):
    with pytest.raises(ValueError, match=says):
        function(n, c, k)


def test_g_pass_counts_the_upper_tail():
    # n=4, c=2, k=2: both pass in 1 of 6 pairs, at least one in 5 of 6
    assert close(g_pass_at_k(4, 2, 2, 1.0), 1 / 6)
    assert close(g_pass_at_k(4, 2, 2, 0.5), 5 / 6)
    assert close(g_pass_at_k(4, 2, 2, 0), 5 / 6)  # at least one, even at tau = 0
    # n=6, c=3, k=4, two needed: pairs 3*3=9, triples 1*3=3, of 15
    assert close(g_pass_at_k(6, 3, 4, 0.5), 12 / 15)
    for tau, need in ((0.25, 4), (0.5, 8), (0.75, 12), (1, 16)):
        assert close(g_pass_at_k(48, 30, 16, tau), stats.hypergeom(48, 30, 16).sf(need - 1))


def test_tau_is_read_as_a_decimal():
    assert math.ceil(50 * 0.14) == 8  # what binary floats make of it
    for tau in (0.14, "0.14"):
        assert close(g_pass_at_k(100, 20, 50, tau), stats.hypergeom(100, 20, 50).sf(6))
    assert close(g_pass_at_k(40, 22, 20, 0.55), stats.hypergeom(40, 22, 20).sf(10))


def test_arrays_serve_as_sequences():
    counts = np.array([4, 4]), np.array([2, 0])
    assert close(pass_at_k(*counts, 2), 5 / 12)


@pytest.mark.parametrize("tau", [-0.1, 1.1, "half", float("nan")])
def test_a_tau_that_is_no_share_is_refused(tau):
    with pytest.raises(ValueError, match="tau"):
        g_pass_at_k(4, 2, 2, tau)


def test_mg_pass_averages_the_upper_half_of_thresholds():
    # k=2: only i=2, 2/2 * 1/6. k=4, n=6, c=3: i=3 needs 3 of 4 (3/15), i=4 needs 4 (0): half their sum
    assert close(mg_pass_at_k(4, 2, 2), 1 / 6)
    assert close(mg_pass_at_k(6, 3, 4), 1 / 10)
    assert close(mg_pass_at_k(16, 16, 8), 1.0)
    tail = stats.hypergeom(48, 31, 16)
    assert close(mg_pass_at_k(48, 31, 16), 2 / 16 * sum(tail.sf(i - 1) for i in range(9, 17)))


@pytest.mark.parametrize("k", [1, 5])
def test_mg_pass_refuses_odd_k(k):
    with pytest.raises(ValueError, match="even k"):
        mg_pass_at_k(8, 8, k)


def voted(answers, worth, k):
    """maj@k by enumeration of all subsets."""
    values = []
    for chosen in itertools.combinations(answers, k):
        votes = {a: chosen.count(a) for a in chosen if a is not None}
        top = [a for a, number in votes.items() if number == max(votes.values())]
        values.append(Fraction(sum(Fraction(worth.get(a, 0)) for a in top), len(top)) if top else Fraction(0))
    return float(sum(values) / len(values))


def test_a_vote_of_all_runs():
    assert maj_at_k(["7", "7", "8"], "7") == 1.0
    assert maj_at_k(["8", "7", "8"], "7") == 0.0
    assert maj_at_k(["7", "8"], "7") == maj_at_k(["8", "7"], "7") == 0.5  # a tie, whoever came first
    assert close(maj_at_k(["7", "8", "9"], "7"), 1 / 3)
    assert maj_at_k([None, None, None, "7"], "7") == 1.0  # what cannot be read does not vote
    assert maj_at_k([None, None], "7") == 0.0
    assert maj_at_k(["1/2", "0.5", "3"], {"1/2": 1.0, "0.5": 0.25}) == pytest.approx((1 + 0.25 + 0) / 3)
    assert maj_at_k(["a", "b", "b"], [1, 0, 0]) == 0.0
    assert maj_at_k(["a", "b"], {"a", "b"}) == 1.0


@pytest.mark.parametrize(
    "answers",
    [
        ["a", "a", "b", "c", None, "b", "d", "a"],
        ["a", "b", "b", "c", "c"],
        [None, None, "a", "b", "a", "c", "d", "b", "e"],
    ],
)
def test_a_vote_of_k_runs_is_the_mean_over_all_subsets(answers):
    for k in range(1, len(answers) + 1):
        assert close(maj_at_k(answers, "a", k), voted(answers, {"a": 1}, k))
        assert close(maj_at_k(answers, {"a": 0.5, "b": 1.0}, k), voted(answers, {"a": 0.5, "b": 1}, k))


def test_a_vote_of_sixteen_out_of_forty_runs_is_exact_and_not_sampled():
    # 601,080,390 subsets of 16 of 32: with two classes the vote is a hypergeometric tail
    answers = ["a"] * 18 + ["b"] * 14
    law = stats.hypergeom(32, 18, 16)
    assert close(maj_at_k(answers, "a", 16), law.sf(8) + law.pmf(8) / 2)


def test_a_vote_needs_k_runs_and_one_score_a_class():
    with pytest.raises(ValueError, match="fewer runs than k"):
        maj_at_k(["a"], "a", 2)
    with pytest.raises(ValueError, match="must earn the same"):
        maj_at_k(["a", "a"], [1, 0])
    with pytest.raises(ValueError, match="could not be read"):
        maj_at_k(["a"], None)
