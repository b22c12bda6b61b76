"""A GRPO run that samples from a real vLLM."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rlvr
from rlvr.errors import EngineError
from rlvr.generation.engine import Request, Sampling
from rlvr.generation.vllm_replicas import open_servers
from rlvr.generation.vllm_server import VLLMServerEngine
from rlvr.generation.vllm_versions import vllm_version
from rlvr.tracking import read_metrics, read_rollouts, rollout_files
from rlvr.trajectory import Trajectory
from rlvr_trainers import GRPOConfig, train_grpo
from rlvr_trainers.checkpoint import list_checkpoints
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


def assert_learned(rows: list[dict[str, float]], by: float) -> None:
    """By how much the mean reward of the last three steps is above the first's."""
    first, last = rows[0]["reward"], sum(row["reward"] for row in rows[-3:]) / 3
    assert last > first + by, [row["reward"] for row in rows]


def assert_sampled_from_what_it_trained(folder: Path, rows: list[dict[str, float]]) -> None:
    """Sampling and training log-probabilities agree at every step, so every update was served before it was sampled from."""
    assert max(row["mismatch"] for row in rows) < 1e-5
    for step, path in rollout_files(folder / "run").items():
        assert {trajectory.weight_version for trajectory in read_rollouts(path)} == {step - 1}


def test_a_run_on_vllm_learns_like_one_on_transformers_and_samples_from_what_it_trained(tmp_path: Path) -> None:
    on_vllm = learn(tmp_path / "vllm", "vllm", max_num_seqs=64)
    on_transformers = learn(tmp_path / "transformers", "transformers")
    assert_learned(on_vllm, by=0.3)
    assert_learned(on_transformers, by=0.3)
    assert_sampled_from_what_it_trained(tmp_path / "vllm", on_vllm)


@pytest.mark.parametrize("engine", ["vllm", "vllm_server"])
def test_a_run_whose_adapters_are_served_learns_like_one_that_merges_them(tmp_path: Path, engine: str) -> None:
    lora = {"lora_rank": 4, "learning_rate": 1e-2}
    served = {**lora, "serve_adapters": True}
    as_adapters = learn(tmp_path / "adapters", engine, max_num_seqs=64, kv_cache_memory_mb=64, settings=served)
    merged = learn(tmp_path / "merged", "transformers", settings=lora)
    assert_learned(as_adapters, by=0.3)
    assert_learned(merged, by=0.3)
    assert_sampled_from_what_it_trained(tmp_path / "adapters", as_adapters)
    assert not list(Path("/dev/shm").glob(f"rlvr-adapter-{os.getpid()}-*"))


def test_a_run_on_two_servers_goes_on_when_one_of_them_is_killed(tmp_path: Path) -> None:
    """Not an episode is lost, none is judged by default, and every token comes from the weights that were trained."""
    killed: list[int] = []

    def kill_one_server(engine: Any) -> None:
        metrics = tmp_path / "run" / "metrics.jsonl"
        while not (metrics.exists() and metrics.read_text()):  # a first step is made
            time.sleep(0.01)
        killed.append(engine._dispatch.places[0].engine._connection.process._process.pid)
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


@rlvr.register("vllmtest/lower-case-v0")
def lower_case(rng: random.Random) -> rlvr.Task:
    return rlvr.Task("".join(rng.choice("0123456789") for _ in range(6)))


