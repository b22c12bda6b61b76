"""reasoning-gym behind our streams, splits and scoring."""

import pytest

import rlvr

pytest.importorskip("reasoning_gym", reason="the extra reasoning-gym is not installed")

from rlvr_envs.adapters.reasoning_gym import REFUSED, refusal

IDS = [env_id for env_id in rlvr.list_envs() if env_id.startswith("rg/")]


def test_ids_are_listed_and_none_of_them_is_refused():
    assert "rg/chain_sum-v0" in IDS
    assert not {env_id.removeprefix("rg/").removesuffix("-v0") for env_id in IDS} & set(REFUSED)
    assert "sympy" in refusal("rg/puzzle24-v0")


@pytest.mark.parametrize("env_id", ["rg/chain_sum-v0", "rg/basic_arithmetic-v0", "rg/knights_knaves-v0"])
def test_the_audit_passes(rlvr_audit, env_id):
    rlvr_audit(env_id, n=10)


def test_partial_credit_pays_nothing():
    task = rlvr.tasks("rg/chain_sum-v0", n=1)[0]
    score = rlvr.spec("rg/chain_sum-v0").judge(task, f"{task.answer} or so")
    assert score.reward == 0.0
    assert score.parts["credit"] > 0
