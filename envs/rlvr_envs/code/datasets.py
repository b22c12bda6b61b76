"""Programming problems of public data sets: HumanEval, MBPP, and APPS-like rows (TACO, CodeContests, LiveCodeBench)."""

from __future__ import annotations

import ast
import base64
import json
import pickletools
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import rlvr
from rlvr.errors import ConfigError
from rlvr.rows import Row
from rlvr_envs.code.answers import fenced, verify_code
from rlvr_envs.sources import Source, load

_MAX_CASES = 64
"""Hidden cases of one problem that are run; data sets have up to hundreds, and the first dozens decide."""


def _humaneval(path: str) -> Iterator[Row]:
    for row in load(Source("humaneval.jsonl", "openai/openai_humaneval", None, "test"), env_id=HUMANEVAL, path=path):
        entry = row["entry_point"]
        yield {
            "question": row["prompt"],
            "solution": row["prompt"] + row["canonical_solution"],
            "split": "eval",
            "tests": {
                "kind": "assert",
                "code": f"{row['test']}\ncheck({entry})",
                "prelude": _helpers(row["prompt"], entry),
                "names": [entry],
            },
        }


def _helpers(prompt: str, entry: str) -> str:
    """What a prompt defines beside the function asked for: a test that uses it must get the task's, not the answer's."""
    tree = ast.parse(prompt + "    pass\n")
    kept = [
        node
        for node in tree.body
        if not (isinstance(node, ast.FunctionDef) and node.name == entry) and not isinstance(node, ast.Expr)
    ]
    defined = any(isinstance(node, ast.FunctionDef) for node in kept)
    return ast.unparse(ast.Module(kept, [])) if defined else ""


def _mbpp(path: str) -> Iterator[Row]:
    for row in load(
        Source("mbpp_sanitized.json", "google-research-datasets/mbpp", "sanitized"), env_id=MBPP, path=path
    ):
        asserts = "\n".join(row["test_list"])
        number = int(row["task_id"])
        names = [
            node.name for node in ast.walk(ast.parse(row["code"])) if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]
        yield {
            "question": f"{row['prompt'].strip()}\nYour code must pass this test:\n{row['test_list'][0]}",
            "solution": row["code"],
            # 11-510 is the test part, 511-974 validation and training (Austin et al. 2021, arXiv:2108.07732, section 2.1).
            "split": "eval" if 11 <= number <= 510 else "train",
            "tests": {
                "kind": "assert",
                "code": "\n".join([*row.get("test_imports", []), asserts]),
                "names": [name for name in names if name in asserts],
            },
        }


def _apps(path: str, part: str) -> Iterator[Row]:
    if not path:
        raise ConfigError(f"{APPS} needs path=, a file of APPS, TACO, CodeContests or LiveCodeBench rows")
    for number, row in enumerate(load(Source("apps.jsonl", "codeparrot/apps", "all"), env_id=APPS, path=path)):
        tests = read_tests(row, f"{APPS}: row {number}")
        question = next(
            (str(row[name]) for name in ("question", "question_content", "description") if row.get(name)), ""
        )
        if tests is None or not question:
            continue  # a few rows of every one of these sets have no usable tests
        starter = row.get("starter_code") or ""
        form = f"\nUse this beginning:\n{fenced(starter)}" if starter else ""
        kind = "" if tests["kind"] == "function" else "\nRead from standard input and write to standard output."
        yield {
            "question": f"{question.strip()}{kind}{form}",
            "solution": _first_solution(row),
            "split": part or "train",
            "tests": tests,
        }


