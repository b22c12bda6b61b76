"""The generated code environments: golds are right, everything else is not, and tasks come out the same twice."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

import rlvr
from rlvr_envs.code.grammar import draw_arguments, write_program
from rlvr_envs.code.pipeline import draw_lists, write_pipeline
from rlvr_envs.code.running import FAILED, outputs_of, outputs_of_all
from rlvr_envs.code.synthesis import mutate

SINGLE = [
    "code/output-prediction-v0",
    "code/input-prediction-v0",
    "code/synthesis-v0",
    "code/bug-fix-v0",
    "code/fill-v0",
    "code/regex-v0",
    "code/sql-v0",
]
ALL = [*SINGLE, "code/run-and-submit-v0"]


def solution(task: rlvr.Task) -> Any:
    write = rlvr.spec(task.env_id).solution
    assert write is not None
    return write(task)


@pytest.mark.parametrize("env_id", SINGLE)
def test_the_worked_solution_is_right_and_other_answers_are_not(env_id: str) -> None:
    spec = rlvr.spec(env_id)
    for level in (0, len(spec.levels) - 1):
        task, other = rlvr.tasks(env_id, n=2, seed=level, level=level)
        assert spec.judge(task, solution(task)).reward == 1.0
        assert spec.judge(task, f"<think>Let me see.</think>\n{solution(task)}").reward == 1.0
        for wrong in (
            "",
            "I do not know.",
            "```python\ndef f(*a): return None\n```",
            "<answer>[0]</answer>",
            "```\n```",
            "<think>",
        ):
            score = spec.judge(task, wrong)
            assert (score.reward, score.error) == (0.0, None), (wrong, score)
        assert spec.judge(task, solution(other)).reward == 0.0


@pytest.mark.parametrize("env_id", ALL)
def test_tasks_are_reproducible_and_hold_no_answer_in_public(env_id: str) -> None:
    first, again = (rlvr.tasks(env_id, n=1, seed=7, level=0)[0] for _ in range(2))
    assert first.to_json() == again.to_json()
    public = first.public()
    assert (public.answer, public.data) == (None, None)


@pytest.mark.parametrize("env_id", ALL)
def test_knobs_that_make_no_task_are_refused(env_id: str) -> None:
    knob = next(name for name in rlvr.spec(env_id).knobs if name not in ("joins", "grouped"))
    with pytest.raises(rlvr.ConfigError, match="choose"):
        rlvr.tasks(env_id, n=1, **{knob: 99})


def test_the_faulty_program_of_a_bug_fix_does_not_pass() -> None:
    spec = rlvr.spec("code/bug-fix-v0")
    for task in rlvr.tasks("code/bug-fix-v0", n=3, seed=3):
        assert task.data is not None
        assert spec.judge(task, f"```python\n{task.data['broken']}```").reward == 0.0


def test_an_output_may_be_written_in_several_ways() -> None:
    spec = rlvr.spec("code/output-prediction-v0")
    task = rlvr.Task("?", answer="['a b', 3]", env_id=spec.id)
    for right in (
        "<answer>['a b', 3]</answer>",
        '<answer> ["a b",3] </answer>',
        "It is: <answer>`['a b',  3]`</answer>",
    ):
        assert spec.judge(task, right).reward == 1.0
    for wrong in ("<answer>['ab', 3]</answer>", "<answer>['a b', 3, 3]</answer>", "['a b', 3] <answer>3</answer>"):
        assert spec.judge(task, wrong).reward == 0.0


def test_any_arguments_that_lead_to_the_output_are_right() -> None:
    spec = rlvr.spec("code/input-prediction-v0")
    data = {"source": "def f(a, b): return a + b", "output": 10, "arguments": [1, 9]}
    task = rlvr.Task("?", data=data, env_id=spec.id)
    assert spec.judge(task, "<answer>[4, 6]</answer>").reward == 1.0
    for wrong in ("[4, 7]", "[4]", '["4", "6"]', "[4.0, 6]", "{}", "[" * 900, "[true, 9]", "4, 6"):
        score = spec.judge(task, f"<answer>{wrong}</answer>")
        assert (score.reward, score.error) == (0.0, None), wrong


def test_a_slow_pattern_and_a_harmful_query_are_only_wrong() -> None:
    regex = rlvr.tasks("code/regex-v0", n=1)[0]
    query = rlvr.tasks("code/sql-v0", n=1)[0]
    slow = rlvr.spec("code/regex-v0").judge(regex, "```regex\n(([a-z0-9=_-]*)*)*!\n```")
    assert (slow.reward, slow.error) == (0.0, None)
    for text in ("DROP TABLE person", "SELECT 1; SELECT 2", "ATTACH DATABASE '/tmp/x' AS x", "'''\nimport os\n"):
        score = rlvr.spec("code/sql-v0").judge(query, f"```sql\n{text}\n```")
        assert (score.reward, score.error) == (0.0, None), text


def test_a_query_written_in_another_way_is_right() -> None:
    task = next(task for task in rlvr.tasks("code/sql-v0", n=4, level=1) if "bought" in task.text)
    other = str(task.answer).replace("SELECT DISTINCT p.name", "SELECT p.name") + " GROUP BY p.id"
    assert rlvr.spec("code/sql-v0").judge(task, f"```sql\n{other}\n```").reward == 1.0


def test_a_session_runs_code_and_ends_when_something_is_handed_in() -> None:
    spec = rlvr.spec("code/run-and-submit-v0")
    task = rlvr.tasks(spec.id, n=1, level=0)[0]
    session = spec.open(task)
    assert session.turn("```python\nprint(6 * 7)\n```") == "42"
    assert "ZeroDivisionError" in session.turn("```python\n1 / 0\n```")
    assert "no code" in session.turn("I think it doubles.")
    assert session.turn("```submit\ndef f(xs): return None\n```").reward == 0.0
    assert spec.judge_turns(task, solution(task)).reward == 1.0  # type: ignore[attr-defined]


def test_generated_programs_end_and_most_of_them_do_not_fail() -> None:
    rng = random.Random(5)
    programs = []
    for _ in range(60):
        source, kinds = write_program(rng, statements=rng.randint(1, 8), depth=rng.randint(1, 3))
        programs.append((source, [draw_arguments(rng, kinds) for _ in range(4)]))
    outputs = outputs_of_all(programs)
    assert sum(FAILED in each for each in outputs) <= 3
    assert len({json.dumps(source) for source, _ in programs}) == 60


def test_a_mutation_is_another_program() -> None:
    rng = random.Random(2)
    for _ in range(20):
        source = write_pipeline(rng, 3).source
        changed = mutate(rng, source)
        assert changed is None or changed != source
    assert outputs_of("def f(xs): return [x // 0 for x in xs]", [[[1]], [[]]])[0] is FAILED
    assert [[]] in draw_lists(rng, 5)
