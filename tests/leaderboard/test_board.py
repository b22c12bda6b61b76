"""Boards: who is ranked, who is not and why; and what goes into them."""

import json
import random

import pytest

import rlvr
from rlvr.errors import RecordError
from rlvr.generation.engine import Sampling
from rlvr.generation.scripted import ScriptedEngine
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool
from rlvr.tracking import RunFolder
from rlvr_leaderboard import build_board
from rlvr_leaderboard.board import make_board
from rlvr_leaderboard.evaluate import evaluate
from rlvr_leaderboard.models import scripted_answers
from rlvr_leaderboard.overlap import overlap
from rlvr_leaderboard.publishing import add, gathered, members
from rlvr_leaderboard.record import Record
from rlvr_leaderboard.verify import SELF_REPORTED, VERIFIED, store, verify


@pytest.fixture(scope="module")
def training_run(tmp_path_factory):
    """A run folder as a trainer leaves it: three steps, and evaluations at step 0 and 3."""
    path = tmp_path_factory.mktemp("training") / "grpo-demo"
    folder = RunFolder(path, config_toml='seed = 3\nengine = "transformers"\n')
    tasks = rlvr.tasks("text/sort-v0", "train", 6)
    held_out = rlvr.tasks("text/sort-v0", "eval", 8)
    with ScoringPool(1) as pool:
        for step in range(4):
            engine = ScriptedEngine(scripted_answers([*tasks, *held_out], 0.2 + 0.25 * step))
            settings = {"sampling": Sampling(), "pool": pool, "seed": step}
            folder.log({"reward": 0.2 + 0.25 * step, "length_mean": 40.0}, step=step)
            folder.write_rollouts(step, [t for g in rollout(engine, tasks, group_size=2, **settings) for t in g])
            if step in (0, 3):
                folder.write_eval(step, [t for g in rollout(engine, held_out, group_size=1, **settings) for t in g])
    folder.close()
    return path


def test_the_better_model_is_ranked_first_with_its_rank_set(records):
    board = make_board(records.values())
    assert [(row.name, row.rank) for row in board.rows] == [("strong", (1, 1)), ("weak", (2, 2))]
    assert all(row.problems == [] for row in board.rows)
    assert [column.num_items for column in board.columns] == [20, 20]


def test_equal_models_share_their_ranks(records, tmp_path):
    evaluate(
        "scripted:0.9",
        ["math/arithmetic-v0", "text/sort-v0"],
        out=tmp_path / "twin",
        name="twin",
        n=20,
        k=5,
        quiet=True,
    )
    ranks = {row.name: row.rank for row in make_board([*records.values(), tmp_path / "twin"]).rows}
    assert ranks == {"strong": (1, 2), "twin": (1, 2), "weak": (3, 3)}


def test_a_row_that_lacks_an_environment_is_not_ranked(records, tmp_path):
    evaluate("scripted:1", ["text/sort-v0"], out=tmp_path / "part", name="part", n=20, k=4, quiet=True)
    row = next(row for row in make_board([*records.values(), tmp_path / "part"]).rows if row.name == "part")
    assert row.rank is None
    assert row.problems == ["not run on math/arithmetic-v0"]


def test_other_items_of_one_environment_are_another_column(records, tmp_path):
    evaluate("scripted:1", ["text/sort-v0"], out=tmp_path / "other", name="other", n=20, k=4, seed=5, quiet=True)
    board = make_board([records["weak"], tmp_path / "other"])
    assert len(board.columns) == 3
    assert all(row.rank is None for row in board.rows)


def test_runs_without_a_verdict_keep_a_row_from_being_ranked(tmp_path):
    def answer(prompt, seed):
        return "break" if prompt.endswith("7") else prompt.split()[-1]

    evaluate(ScriptedEngine(answer), "leaderboard/fragile-v0", out=tmp_path / "r", n=30, k=1, quiet=True)
    (row,) = make_board([tmp_path / "r"]).rows
    assert row.rank is None
    assert "have no verdict" in row.problems[0]


def test_a_changed_record_is_not_ranked(strong, weak):
    path = weak.path / "rollouts.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    rows = {row.name: row for row in make_board([strong.path, weak.path]).rows}
    assert rows["weak"].level == SELF_REPORTED
    assert "not what was sealed" in rows["weak"].problems[0]
    assert rows["strong"].rank == (1, 1)


def test_a_verified_row_shows_its_level(weak):
    store(weak, verify(weak))
    assert make_board([weak.path]).rows[0].level == VERIFIED


def test_self_reported_numbers_are_listed_and_not_ranked(records, tmp_path):
    (tmp_path / "claim.json").write_text(
        json.dumps({"name": "claim", "environments": {"text/sort-v0": {"mean": 0.99, "items": 20, "k": 1}}})
    )
    (path,) = add(tmp_path / "claim.json", tmp_path / "board")
    row = make_board([*records.values(), path]).rows[-1]
    assert (row.name, row.level, row.rank) == ("claim", SELF_REPORTED, None)


@pytest.mark.parametrize(
    "values",
    [{}, {"name": "x", "environments": {"a": {"mean": 2}}}, {"name": "x", "environments": {"a": {"mean": True}}}],
)
def test_a_self_reported_file_without_a_mean_is_refused(tmp_path, values):
    (tmp_path / "claim.json").write_text(json.dumps(values))
    with pytest.raises(RecordError, match="self-reported"):
        add(tmp_path / "claim.json", tmp_path / "board")


