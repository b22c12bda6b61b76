"""A run whose verifiers are Ray actors is the run whose verifiers are processes."""

from pathlib import Path

import pytest

from rlvr.tracking import read_metrics, read_rollouts, rollout_files
from rlvr_trainers.grpo import GRPOConfig, train_grpo

ray = pytest.importorskip("ray", reason="Ray is not installed here; pip install rlvr[ray]")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:all_groups_dead")
def test_a_run_scored_by_ray_actors_is_the_run_scored_by_processes(tiny_model, last_letter, tmp_path: Path):
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    try:
        for backend in ("processes", "ray"):
            config = GRPOConfig(
                model=str(tiny_model), env=last_letter, out=str(tmp_path / backend), steps=3, prompts_per_step=8,
                group_size=8, max_tokens=4, scoring_workers=2, scoring_backend=backend, learning_rate=5e-3,
            )  # fmt: skip
            train_grpo(config, quiet=True)
    finally:
        ray.shutdown()
    ours, theirs = (
        [[t.score for t in read_rollouts(path)] for path in rollout_files(tmp_path / backend).values()]
        for backend in ("processes", "ray")
    )
    assert len(ours) == 3
    assert ours == theirs
    rewards = [[row["reward"] for row in read_metrics(tmp_path / backend)] for backend in ("processes", "ray")]
    assert rewards[0] == rewards[1]
    assert max(rewards[0]) > 0
