"""The audit in the tests of whoever writes environments: pytest finds this with rlvr installed.

def test_reward_cannot_be_had_for_nothing(rlvr_audit):
    rlvr_audit("acme/odd-units-v0", largest=99)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="session")
def rlvr_audit() -> Callable[..., Any]:
    """A function that audits an id with knobs and fails the test with the report; returns the report if it passes."""
    import rlvr

    def check(env_id: str, **settings: Any) -> rlvr.AuditReport:
        report = rlvr.audit(env_id, **settings)
        if not report.passed:
            pytest.fail(report.text(), pytrace=False)
        return report

    return check
