"""Assert tests: lifted to calls where that means the same, else in a tester process of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args

from rlvr_sandbox.calls import CaseResult, Gone, Session, TimeExceeded, judge_calls
from rlvr_sandbox.clock import Clock
from rlvr_sandbox.compare import OpaqueAnswer
from rlvr_sandbox.lifting import lift, shadowed_names
from rlvr_sandbox.limits import Limits, Verdict
from rlvr_sandbox.testspec import AssertTests
from rlvr_sandbox.worker import Worker

_TESTER_MEMORY_MB = 1024
_VERDICTS = frozenset(get_args(Verdict))


def judge_asserts(
    worker: Worker, helper: Callable[[], Worker], code: str, tests: AssertTests, limits: Limits
) -> tuple[list[CaseResult], int]:
    """(verdicts, number of asserts); fewer verdicts than asserts if something ended the test early."""
    calls = lift(tests)
    if calls is not None:
        try:
            return judge_calls(worker, code, calls, limits, reduce=False, each=False), len(calls)
        except OpaqueAnswer:
            pass  # an object came back: what it is equal to, only the test itself can say
    return _run_tester(worker, helper(), code, tests, limits)


def _run_tester(
    worker: Worker, helper: Worker, code: str, tests: AssertTests, limits: Limits
) -> tuple[list[CaseResult], int]:
    job = {
        "code": code,
        "test": tests.code,
        "prelude": tests.prelude,
        "names": list(shadowed_names(tests)),
    }
    tester_limits = Limits(limits.timeout_s, max(limits.memory_mb, _TESTER_MEMORY_MB))
    with (
        Session(worker, limits) as solution,
        Session(helper, tester_limits, kind="test", job=job, beside=solution) as tester,
    ):
        clock = Clock([worker, helper], limits.timeout_s)
        try:
            report = tester.receive(clock)
            results = [CaseResult(_verdict(verdict)) for verdict in report["cases"]]
        except TimeExceeded:
            solution.check_started("until its time was over")
            tester.check_started("until its time was over")
            return [CaseResult("TLE")], 1
        except Gone:
            return [CaseResult(tester.died_of(), "the test itself did not come to its end")], 1
        if report["gone"]:
            results[-1] = CaseResult(solution.died_of(), str(report["error"])[:300])
        elif report["error"]:
            first = next(place for place, result in enumerate(results) if result.verdict != "AC")
            results[first] = CaseResult(results[first].verdict, str(report["error"])[:300])
        return results, int(report["total"])


def _verdict(name: Any) -> Verdict:
    if name not in _VERDICTS:
        raise ValueError(f"unknown verdict {name!r}")
    return cast(Verdict, name)
