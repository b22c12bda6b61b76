"""One step off-policy: the next batch is sampled during the update, by weights exactly one step older than those it trains."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import rlvr
from rlvr.errors import ConfigError
from rlvr.generation.transformers import TransformersEngine
from rlvr.generation.vllm_versions import vllm_version
from rlvr.tokens import Span
from rlvr.tracking import read_metrics, read_rollouts, rollout_files
from rlvr.trajectory import Trajectory
from rlvr_trainers.ahead import Ahead, token_age
from rlvr_trainers.checkpoint import list_checkpoints
from rlvr_trainers.grpo import GRPOConfig, train_grpo
from rlvr_trainers.ppo import PPOConfig, train_ppo
from rlvr_trainers.rollouts import Collected


def small(model: Path, env: str, out: Path, **settings) -> GRPOConfig:
    defaults = {
        "steps": 4, "prompts_per_step": 16, "group_size": 8, "max_tokens": 4, "learning_rate": 4e-3, "scoring_workers": 1,
        "staleness": 1, "keep_dead_groups": True,
    }  # fmt: skip
    return GRPOConfig(model=str(model), env=env, out=str(out), **{**defaults, **settings})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_what_was_begun_is_what_is_taken_and_nothing_is_drawn_twice():
    ahead, drawn = Ahead(), []

    def draw(step: int) -> Collected:
        drawn.append((step, threading.current_thread() is threading.main_thread()))
        return Collected(refilled=step)

    assert ahead.take(1, draw).refilled == 1
    ahead.start(2, draw)
    ahead.settle()
    ahead.start(2, draw)
    again = Ahead()
    again.load_state_dict(ahead.state_dict())
    assert again.take(2, draw).refilled == ahead.take(2, draw).refilled == 2
    assert drawn == [(1, False), (2, False)]
    ahead.start(3, lambda step: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        ahead.settle()
    ahead.close()
    again.close()


@pytest.mark.slow
def test_a_step_is_sampled_by_the_weights_before_the_last_update_and_corrected_for(tiny_model, last_letter, tmp_path):
    train_grpo(
        small(tiny_model, last_letter, tmp_path / "run", num_minibatches=2, eval_tasks=2, eval_every=1), quiet=True
    )
    versions = [{t.weight_version for t in read_rollouts(path)} for path in rollout_files(tmp_path / "run").values()]
    assert versions == [{0}, {0}, {2}, {4}]
    rows = [row for row in read_metrics(tmp_path / "run") if row["step"]]
    assert [row["staleness"] for row in rows] == [0.0, 2.0, 2.0, 2.0]
    assert rows[0]["mismatch"] < 1e-5 < 1e-3 < rows[2]["mismatch"]
    assert all(0 < row["importance_kept"] <= 2 for row in rows)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:all_groups_dead")
def test_a_run_that_samples_ahead_begins_like_one_that_does_not_and_learns_too(tiny_model, say_b, tmp_path):
    curves = []
    for staleness in (0, 1):
        config = small(
            tiny_model, say_b, tmp_path / str(staleness), steps=20, num_iterations=2, num_minibatches=2, rollouts_every=0,
            keep_dead_groups=False, staleness=staleness, seed=0,
        )  # fmt: skip
        train_grpo(config, quiet=True)
        curves.append([row["reward"] for row in read_metrics(tmp_path / str(staleness))])
    assert curves[0][0] == curves[1][0] < 0.2
    assert sum(curves[1][-3:]) / 3 > 0.8


@pytest.mark.slow
def test_a_run_that_samples_ahead_goes_on_bit_for_bit_from_every_checkpoint(tiny_model, last_letter, tmp_path):
    config = small(
        tiny_model, last_letter, tmp_path / "whole", steps=3, num_minibatches=2, checkpoint_every=1, keep_checkpoints=99
    )
    whole = train_grpo(config, quiet=True)
    checkpoints = list_checkpoints(tmp_path / "whole" / "checkpoints")
    assert len(checkpoints) == 6
    for number, checkpoint in enumerate(checkpoints[:-1]):
        out = tmp_path / f"resumed-{number}"
        shutil.copytree(tmp_path / "whole", out)
        for later in list_checkpoints(out / "checkpoints")[number + 1 :]:
            shutil.rmtree(later)
        resumed = train_grpo(replace(config, out=str(out)), resume=True, quiet=True)
        assert same(weights(resumed.model), weights(whole.model)), checkpoint.name
        for ours, theirs in zip(rollout_files(out).values(), rollout_files(tmp_path / "whole").values(), strict=True):
            assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.slow
def test_ppo_samples_ahead_too(tiny_model, last_letter, tmp_path):
    config = PPOConfig(
        model=str(tiny_model), env=last_letter, out=str(tmp_path / "run"), steps=3, prompts_per_step=64, max_tokens=4,
        learning_rate=1e-2, critic_learning_rate=1e-2, scoring_workers=1, staleness=1,
    )  # fmt: skip
    train_ppo(config, quiet=True)
    assert [row["staleness"] for row in read_metrics(tmp_path / "run")] == [0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"staleness": 2}, "staleness is 2"),
        ({"importance": "none"}, "importance = 'none' with staleness = 1"),
        ({"replay": "somewhere"}, "the rollouts come from 'somewhere'"),
        ({"in_flight": "recompute", "staleness": 0}, "in_flight = 'recompute' changes weights .* Set staleness = 1"),
        ({"in_flight": "keep", "engine": "transformers"}, "engine = 'transformers' cannot. Set engine = 'vllm_server'"),
        ({"in_flight": "keep", "engine": "vllm"}, "engine = 'vllm' cannot. Set engine = 'vllm_server'"),
        (
            {"in_flight": "keep", "engine": "vllm_server", "lora_rank": 4, "serve_adapters": True},
            "by the adapter it began with. Set serve_adapters = false",
        ),
        ({"in_flight": "kept"}, "in_flight 'kept' is not known. Did you mean 'keep'"),
    ],
)
def test_settings_that_do_not_go_with_it_are_refused(tiny_model, last_letter, tmp_path, settings, named):
    with pytest.raises(ConfigError, match=named):
        small(tiny_model, last_letter, tmp_path / "run", **settings)


def test_the_engine_inside_the_training_process_is_refused(tiny_model, last_letter, tmp_path):
    with pytest.raises(ConfigError, match="vllm_server"):
        train_grpo(small(tiny_model, last_letter, tmp_path / "run", engine="vllm"), quiet=True)


def test_an_engine_whose_weights_cannot_change_while_it_samples_is_refused(tiny_model, last_letter, tmp_path):
    config = small(tiny_model, last_letter, tmp_path / "run", in_flight="keep")
    with pytest.raises(ConfigError, match="was given a TransformersEngine"):
        train_grpo(config, engine=TransformersEngine(tiny_model), quiet=True)


@pytest.mark.skipif(vllm_version() is not None, reason="vLLM is installed here")
def test_in_flight_asks_for_servers_where_vllm_is_missing(tiny_model, last_letter, tmp_path):
    with pytest.raises(ConfigError, match="vLLM is not installed"):
        train_grpo(small(tiny_model, last_letter, tmp_path / "run", in_flight="keep"), quiet=True)


def test_the_age_of_tokens_is_counted_by_what_each_version_sampled():
    def episode(*spans: Span, earlier: tuple[Trajectory, ...] = ()) -> Trajectory:
        return Trajectory(
            rlvr.Task("p"), [], [], [], None, "stop", 0, 1, [], [], 0, 0, 0, list(spans), earlier
        )  # fmt: skip

    begun = episode(Span(3, 2, 8), Span(5, 8, 10))  # 6 tokens two updates old, 2 new ones
    rewritten = episode(Span(5, 4, 8), earlier=(episode(Span(4, 1, 9)),))  # 4 new ones, 8 one update old
    age = token_age(Collected(live=[[begun]], dead=[[rewritten]]), 5)
    assert age == {"staleness": (6 * 2 + 8 * 1) / 20, "newest_weights_share": 6 / 20}
    assert token_age(Collected(live=[[episode()]]), 5) == {"staleness": 0.0, "newest_weights_share": 0.0}
