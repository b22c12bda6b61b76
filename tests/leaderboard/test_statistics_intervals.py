"""Standard errors and intervals: hand-worked, then against scipy and statsmodels."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special as scipy_special
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from rlvr_leaderboard import statistics as s
from rlvr_leaderboard.statistics import special

TOLERANCE = 1e-9


def close(value, expected):
    return value == pytest.approx(expected, abs=TOLERANCE)


def test_avg_at_k_is_the_mean_of_item_means_with_its_error_over_items():
    # means 1, 1/2, 0: mean 1/2, variance (1/4 + 0 + 1/4)/2 = 1/4, SE sqrt(1/4/3)
    estimate = s.avg_at_k([[1, 1], [1, 0], [0, 0]], 2)
    assert close(estimate.mean, 0.5)
    assert close(estimate.standard_error, math.sqrt(1 / 12))
    assert estimate.num_items == 3
    assert s.avg_at_k({"x": [1, 1], "y": [1, 0], "z": [0, 0]}) == estimate
    assert s.avg_at_k(np.array([[1, 1], [1, 0], [0, 0]])) == estimate


def test_items_with_more_runs_do_not_count_more():
    assert close(s.avg_at_k([[1, 1, 1, 1], [0]]).mean, 0.5)


def test_a_partial_run_is_refused_where_k_is_named():
    with pytest.raises(ValueError, match="finish the runs"):
        s.avg_at_k([[1, 1], [1]], 2)


def test_the_error_over_items_equals_clustering_every_run_by_its_item():
    rng = np.random.default_rng(0)
    scores = (rng.random((40, 8)) < rng.beta(0.5, 0.25, (40, 1))).astype(float)
    groups = np.repeat(np.arange(40), 8)
    model = sm.OLS(scores.ravel(), np.ones(320)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False}
    )
    reference = model.bse[0] * math.sqrt(40 / 39)
    assert close(s.standard_error(scores.tolist()), reference)
    assert close(s.clustered_standard_error(scores.ravel().tolist(), groups.tolist()), reference)
    assert close(s.standard_error(scores.tolist()), stats.sem(scores.mean(axis=1)))


def test_clusters_of_items_add_their_deviations_before_squaring():
    # means 1,1,0,0 in clusters aa bb: sums of deviations 1, -1; C/(C-1) = 2; SE^2 = 2 * 2 / 16
    assert close(s.clustered_standard_error([1, 1, 0, 0], "aabb"), 0.5)
    # across: sums 0, 0
    assert s.clustered_standard_error([1, 1, 0, 0], "abab") == 0.0
    assert close(s.avg_at_k([1, 1, 0, 0], clusters="aabb").standard_error, 0.5)


def test_identical_runs_add_no_information():
    once, eight_times = [[1], [0], [1], [0]], [[1] * 8, [0] * 8, [1] * 8, [0] * 8]
    assert close(s.standard_error(once), s.standard_error(eight_times))
    assert s.run_standard_error(eight_times) == 0.0


def test_the_noise_for_these_items_only():
    # p = 1/2, K = 2: p(1-p)/(K-1) = 1/4 for both items, sqrt(1/2)/2
    assert close(s.run_standard_error([[1, 0], [0, 1]]), math.sqrt(0.5) / 2)
    assert close(s.run_standard_error([[1, 0, 1, 1], [0, 0, 0, 0]]), math.sqrt(0.75 * 0.25 / 3) / 2)
    with pytest.raises(ValueError, match="one run"):
        s.run_standard_error([[1], [0]])


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("x", "n"), [(0, 1), (0, 10), (3, 10), (10, 10), (1, 29), (250, 500), (17, 100_000)])
def test_pass_rate_intervals_agree_with_statsmodels(x, n, confidence):
    for method, function in {
        "wilson": s.wilson_interval,
        "beta": s.clopper_pearson_interval,
    }.items():
        low, high = function(x, n, confidence)
        expected = proportion_confint(x, n, 1 - confidence, method)
        assert close(low, expected[0])
        assert close(high, expected[1])
    low, high = s.jeffreys_interval(x, n, confidence)
    tail = (1 - confidence) / 2
    assert close(low, 0.0 if x == 0 else stats.beta.ppf(tail, x + 0.5, n - x + 0.5))
    assert close(high, 1.0 if x == n else stats.beta.ppf(1 - tail, x + 0.5, n - x + 0.5))


def test_clopper_pearson_by_hand():
    # nothing in n: the upper end solves (1 - p)^n = 0.025
    assert close(s.clopper_pearson_interval(0, 10).high, 1 - 0.025**0.1)
    assert close(s.clopper_pearson_interval(10, 10).low, 0.025**0.1)


def test_wilson_by_hand():
    # 0 of n: the upper end is z^2 / (n + z^2)
    z = stats.norm.ppf(0.975)
    assert close(s.wilson_interval(0, 10).high, z * z / (10 + z * z))
    assert s.wilson_interval(0, 10).low == 0.0
    assert s.wilson_interval(10, 10).high == 1.0


def test_wilson_on_the_effective_sample_takes_fractions():
    # p = 1/2, SE = 1/20: 0.25 / 0.0025 = 100 independent items
    assert close(s.effective_items(0.5, 0.05, 30), 100)
    assert s.wilson_effective(0.5, 0.05, 30) == pytest.approx(
        proportion_confint(50, 100, 0.05, "wilson"), abs=TOLERANCE
    )
    assert s.effective_items(0.5, 0.0, 30) == s.effective_items(0.0, 0.0, 30) == s.effective_items(1.0, 0.1, 30) == 30


def test_one_run_of_each_item_is_a_plain_wilson_interval():
    passes = [1.0] * 20 + [0.0] * 20
    assert s.mean_interval(passes) == pytest.approx(proportion_confint(20, 40, 0.05, "wilson"), abs=TOLERANCE)
    # the effective form would have given 39 instead of 40
    assert close(s.effective_items(0.5, s.standard_error(passes), 40), 39)


def test_few_items_with_one_run_get_the_exact_interval():
    assert s.mean_interval([1, 1, 0]) == s.clopper_pearson_interval(2, 3)
    assert s.mean_interval([1]) == s.clopper_pearson_interval(1, 1)


def test_no_interval_of_the_board_is_without_width():
    for scores in ([[1, 1]] * 10, [[0, 0]] * 10, [[1, 0]] * 10, [[0.5, 0.5]] * 10, [[1, 1]], [0.3]):
        low, high = s.mean_interval(scores)
        assert high - low > 0.05
        assert 0 <= low < high <= 1


def test_rewards_between_0_and_1_get_students_interval():
    scores = [0.2, 0.9, 0.4, 0.7, 0.1]
    expected = stats.t.interval(0.95, 4, np.mean(scores), stats.sem(scores))
    assert s.t_interval(scores) == pytest.approx(expected, abs=TOLERANCE)
    assert s.mean_interval(scores) == pytest.approx(expected, abs=TOLERANCE)


def test_students_interval_without_spread_is_not_nan():
    with np.errstate(all="ignore"):
        assert np.isnan(stats.t.interval(0.95, 4, 0.5, 0.0)).all()  # what scipy says
    assert s.t_interval([0.5] * 5) == (0.5, 0.5)


def test_the_distributions_agree_with_scipy():
    for a, b in [(0.5, 0.5), (1, 1), (0.5, 30.5), (2, 5000), (12, 13), (800.5, 1200.5), (3e5, 2e5)]:
        for p in (1e-6, 0.025, 0.3, 0.5, 0.975):
            x = stats.beta.ppf(p, a, b)
            assert special.beta_cdf(x, a, b) == pytest.approx(scipy_special.betainc(a, b, x), abs=1e-10)
            assert close(special.beta_quantile(p, a, b), x)
    for df in (1, 2, 4.7, 29, 499, 100_000):
        for t in (1e-9, 0.01, 0.5, 1.96, 7.0, 40.0):
            assert special.t_two_sided(t, df) == pytest.approx(2 * stats.t.sf(t, df), abs=1e-12, rel=1e-9)
        assert special.t_quantile(0.95, df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-10)
    assert close(special.normal_quantile(0.975), stats.norm.ppf(0.975))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: s.standard_error([0.5]), "at least two items"),
        (lambda: s.standard_error([]), "no item"),
        (lambda: s.standard_error([0.5, math.nan]), "finite"),
        (lambda: s.standard_error([[0.5], []]), "A missing run is not a 0"),
        (lambda: s.standard_error(["x", 1]), "must be a number"),
        (lambda: s.clustered_standard_error([1, 0], "aa"), "one cluster"),
        (lambda: s.clustered_standard_error([1, 0], "a"), "one for each item"),
        (lambda: s.wilson_interval(3, 2), "between 0 and n"),
        (lambda: s.wilson_interval(0, 0), "above 0"),
        (lambda: s.clopper_pearson_interval(1.5, 3), "whole number"),
        (lambda: s.jeffreys_interval(1, 3, 95), "like 0.95"),
        (lambda: s.mean_interval([2.0, 0.5]), r"outside \[0, 1\]"),
        (lambda: s.effective_items(1.2, 0.1, 5), "t_interval"),
    ],
)
def test_what_has_no_answer_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
