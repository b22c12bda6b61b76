"""Two records side by side."""

import pytest

from rlvr.errors import ConfigError, RecordError
from rlvr_leaderboard import statistics as s
from rlvr_leaderboard.compare import compare
from rlvr_leaderboard.evaluate import evaluate
from rlvr_leaderboard.record import Record
from rlvr_leaderboard.summary import scored, tabulate


def test_the_table_is_the_paired_statistics_of_the_rollouts(records):
    a, b = Record(records["strong"]), Record(records["weak"])
    table = compare(a, b)
    assert [row.env for row in table.rows] == ["math/arithmetic-v0", "text/sort-v0"]
    row = table.rows[0]
    expected = s.paired_difference(scored(tabulate(a)[row.env]), scored(tabulate(b)[row.env]))
    assert (row.difference, row.low, row.high, row.p_value) == pytest.approx(expected[:1] + expected[2:5])
    assert row.better + row.worse + row.equal == row.items == 20
    assert row.mean_a - row.mean_b == pytest.approx(row.difference)
    assert row.verdict == "better"
    assert table.worse == []
    assert compare(b, a).worse == [row.env for row in table.rows]
    assert row.p_holm >= row.p_value


def test_the_mean_over_environments_adds_variances(records):
    table = compare(Record(records["strong"]), Record(records["weak"]))
    assert table.overall is not None
    assert table.overall.difference == pytest.approx(sum(row.difference for row in table.rows) / 2)
    assert table.overall.detectable == pytest.approx(sum(row.detectable**2 for row in table.rows) ** 0.5 / 2)


def test_pass_at_k_is_compared_by_item(records):
    a, b = Record(records["strong"]), Record(records["weak"])
    row = compare(a, b, metric="pass@2").rows[0]
    items = tabulate(a)[row.env].values()
    assert row.mean_a == pytest.approx(s.pass_at_k([4] * 20, [item.correct for item in items], 2))


def test_a_model_is_not_separated_from_itself(records):
    row = compare(Record(records["weak"]), Record(records["weak"])).rows[0]
    assert row.difference == 0
    assert row.p_value == 1
    assert row.verdict == "not separated"
    assert row.low < 0 < row.high


def test_k_larger_than_the_runs_made_is_refused(records):
    with pytest.raises(ConfigError, match=r"pass@5: 'strong' has items with 4 runs.*pass@4 or less.*--k 5"):
        compare(Record(records["strong"]), Record(records["weak"]), metric="pass@5")


@pytest.mark.parametrize("metric", ["accuracy", "pass@", "pass@0", "pass@two"])
def test_an_unknown_metric_is_refused(records, metric):
    with pytest.raises(ConfigError, match="neither avg nor pass@K"):
        compare(Record(records["strong"]), Record(records["weak"]), metric=metric)


def test_different_items_are_refused_unless_the_shared_ones_are_asked_for(records, tmp_path):
    fewer = evaluate("scripted:0.9", ["text/sort-v0"], out=tmp_path / "r", name="fewer", n=12, k=4, quiet=True)
    with pytest.raises(RecordError, match=r"'weak' has verdicts on 20 items and 'fewer' on 12, 12 of them the same"):
        compare(Record(records["weak"]), fewer)
    (row,) = compare(Record(records["weak"]), fewer, common_items=True).rows
    assert row.items == 12
    other = evaluate("scripted:0.9", ["text/sort-v0"], out=tmp_path / "s", name="other", n=12, k=1, seed=7, quiet=True)
    with pytest.raises(RecordError, match="share 0 items"):
        compare(Record(records["weak"]), other, common_items=True)


def test_records_without_a_common_environment_are_refused(records, tmp_path):
    other = evaluate("scripted:0.9", ["text/count-v0"], out=tmp_path / "r", name="other", n=3, k=1, quiet=True)
    with pytest.raises(RecordError, match="share no environment"):
        compare(Record(records["weak"]), other)


def test_two_levels_of_one_environment_are_two_rows(tmp_path):
    envs = ["math/arithmetic-v0:terms=2", "math/arithmetic-v0:terms=3,digits=2"]
    record = evaluate("scripted:0.5", envs, out=tmp_path / "r", n=5, k=2, quiet=True)
    assert set(record.environments) == {"math/arithmetic-v0:terms=2", "math/arithmetic-v0:digits=2,terms=3"}
