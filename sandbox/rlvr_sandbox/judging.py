"""From code and tests to a Score, on workers that somebody else provides."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from rlvr.errors import ConfigError
from rlvr.score import Score
from rlvr_sandbox.asserts import judge_asserts
from rlvr_sandbox.calls import Call, CaseResult, Gone, Session, TimeExceeded, judge_calls
from rlvr_sandbox.clock import Clock
from rlvr_sandbox.compare import Comparison, same_text
from rlvr_sandbox.execute import Execution, run_program
from rlvr_sandbox.guest import codec
from rlvr_sandbox.languages import Language, compile_job, run_job
from rlvr_sandbox.limits import Limits
from rlvr_sandbox.testspec import AssertTests, Checker, FunctionTests, StdioTests, Tests
from rlvr_sandbox.worker import Worker

_CHECKER_LIMITS = Limits(timeout_s=10.0, memory_mb=1024)
_MAX_CODE_CHARACTERS = 1 << 20
_NEEDS_PYTHON = "function and assert tests call into the solution, which only works for Python"

# After these the remaining cases are not run: they would cost as much again and the answer is wrong already.
_ENDS_IT = frozenset({"TLE", "MLE", "OLE", "CE"})


def judge_on(
    worker: Worker, helper: Callable[[], Worker], code: str, tests: Tests, limits: Limits, language: Language
) -> Score:
    """The Score of `code`. `helper` gives a second worker where a test needs one.

    Raises SandboxUnavailableError if something could not be run, ConfigError if the tests cannot be used.
    """
    if len(code) > _MAX_CODE_CHARACTERS:
        return _score([CaseResult("CE", f"longer than {_MAX_CODE_CHARACTERS} characters")], 1, worker)
    if isinstance(tests, StdioTests):
        results = _judge_stdio(worker, helper, code, tests, limits, language)
        return _score(results, len(tests.cases), worker)
    if language != "python":
        raise ConfigError(f"language {language!r} with function or assert tests: {_NEEDS_PYTHON}. No verdict.")
    if isinstance(tests, AssertTests):
        results, total = judge_asserts(worker, helper, code, tests, limits)
        return _score(results, total, worker)
    return _score(_judge_function(worker, helper, code, tests, limits), len(tests.cases), worker)


def _score(results: Sequence[CaseResult], total: int, worker: Worker) -> Score:
    passed = sum(result.verdict == "AC" for result in results)
    failed = next((result for result in results if result.verdict != "AC"), None)
    all_passed = failed is None and passed == total
    verdict = "AC" if failed is None else failed.verdict
    return Score(
        1.0 if all_passed else 0.0,
        parts={"tests_passed": min(passed, total) / total if passed < total or all_passed else (total - 1) / total},
        reason=f"{verdict}: {passed} of {total} passed",
        detail={
            "verdict": verdict,
            "verdicts": [result.verdict for result in results],
            "passed": passed,
            "total": total,
            "message": failed.message if failed else "",
            "level": worker.level,
        },
    )


def _judge_stdio(
    worker: Worker, helper: Callable[[], Worker], code: str, tests: StdioTests, limits: Limits, language: Language
) -> list[CaseResult]:
    job: dict[str, Any] = {"kind": "python", "code": code}
    if language != "python":
        built = compile_job(worker, code, language)
        if isinstance(built, Execution):
            return [CaseResult("CE", built.stderr[-500:].decode(errors="replace"))]
        job = run_job(language, built)
    results: list[CaseResult] = []
    for case in tests.cases:
        done = run_program(worker, job, case.stdin.encode("utf-8", "surrogatepass"), limits)
        results.append(_judge_output(done, case.stdin, case.stdouts, tests.checker, helper))
        if results[-1].verdict in _ENDS_IT:
            break
    return results


def _judge_output(
    done: Execution, stdin: str, stdouts: Sequence[str], checker: Checker, helper: Callable[[], Worker]
) -> CaseResult:
    if done.verdict != "OK":
        return CaseResult(done.verdict, done.stderr[-300:].decode(errors="replace"))
    try:
        text = done.stdout.decode()
    except UnicodeDecodeError:
        return CaseResult("WA", "the output is not UTF-8")
    if checker.kind == "code":
        accepts = functools.partial(_ask_checker, helper, checker.code, stdin, text)
    else:
        accepts = functools.partial(same_text, text, checker=checker)
    return CaseResult("AC" if any(map(accepts, stdouts)) else "WA")


def _judge_function(
    worker: Worker, helper: Callable[[], Worker], code: str, tests: FunctionTests, limits: Limits
) -> list[CaseResult]:
    comparison = Comparison(checker=tests.checker)

    def acceptor(case_args: Sequence[Any], expected: Sequence[Any]) -> Callable[[Any], bool]:
        if tests.checker.kind == "code":
            return lambda answer: any(
                _ask_checker(helper, tests.checker.code, list(case_args), answer, wanted, answer_is_encoded=True)
                for wanted in expected
            )
        return lambda answer: any(comparison.same(answer, wanted) for wanted in expected)

    calls = [
        Call(tests.entry, case.args, dict(case.kwargs), acceptor(case.args, case.expected)) for case in tests.cases
    ]
    return judge_calls(worker, code, calls, limits, reduce=True, each=True)


def _ask_checker(
    helper: Callable[[], Worker], code: str, given: Any, answer: Any, expected: Any, *, answer_is_encoded: bool = False
) -> bool:
    """What the task's own checker says, in a run of its own where the solution is only data."""
    if answer_is_encoded and _has_object(answer):
        return False
    worker = helper()
    with Session(worker, _CHECKER_LIMITS) as session:
        clock = Clock([worker], _CHECKER_LIMITS.timeout_s)
        try:
            loaded = session.ask({"op": "load", "code": code, "want": []}, clock)
            arguments = [codec.encode(value, _no_object) for value in (given, answer, expected)]
            if answer_is_encoded:
                arguments[1] = answer
            reply = session.ask({"op": "call", "n": "check", "a": arguments, "k": {}}, clock)
        except (TimeExceeded, Gone) as error:
            session.check_started("the checker was stopped")
            raise ConfigError(
                f"the checker of the tests did not answer ({type(error).__name__}); no verdict."
            ) from error
    if "v" not in reply:
        said = reply.get("exc", loaded)
        raise ConfigError(f"the checker of the tests failed ({str(said)[:200]}); there is no verdict on the program.")
    return reply["v"] is True


def _has_object(data: Any) -> bool:
    if isinstance(data, dict):
        return "h" in data or "cb" in data or any(map(_has_object, data.values()))
    return isinstance(data, list) and any(map(_has_object, data))


def _no_object(value: Any) -> Any:
    raise ConfigError(f"a test case holds a {type(value).__name__}; only plain values can be sent.")
