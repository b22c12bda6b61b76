"""Records in the formats of other systems."""

import csv
import json

import pytest

from rlvr.generation.scripted import ScriptedEngine
from rlvr_leaderboard.evaluate import evaluate
from rlvr_leaderboard.exports import to_csv, to_every_eval_ever, to_huggingface, to_inspect
from rlvr_leaderboard.record import Record, file_sha256


def test_csv_has_a_line_for_every_rollout_and_runs_no_formula(tmp_path):
    engine = ScriptedEngine(["=HYPERLINK(1)", "+1", "@SUM(A1)", "plain, with a comma\nand a line"])
    record = evaluate(engine, "leaderboard/fragile-v0", out=tmp_path / "r", n=4, k=1, quiet=True)
    rollouts, summary = to_csv(record, tmp_path / "out")
    rows = list(csv.DictReader(rollouts.open(newline="")))
    assert [row["answer"] for row in rows] == ["'=HYPERLINK(1)", "'+1", "'@SUM(A1)", "plain, with a comma\nand a line"]
    (numbers,) = csv.DictReader(summary.open(newline=""))
    assert float(numbers["mean"]) == 0.0


def test_a_result_file_for_a_model_repository_is_plain_yaml(records, tmp_path):
    yaml = pytest.importorskip("yaml")
    paths = to_huggingface(Record(records["weak"]), tmp_path)
    assert {path.parent.name for path in paths} == {".eval_results"}
    (result,) = yaml.safe_load(paths[0].read_text())
    assert set(result["dataset"]) == {"id", "task_id", "revision"}
    assert 0 <= result["value"] <= 1
    assert "95% interval" in result["notes"]


def test_an_inspect_log_has_a_sample_for_every_run(records, tmp_path):
    record = Record(records["weak"])
    paths = to_inspect(record, tmp_path)
    assert len(paths) == 2
    for path in paths:
        log = json.loads(path.read_text())
        assert (log["version"], log["status"]) == (2, "success")
        assert len(log["samples"]) == 80
        assert {sample["epoch"] for sample in log["samples"]} == {1, 2, 3, 4}
        mean = sum(sample["scores"]["reward"]["value"] for sample in log["samples"]) / 80
        assert log["results"]["scores"][0]["metrics"]["mean"]["value"] == pytest.approx(mean)


def test_the_shared_schema_links_its_samples(records, tmp_path):
    aggregate, instances = to_every_eval_ever(Record(records["weak"]), tmp_path)
    whole = json.loads(aggregate.read_text())
    rows = [json.loads(line) for line in instances.read_text().splitlines()]
    assert whole["detailed_evaluation_results"]["total_rows"] == len(rows) == 160
    assert whole["detailed_evaluation_results"]["checksum"] == file_sha256(instances)
    assert {row["evaluation_id"] for row in rows} == {whole["evaluation_id"]}
    assert {result["evaluation_name"] for result in whole["evaluation_results"]} == {
        "math/arithmetic-v0",
        "text/sort-v0",
    }
    assert all(row["output"] and row["messages"] is None for row in rows)
