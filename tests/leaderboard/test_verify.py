"""Whatever is changed in a record is found, and named by file, line and item."""

import hashlib
import json
import re

import pytest

import rlvr
from rlvr.errors import ConfigError, RecordError
from rlvr.generation.scripted import ScriptedEngine
from rlvr_leaderboard import plausible
from rlvr_leaderboard.evaluate import evaluate
from rlvr_leaderboard.models import scripted_answers
from rlvr_leaderboard.record import Record, file_sha256, to_line
from rlvr_leaderboard.rescoring import score_again
from rlvr_leaderboard.verify import COMPLETE, SELF_REPORTED, VERIFIED, store, stored_level, verify


def edit(record, name, change):
    """Change a file's bytes as an editor would."""
    path = record.path / name
    path.write_bytes(change(path.read_bytes()))


def forge(record, change):
    """Change rollouts and make every digest and hash fit again, as somebody who knows the format can."""
    path = record.path / "rollouts.jsonl"
    rows = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        del row["digest"]
        rows.append(row)
    path.write_text("".join(to_line(row) for row in change(rows)))
    reseal(record)


def reseal(record):
    names = [line.split("  ")[1] for line in (record.path / "MANIFEST.sha256").read_text().splitlines()]
    (record.path / "MANIFEST.sha256").write_text("".join(f"{file_sha256(record.path / n)}  {n}\n" for n in names))


def test_an_untouched_record_is_verified_again(weak):
    found = verify(weak)
    assert found.passed
    assert found.level == VERIFIED
    assert found.judged == 160
    assert verify(weak, judge=False).level == COMPLETE


def test_the_manifest_is_what_sha256sum_reads(weak):
    for line in (weak.path / "MANIFEST.sha256").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((weak.path / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"I do not see it", b"I do not seE it"), (b'"reward":0.0', b'"reward":1.0'), (b'"tokens":', b'"tokenz":')],
    ids=["a completion", "a reward", "a key"],
)
def test_one_changed_byte_is_named_by_file_line_and_item(weak, old, new):
    lines = (weak.path / "rollouts.jsonl").read_bytes().splitlines()
    number = next(place for place, line in enumerate(lines, 1) if place > 20 and old in line)
    item = json.loads(lines[number - 1])["item"]
    start = sum(len(line) + 1 for line in lines[: number - 1])
    edit(weak, "rollouts.jsonl", lambda data: data[:start] + data[start:].replace(old, new, 1))
    found = verify(weak)
    assert not found.passed
    assert found.level == SELF_REPORTED
    named = [f for f in found.findings if f.line is not None]
    assert [(f.file, f.line, f.item) for f in named] == [("rollouts.jsonl", number, item)]


def test_every_byte_of_a_line_counts(weak):
    path = weak.path / "rollouts.jsonl"
    data = path.read_bytes()
    length = data.index(b"\n") + 1
    for place in range(0, length, 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert any(f.line for f in verify(weak, judge=False).findings), f"byte {place} was changed and not found"


def test_a_forged_reward_with_fitting_hashes_is_found_by_judging_again(weak):
    def change(rows):
        wrong = next(row for row in rows if row["reward"] == 0.0)
        wrong.update(reward=1.0, status="correct")
        return rows

    forge(weak, change)
    from rlvr_leaderboard.record import to_json
    from rlvr_leaderboard.summary import summarise

    (weak.path / "summary.json").write_text(to_json(summarise(weak)))
    reseal(weak)
    found = verify(weak)
    assert found.level == COMPLETE
    (finding,) = found.findings
    assert finding.file == "rollouts.jsonl"
    assert finding.line
    assert finding.item
    assert "stored reward is 1, the verifier says 0" in finding.says


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[:-1], "has 3 of 4 runs"),
        (lambda rows: [*rows, {**rows[-1], "attempt": 2, "reward": 1.0}], "tried again after it had a verdict"),
        (lambda rows: [*rows, {**rows[-1], "item": "text/sort-v0#0000000000000000"}], "items.jsonl does not have"),
    ],
    ids=["a run left out", "a run tried until it passed", "a run of another item"],
)
def test_selecting_runs_is_found(weak, change, says):
    forge(weak, change)
    assert any(re.search(says, str(finding)) for finding in verify(weak).findings)


def test_a_summary_that_does_not_follow_is_found(weak):
    edit(weak, "summary.json", lambda data: re.sub(rb'"mean": 0\.\d+', b'"mean": 0.99', data, count=1))
    reseal(weak)
    assert any("does not follow" in str(finding) for finding in verify(weak).findings)


def test_an_item_set_that_was_exchanged_is_found(weak):
    def change(data):
        return b"".join(data.splitlines(keepends=True)[1:])

    edit(weak, "items.jsonl", change)
    reseal(weak)
    assert not verify(weak).passed


def test_a_missing_file_is_named(weak):
    (weak.path / "summary.json").unlink()
    assert any(finding.file == "summary.json" for finding in verify(weak).findings)


def test_an_unfinished_record_is_no_sealed_one(weak):
    (weak.path / "MANIFEST.sha256").unlink()
    found = verify(weak)
    assert found.level == SELF_REPORTED
    assert "not sealed" in found.findings[0].says


def test_a_stored_verification_counts_only_for_the_files_it_saw(weak):
    store(weak, verify(weak))
    assert stored_level(weak) == VERIFIED
    forge(weak, lambda rows: rows[::-1])
    assert stored_level(Record(weak.path)) == COMPLETE
    edit(weak, "rollouts.jsonl", lambda data: data + b"x\n")
    assert stored_level(Record(weak.path)) == SELF_REPORTED


