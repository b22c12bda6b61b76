"""A GRPO run that samples from a real vLLM."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import rlvr
from rlvr.generation.vllm_replicas import open_servers
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


def tiny_model(folder: Path) -> Path:
    return build_tiny_model(folder / "model", alphabet="abcd\n", layers=1, hidden=64, heads=2, max_length=64)


def learn(
    folder: Path,
    engine: str,
    *,
    steps: int = 12,
    opened: Any = None,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> list[dict[str, float]]:
    config = GRPOConfig(
        model=str(tiny_model(folder)),
        env="vllmtest/early-letter-v0",
        out=str(folder / "run"),
        engine=engine,  # type: ignore[arg-type]
        engine_options=options,
        steps=steps,
        prompts_per_step=16,
        group_size=8,
        max_tokens=3,
        keep_dead_groups=True,  # so that every step makes an update, and versions are steps
        scoring_workers=1,
        **{"learning_rate": 2e-3, **(settings or {})},
    )
    train_grpo(config, engine=opened, quiet=True)
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


@pytest.mark.parametrize("engine", ["vllm", "vllm_server"])
def test_a_run_whose_adapters_are_served_learns_like_one_that_merges_them(tmp_path: Path, engine: str) -> None:
    lora = {"lora_rank": 4, "learning_rate": 1e-2}
    served = {**lora, "serve_adapters": True}
    as_adapters = learn(tmp_path / "adapters", engine, max_num_seqs=64, kv_cache_memory_mb=64, settings=served)
    merged = learn(tmp_path / "merged", "transformers", settings=lora)
    for rows in (as_adapters, merged):
        first, last = rows[0]["reward"], sum(row["reward"] for row in rows[-3:]) / 3
        assert last > first + 0.3, [row["reward"] for row in rows]
    assert max(row["mismatch"] for row in as_adapters) < 1e-5
    for step, path in rollout_files(tmp_path / "adapters" / "run").items():
        assert {trajectory.weight_version for trajectory in read_rollouts(path)} == {step - 1}
    assert not list(Path("/dev/shm").glob("rlvr-adapter-*"))


def test_a_run_on_two_servers_goes_on_when_one_of_them_is_killed(tmp_path: Path) -> None:
    """Not an episode is lost, none is judged by default, and every token comes from the weights that were trained."""
    killed: list[int] = []

    def kill_one_server(engine: Any) -> None:
        while not (tmp_path / "run" / "metrics.jsonl").exists():
            time.sleep(0.01)
        killed.append(engine._places[0].engine._server._process.pid)
        os.killpg(killed[0], 9)

    model = tiny_model(tmp_path)
    engine = open_servers(model, replicas=2, max_num_seqs=64, kv_cache_memory_mb=64, start_timeout_s=1500)
    try:
        threading.Thread(target=kill_one_server, args=(engine,), daemon=True).start()
        rows = learn(tmp_path, "vllm_server", steps=8, opened=engine)
    finally:
        engine.close()
    assert killed
    assert len(rows) == 8
    assert max(row["mismatch"] for row in rows) < 1e-5
    for step, path in rollout_files(tmp_path / "run").items():
        trajectories = list(read_rollouts(path))
        assert len(trajectories) == 16 * 8
        assert {trajectory.weight_version for trajectory in trajectories} == {step - 1}
        assert not any(trajectory.finish == "fault" for trajectory in trajectories)
