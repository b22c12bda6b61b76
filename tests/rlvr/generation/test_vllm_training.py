"""A GRPO run that samples from a real vLLM."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import rlvr
from rlvr.generation.vllm_versions import vllm_version
from rlvr.tracking import read_metrics, read_rollouts, rollout_files
from rlvr_trainers import GRPOConfig, train_grpo
from rlvr_trainers.tiny import build_tiny_model

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:all_groups_dead"),  # a task this easy is solved before the last step
    pytest.mark.skipif(vllm_version() is None, reason="vLLM is not installed here; `make vllm` tests it"),
]


@rlvr.register("vllmtest/early-letter-v0")
def early_letter(rng: random.Random) -> rlvr.Task:
    return rlvr.Task("".join(rng.choice("abcd") for _ in range(6)))


@early_letter.verifier
def check(task: rlvr.Task, text: str) -> rlvr.Score:
    return rlvr.Score(float(text[:1] in ("a", "b")))


def learn(folder: Path, engine: str, *, steps: int = 12, **options: Any) -> list[dict[str, float]]:
    model = build_tiny_model(folder / "model", alphabet="abcd\n", layers=1, hidden=64, heads=2, max_length=64)
    config = GRPOConfig(
        model=str(model),
        env="vllmtest/early-letter-v0",
        out=str(folder / "run"),
        engine=engine,  # type: ignore[arg-type]
        engine_options=options,
        steps=steps,
        prompts_per_step=16,
        group_size=8,
        max_tokens=3,
        learning_rate=2e-3,
        keep_dead_groups=True,  # so that every step makes an update, and versions are steps
        scoring_workers=1,
    )
    train_grpo(config, quiet=True)
    return [row for row in read_metrics(folder / "run") if row["step"] > 0]


def test_a_run_on_vllm_learns_like_one_on_transformers_and_samples_from_what_it_trained(tmp_path: Path) -> None:
    on_vllm = learn(tmp_path / "vllm", "vllm", max_num_seqs=64)
    on_transformers = learn(tmp_path / "transformers", "transformers")
    for rows in (on_vllm, on_transformers):
        first, last = rows[0]["reward"], sum(row["reward"] for row in rows[-3:]) / 3
        assert last > first + 0.3, [row["reward"] for row in rows]
    # Sampling and training log-probabilities agree at every step, so every update was served before it was sampled from.
    assert max(row["mismatch"] for row in on_vllm) < 1e-5
    for step, path in rollout_files(tmp_path / "vllm" / "run").items():
        assert {trajectory.weight_version for trajectory in read_rollouts(path)} == {step - 1}


def test_a_run_on_two_servers_samples_from_what_it_trained(tmp_path: Path) -> None:
    rows = learn(
        tmp_path, "vllm_server", steps=4, replicas=2, max_num_seqs=64, kv_cache_memory_mb=64, start_timeout_s=1500
    )
    assert len(rows) == 4
    assert max(row["mismatch"] for row in rows) < 1e-5
    for step, path in rollout_files(tmp_path / "run").items():
        assert {trajectory.weight_version for trajectory in read_rollouts(path)} == {step - 1}