def test_a_training_run_goes_on_a_board_as_it_is(training_run, tmp_path):
    added = add(training_run, tmp_path / "board")
    assert [path.name for path in added] == ["grpo-demo", "grpo-demo-000000", "grpo-demo-000003"]
    assert all(verify(Record(path)).level == VERIFIED for path in added[1:])
    board = make_board(*members(tmp_path / "board"))
    rows = {row.name: row for row in board.rows}
    assert set(rows) == {"grpo-demo@0", "grpo-demo@3"}
    assert rows["grpo-demo@3"].overlap is not None
    assert rows["grpo-demo@3"].overlap.clean
    assert rows["grpo-demo@3"].overlap.training_prompts == 6
    assert rows["grpo-demo@3"].rank is not None
    assert board.runs[0].curves()["reward"] == [[0, 1, 2, 3], pytest.approx([0.2, 0.45, 0.7, 0.95])]
    with pytest.raises(RecordError, match="on the board already"):
        add(training_run, tmp_path / "board")


def test_a_page_is_built_from_a_training_run_alone(training_run, tmp_path):
    with gathered([training_run]) as (records, runs):
        index = build_board(records, runs, tmp_path / "page")
    assert "grpo-demo@3" in index.read_text()


def test_items_that_were_trained_on_keep_a_row_from_being_ranked(training_run, tmp_path):
    (checkpoint := tmp_path / "leaky").mkdir()
    for name in ("config.toml", "metrics.jsonl"):
        (checkpoint / name).write_bytes((training_run / name).read_bytes())
    folder = checkpoint / "rollouts"
    folder.mkdir()
    lines = [json.loads(line) for line in (training_run / "eval" / "step-000000.jsonl").read_text().splitlines()]
    (folder / "step-000001.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    with gathered([training_run]) as (records, _):
        row = make_board(records, [checkpoint]).rows[0]
        assert row.overlap is not None
        assert len(row.overlap.exact) == 2
        assert row.rank is None
        assert "training has seen items: 2 the same" in row.problems[0]


def text_task(text):
    return rlvr.Task(text, answer="1", env_id="test/texts-v0")


def test_thirteen_words_in_a_row_are_found_and_twelve_are_not():
    words = [f"w{n}" for n in range(40)]
    evaluation = [text_task(" ".join(words[:20])), text_task("another question altogether")]
    assert overlap(evaluation, [text_task("x " + " ".join(words[3:16]) + " y")]).partial == [evaluation[0].id]
    assert overlap(evaluation, [text_task("x " + " ".join(words[3:15]) + " y")]).clean
    assert overlap(evaluation, [text_task(" ".join(words[3:16]).upper() + "!")]).partial == [evaluation[0].id]


def test_the_wording_of_a_template_is_no_overlap():
    wording = "please read the following problem with care and then give the answer as one number "
    evaluation = [text_task(f"{wording} {n} plus {n}") for n in range(10)]
    training = [text_task(f"{wording} {n} plus {n}") for n in range(10, 40)]
    assert overlap(evaluation, training).clean
    assert overlap(evaluation, [*training, evaluation[4]]).exact == [evaluation[4].id]


def test_tasks_of_one_generator_may_be_worded_alike_and_must_not_be_the_same():
    evaluation = rlvr.tasks("text/sort-v0", "eval", 5)
    assert overlap(evaluation, rlvr.tasks("text/sort-v0", "train", 50)).clean
    assert len(overlap(evaluation, evaluation[:2]).exact) == 2
    copied = rlvr.Task(evaluation[0].text + " Go!", env_id="test/texts-v0")
    assert overlap(evaluation, [copied]).partial == [evaluation[0].id]


def test_curves_are_thinned_to_what_a_chart_shows(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": n, "reward": n / 1000, "bad": float("nan")}) + "\n" for n in range(1000))
    )
    from rlvr_leaderboard.runs import TrainingRun

    curves = TrainingRun(tmp_path).curves()
    assert set(curves) == {"reward"}
    steps, values = curves["reward"]
    assert len(steps) <= 400
    assert steps[-1] == 999
    assert values == sorted(values)


def test_an_unknown_folder_is_named(tmp_path, records):
    with pytest.raises(RecordError, match="no evaluation record"):
        make_board([records["weak"], tmp_path])
    with pytest.raises(RecordError, match="no run folder of a training"):
        make_board([], [tmp_path])
    with pytest.raises(RecordError, match="nothing to show"):
        make_board([])


def test_two_records_of_one_name_are_told_apart_by_their_folders(weak, records):
    names = {row.name for row in make_board([weak.path, records["weak"]]).rows}
    assert names == {"weak (weak)"} or len(names) == 2


def test_null_comparisons_seldom_claim_a_rank():
    """Equal models, 200 boards of two: a claim in at most 7 % of them; bench/coverage.py counts 1,000."""
    from rlvr_leaderboard.statistics import rank_sets

    rng = random.Random(11)
    claims = 0
    for _ in range(200):
        ease = [rng.betavariate(0.5, 0.25) for _ in range(60)]
        a, b = ([[float(rng.random() < p) for _ in range(4)] for p in ease] for _ in range(2))
        claims += rank_sets([a, b])[0] != (1, 2)
    assert claims <= 14
