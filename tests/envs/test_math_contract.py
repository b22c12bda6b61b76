"""What every procedural math environment promises."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from statistics import mean

import pytest

import rlvr
from rlvr_envs.math.near_misses import near_misses

IDS = [
    f"math/{name}-v0"
    for name in (
        *("fractions", "linear-equation", "linear-system", "polynomial-roots", "factor", "derivative", "integral"),
        *("limit", "gcd-lcm", "modular", "crt", "counting", "probability", "matrix", "sequence", "base-conversion"),
        "word-problem",
    )
]
every_environment = pytest.mark.parametrize("env_id", IDS)


def levels(env_id):
    return range(len(rlvr.spec(env_id).levels))


def judge(task, text):
    score = rlvr.spec(task.env_id).judge(task, text)
    assert score.error is None, (task.text, task.answer, text[:100], score)
    return score


@every_environment
def test_the_gold_counts_however_it_is_given(env_id):
    spec = rlvr.spec(env_id)
    for level in levels(env_id):
        for task in rlvr.tasks(env_id, n=8, level=level):
            for text in (
                f"<answer>{task.answer}</answer>",
                f"<think>maybe 7?</think>So it is\n<answer> {task.answer} </answer>",
                f"Therefore \\boxed{{{task.answer}}}.",
                spec.solution(task),
            ):
                score = judge(task, text)
                assert score.reward == 1.0, (task.text, task.answer, text, score)


@every_environment
def test_the_worked_solution_finds_the_gold_by_its_own_way(env_id):
    spec = rlvr.spec(env_id)
    for level in levels(env_id):
        for task in rlvr.tasks(env_id, n=60, level=level, seed=1):
            text = spec.solution(task)
            assert text.startswith("<think>")
            assert text.endswith("</answer>")
            assert text.rpartition("<answer>")[2].removesuffix("</answer>") == task.answer


@every_environment
def test_near_misses_are_refused(env_id):
    for level in levels(env_id):
        for task in rlvr.tasks(env_id, n=8, level=level, seed=2):
            wrong = near_misses(task)
            assert len(wrong) >= 2
            for text in wrong:
                assert judge(task, f"<answer>{text}</answer>").reward == 0.0, (task.text, task.answer, text)


@every_environment
def test_answers_without_content_earn_nothing(env_id):
    for task in rlvr.tasks(env_id, n=20, seed=3):
        for text in ("", " ", "<answer></answer>", "\\boxed{}", "I do not know.", task.text, "{}", "[]", "nan", "C"):
            score = judge(task, text)
            assert score.reward == 0.0, (task.text, task.answer, text)


@every_environment
def test_an_answer_only_thought_of_is_no_answer(env_id):
    for task in rlvr.tasks(env_id, n=5, seed=4):
        assert judge(task, f"<think>It is <answer>{task.answer}</answer>").reward == 0.0


@every_environment
def test_no_constant_earns_more_than_the_declared_chance(env_id):
    for level in levels(env_id):
        tasks = rlvr.tasks(env_id, n=400, level=level, seed=5)
        ((answer, count),) = Counter(task.answer for task in tasks).most_common(1)
        # Four standard deviations above what is declared, for 400 draws.
        chance = max(rlvr.spec(env_id).chance, 0.005)
        assert count / 400 <= chance + 4 * (chance / 400) ** 0.5, (level, answer, count)


@every_environment
def test_train_and_eval_share_no_prompt(env_id):
    train = {task.text for task in rlvr.tasks(env_id, "train", n=300)}
    assert not train & {task.text for task in rlvr.tasks(env_id, "eval", n=60, seed=6)}


@every_environment
def test_tasks_hardly_repeat(env_id):
    assert len({task.key for task in rlvr.tasks(env_id, n=1000)}) >= 950


@every_environment
def test_levels_ask_for_ever_longer_solutions(env_id):
    spec = rlvr.spec(env_id)
    assert len(spec.levels) >= 4
    assert spec.levels[0].items() <= spec.knobs.items(), "level 0 is what the defaults give"
    lengths = [
        mean(len(spec.solution(task)) for task in rlvr.tasks(env_id, n=150, level=level)) for level in levels(env_id)
    ]
    assert all(below < above for below, above in pairwise(lengths)), lengths


@every_environment
def test_hostile_answers_are_judged_at_once(env_id):
    hostile = (
        "9" * 20_000,
        "(" * 20_000,
        "9^{9^{9^9}}",
        "((x+1)^9)^9" * 20,
        "\\frac{" * 5_000,
        "[" * 5_000 + "]" * 5_000,
        "{" + "1," * 5_000 + "}",
        "e^" * 900 + "x",
        "-" * 20_000 + "1",
        "\ud800\u0661\u00b2",
        "__import__('os').getpid()",
        "1/0",
    )
    for task in rlvr.tasks(env_id, n=2, seed=7):
        for text in hostile:
            score = judge(task, f"<answer>{text}</answer>")
            assert score.reward == 0.0


def test_streams_are_the_same_under_another_hash_seed():
    program = (
        "import json, sys, rlvr; "
        "print(json.dumps([[t.to_json() for t in rlvr.tasks(i, s, n=6, level=l)] for i in json.loads(sys.argv[1]) "
        "for s in ('train', 'eval') for l in (0, 2)]))"
    )
    found = []
    for hash_seed in ("1", "4242"):
        run = subprocess.run(
            [sys.executable, "-c", program, json.dumps(IDS)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(run.stdout)
    assert found[0] == found[1]
    here = [
        [task.to_json() for task in rlvr.tasks(env_id, split, n=6, level=level)]
        for env_id in IDS
        for split in ("train", "eval")
        for level in (0, 2)
    ]
    assert json.loads(found[0]) == here


def test_a_kind_that_does_not_exist_is_named_with_those_that_do():
    for name in (
        "derivative",
        "integral",
        "limit",
        "modular",
        "counting",
        "probability",
        "matrix",
        "sequence",
        "word-problem",
    ):
        with pytest.raises(rlvr.ConfigError, match=r"there is no kind 'knitting'; choose from \w+"):
            rlvr.tasks(f"math/{name}-v0", n=1, kinds=["knitting"])


@pytest.mark.parametrize(
    ("name", "knobs", "says"),
    [
        ("fractions", {"terms": 1}, "terms=1 makes no task; choose terms from 2 to 40"),
        ("fractions", {"signs": "%"}, "signs='%'; choose some of"),
        ("linear-system", {"unknowns": 9}, "choose unknowns from 2 to 4"),
        ("polynomial-roots", {"size": 1}, "choose size from 2 to 100"),
        ("gcd-lcm", {"numbers": 5, "cofactor": 4}, "choose cofactor from 6 to 10000"),
        ("crt", {"congruences": 6, "modulus": 20}, "choose modulus from 30 to 10000"),
        ("base-conversion", {"targets": [1]}, r"targets=\[1\]; give bases from 2 to 36"),
        ("word-problem", {"steps": 0}, "choose steps from 2 to 20"),
        ("sequence", {"kinds": []}, "kinds is empty, so there is nothing to ask"),
    ],
)
def test_a_knob_out_of_its_bounds_is_named_with_them(name, knobs, says):
    with pytest.raises(rlvr.ConfigError, match=f"math/{name}-v0: .*{says}"):
        rlvr.tasks(f"math/{name}-v0", n=1, **knobs)
