"""An evaluation's record: what is in it, and that nothing short of finishing can spoil it."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import rlvr
from rlvr.errors import ConfigError, EngineError, RecordError
from rlvr.generation.engine import Sampling
from rlvr.generation.scripted import ScriptedEngine
from rlvr_leaderboard.evaluate import evaluate
from rlvr_leaderboard.record import Record
from rlvr_leaderboard.verify import verify

SAME = ("items.jsonl", "rollouts.jsonl", "summary.json")


def number_in(prompt):
    return prompt.rsplit(" ", 1)[-1]


def same_part(folder):
    """What must be equal byte for byte: everything but where and when it ran."""
    header = json.loads((Path(folder) / "record.json").read_text())
    header = {name: value for name, value in header.items() if name not in ("packages", "machine")}
    return {name: contents(folder)[name] for name in SAME}, header


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def test_every_item_has_its_runs_and_every_run_its_own_draw(records):
    record = Record(records["weak"])
    assert Counter((r.env, r.item) for r in record.rollouts()) == {(i.env, i.id): 4 for i in record.items()}
    assert {r.run for r in record.rollouts()} == {0, 1, 2, 3}
    # runs of one item differ: with one seed for all of them every item would be all right or all wrong
    by_item = {}
    for rollout in record.rollouts():
        by_item.setdefault((rollout.env, rollout.item), set()).add(rollout.reward)
    assert any(len(rewards) == 2 for rewards in by_item.values())


def test_the_record_says_what_was_run(records):
    header = Record(records["weak"]).header
    facts = header["environments"]["math/arithmetic-v0"]
    assert facts["k"] == 4
    assert facts["items"] == 20
    assert len(facts["item_set_sha256"]) == len(facts["source_sha256"]) == 64
    assert header["sampling"]["temperature"] == 1.0
    assert header["model"]["fingerprint"]
    assert header["packages"]["rlvr"] == rlvr.__version__
    item = next(Record(records["weak"]).items())
    assert item.prompt_ends[0] == list(item.task.text.encode())[:8]


def test_batches_do_not_change_a_rollout(records, tmp_path):
    again = evaluate(
        "scripted:0.3",
        ["math/arithmetic-v0", "text/sort-v0"],
        out=tmp_path / "r",
        name="weak",
        n=20,
        k=4,
        batch_size=7,
        quiet=True,
    )
    assert {name: contents(again.path)[name] for name in SAME} == {
        name: contents(records["weak"])[name] for name in SAME
    }


def test_a_finished_evaluation_is_not_run_again(records):
    before = contents(records["weak"])
    evaluate(
        "scripted:0.3", ["math/arithmetic-v0", "text/sort-v0"], out=records["weak"], name="weak", n=20, k=4, quiet=True
    )
    assert contents(records["weak"]) == before


@pytest.mark.slow
def test_an_evaluation_that_is_killed_again_and_again_ends_as_the_unbroken_one(records, tmp_path):
    code = (
        "from rlvr_leaderboard.evaluate import evaluate\n"
        f"evaluate('scripted:0.3', ['math/arithmetic-v0', 'text/sort-v0'], out={str(tmp_path / 'r')!r}, name='weak', "
        "n=20, k=4, batch_size=2, quiet=True)"
    )
    rng = random.Random(int.from_bytes(random.SystemRandom().randbytes(4), "big"))
    rollouts, killed = tmp_path / "r" / "rollouts.jsonl", 0
    while not (tmp_path / "r" / "MANIFEST.sha256").exists():
        process = subprocess.Popen([sys.executable, "-c", code])
        start = rollouts.stat().st_size if rollouts.exists() else 0
        wanted = start + rng.randrange(1, 20_000) if killed < 3 else 1 << 40
        while process.poll() is None and (not rollouts.exists() or rollouts.stat().st_size < wanted):
            time.sleep(0.001)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        assert process.wait() in (0, -signal.SIGKILL)
    assert killed > 0
    assert same_part(tmp_path / "r") == same_part(records["weak"])
    assert verify(Record(tmp_path / "r")).passed


def interrupted(out, after):
    """An evaluation whose engine breaks after so many answers."""
    count = 0

    def answer(prompt, seed):
        nonlocal count
        count += 1
        if count > after:
            raise EngineError("the power is gone")
        return number_in(prompt)

    with pytest.raises(EngineError):
        run(out, answer, batch_size=1)


def run(out, answer, **settings):
    answer.__qualname__ = "script"
    return evaluate(
        ScriptedEngine(answer), "leaderboard/fragile-v0", out=out, **{"n": 5, "k": 2, "quiet": True, **settings}
    )


def test_a_line_that_was_cut_in_the_middle_is_made_again(tmp_path):
    interrupted(tmp_path / "r", 6)
    path = tmp_path / "r" / "rollouts.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: -len(whole.splitlines()[-1]) // 2])
    torn = Record(tmp_path / "r")
    assert sum(1 for _ in torn.rollouts()) == 5  # readers leave it out
    ended = run(tmp_path / "r", lambda prompt, seed: number_in(prompt))
    unbroken = run(tmp_path / "whole", lambda prompt, seed: number_in(prompt))
    assert contents(ended.path)["rollouts.jsonl"] == contents(unbroken.path)["rollouts.jsonl"]
    assert [entry["how"] for entry in ended.journal()] == ["interrupted", "finished"]


def test_a_damaged_line_stops_the_evaluation_and_nothing_is_written(tmp_path):
    interrupted(tmp_path / "r", 6)
    path = tmp_path / "r" / "rollouts.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"reward":1.0', b'"reward":0.0', 1))
    before = contents(tmp_path / "r")
    with pytest.raises(RecordError, match=r"rollouts.jsonl, line 1 \(item leaderboard/fragile-v0#"):
        run(tmp_path / "r", lambda prompt, seed: number_in(prompt))
    assert contents(tmp_path / "r") == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"n": 4}, "items was 5 and is now 4"),
        ({"k": 3}, "k was 2 and is now 3"),
        ({"seed": 1}, "seed was 0 and is now 1"),
    ],
)
def test_other_settings_do_not_go_on_in_a_record(tmp_path, change, says):
    interrupted(tmp_path / "r", 3)
    before = contents(tmp_path / "r")
    with pytest.raises(RecordError, match=says):
        run(tmp_path / "r", lambda prompt, seed: number_in(prompt), **change)
    assert contents(tmp_path / "r") == before


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RecordError, match="not empty and holds no record"):
        run(tmp_path, lambda prompt, seed: "")
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_two_processes_do_not_write_one_record(tmp_path):
    def answer(prompt, seed):
        with pytest.raises(RecordError, match="another process is writing"):
            run(tmp_path / "r", answer, n=1, k=1)
        return number_in(prompt)

    run(tmp_path / "r", answer, n=1, k=1)


def test_a_fault_is_missing_and_not_wrong_and_only_faults_are_tried_again(tmp_path):
    broken = True

    def answer(prompt, seed):
        return "break" if broken and int(number_in(prompt)) % 2 else number_in(prompt)

    record = run(tmp_path / "r", answer, n=20, k=2)
    numbers = json.loads((tmp_path / "r" / "summary.json").read_text())["environments"]["leaderboard/fragile-v0"]
    assert numbers["mean"] == 1.0  # of the runs that have a verdict
    assert numbers["missing"] == numbers["faults"] > 0
    assert "the disk is gone" in numbers["warnings"][0]
    kept = {r.key: r for r in record.rollouts() if r.counts}
    broken = False
    again = run(tmp_path / "r", answer, n=20, k=2, retry_faults=True)
    after = {r.key: r for r in again.rollouts()}
    assert {key: after[key] for key in kept} == kept
    assert all(r.attempt == 2 for key, r in after.items() if key not in kept)
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["overall"]["missing"] == 0
    assert verify(again).passed


def test_an_answer_that_is_cut_off_counts_as_wrong_and_is_told_apart(tmp_path):
    def talk(prompt, seed):
        return "9" * 500

    record = run(tmp_path / "r", talk, sampling=Sampling(max_tokens=20))
    assert {(r.status, r.reward, r.finish) for r in record.rollouts()} == {("truncated", 0.0, "length")}
    numbers = json.loads((tmp_path / "r" / "summary.json").read_text())["environments"]["leaderboard/fragile-v0"]
    assert numbers["truncated"] == 1.0
    assert any("cut off" in text for text in numbers["warnings"])


def test_episodes_of_several_turns_keep_what_the_environment_said(tmp_path):
    engine = ScriptedEngine(["<answer>1</answer>", "<answer>2</answer>"])
    record = evaluate(engine, "game/guess-number-v0", out=tmp_path / "r", n=3, k=1, quiet=True)
    rollout = next(record.rollouts())
    assert len(rollout.turns) > 1
    assert len(rollout.replies) == len(rollout.turns)
    assert all(reply and reply[0]["role"] != "assistant" for reply in rollout.replies[:-1])
    assert verify(record).passed  # played again from the turns


def test_runs_default_to_more_for_fewer_items_and_to_one_without_temperature(tmp_path):
    many = run(tmp_path / "a", lambda prompt, seed: "1", n=61, k=None)
    few = run(tmp_path / "b", lambda prompt, seed: "1", n=3, k=None)
    greedy = run(tmp_path / "c", lambda prompt, seed: "1", n=3, k=None, sampling=Sampling(temperature=0.0))
    runs = [record.environments["leaderboard/fragile-v0"]["k"] for record in (many, few, greedy)]
    assert runs == [8, 32, 1]


def test_the_same_text_in_all_runs_is_noticed(tmp_path):
    run(tmp_path / "r", lambda prompt, seed: "1", n=3, k=4)
    numbers = json.loads((tmp_path / "r" / "summary.json").read_text())["environments"]["leaderboard/fragile-v0"]
    assert any("say no more than one" in text for text in numbers["warnings"])


def test_cached_completions_are_not_sampled_again_and_other_settings_are(tmp_path):
    calls = []

    def answer(prompt, seed):
        calls.append(seed)
        return number_in(prompt)

    first = run(tmp_path / "a", answer, cache=tmp_path / "cache")
    assert len(calls) == 10
    again = run(tmp_path / "b", answer, cache=tmp_path / "cache")
    assert len(calls) == 10
    assert contents(first.path)["rollouts.jsonl"] == contents(again.path)["rollouts.jsonl"]
    run(tmp_path / "c", answer, cache=tmp_path / "cache", k=3)
    assert len(calls) == 15  # the third run of five items
    run(tmp_path / "d", answer, cache=tmp_path / "cache", sampling=Sampling(temperature=0.5, max_tokens=1024))
    run(tmp_path / "e", answer, cache=tmp_path / "cache", seed=1)
    assert len(calls) == 35
    assert len(set(calls[:10])) == 10


@pytest.mark.parametrize(
    ("model", "settings", "says"),
    [
        ("scripted:1.5", {}, "in \\[0, 1\\]"),
        ("scripted:nothing", {}, "neither a file nor a share"),
        ("http://127.0.0.1:9/v1", {}, "which of its models"),
        ("/no/such/model", {"engine": "transformers"}, "does not exist"),
        ("scripted:1", {"engine": "tensorrt"}, "there is no engine 'tensorrt'"),
        (object(), {}, "give a folder"),
        ("scripted:1", {"n": 0}, "at least 1"),
        ("scripted:1", {"k": 0}, "at least 1"),
        ("scripted:1", {"batch_size": 0}, "at least 1"),
        ("scripted:1", {"split": "trian"}, "split 'trian'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(tmp_path, model, settings, says):
    with pytest.raises(ConfigError, match=says):
        evaluate(model, "leaderboard/fragile-v0", out=tmp_path / "r", quiet=True, **settings)
    assert not (tmp_path / "r").exists()


def test_a_script_from_a_file(tmp_path):
    (tmp_path / "answers.jsonl").write_text(
        "".join(json.dumps({"prompt": f"Repeat {n}", "answer": str(n)}) + "\n" for n in range(1000))
    )
    record = evaluate(
        f"scripted:{tmp_path / 'answers.jsonl'}", "leaderboard/fragile-v0", out=tmp_path / "r", n=3, k=1, quiet=True
    )
    assert all(rollout.reward == 1.0 for rollout in record.rollouts())