def test_judging_again_writes_beside_and_changes_nothing(weak):
    before = {path.name: path.read_bytes() for path in weak.path.iterdir()}
    scoring = score_again(weak)
    assert (scoring.judged, scoring.agreeing, scoring.unjudged) == (160, 160, 0)
    score_again(weak)
    assert sorted(path.name for path in (weak.path / "scorings").iterdir()) == ["0001", "0002"]
    assert before == {path.name: path.read_bytes() for path in weak.path.iterdir() if path.is_file()}
    facts = json.loads((weak.path / "scorings" / "0001" / "scoring.json").read_text())
    assert facts["agreeing"] == 160


@pytest.mark.slow
def test_rewards_are_the_same_with_1_4_and_16_workers(weak):
    for workers in (1, 4, 16):
        scoring = score_again(weak, workers=workers, timeout_s=30.0, write=False)
        assert (scoring.agreeing, scoring.flips) == (160, [])


def test_a_verdict_that_changed_is_listed_and_not_replaced(weak):
    def change(rows):
        rows[5] = {**rows[5], "reward": 1.0 - rows[5]["reward"]}
        return rows

    forge(weak, change)
    scoring = score_again(weak, write=False)
    assert [flip.line for flip in scoring.flips] == [6]
    assert scoring.agreeing == 159


def test_an_environment_that_is_gone_is_named_with_the_remedy(weak):
    edit(weak, "record.json", lambda data: data.replace(b"text/sort-v0", b"text/sort-v9"))
    edit(weak, "items.jsonl", lambda data: b"")
    before = {path.name: path.read_bytes() for path in weak.path.iterdir()}
    with pytest.raises(RecordError, match=r"text/sort-v9, which is not installed.*install the version"):
        score_again(Record(weak.path))
    assert before == {path.name: path.read_bytes() for path in weak.path.iterdir()}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no evaluation record"),
        ("{", "cannot be read as JSON"),
        ("[]", "not a JSON object"),
        ("{}", "schema None"),
    ],
)
def test_a_folder_that_is_no_record_is_refused(tmp_path, content, says):
    if content is not None:
        (tmp_path / "record.json").write_text(content)
    with pytest.raises(RecordError, match=says):
        Record(tmp_path)


def test_a_training_run_is_told_apart_from_a_record(tmp_path):
    for name in ("metrics.jsonl", "config.toml"):
        (tmp_path / name).touch()
    with pytest.raises(RecordError, match="run folder of a training"):
        Record(tmp_path)


def named(engine_tasks, accuracy):
    return ScriptedEngine(scripted_answers(engine_tasks, accuracy))


def test_the_model_itself_does_as_well_on_fresh_items_and_a_weaker_one_does_not(records):
    record = Record(records["strong"])
    tasks = [item.task for item in record.items()]
    for env in ("math/arithmetic-v0", "text/sort-v0"):
        tasks += rlvr.tasks(env, "eval", 30, seed=1)
    assert plausible.check(record, named(tasks, 0.9), fresh=20).passed
    assert not plausible.check(record, named(tasks, 0.2), fresh=20).passed


def test_stored_tokens_are_compared_with_the_log_probabilities_of_the_named_weights(tmp_path):
    class OtherWeights(ScriptedEngine):
        """Finds the same texts less likely than they were sampled."""

        def forced_logprobs(self, token_ids):
            return [-0.5] * (len(token_ids) - 1)

    def answers(prompt, seed):
        return prompt.split()[-1]

    rows = [{"question": f"Repeat {n}", "answer": str(n)} for n in range(30)]
    rlvr.register("leaderboard/rows-v0", rows=rows, prompt="{question}")
    record = evaluate(
        ScriptedEngine(answers), "leaderboard/rows-v0", out=tmp_path / "r", k=1, keep_tokens=True, quiet=True
    )
    found = plausible.check(record, ScriptedEngine(answers))
    assert found.passed
    assert "differ by 0.0000 nats a token" in found.says[0]
    assert not plausible.check(record, OtherWeights(answers)).passed


def test_a_record_that_allows_no_question_to_the_model_says_so(tmp_path):
    rows = [{"question": f"Say {n}", "answer": str(n)} for n in range(30)]
    rlvr.register("leaderboard/more-rows-v0", rows=rows, prompt="{question}")
    engine = ScriptedEngine(lambda prompt, seed: "1")
    record = evaluate(engine, "leaderboard/more-rows-v0", out=tmp_path / "r", k=1, quiet=True)
    with pytest.raises(ConfigError, match="--keep-tokens"):
        plausible.check(record, engine)


@pytest.mark.slow
def test_programs_that_were_run_in_a_sandbox_earn_the_same_again(tmp_path):
    record = evaluate("scripted:0.6", ["code/fill-v0"], out=tmp_path / "r", n=4, k=2, timeout_s=60.0, quiet=True)
    if not any(rollout.counts for rollout in record.rollouts()):
        pytest.skip("no sandbox on this machine: " + str(next(record.rollouts()).error))
    assert {rollout.reward for rollout in record.rollouts()} == {0.0, 1.0}
    for workers in (1, 4):
        scoring = score_again(record, workers=workers, timeout_s=60.0, write=False)
        assert (scoring.judged, scoring.agreeing) == (8, 8)
