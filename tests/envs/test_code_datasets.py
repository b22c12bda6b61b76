"""Rows of public programming data sets: read as they are published, judged by what they test."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest

import rlvr
from rlvr.errors import ConfigError
from rlvr_envs.code.answers import code_in
from rlvr_envs.code.datasets import read_tests

needs_data = pytest.mark.skipif(not os.environ.get("RLVR_DATA"), reason="RLVR_DATA does not name a folder of data sets")


@needs_data
@pytest.mark.parametrize(
    ("env_id", "split", "count"), [("code/humaneval-v0", "eval", 164), ("code/mbpp-v0", "eval", 257)]
)
def test_canonical_solutions_are_right(env_id: str, split: str, count: int) -> None:
    spec = rlvr.spec(env_id)
    assert spec.solution is not None
    tasks = rlvr.tasks(env_id, split=split)
    assert len(tasks) == count
    for task in tasks[:: count // 12]:
        assert spec.judge(task, spec.solution(task)).reward == 1.0, task.id
        assert spec.judge(task, "```python\npass\n```").reward == 0.0


@needs_data
def test_a_helper_of_the_prompt_cannot_be_redefined_by_the_answer() -> None:
    task = next(task for task in rlvr.tasks("code/humaneval-v0", split="eval") if "def poly(" in task.text)
    assert task.data is not None
    assert "def poly" in task.data["tests"]["prelude"]
    cheat = "def poly(xs, x): return 0.0\ndef find_zero(xs): return 0.0"
    assert rlvr.spec(task.env_id).judge(task, f"```python\n{cheat}\n```").reward == 0.0


def test_apps_and_taco_rows_are_read() -> None:
    stdio = {"input_output": json.dumps({"inputs": ["1 2\n", ["3", "4"]], "outputs": ["3\n", ["7"]]})}
    assert read_tests(stdio, "row") == {
        "kind": "stdio",
        "cases": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "3\n4", "stdout": "7"}],
    }
    call = {"input_output": {"fn_name": "add", "inputs": [[1, 2]], "outputs": [[3]]}}
    assert read_tests(call, "row") == {"kind": "function", "entry": "add", "cases": [{"args": [1, 2], "expected": 3}]}
    assert read_tests({"input_output": "{}"}, "row") is None
    with pytest.raises(ConfigError, match="row 7 has tests that cannot be read"):
        read_tests({"input_output": "{"}, "row 7")


def test_codecontests_rows_are_read() -> None:
    row = {
        "public_tests": {"input": ["1\n"], "output": ["2\n"]},
        "private_tests": {"input": ["3\n"], "output": ["4\n"]},
    }
    tests = read_tests(row, "row")
    assert tests is not None
    assert [case["stdout"] for case in tests["cases"]] == ["2\n", "4\n"]


def test_livecodebench_rows_are_read_without_unpickling() -> None:
    cases = [{"input": "[1]\n2", "output": "3", "testtype": "functional"}]
    packed = base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()
    row = {"public_test_cases": "[]", "private_test_cases": packed, "metadata": '{"func_name": "f"}'}
    assert read_tests(row, "row") == {"kind": "function", "entry": "f", "cases": [{"args": [[1], 2], "expected": 3}]}

    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, ("harmed",))

    harmful = base64.b64encode(zlib.compress(pickle.dumps(Harmful()))).decode()
    with pytest.raises(ConfigError):
        read_tests({"private_test_cases": harmful}, "row")
    assert not Path("harmed").exists()


def test_an_apps_file_becomes_tasks(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"question": "Add two numbers.", "input_output": {"inputs": ["1 2"], "outputs": ["3"]}, "solutions": '["print(sum(map(int, input().split())))"]'},
        {"question": "No tests.", "input_output": ""},
    ]  # fmt: skip
    file = tmp_path / "apps.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    (task,) = rlvr.tasks("code/apps-v0", path=str(file))
    spec = rlvr.spec("code/apps-v0")
    assert spec.solution is not None
    assert spec.judge(task, spec.solution(task)).reward == 1.0
    assert spec.judge(task, "print(3)").reward == 1.0  # a bare program is an answer, too
    assert spec.judge(task, "print(4)").reward == 0.0
    with pytest.raises(ConfigError, match="needs path="):
        rlvr.tasks("code/apps-v0")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1", "x = 1"),
        ("Here:\n```python\nx = 1\n```\nDone.", "x = 1\n"),
        ("```\na\n```\nbetter:\n```py\nb\n```", "b\n"),
        ("<think>```python\nno\n```</think>```python\nyes\n```", "yes\n"),
        ("```python\nunfinished", None),
        ("<think>never ends", None),
        ("", None),
        ("x" * 200_000, None),
    ],
)
def test_the_code_of_an_answer_is_its_last_block(text: str, code: str | None) -> None:
    assert code_in(text) == code
