"""Paired tests, resampling, ranks and planning: hand-worked, then against scipy and statsmodels."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from rlvr_leaderboard import statistics as s

TOLERANCE = 1e-9


def close(value, expected):
    return value == pytest.approx(expected, abs=TOLERANCE)


def test_a_paired_difference_by_hand():
    # differences 1, 0, 1/2, 1/2: mean 1/2, variance (1/4 + 1/4)/3 = 1/6, SE sqrt(1/24), t = sqrt(6)
    found = s.paired_difference([1, 0, 1, 0.5], [0, 0, 0.5, 0])
    assert close(found.difference, 0.5)
    assert close(found.standard_error, math.sqrt(1 / 24))
    assert close(found.p_value, 2 * stats.t.sf(math.sqrt(6), 3))
    assert close(found.high, 0.5 + stats.t.ppf(0.975, 3) * math.sqrt(1 / 24))
    assert found.num_items == 4


def test_a_paired_difference_agrees_with_scipy():
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 60, 4))
    found = s.paired_difference(a.tolist(), b.tolist())
    reference = stats.ttest_rel(a.mean(axis=1), b.mean(axis=1))
    low, high = reference.confidence_interval()
    assert close(found.p_value, reference.pvalue)
    assert close(found.low, low)
    assert close(found.high, high)


def test_items_are_matched_by_id_and_not_by_place():
    a, b = {"x": 1, "y": 0, "z": 1}, {"z": 1, "x": 0, "y": 0}
    assert s.paired_differences(a, b) == [1, 0, 0]


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ({"x": 1, "y": 0}, {"x": 1, "z": 0}, r"item sets differ: 1 items only in A \['y'\], 1 only in B \['z'\]"),
        ([1, 0], [1], "same items"),
        ({"x": 1}, [1], "names its items"),
        ([1], [0], "at least two"),
    ],
)
def test_what_cannot_be_paired_is_refused(a, b, says):
    with pytest.raises(ValueError, match=says):
        s.paired_difference(a, b)


def test_equal_differences_give_numbers_and_not_nan():
    same = s.paired_difference([1, 0, 1], [1, 0, 1])
    assert same == (0, 0, 0, 0, 1, 3)
    always = s.paired_difference([1, 1, 1, 1], [0, 0, 0, 0])
    assert always[:4] == (1, 0, 1, 1)
    assert close(always.p_value, 2 / 16)  # four equal signs out of sixteen patterns, twice


def test_the_exact_sign_flip_test_counts_every_pattern():
    assert close(s.sign_flip_test([1, 1, 1]), 2 / 8)
    assert close(s.sign_flip_test([1, 1, -1]), 1.0)
    assert close(s.sign_flip_test([0, 0, 1, 1]), 2 / 4)  # items that do not differ carry nothing
    assert s.sign_flip_test([0, 0]) == 1.0
    differences = [0.3, -0.1, 0.25, 0.5, 0.125, -0.2, 0.05, 0.4]
    observed = abs(sum(differences))
    patterns = itertools.product((1, -1), repeat=8)
    hits = sum(abs(sum(sign * d for sign, d in zip(p, differences, strict=True))) >= observed - 1e-12 for p in patterns)
    assert close(s.sign_flip_test(differences), hits / 256)
    reference = stats.permutation_test(
        (np.array(differences), np.zeros(8)), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples"
    )
    assert close(s.sign_flip_test(differences), reference.pvalue)


def test_sign_flips_beyond_twenty_items_are_seeded_and_near_the_exact_value():
    rng = np.random.default_rng(3)
    differences = (rng.random(21) - 0.35).tolist()
    drawn = s.sign_flip_test(differences, seed=7)
    assert drawn == s.sign_flip_test(differences, seed=7)
    exact = s.sign_flip_test(differences, exact=True)
    assert abs(drawn - exact) < 4 * math.sqrt(exact * (1 - exact) / 10_000) + 1e-4
    with pytest.raises(ValueError, match="too many"):
        s.sign_flip_test([0.5] * 40, exact=True)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 1), (8, 3), (30, 12), (7, 7)])
def test_mcnemar_is_the_exact_binomial_test(b, c):
    assert close(s.mcnemar_test(b, c), mcnemar([[0, b], [c, 0]], exact=True).pvalue)
    if b + c <= 20:
        assert close(s.mcnemar_test(b, c), s.sign_flip_test([1] * b + [-1] * c + [0] * 5))


def test_mcnemar_by_hand():
    assert close(s.mcnemar_test(5, 1), 2 * (1 + 6) / 64)


def test_the_bootstrap_resamples_items_and_reports_the_spread_of_the_replicates():
    rng = np.random.default_rng(5)
    scores = rng.random((50, 4)).tolist()
    found = s.bootstrap_items(scores, seed=1)
    assert found == s.bootstrap_items(scores, seed=1)
    assert close(found.estimate, np.mean(scores))
    # the plug-in standard error has n where the unbiased one has n - 1; 10,000 replicates know it to 0.7 %
    assert found.standard_error == pytest.approx(s.standard_error(scores) * math.sqrt(49 / 50), rel=0.03)
    median = s.bootstrap_items(scores, lambda values: sorted(values)[len(values) // 2], replicates=2000)
    assert median.low < median.estimate < median.high


def test_the_bootstrap_keeps_clusters_whole():
    assert s.bootstrap_items([1, 1, 0, 0], clusters="abab").standard_error == 0.0
    wide = s.bootstrap_items([1, 1, 0, 0], clusters="aabb").standard_error
    assert wide == pytest.approx(math.sqrt(1 / 8), rel=0.05)  # two draws of 1 or 0
    with pytest.raises(ValueError, match="Two are the least"):
        s.bootstrap_items([1, 0], clusters="aa")
    with pytest.raises(ValueError, match="at least 1000"):
        s.bootstrap_items([1, 0], replicates=100)


def test_the_macro_mean_adds_variances_and_never_averages_errors():
    found = s.macro_mean([0.5, 0.7], [0.03, 0.04])
    assert close(found.mean, 0.6)
    assert close(found.standard_error, 0.025)  # sqrt(9 + 16) / 2 hundredths, where the average says 3.5
    with pytest.raises(ValueError, match="one of each"):
        s.macro_mean([0.5], [0.1, 0.1])


def test_the_micro_mean_weighs_environments_by_their_items():
    found = s.micro_mean([[1, 0], [1, 1, 1, 0]])
    assert close(found.mean, 4 / 6)
    # SE: 1/2 over 2 items and 1/4 over 4 items: sqrt(1 + 1) / 6
    assert close(found.standard_error, math.sqrt(2) / 6)


def test_holm_by_hand_and_against_statsmodels():
    # sorted 0.01*3, 0.03*2, 0.04*1 made monotone
    assert s.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    values = np.random.default_rng(2).random(45) ** 3
    assert s.holm(values.tolist()) == pytest.approx(multipletests(values, method="holm")[1], abs=TOLERANCE)
    assert s.holm([]) == []
    with pytest.raises(ValueError, match="not in"):
        s.holm([1.5])


def test_rank_sets_overlap_where_the_data_do_not_separate():
    rng = np.random.default_rng(4)
    level = rng.random(200)
    scores = {
        "best": np.clip(level + 0.4, 0, 1).tolist(),
        "twin": np.clip(level + 0.4 + rng.normal(0, 0.05, 200), 0, 1).tolist(),
        "worst": level.tolist(),
    }
    ranks = s.rank_sets(scores)
    assert ranks["worst"] == (3, 3)
    pair = stats.ttest_rel(scores["best"], scores["twin"]).pvalue
    assert (ranks["best"] == (1, 2)) == (pair > 0.05)
    assert s.rank_sets(list(scores.values())) == list(ranks.values())


def test_rank_sets_count_the_significantly_better_and_worse_after_holm():
    tests = {
        (0, 1): s.Comparison(0.1, 0.01, 0, 0, 0.001, 9),
        (0, 2): s.Comparison(0.2, 0.01, 0, 0, 0.0001, 9),
        (1, 2): s.Comparison(0.1, 0.01, 0, 0, 0.2, 9),
    }
    assert s.ranks_from_tests(3, tests) == [(1, 1), (2, 3), (2, 3)]
    assert s.ranks_from_tests(1, {}) == [(1, 1)]
    # 0.02 * 3 is above 0.05: nothing is separated
    tests = {pair: s.Comparison(0.1, 0.01, 0, 0, 0.02, 9) for pair in tests}
    assert s.ranks_from_tests(3, tests) == [(1, 3)] * 3


def test_comparing_models_over_environments_adds_variances():
    rng = np.random.default_rng(8)
    a, b = [rng.random(30).tolist(), rng.random(50).tolist()], [rng.random(30).tolist(), rng.random(50).tolist()]
    found = s.compare_models(a, b)
    parts = [np.subtract(x, y) for x, y in zip(a, b, strict=True)]
    error = math.sqrt(sum(stats.sem(part) ** 2 for part in parts)) / 2
    assert close(found.difference, np.mean([part.mean() for part in parts]))
    assert close(found.standard_error, error)
    # the sum of two independent means is Welch's problem: its p-value comes from the same degrees of freedom
    assert close(found.p_value, stats.ttest_ind(parts[0], -parts[1], equal_var=False).pvalue)


def test_comparing_models_is_never_certain_of_what_was_not_seen():
    found = s.compare_models([[1] * 10], [[0] * 10])
    assert found.difference == found.high == 1.0
    assert close(found.low, 1 - 2 * (1 - 0.025**0.1))
    equal = s.compare_models([[1] * 10], [[1] * 10])
    assert equal.low < 0 < equal.high


def test_planning_agrees_with_the_published_examples():
    assert s.required_items(0.03, 1 / 9) == 969
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert close(s.minimum_detectable_difference(969, 1 / 9), z * math.sqrt(1 / 9 / 969))
    assert s.required_items(0.03, 1 / 9, 1 / 6, 1) == math.ceil(z**2 * (1 / 9 + 1 / 3) / 0.03**2) == 3876
    assert close(
        s.minimum_detectable_difference(500, 0.1, 0.15, 8, 0.12, 4),
        z * math.sqrt((0.1 + 0.15 / 8 + 0.12 / 4) / 500),
    )
    for bad in ({"n": 0, "between": 0.1}, {"n": 5, "between": -0.1}, {"n": 5, "between": 0.1, "alpha": 5}):
        with pytest.raises(ValueError):
            s.minimum_detectable_difference(**bad)
    with pytest.raises(ValueError, match="above 0"):
        s.required_items(0.0, 0.1)


def test_variances_split_into_between_and_within_items():
    # runs 1,0 and 1,1: within (1/2 + 0)/2 = 1/4; means 1/2, 1: variance 1/8 less 1/4/2 is 0
    assert s.variances([[1, 0], [1, 1]]) == pytest.approx((0.0, 0.25))
    rng = np.random.default_rng(6)
    truth = rng.beta(2, 2, 4000)
    found = s.variances((rng.random((4000, 8)) < truth[:, None]).astype(float).tolist())
    assert found.between == pytest.approx(0.05, abs=0.005)  # Beta(2,2) has variance 1/20
    assert found.within == pytest.approx(0.2, abs=0.005)  # and mean p(1-p) = 1/4 - 1/20
