"""Single turns: drawn tool sets, BFCL, and files of other layouts."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import pytest

import rlvr
from rlvr.errors import ConfigError
from rlvr.verifiers.toolcall import ToolSet, check_call, write
from rlvr.verifiers.toolcall.calls import ParsedCall
from rlvr.verifiers.toolcall.writing import writable
from rlvr_envs.tools.loaders import check_gold, read, read_bfcl


@pytest.fixture
def bfcl_folder() -> Path:
    """The folder of BFCL's rows, which is not part of the repository."""
    folder = Path(os.environ.get("RLVR_DATA", "")) / "bfcl"
    if "RLVR_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("RLVR_DATA does not point to a folder with bfcl/")
    return folder


SPEC = rlvr.spec("tools/call-v0")
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a"],
        },
    },
}


def solution(task: rlvr.Task) -> str:
    assert SPEC.solution is not None
    return SPEC.solution(task)


@pytest.mark.parametrize("level", range(6))
def test_the_worked_solution_wins_in_every_level_and_format(level: int) -> None:
    for format in writable():
        for task in rlvr.tasks("tools/call-v0", n=12, level=level, format=format):
            score = SPEC.judge(task, solution(task))
            assert score.correct, (task, score)


def test_answers_that_know_nothing_earn_nothing() -> None:
    tasks = rlvr.tasks("tools/call-v0", n=120, level=3)
    for text in ("", "I cannot do that.", "?", "Could you tell me more?", "<tool_call>{}</tool_call>"):
        assert not any(SPEC.judge(task, text).correct for task in tasks), text
    for task, other in itertools.pairwise(tasks):
        assert not SPEC.judge(task, task.text).correct
        if other.answer != task.answer or not task.answer:
            assert not SPEC.judge(task, solution(other)).correct or solution(other) == solution(task)


def test_gold_obeys_the_schema_it_is_drawn_with() -> None:
    for level in range(6):
        for task in rlvr.tasks("tools/call-v0", n=40, level=level):
            for wanted in task.answer:
                assert (
                    check_call(ParsedCall(wanted["name"], wanted["arguments"]), ToolSet(list(task.tools or ()))) == ""
                )


def test_every_kind_turns_up_and_levels_grow_harder() -> None:
    kinds = {task.data["kind"] for task in rlvr.tasks("tools/call-v0", n=80, level=2) if task.data}
    assert kinds == {"single", "parallel", "none", "ask"}
    sizes = [len(rlvr.tasks("tools/call-v0", n=1, level=level)[0].tools or ()) for level in range(6)]
    assert sizes == [1, 3, 5, 8, 12, 20]


def test_asking_must_be_for_the_missing_value_and_for_it_alone() -> None:
    task = next(
        task for task in rlvr.tasks("tools/call-v0", n=200, level=3) if task.data and task.data["kind"] == "ask"
    )
    data = task.data or {}
    tool = (task.tools or ())[0]["function"]["name"]
    guess = write([{"name": tool, "arguments": {}}])
    for text, right in (
        (f"What is the {data['missing']}?", 1.0),
        (f"Sure. Which {data['missing'].upper()} should it be?", 1.0),
        (f"The {data['missing']} is missing.", 0.0),
        (f"What is the {data['missing']}? {guess}", 0.0),
        (f"Please give me {data['missing']}, {' and '.join(data['given'])}?", 0.0),
        (f"What is the {data['missing']}?" + " x" * 400, 0.0),
    ):
        assert SPEC.judge(task, text).reward == right, text


def test_one_call_too_many_or_too_few_is_wrong() -> None:
    task = next(task for task in rlvr.tasks("tools/call-v0", n=100, level=2) if len(task.answer) >= 2)
    assert SPEC.judge(task, write(task.answer[::-1])).correct
    assert not SPEC.judge(task, write(task.answer[1:])).correct
    assert not SPEC.judge(task, write([*task.answer, task.answer[0]])).correct


def test_knobs_out_of_range_are_named() -> None:
    with pytest.raises(ConfigError, match="tools is 0"):
        rlvr.tasks("tools/call-v0", n=1, tools=0)
    with pytest.raises(ConfigError, match="no_call is 2"):
        rlvr.tasks("tools/call-v0", n=1, no_call=2.0)


def test_bfcl_is_an_evaluation_set_whose_worked_solutions_win(bfcl_folder: Path) -> None:
    spec = rlvr.spec("tools/bfcl-v0")
    tasks = rlvr.tasks("tools/bfcl-v0", "eval", category="parallel", path=str(bfcl_folder))
    assert len(tasks) == 138
    assert spec.solution is not None
    for task in tasks:
        assert task.tools
        assert spec.judge(task, spec.solution(task)).correct
    with pytest.raises(ConfigError, match="category"):
        rlvr.tasks("tools/bfcl-v0", "eval", category="java", path=str(bfcl_folder))


