"""The program: what it prints, where, and its exit codes."""

import json
import subprocess
import sys

import pytest


def rlvr(*arguments, text=""):
    return subprocess.run([sys.executable, "-m", "rlvr", *arguments], capture_output=True, text=True, input=text)


def test_listing_prints_ids_on_standard_output_only():
    done = rlvr("envs", "list", "acme")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "acme/balance-v0",
        "acme/odd-units-v0",
        "acme/shelf-robot-v0",
    ]
    assert "3 environments" in done.stderr
    assert done.returncode == 0


def test_listing_as_json():
    assert "acme/balance-v0" in json.loads(rlvr("envs", "list", "--json").stdout)["environments"]


def test_showing_an_environment_hides_answers_unless_asked():
    shown = json.loads(rlvr("envs", "show", "acme/odd-units-v0", "largest=3", "--n", "2", "--json").stdout)
    assert [task["answer"] for task in shown["tasks"]] == [None, None]
    assert shown["tasks"][0]["knobs"] == {"largest": 3}
    assert "answer: " in rlvr("envs", "show", "acme/odd-units-v0", "--answers").stdout


def test_playing_an_episode_ends_with_the_verdict():
    done = rlvr("play", "acme/shelf-robot-v0", "shelves=1", text="<answer>1</answer>\n")
    assert "reward 1  found" in done.stdout


def test_an_audit_that_passes_exits_with_0():
    done = rlvr("audit", "acme/balance-v0", "--n", "5", "--json")
    assert json.loads(done.stdout)["passed"] is True
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["envs", "show", "acme/balanse-v0"], "acme/balance-v0"),
        (["envs", "show", "acme/odd-units-v0", "smallest=3"], "no knob 'smallest'"),
        (["envs", "show", "acme/odd-units-v0", "--split", "trian"], "trian"),
        (["play", "acme/odd-units-v0"], "the input ended"),
        (["envz"], "envs"),
        (["envs", "show"], "Missing argument"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong_on_standard_error(arguments, says):
    done = rlvr(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_names_what_is_missing_and_how_to_get_it():
    facts = {fact["what"]: fact for fact in json.loads(rlvr("doctor", "--json").stdout)}
    assert facts["rlvr"]["ok"]
    assert {"python", "torch", "vllm", "accelerator", "environments"} <= set(facts)
    assert all(fact["ok"] or fact["says"] for fact in facts.values())
