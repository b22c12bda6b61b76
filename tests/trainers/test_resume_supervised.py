"""Stages that learn from fixed examples go on bit for bit from any checkpoint, and say where nothing is left to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import rlvr
from rlvr import registry
from rlvr.errors import CheckpointError, ConfigError
from rlvr.generation.loading import load_tokenizer
from rlvr.score import Score
from rlvr.task import Task
from rlvr.tracking import RunFolder, read_metrics
from rlvr.trajectory import Trajectory
from rlvr_trainers.checkpoint import STATE_FILE, list_checkpoints
from rlvr_trainers.dpo import DPOConfig, train_dpo
from rlvr_trainers.reward_model import RewardModelConfig, train_reward_model
from rlvr_trainers.rft import RFTConfig, train_rft
from rlvr_trainers.sft import SFTConfig, train_sft
from rlvr_trainers.starting import progress_of
from rlvr_trainers.tiny import build_tiny_model

EVERY = {"steps": 5, "batch_size": 8, "learning_rate": 3e-3, "checkpoint_every": 1, "keep_checkpoints": 99, "warmup": 2}
TIMES = ("seconds", "tokens_per_s")


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of 12 tasks with three right and two wrong answers each: an epoch of 8 pairs or answers ends inside a run."""
    folder = tmp_path_factory.mktemp("sampled")
    build_tiny_model(folder / "model", alphabet="abcd\n", layers=1, hidden=32, heads=2)
    tokenizer = load_tokenizer(folder / "model")
    episodes = []
    for number in range(12):
        prompt = "abcd"[number % 4] + "abcd"[number // 4]
        for text in ("ab", "aab", "a", "b", "ba"):
            before = tokenizer.encode(prompt + "\n")
            answer = [*tokenizer.encode(text), tokenizer.eos_token_id]
            mask = [False] * len(before) + [True] * len(answer)
            score = Score(float(text.startswith("a")))
            episodes.append(
                Trajectory(
                    Task(prompt, env_id="test/letters-v0"), before + answer, mask, [-1.0 * mine for mine in mask], score,
                    "stop", 0, 1, [text], [], 0, 0, len(before),
                )
            )  # fmt: skip
    run = RunFolder(folder / "run", config_toml="")
    run.write_rollouts(1, episodes)
    run.close()
    return folder


def timeless(run: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(run)]


def same(a: Path, b: Path) -> bool:
    one, two = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def goes_on_bit_for_bit(train: Callable[..., Path], config: Any, steps: int) -> None:
    """Train whole, then from every checkpoint that the run left, and compare weights and metrics."""
    whole = Path(config.out)
    made = train(config, quiet=True)
    checkpoints = list_checkpoints(whole / "checkpoints")
    assert len(checkpoints) == steps
    for number, checkpoint in enumerate(checkpoints[:-1], 1):
        out = whole.with_name(f"resumed-{number}")
        shutil.copytree(whole, out)
        for later in list_checkpoints(out / "checkpoints")[number:]:
            shutil.rmtree(later)
        resumed = train(replace(config, out=str(out)), resume=True, quiet=True)
        assert same(resumed, made), checkpoint.name
        assert timeless(out) == timeless(whole), checkpoint.name
        assert progress_of(resumed) == progress_of(made)


@pytest.mark.slow
def test_supervised_learning_goes_on_from_every_update_across_epochs(sampled, tmp_path):
    config = SFTConfig(
        model=str(sampled / "model"),
        rollouts=str(sampled / "run"),
        out=str(tmp_path / "whole"),
        token_budget=60,
        **EVERY,
    )
    goes_on_bit_for_bit(train_sft, config, 5)
    with pytest.raises(ConfigError, match="ended at step 5 and steps is 5: nothing is left to do"):
        train_sft(config, resume=True, quiet=True)


@pytest.mark.slow
def test_preferences_go_on_from_every_update_with_the_reference_they_began_with(sampled, tmp_path):
    config = DPOConfig(
        model=str(sampled / "model"),
        pairs=str(sampled / "run"),
        out=str(tmp_path / "whole"),
        beta=0.5,
        held_out=0.2,
        **EVERY,
    )
    goes_on_bit_for_bit(train_dpo, config, 5)


@pytest.mark.slow
def test_a_reward_model_goes_on_from_every_update(sampled, tmp_path):
    config = RewardModelConfig(
        model=str(sampled / "model"), pairs=str(sampled / "run"), out=str(tmp_path / "whole"), held_out=0.2, **EVERY
    )
    goes_on_bit_for_bit(train_reward_model, config, 5)


@pytest.mark.slow
def test_rejection_sampling_goes_on_after_any_round(sampled, say_b, tmp_path):
    config = RFTConfig(
        model=str(sampled / "model"), env=say_b, out=str(tmp_path / "whole"), rounds=3, prompts=64, group_size=16,
        keep_per_task=1, epochs=4, batch_size=4, learning_rate=3e-3, max_tokens=4, scoring_workers=1,
    )  # fmt: skip
    made = train_rft(config, quiet=True)
    assert [path.name for path in list_checkpoints(tmp_path / "whole" / "checkpoints")] == [
        "step-000002",
        "step-000003",
    ]
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed" / "checkpoints" / "step-000003")  # cut off while the third round learned
    resumed = train_rft(replace(config, out=str(tmp_path / "resumed")), resume=True, quiet=True)
    assert same(resumed, made)
    assert timeless(tmp_path / "resumed") == timeless(tmp_path / "whole")
    with pytest.raises(ConfigError, match="3 of 3 rounds"):
        train_rft(config, resume=True, quiet=True)


@pytest.mark.slow
def test_a_cold_start_that_stopped_by_accuracy_has_nothing_left_to_do(sampled, tmp_path):
    @rlvr.register("test/any-letter-v0")
    def any_letter(rng):
        return rlvr.Task("".join(rng.choice("abcd") for _ in range(2)), answer="a")

    @any_letter.verifier
    def check(task, text):
        return rlvr.Score(1.0)

    @any_letter.worked_solution
    def solution(task):
        return "a"

    config = SFTConfig(
        model=str(sampled / "model"), env="test/any-letter-v0", out=str(tmp_path / "run"), examples=12, max_tokens=8,
        stop_at_accuracy=0.01, accuracy_every=2, accuracy_tasks=20, **{**EVERY, "steps": 50, "learning_rate": 1e-2},
    )  # fmt: skip
    try:
        made = train_sft(config, quiet=True)
        step, ended = progress_of(made)
        assert ended == "accuracy"
        assert step in range(2, 50, 2)
        with pytest.raises(ConfigError, match=rf"ended at step {step} \(accuracy\)"):
            train_sft(config, resume=True, quiet=True)
    finally:
        registry._specs.pop("test/any-letter-v0")


def test_a_checkpoint_of_another_model_and_a_torn_one_are_refused(sampled, tmp_path):
    config = SFTConfig(
        model=str(sampled / "model"), rollouts=str(sampled / "run"), out=str(tmp_path / "run"), **{**EVERY, "steps": 2}
    )
    train_sft(config, quiet=True)
    newest = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    other = build_tiny_model(tmp_path / "other", alphabet="abcd\n", layers=1, hidden=16, heads=2)
    for name in ("model.safetensors", "config.json"):
        shutil.copy(other / name, newest)
    with pytest.raises(CheckpointError, match="another model"):
        train_sft(replace(config, steps=3), resume=True, quiet=True)
    (newest / STATE_FILE).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="damaged"):
        progress_of(newest)