def read_tests(row: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """The tests of a row of APPS, TACO (`input_output`), CodeContests (`*_tests`) or LiveCodeBench (`*_test_cases`).

    None if it has none. Raises ConfigError if they are damaged.
    """
    try:
        if row.get("input_output"):
            packed = row["input_output"]
            values = json.loads(packed) if isinstance(packed, str) else packed
            return _paired(values.get("inputs", []), values.get("outputs", []), values.get("fn_name"))
        if row.get("public_tests") or row.get("private_tests") or row.get("generated_tests"):
            pairs = [row[name] for name in ("public_tests", "private_tests", "generated_tests") if row.get(name)]
            inputs = [text for pair in pairs for text in pair["input"]]
            return _paired(inputs, [text for pair in pairs for text in pair["output"]], None)
        if row.get("public_test_cases") or row.get("private_test_cases"):
            return _livecodebench(row)
    except (ValueError, TypeError, KeyError, AttributeError, zlib.error) as fault:
        raise ConfigError(f"{where} has tests that cannot be read ({fault}); mend or leave out the row") from fault
    return None


def _paired(inputs: list[Any], outputs: list[Any], entry: str | None) -> dict[str, Any] | None:
    cases = list(zip(inputs, outputs, strict=False))[:_MAX_CASES]
    if not cases:
        return None
    if entry:
        # APPS wraps the result of a call in a list of one.
        made = [
            {"args": given, "expected": wanted[0] if isinstance(wanted, list) and len(wanted) == 1 else wanted}
            for given, wanted in cases
        ]
        return {"kind": "function", "entry": entry, "cases": made}
    return {"kind": "stdio", "cases": [{"stdin": _joined(given), "stdout": _joined(wanted)} for given, wanted in cases]}


def _joined(text: Any) -> str:
    return "\n".join(map(str, text)) if isinstance(text, list) else str(text)


def _livecodebench(row: Mapping[str, Any]) -> dict[str, Any] | None:
    cases = [case for name in ("public_test_cases", "private_test_cases") for case in _unpacked(row.get(name) or "[]")]
    if not cases:
        return None
    metadata = row.get("metadata") or "{}"
    entry = (json.loads(metadata) if isinstance(metadata, str) else metadata).get("func_name")
    if entry and cases[0].get("testtype") != "stdin":
        made = [
            {"args": [json.loads(line) for line in case["input"].splitlines()], "expected": json.loads(case["output"])}
            for case in cases[:_MAX_CASES]
        ]
        return {"kind": "function", "entry": entry, "cases": made}
    return _paired([case["input"] for case in cases], [case["output"] for case in cases], None)


def _unpacked(cases: Any) -> list[dict[str, Any]]:
    """LiveCodeBench's cases: JSON, or base64 of zlib of a pickle of one text of JSON. The pickle is read, not run."""
    if not isinstance(cases, str):
        return list(cases)
    try:
        return list(json.loads(cases))
    except json.JSONDecodeError:
        data = zlib.decompress(base64.b64decode(cases))
    texts = [argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)]
    return list(json.loads(max(texts, key=len)))


def _first_solution(row: Mapping[str, Any]) -> str:
    solutions = row.get("solutions") or []
    if isinstance(solutions, str):
        try:
            solutions = json.loads(solutions)
        except ValueError:
            return ""
    if isinstance(solutions, Mapping):  # CodeContests: Python 3 has number 3
        pairs = zip(solutions.get("language", []), solutions.get("solution", []), strict=False)
        return next((text for language, text in pairs if language == 3), "")
    return str(solutions[0]) if solutions else ""


def _prompt(row: Row) -> str:
    return f"Write a Python program for this task.\n\n{row['question'].strip()}\n\nGive the whole code as one ```python block."


HUMANEVAL, MBPP, APPS = "code/humaneval-v0", "code/mbpp-v0", "code/apps-v0"

humaneval = rlvr.register(
    "code/humaneval-v0",
    rows=_humaneval,
    prompt=_prompt,
    answer="solution",
    verify=verify_code,
    answer_is_program=True,
    split="split",
    path="",
    description="Functions from their docstrings (Chen et al. 2021, arXiv:2107.03374); all of it is evaluation.",
)
mbpp = rlvr.register(
    "code/mbpp-v0",
    rows=_mbpp,
    prompt=_prompt,
    answer="solution",
    verify=verify_code,
    answer_is_program=True,
    split="split",
    path="",
    description="Basic Python problems (Austin et al. 2021, arXiv:2108.07732), the sanitized part; one assert is shown.",
)
apps = rlvr.register(
    "code/apps-v0",
    rows=_apps,
    prompt=_prompt,
    answer="solution",
    verify=verify_code,
    answer_is_program=True,
    split="split",
    path="",
    part="",
    description="Competition problems from a file of APPS, TACO, CodeContests or LiveCodeBench rows (path=).",
)


@humaneval.worked_solution
@mbpp.worked_solution
@apps.worked_solution
def _(task: rlvr.Task) -> str:
    return fenced(str(task.answer))