@lower_case.verifier
def share_of_lower_case(task: rlvr.Task, text: str) -> rlvr.Score:
    return rlvr.Score(sum(letter.islower() for letter in text) / max(1, len(text)))


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that ends an answer after a hundred tokens or so, so that answers are under way whenever something happens."""
    return build_tiny_model(tmp_path_factory.mktemp("talker") / "model", layers=1, hidden=64, heads=2, max_length=512)


@pytest.fixture(scope="module")
def two_servers(talker: Path) -> Iterator[Any]:
    engine = open_servers(talker, replicas=2, max_num_seqs=64, kv_cache_memory_mb=64, start_timeout_s=1500)
    yield engine
    engine.close()


@pytest.fixture
def one_server(two_servers: Any, talker: Path, tmp_path: Path) -> Iterator[VLLMServerEngine]:
    """The first of them by itself; weights travel to it through a folder that a test may take away."""
    (tmp_path / "transfer").mkdir()
    engine = VLLMServerEngine(
        two_servers._dispatch.places[0].engine._connection.url, talker, transfer_folder=tmp_path / "transfer"
    )
    yield engine
    engine.close()


def ahead(talker: Path, out: Path, **settings: Any) -> GRPOConfig:
    defaults = {
        "staleness": 1, "steps": 10, "prompts_per_step": 16, "group_size": 8, "max_tokens": 300, "learning_rate": 4e-3,
        "scoring_workers": 1, "engine": "vllm_server",
    }  # fmt: skip
    return GRPOConfig(model=str(talker), env="vllmtest/lower-case-v0", out=str(out), **{**defaults, **settings})


def steps_of(run: Path) -> list[dict[str, float]]:
    return [row for row in read_metrics(run) if row["step"] > 0]


def versions(trajectory: Trajectory) -> list[int]:
    return [span.weight_version for span in trajectory.spans]


def assert_in_flight(run: Path) -> None:
    """Every batch but the first was begun by the weights before the last update, and finished by the newest."""
    changed = 0
    for step, path in rollout_files(run).items():
        trajectories = list(read_rollouts(path))
        assert len(trajectories) == 16 * 8
        assert not any(trajectory.finish == "fault" for trajectory in trajectories)
        for trajectory in trajectories:
            assert set(versions(trajectory)) <= {max(step - 2, 0), step - 1}
            assert versions(trajectory) == sorted(versions(trajectory))
        changed += sum(len(versions(trajectory)) == 2 for trajectory in trajectories)
    assert changed > 0, "no answer was under way while weights changed"
    rows = steps_of(run)
    assert rows[0]["staleness"] == 0.0
    assert rows[0]["newest_weights_share"] == 1.0
    assert all(row["staleness"] == pytest.approx(1 - row["newest_weights_share"]) for row in rows)
    assert any(0 < row["staleness"] < 1 for row in rows)
    assert all(0 < row["importance_kept"] <= 2 for row in rows)


def test_a_run_one_step_ahead_on_servers_learns(two_servers: Any, talker: Path, tmp_path: Path) -> None:
    train_grpo(ahead(talker, tmp_path / "run"), engine=two_servers, quiet=True)
    rows = steps_of(tmp_path / "run")
    assert_learned(rows, by=0.15)
    assert [row["staleness"] for row in rows] == [0.0] + [1.0] * 9
    assert all(0 < row["importance_kept"] <= 2 for row in rows)
    for step, path in rollout_files(tmp_path / "run").items():
        assert {tuple(versions(trajectory)) for trajectory in read_rollouts(path)} == {(max(step - 2, 0),)}


def test_a_run_in_flight_learns_and_goes_on_from_its_checkpoint(
    one_server: VLLMServerEngine, talker: Path, tmp_path: Path
) -> None:
    config = ahead(talker, tmp_path / "run", in_flight="recompute", checkpoint_every=1, keep_checkpoints=99)
    train_grpo(config, engine=one_server, quiet=True)
    assert_learned(steps_of(tmp_path / "run"), by=0.15)
    assert_in_flight(tmp_path / "run")

    shutil.copytree(tmp_path / "run", tmp_path / "resumed")
    for later in list_checkpoints(tmp_path / "resumed" / "checkpoints")[4:]:
        shutil.rmtree(later)
    train_grpo(replace(config, out=str(tmp_path / "resumed"), steps=6), resume=True, engine=one_server, quiet=True)
    first, again = rollout_files(tmp_path / "run"), rollout_files(tmp_path / "resumed")
    assert list(again) == [1, 2, 3, 4, 5, 6]
    assert again[5].read_bytes() == first[5].read_bytes()  # the batch that was sampled in advance was in the checkpoint
    assert_in_flight(tmp_path / "resumed")


def test_a_run_in_flight_with_the_cache_kept_learns_on_two_servers(
    two_servers: Any, talker: Path, tmp_path: Path
) -> None:
    train_grpo(ahead(talker, tmp_path / "run", in_flight="keep"), engine=two_servers, quiet=True)
    assert_learned(steps_of(tmp_path / "run"), by=0.15)
    assert_in_flight(tmp_path / "run")


def when_a_step_is_logged(run: Path, act: Any) -> threading.Thread:
    def wait_and_act() -> None:
        log = run / "metrics.jsonl"
        while not (log.exists() and log.stat().st_size):
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait_and_act, daemon=True)
    thread.start()
    return thread


def test_an_update_that_fails_in_flight_ends_the_run_with_one_error_and_trains_on_nothing_more(
    one_server: VLLMServerEngine, talker: Path, tmp_path: Path
) -> None:
    acting = when_a_step_is_logged(tmp_path / "run", lambda: shutil.rmtree(tmp_path / "transfer"))
    with pytest.raises(EngineError, match=r"could not be written to .*transfer.*Nothing of this version is served"):
        train_grpo(ahead(talker, tmp_path / "run", in_flight="recompute"), engine=one_server, quiet=True)
    acting.join(10)
    made = len(steps_of(tmp_path / "run"))
    assert 1 <= made < 10
    # What was under way belonged to the step after the one whose update failed.
    assert list(rollout_files(tmp_path / "run")) == list(range(1, made + 2))
    with pytest.raises(EngineError, match="load a complete set"):
        one_server.generate([Request([5], seed=0)], Sampling(max_tokens=2))


def test_a_run_in_flight_goes_on_when_one_of_two_servers_is_killed(
    two_servers: Any, talker: Path, tmp_path: Path
) -> None:
    """The last test: one server is gone afterwards, or on its way back."""
    killed: list[int] = []

    def kill_one_server() -> None:
        killed.append(two_servers._dispatch.places[0].engine._connection.process._process.pid)
        os.killpg(killed[0], 9)

    when_a_step_is_logged(tmp_path / "run", kill_one_server)
    train_grpo(ahead(talker, tmp_path / "run", in_flight="recompute", steps=8), engine=two_servers, quiet=True)
    assert killed
    assert len(steps_of(tmp_path / "run")) == 8
    assert_in_flight(tmp_path / "run")