def test_the_one_gold_of_bfcl_that_breaks_its_own_schema_is_found(bfcl_folder: Path) -> None:
    (defect,) = check_gold(read_bfcl(bfcl_folder, "all"))
    assert (defect.id, defect.reason) == (
        "simple_python_307",
        "game_result.get_winner: $.venue is true (boolean); must be string",
    )


ROWS: dict[str, list[dict[str, Any]]] = {
    "openai": [
        {
            "messages": [
                {"role": "user", "content": "1+2?"},
                {
                    "role": "assistant",
                    "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}],
                },
            ],
            "tools": [TOOL],
        },
        {"prompt": "1+2?", "tools": json.dumps([TOOL]), "answer": '[{"name": "add", "arguments": {"a": 1, "b": 2}}]'},
        {
            "responses_create_params": {
                "input": [{"role": "user", "content": "1+2?"}],
                "tools": [{"type": "function", **TOOL["function"]}],
            },  # type: ignore[dict-item]
            "expected_action": {"type": "function_call", "name": "add", "arguments": '{"a": 1, "b": 2}'},
        },
    ],
    "xlam": [
        {
            "id": 7,
            "query": "1+2?",
            "tools": json.dumps(
                [
                    {
                        "name": "add",
                        "description": "",
                        "parameters": {"a": {"type": "int"}, "b": {"type": "int, optional", "default": 0}},
                    }
                ]
            ),
            "answers": '[{"name": "add", "arguments": {"a": 1, "b": 2}}]',
        }
    ],
    "hermes": [
        {
            "conversations": [
                {"from": "system", "value": "tools"},
                {"from": "human", "value": "1+2?"},
                {"from": "gpt", "value": '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'},
            ],
            "tools": json.dumps([TOOL]),
        }
    ],
    "toolrl": [
        {
            "prompt": [
                {
                    "role": "system",
                    "content": 'Tools:\n1. Name: add\nDescription: Add\nParameters: {"a": {"type": "int"}, "b": {"type": "int"}}\n',
                },
                {"role": "user", "content": "1+2?"},
            ],
            "reward_model": {
                "ground_truth": '<think>x</think>\n<tool_call>\n{"name": "add", "parameters": {"a": 1, "b": 2}}\n</tool_call>'
            },
        }
    ],
    "bfcl": [
        {
            "id": "simple_0",
            "question": [[{"role": "user", "content": "1+2?"}]],
            "function": [
                {
                    "name": "add",
                    "parameters": {"type": "dict", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
                }
            ],
            "ground_truth": [{"add": {"a": [1], "b": [2, ""]}}],
        }
    ],
}


@pytest.mark.parametrize("layout", sorted(ROWS))
def test_files_of_every_layout_become_the_same_task(layout: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in ROWS[layout]))
    rows = read(file, layout)
    assert check_gold(rows) == []
    right, wrong = ({"name": "add", "arguments": {"a": 1, "b": b}} for b in (2, 3))
    spec = rlvr.spec("tools/rows-v0")
    tasks = [task for split in ("train", "eval") for task in _tasks(split, str(file), layout)]
    assert 1 <= len(tasks) <= len(rows)
    for task in tasks:
        assert task.messages[-1]["content"] == "1+2?"
        assert spec.judge(task, write([right])).correct
        assert not spec.judge(task, write([wrong])).correct


def _tasks(split: str, path: str, layout: str) -> list[rlvr.Task]:
    return rlvr.tasks("tools/rows-v0", split, path=path, layout=layout)


def test_rows_whose_gold_breaks_its_own_schema_are_reported_and_dropped(tmp_path: Path) -> None:
    good = ROWS["openai"][1]
    file = tmp_path / "rows.jsonl"
    answers = [
        '[{"name": "sub", "arguments": {}}]',
        '[{"name": "add", "arguments": {"b": 2}}]',
        '[{"name": "add", "arguments": {"a": "1"}}]',
    ]
    bad = [{**good, "prompt": f"{number}?", "answer": answer} for number, answer in enumerate(answers)]
    file.write_text("\n".join(json.dumps(row) for row in [good, *bad]))
    defects = check_gold(read(file, "openai"))
    assert [defect.index for defect in defects] == [1, 2, 3]
    assert "unknown tool" in defects[0].reason
    assert "$.a is missing" in defects[1].reason
    assert "must be integer" in defects[2].reason
    spec = rlvr.spec("tools/rows-v0")
    counts = [spec.count(split, {**spec.knobs, "path": str(file)}) for split in ("train", "eval")]
    assert sum(count or 0 for count in counts) == 1


def test_a_row_of_another_layout_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROWS["xlam"][0]))
    with pytest.raises(ConfigError, match=r"row 0: not of the layout 'openai'.*query"):
        read(file, "openai")
    with pytest.raises(ConfigError, match="choose one of openai, xlam"):
        read(file, "other")
