"""Every environment there is keeps the contract: built-in ones, and those of the example plugin."""

import warnings

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import rlvr
from rlvr import plugins
from rlvr.errors import ConfigError

IDS = sorted(plugins.declared_ids())  # and not what other tests have registered
ONE_BY_ONE = [env_id for env_id in IDS if not env_id.startswith("rg/")]
"""Those of reasoning-gym, whose import takes a second in each process, are audited together beside their adapter."""


def ready(env_id):
    """The environment, or a skip that says which data set is not here."""
    try:
        env = rlvr.make(env_id)
        env.reset(seed=0, options={} if rlvr.spec(env_id).count("train", env._knobs) != 0 else {"split": "eval"})
        return env
    except ConfigError as fault:
        if rlvr.spec(env_id).kind != "rows":
            raise
        pytest.skip(f"its data set is not here: {fault}")


def test_there_are_environments():
    assert len(IDS) >= 140


@pytest.mark.parametrize("env_id", IDS)
def test_the_checker_of_gymnasium_has_nothing_to_say(env_id):
    env = ready(env_id)
    split = "eval" if env.env_spec.count("train", env._knobs) == 0 else "train"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(env_id, split=split).unwrapped)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ONE_BY_ONE)
def test_the_audit_passes(env_id):
    ready(env_id)
    report = rlvr.audit(env_id, n=12)
    assert report.passed, report.text()
