"""Each algorithm must learn something, in seconds: a random model to a stated reward, from nothing but rewards.

The model starts at about 0.05: it must come to say b first, and to stop in time.
"""

from __future__ import annotations

import pytest

from rlvr.tracking import read_metrics
from rlvr_trainers.grpo import GRPOConfig, train_grpo
from rlvr_trainers.ppo import PPOConfig, train_ppo
from rlvr_trainers.rft import RFTConfig, train_rft

COMMON = {"max_tokens": 4, "rollouts_every": 0, "scoring_workers": 1, "seed": 0}
GROUPS = {**COMMON, "prompts_per_step": 16, "group_size": 8}
CLIPPED = {"learning_rate": 4e-3, "num_iterations": 2, "num_minibatches": 2}
ON_POLICY = {"learning_rate": 8e-3, "loss": "reinforce"}


def rewards(run) -> list[float]:
    return [row["reward"] for row in read_metrics(run) if row["step"]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:all_groups_dead")  # once every answer is right
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"steps": 18, **CLIPPED}, id="grpo"),
        pytest.param({"steps": 18, "loss": "ppo", "advantage": "leave_one_out", **CLIPPED}, id="rloo"),
        pytest.param({"steps": 35, "advantage": "batch_mean", **ON_POLICY}, id="reinforce"),
    ],
)
def test_groups_and_baselines_lift_a_random_model_above_eight_tenths(tiny_model, say_b, tmp_path, settings):
    config = GRPOConfig(model=str(tiny_model), env=say_b, out=str(tmp_path / "run"), **GROUPS, **settings)
    train_grpo(config, quiet=True)
    curve = rewards(tmp_path / "run")
    assert curve[0] < 0.2
    assert sum(curve[-3:]) / 3 > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["own", "shared"])
def test_ppo_lifts_a_random_model_and_its_critic_learns_what_to_expect(tiny_model, say_b, tmp_path, critic):
    config = PPOConfig(
        model=str(tiny_model), env=say_b, out=str(tmp_path / "run"), critic=critic, steps=18, prompts_per_step=128,
        critic_learning_rate=2e-3, whiten=False, **CLIPPED, **COMMON,
    )  # fmt: skip
    train_ppo(config, quiet=True)
    curve = rewards(tmp_path / "run")
    assert curve[0] < 0.2
    assert sum(curve[-3:]) / 3 > 0.8
    values = [row["value_mean"] for row in read_metrics(tmp_path / "run")]
    assert values[0] == 0.0
    assert values[-1] > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("from_start", [False, True])
def test_rejection_sampling_lifts_a_random_model_round_by_round(tiny_model, say_b, tmp_path, from_start):
    config = RFTConfig(
        model=str(tiny_model), env=say_b, out=str(tmp_path / "run"), rounds=2, from_start=from_start, prompts=64,
        group_size=32, keep_per_task=1, epochs=10, batch_size=4, learning_rate=3e-3, max_tokens=4, scoring_workers=1,
    )  # fmt: skip
    folder = train_rft(config, quiet=True)
    first, second = read_metrics(tmp_path / "run")
    assert first["accuracy"] < 0.02
    assert second["accuracy"] > 10 * first["accuracy"]
    assert folder == tmp_path / "run" / "checkpoints" / "step-000002"
