"""What a plugin's author should check: that the audit passes."""

import pytest


@pytest.mark.parametrize("env_id", ["acme/odd-units-v0", "acme/balance-v0", "acme/shelf-robot-v0"])
def test_the_reward_cannot_be_had_for_nothing(rlvr_audit, env_id):
    rlvr_audit(env_id, n=20)
