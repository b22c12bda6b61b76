"""What a plugin's author should check: that the audit passes."""

import pytest

import rlvr


@pytest.mark.parametrize("env_id", ["acme/odd-units-v0", "acme/balance-v0", "acme/shelf-robot-v0"])
def test_reward_cannot_be_had_for_nothing(env_id):
    report = rlvr.audit(env_id, n=20)
    assert report.passed, report.text()
