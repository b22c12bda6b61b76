"""What `judge` promises beside its verdicts: shares, errors for bad tests, caches, coroutines, and real problems."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from rlvr.errors import ConfigError
from rlvr.score import Score
from rlvr_sandbox import Limits, Pool, judge, judge_async, run, run_async
from rlvr_sandbox.lifting import lift
from rlvr_sandbox.testspec import AssertTests

FUNCTION = {"kind": "function", "entry": "f", "cases": [{"args": [n], "expected": n * n} for n in range(4)]}


def test_the_share_of_passed_cases_is_a_part_and_not_the_reward(best_pool: Pool) -> None:
    score = best_pool.judge("def f(n): return n if n < 2 else 0", FUNCTION)
    assert (score.reward, dict(score.parts)) == (0.0, {"tests_passed": 0.5})
    assert score.detail["verdicts"] == ["AC", "AC", "WA", "WA"]
    assert (score.detail["verdict"], score.detail["passed"], score.detail["total"]) == ("WA", 2, 4)
    assert score.reason == "WA: 2 of 4 passed"


def test_a_case_that_takes_too_long_ends_the_test(best_pool: Pool) -> None:
    score = best_pool.judge("def f(n):\n    while n == 1: pass\n    return n * n", FUNCTION, timeout_s=0.3)
    assert score.detail["verdicts"] == ["AC", "TLE"]
    assert score.parts["tests_passed"] == 0.25


def test_every_case_has_the_whole_time(best_pool: Pool) -> None:
    code = "import time\ndef f(n):\n    time.sleep(0.3)\n    return n * n"
    assert best_pool.judge(code, FUNCTION, timeout_s=0.6).reward == 1.0


def test_asserts_that_are_lifted_and_those_that_are_not_count_alike(best_pool: Pool) -> None:
    lifted = {"kind": "assert", "code": "assert f(1) == 1\nassert f(2) == 3\nassert f(3) == 3"}
    not_lifted = {"kind": "assert", "code": "x = 1\nassert f(x) == 1\nassert f(2 * x) == 3\nassert f(3 * x) == 3"}
    assert lift(AssertTests(lifted["code"])) is not None
    assert lift(AssertTests(not_lifted["code"])) is None
    for tests in (lifted, not_lifted):
        score = best_pool.judge("def f(n): return n", tests)
        assert (score.detail["verdicts"], score.parts["tests_passed"]) == (["AC", "WA", "AC"], 2 / 3)


@pytest.mark.parametrize(
    "code",
    [
        "assert f(1) == g(1)",
        "assert f(x) == 1",
        "assert f(1) == 1 and f(2) == 2",
        "assert f(*[1]) == 1",
        "import os\nassert f(1) == os.sep",
        "def check(c):\n    for n in (1,):\n        assert c(n) == n\ncheck(f)",
        "def check(c, d=1):\n    assert c(1) == 1\ncheck(f)",
        "assert len(f(1)) == 1",
        "try:\n    assert f(1) == 1\nexcept Exception:\n    pass",
        "x = 1",
    ],
)
def test_only_what_means_the_same_is_lifted(code: str) -> None:
    assert lift(AssertTests(code)) is None


def test_names_of_the_task_are_not_lifted_to_the_solution() -> None:
    assert lift(AssertTests("assert f(1) == 1", prelude="def f(n): return 1")) is None


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ({"kind": "unit"}, "must be 'stdio', 'function' or 'assert'"),
        ({"kind": "stdio", "cases": []}, "without a case every program would pass"),
        ({"kind": "stdio", "cases": [{"stdin": 5, "stdout": "x"}]}, "needs texts"),
        ({"kind": "function", "entry": "f(", "cases": [{"args": [], "expected": 1}]}, "entry 'f\\('"),
        ({"kind": "function", "entry": "f", "cases": [{"args": [1]}]}, "nothing `expected`"),
        ({"kind": "function", "entry": "f", "cases": [{"args": 1, "expected": 1}]}, "must be a list"),
        ({"kind": "function", "entry": "f", "cases": [{"args": [object()], "expected": 1}]}, "only plain values"),
        ({"kind": "assert", "code": ""}, "must be Python code"),
        ({"kind": "assert", "code": "assert ("}, "is no Python"),
        ({**FUNCTION, "checker": "fuzzy"}, "checker 'fuzzy'"),
        ({**FUNCTION, "checker": {"kind": "float", "eps": 1}}, "its fields are"),
        (
            {**FUNCTION, "checker": {"kind": "code", "code": "def check(a, b, c): return 1 / 0"}},
            "checker of the tests failed",
        ),
    ],
)
def test_tests_that_cannot_be_used_are_the_callers_error(best_pool: Pool, tests: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        best_pool.judge("def f(n=0): return n", tests)
    assert best_pool.trouble == 0
    assert best_pool.judge("def f(n): return n * n", FUNCTION).reward == 1.0


@pytest.mark.parametrize(
    "limits", [{"timeout_s": 0}, {"memory_mb": -1}, {"timeout_s": float("nan")}, {"output_bytes": True}]
)
def test_limits_that_are_none_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="must be a positive number"):
        Limits(**limits)


def test_a_pool_with_a_cache_judges_the_same_once(best_level: str) -> None:
    with Pool(1, level=best_level, cache_size=2) as pool:
        first = pool.judge("def f(n): return n * n", FUNCTION)
        assert pool.judge("def f(n): return n * n", FUNCTION) is first
        assert pool.judge("def f(n): return n * n", FUNCTION, timeout_s=2) is not first
        assert pool.judge("def f(n): return n", FUNCTION).reward == 0.0
        assert pool.judge("def f(n): return n * n", FUNCTION) is not first  # two newer ones have taken its place


def test_coroutines_and_the_default_pool_give_the_same() -> None:
    async def both() -> tuple[Score, str]:
        score, outcome = await asyncio.gather(
            judge_async("def f(n): return n * n", FUNCTION), run_async("print(input())", "x")
        )
        return score, outcome.stdout

    score, text = asyncio.run(both())
    assert (score.reward, text) == (1.0, "x\n")
    assert judge("def f(n): return n * n", FUNCTION) == score
    assert run("print(input())", stdin="x").stdout == text


def _problems(folder: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    found = []
    for line in (Path(folder) / "humaneval.jsonl").read_text().splitlines():
        row = json.loads(line)
        tests = {"kind": "assert", "code": f"{row['test']}\ncheck({row['entry_point']})"}
        found.append((row["task_id"], row["prompt"] + row["canonical_solution"], row["entry_point"], tests))
    for row in json.loads((Path(folder) / "mbpp_sanitized.json").read_text()):
        tests = {"kind": "assert", "code": "\n".join(row["test_imports"] + row["test_list"])}
        names = [
            line.split("(")[0].removeprefix("def ") for line in row["code"].splitlines() if line.startswith("def ")
        ]
        found.append((f"mbpp/{row['task_id']}", row["code"], ",".join(names), tests))
    return found


@pytest.mark.slow
def test_canonical_solutions_pass_and_those_that_return_none_do_not(best_pool: Pool, data_folder: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    problems = _problems(data_folder)
    assert len(problems) == 591

    def both(problem: tuple[str, str, str, dict[str, Any]]) -> tuple[str, float, float]:
        name, solution, entries, tests = problem
        nothing = "\n".join(f"def {entry}(*a, **k): return None" for entry in entries.split(","))
        return name, best_pool.judge(solution, tests).reward, best_pool.judge(nothing, tests).reward

    with ThreadPoolExecutor(2) as executor:
        rewards = list(executor.map(both, problems))
    assert [name for name, right, _ in rewards if right != 1.0] == []
    assert [name for name, _, nothing in rewards if nothing != 0.0] == []
    assert best_pool.trouble == 0
