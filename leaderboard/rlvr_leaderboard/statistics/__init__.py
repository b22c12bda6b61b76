"""The statistics of evaluations: pure functions of plain numbers, each with its source.

Scores are given per item: a number, or the list of an item's runs; as a mapping by item id where two models are paired.
Whatever would give a wrong number without notice is refused with ConfigError (a ValueError) that says why: fewer runs than k,
differing item sets, NaN, counts that cannot be. numpy is imported only where something is resampled.
"""

from rlvr_leaderboard.statistics.checks import ItemScores, item_means
from rlvr_leaderboard.statistics.comparing import (
    Bootstrap,
    PairedDifference,
    bootstrap_items,
    difference_of,
    mcnemar_test,
    paired_difference,
    paired_differences,
    sign_flip_test,
)
from rlvr_leaderboard.statistics.intervals import (
    Estimate,
    Interval,
    avg_at_k,
    clopper_pearson_interval,
    clustered_standard_error,
    effective_items,
    jeffreys_interval,
    mean_interval,
    run_standard_error,
    standard_error,
    t_interval,
    wilson_effective,
    wilson_interval,
)
from rlvr_leaderboard.statistics.passing import g_pass_at_k, maj_at_k, mg_pass_at_k, pass_at_k, pass_hat_k
from rlvr_leaderboard.statistics.planning import Variances, minimum_detectable_difference, required_items, variances
from rlvr_leaderboard.statistics.ranking import (
    Comparison,
    RankSet,
    combine,
    compare_models,
    holm,
    macro_interval,
    macro_mean,
    micro_mean,
    rank_sets,
    ranks_from_tests,
)

__all__ = [
    "Bootstrap",
    "Comparison",
    "Estimate",
    "Interval",
    "ItemScores",
    "PairedDifference",
    "RankSet",
    "Variances",
    "avg_at_k",
    "bootstrap_items",
    "clopper_pearson_interval",
    "clustered_standard_error",
    "combine",
    "compare_models",
    "difference_of",
    "effective_items",
    "g_pass_at_k",
    "holm",
    "item_means",
    "jeffreys_interval",
    "macro_interval",
    "macro_mean",
    "maj_at_k",
    "mcnemar_test",
    "mean_interval",
    "mg_pass_at_k",
    "micro_mean",
    "minimum_detectable_difference",
    "paired_difference",
    "paired_differences",
    "pass_at_k",
    "pass_hat_k",
    "rank_sets",
    "ranks_from_tests",
    "required_items",
    "run_standard_error",
    "sign_flip_test",
    "standard_error",
    "t_interval",
    "variances",
    "wilson_effective",
    "wilson_interval",
]
