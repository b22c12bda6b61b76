"""reasoning-gym behind our streams, splits and scoring."""

import re

import pytest

import rlvr

pytest.importorskip("reasoning_gym", reason="the extra reasoning-gym is not installed")

from rlvr.auditing import audit_all
from rlvr_envs.adapters.reasoning_gym import REFUSED, refusal

IDS = [env_id for env_id in rlvr.list_envs() if env_id.startswith("rg/")]


def judge(name, answer, index=0):
    """A task of the environment and the verdict on an answer, or on the gold answer if None is given."""
    env_id = f"rg/{name}-v0"
    task = rlvr.tasks(env_id, n=index + 1)[index]
    text = task.answer if answer is None else answer(task) if callable(answer) else answer
    return rlvr.spec(env_id).judge(task, text)


def test_every_task_of_reasoning_gym_is_offered_or_refused_with_a_reason():
    from reasoning_gym.factory import DATASETS

    offered = {env_id.removeprefix("rg/").removesuffix("-v0") for env_id in IDS}
    assert len(offered) >= 80
    assert not offered & set(REFUSED)
    assert offered | set(REFUSED) == set(DATASETS)
    assert "hash" in refusal("rg/word_ladder-v0") or "process" in refusal("rg/word_ladder-v0")


@pytest.mark.slow
def test_the_audits_pass():
    failed = [report.text() for report in audit_all(IDS, n=4, timeout_s=20) if not report.passed]
    assert not failed, "\n".join(failed)


def test_partial_credit_pays_nothing():
    score = judge("chain_sum", lambda task: f"{task.answer} or so")
    assert score.reward == 0.0
    assert score.parts["credit"] > 0


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("complex_arithmetic", "nan"),
        ("complex_arithmetic", "nan + nani"),
        ("coin_flip", "0"),
        ("countdown", "9**9**9"),
        ("countdown", lambda task: str(task.data["target"])),
        ("countdown", lambda task: f"{task.answer} = {task.data['target']}"),
        ("game_of_life_halting", "banana"),
        ("game_of_life_halting", lambda task: task.answer.split("\n")[0]),
        ("course_schedule", "True True True True True True"),
        ("gsm_symbolic", lambda task: f"{task.answer} or 7"),
        ("gsm_symbolic", lambda task: f"{task.answer}, 1, 2, 3"),
        ("figlet_font", lambda task: task.answer + "xyz"),
        ("time_intervals", lambda task: f"{task.answer} or 3 days"),
        ("prime_factorization", "I do not know"),
        ("prime_factorization", lambda task: str(task.answer).replace(" × ", " + ") + " +"),
        ("polynomial_equations", "0"),
        ("polynomial_equations", ""),
        ("n_queens", "[r.split() for r in valid_solutions[0].splitlines()]"),
        ("n_queens", lambda task: "\n".join(" ".join(row) for row in task.data["puzzle"])),
        ("simple_integration", lambda task: task.data["integrand"]),
        ("binary_matrix", lambda task: str([line.split() for line in task.answer.split("\n")])),
        ("rubiks_cube", "R U " * 4000),
        ("fraction_simplification", lambda task: f"{task.answer} or 1/2"),
        ("spell_backward", lambda task: f"{task.answer} or {task.answer}"),
        ("string_insertion", lambda task: re.search(r"to the pattern: ([A-E]+)", task.text)[1]),
    ],
)
def test_what_reasoning_gym_pays_for_nothing_earns_nothing(name, answer):
    assert judge(name, answer).reward == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"), [("", ", zzz"), ("", " zzz"), ("zzz, ", ""), ("", "\nzzz"), ("zzz\n", "")]
)
def test_the_right_answer_among_others_earns_nothing(before, after):
    for env_id in IDS:
        for task in rlvr.tasks(env_id, n=2, seed=4):
            score = rlvr.spec(env_id).judge(task, f"{before}{task.answer}{after}")
            assert (env_id, score.reward) == (env_id, 0.0)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("prime_factorization", lambda task: "*".join(reversed(task.answer.split(" × ")))),
        ("complex_arithmetic", lambda task: task.answer.replace(" ", "").replace(".0", "")),
        ("coin_flip", lambda task: f"{task.data['rational']['numerator']}/{task.data['rational']['denominator']}"),
        ("simple_integration", lambda task: task.answer.replace("**", "^").replace(" + C", " + 7")),
        ("gsm_symbolic", lambda task: f"<think>so 1, 2, 3</think><answer>{task.answer}.0</answer>"),
        ("polynomial_equations", lambda task: ", ".join(reversed(task.answer.split(", ")))),
        ("fraction_simplification", lambda task: "/".join(re.findall(r"\d+", task.answer))),
        ("syllogism", lambda task: task.answer.lower()),
        ("binary_matrix", lambda task: task.answer.replace(" ", "  ") + "\n"),
    ],
)
def test_another_way_to_write_the_right_answer_counts(name, answer):
    for index in range(3):
        assert judge(name, answer, index).correct


@pytest.mark.parametrize(
    "name",
    [
        "circuit_logic",
        "course_schedule",
        "game_of_life_halting",
        "gcd",
        "letter_counting",
        "mahjong_puzzle",
        "maze",
        "self_reference",
        "syllogism",
    ],
)
def test_the_best_fixed_guess_at_a_bundle_earns_no_more_than_its_chance(name):
    tasks = rlvr.tasks(f"rg/{name}-v0", n=60)
    answers = [line for task in tasks for line in task.answer.split("\n")]
    count = len(tasks[0].answer.split("\n"))
    best = max(answers.count(answer) for answer in set(answers)) / len(answers)
    assert best**count <= rlvr.spec(f"rg/{name}-v0").chance * 1.5
    guess = "\n".join([max(set(answers), key=answers.count)] * count)
    earned = [rlvr.spec(task.env_id).judge(task, guess).reward for task in tasks]
    assert sum(earned) / len(earned) <= 0.1
