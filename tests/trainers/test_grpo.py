"""GRPO does what its seven steps say, goes on bit for bit after a kill, and fails aloud where nothing is learned."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import rlvr
from rlvr import registry
from rlvr.config import load_config
from rlvr.errors import CheckpointError, ConfigError, EnvironmentFault
from rlvr.generation.loading import load_tokenizer
from rlvr.generation.scripted import ScriptedEngine
from rlvr.generation.transformers import TransformersEngine
from rlvr.tracking import read_metrics, read_rollouts, rollout_files
from rlvr_trainers.checkpoint import list_checkpoints
from rlvr_trainers.grpo import GRPOConfig, train_grpo
from rlvr_trainers.health import DEAD_STEPS, TrainingError, TrainingWarning
from rlvr_trainers.sampler import EnvConfig
from rlvr_trainers.tiny import build_tiny_model


def small(model: Path, env: str, out: Path, **settings) -> GRPOConfig:
    defaults = {
        "steps": 2, "prompts_per_step": 16, "group_size": 8, "max_tokens": 4, "learning_rate": 4e-3, "scoring_workers": 1,
    }  # fmt: skip
    return GRPOConfig(model=str(model), env=env, out=str(out), **{**defaults, **settings})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def timeless(run: Path) -> list[dict[str, float]]:
    return [
        {k: v for k, v in row.items() if not k.startswith("time/") and k != "tokens_per_s"} for row in read_metrics(run)
    ]


@pytest.fixture
def rows_env():
    """An environment of eight rows, of which two stand in the eval split."""
    rlvr.register(
        "test/rows-v0",
        rows=lambda: [
            {"q": a + b, "answer": "b", "split": "test" if a == "d" else "train"} for a in "abcd" for b in "ab"
        ],
        prompt="{q}",
        split="split",
        verify=lambda task, text: rlvr.Score(float(text.startswith("b"))),
    )
    yield "test/rows-v0"
    registry._specs.pop("test/rows-v0")


@pytest.fixture
def paid_rows_env():
    """An environment of six rows that pays for every answer."""
    rlvr.register(
        "test/paid-rows-v0",
        rows=lambda: [{"q": a * 3, "answer": "", "split": "test" if a == "\n" else "train"} for a in "abcdef\n"],
        prompt="{q}",
        split="split",
        verify=lambda task, text: rlvr.Score(1.0),
    )
    yield "test/paid-rows-v0"
    registry._specs.pop("test/paid-rows-v0")


@pytest.fixture
def constant_env():
    """An environment that pays the same for every answer."""

    @rlvr.register("test/constant-v0", pays=0.0)
    def constant(rng, pays):
        return rlvr.Task("".join(rng.choice("abcd") for _ in range(6)))

    @constant.verifier
    def check(task, text):
        return rlvr.Score(task.knobs["pays"])

    yield "test/constant-v0"
    registry._specs.pop("test/constant-v0")


@pytest.fixture
def drying_env():
    """An environment that pays for a and b in its first two tasks and for nothing in all others."""

    @rlvr.register("test/drying-v0")
    def drying(rng):
        return rlvr.Task("".join(rng.choice("abcd") for _ in range(6)))

    @drying.verifier
    def check(task, text):
        return rlvr.Score(float(task.index < 2 and text.startswith(("a", "b"))))

    yield "test/drying-v0"
    registry._specs.pop("test/drying-v0")


@pytest.fixture
def levels_env():
    """An environment of three levels that pays for every answer."""

    @rlvr.register("test/easy-levels-v0", size=2, levels=[{"size": 2}, {"size": 4}, {"size": 6}])
    def levels(rng, size):
        return rlvr.Task("".join(rng.choice("abcd") for _ in range(size)))

    @levels.verifier
    def check(task, text):
        return rlvr.Score(1.0)

    yield "test/easy-levels-v0"
    registry._specs.pop("test/easy-levels-v0")


@pytest.fixture
def broken_env():
    """An environment whose verifier raises."""

    @rlvr.register("test/broken-v0")
    def broken(rng):
        return rlvr.Task("".join(rng.choice("abcd") for _ in range(6)))

    @broken.verifier
    def check(task, text):
        raise RuntimeError("the answer key is missing")

    yield "test/broken-v0"
    registry._specs.pop("test/broken-v0")


@pytest.mark.slow
def test_a_run_killed_at_any_update_goes_on_bit_for_bit(tiny_model, rows_env, tmp_path):
    # 5 prompts a step of 6 rows, so epochs end inside steps; refills; 2 passes in 2 minibatches of several micro-batches.
    config = small(
        tiny_model, rows_env, tmp_path / "whole", steps=3, prompts_per_step=5, group_size=12, num_iterations=2,
        num_minibatches=2, refill_rounds=1, kl_coef=0.05, entropy_coef=0.01, token_budget=100, schedule="cosine",
        warmup=2, checkpoint_every=1, keep_checkpoints=99, eval_tasks=2, eval_every=1, seed=3,
    )  # fmt: skip
    whole = train_grpo(config, quiet=True)
    metrics = timeless(tmp_path / "whole")
    assert [row["step"] for row in metrics] == [0, 1, 2, 3]
    assert sum(row["refilled_prompts"] for row in metrics[1:]) > 0
    checkpoints = list_checkpoints(tmp_path / "whole" / "checkpoints")
    assert len(checkpoints) == 12
    for number, checkpoint in enumerate(checkpoints[:-1]):
        out = tmp_path / f"resumed-{number}"
        shutil.copytree(tmp_path / "whole", out)
        for later in list_checkpoints(out / "checkpoints")[number + 1 :]:
            shutil.rmtree(later)
        resumed = train_grpo(replace(config, out=str(out)), resume=True, quiet=True)
        assert same(weights(resumed.model), weights(whole.model)), checkpoint.name
        assert timeless(out) == metrics, checkpoint.name
        for step, path in rollout_files(tmp_path / "whole").items():
            assert path.read_text() == rollout_files(out)[step].read_text(), checkpoint.name


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_and_another_seed_another(tiny_model, even_length, tmp_path):
    runs = [
        train_grpo(small(tiny_model, even_length, tmp_path / str(i), seed=seed), quiet=True)
        for i, seed in enumerate((7, 7, 8))
    ]
    a, b, c = (weights(run.model) for run in runs)
    assert same(a, b)
    assert not same(a, c)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["dapo", "grpo", "dr_grpo", "gspo"])
def test_one_update_is_the_same_however_it_is_cut_into_micro_batches(tiny_model, even_length, tmp_path, loss):
    runs = [
        train_grpo(
            small(tiny_model, even_length, tmp_path / str(budget), steps=1, token_budget=budget, loss=loss), quiet=True
        )
        for budget in (10_000, 150)
    ]
    start = weights(tiny_model)
    one, many = (weights(run.model) for run in runs)
    for name, before in start.items():
        torch.testing.assert_close(many[name], one[name], atol=2e-5, rtol=0)
        assert not torch.equal(one[name], before), f"{name} was not trained"


@pytest.mark.slow
def test_the_run_folder_tells_the_whole_story_and_its_config_runs_again(tiny_model, last_letter, tmp_path):
    config = small(tiny_model, last_letter, tmp_path / "run", eval_tasks=8, eval_every=1, part_weights={"short": 0.5})
    result = train_grpo(config, quiet=True)
    run = tmp_path / "run"
    assert [row["step"] for row in read_metrics(run)] == [0, 1, 2]
    last = read_metrics(run)[-1]
    for name in ("reward", "accuracy", "entropy", "length_mean", "truncated_share", "fault_share", "dead_group_share",
                 "part/short", "grad_norm", "learning_rate", "tokens_per_s", "time/rollout_s", "time/update_s",
                 "mismatch", "eval/accuracy"):  # fmt: skip
        assert isinstance(last[name], float), name
    assert last["mismatch"] < 1e-5, "the engine samples from the very weights that are trained"
    assert result.accuracy_before is not None
    assert result.accuracy_after == last["eval/accuracy"]
    episodes = list(read_rollouts(rollout_files(run)[1]))
    assert len(episodes) == 16 * 8
    assert {t.task.split for t in episodes} == {"train"}
    assert {t.weight_version for t in episodes} == {0}
    assert {t.weight_version for t in read_rollouts(rollout_files(run)[2])} == {1}
    seen = {t.task.key for path in rollout_files(run).values() for t in read_rollouts(path)}
    evaluated = list(read_rollouts(run / "eval" / "step-000002.jsonl"))
    assert {t.task.split for t in evaluated} == {"eval"}
    assert not seen & {t.task.key for t in evaluated}
    table = tomllib.loads((run / "config.toml").read_text())["grpo"]
    (tmp_path / "again.toml").write_text(
        (run / "config.toml").read_text().partition("[grpo]\n")[2].replace("[grpo.", "[")
    )
    again = load_config(tmp_path / "again.toml", [f"out={json.dumps(str(tmp_path / 'again'))}"], GRPOConfig)
    assert table["learning_rate"] == 4e-3
    assert replace(again, out=config.out) == config
    assert same(weights(train_grpo(again, quiet=True).model), weights(result.model))


@pytest.mark.slow
def test_a_run_can_be_trained_again_from_its_stored_rollouts(tiny_model, even_length, tmp_path):
    config = small(tiny_model, even_length, tmp_path / "run", importance="none")
    first = train_grpo(config, quiet=True)
    again = train_grpo(replace(config, out=str(tmp_path / "again"), replay=str(tmp_path / "run")), quiet=True)
    assert same(weights(first.model), weights(again.model))
    with pytest.raises(ConfigError, match="first of step 3"):
        train_grpo(replace(config, out=str(tmp_path / "third"), steps=3, replay=str(tmp_path / "run")), quiet=True)


@pytest.mark.slow
def test_an_engine_of_its_own_is_given_the_new_weights_at_every_step(tiny_model, even_length, tmp_path):
    engine = TransformersEngine(tiny_model)
    shared = train_grpo(small(tiny_model, even_length, tmp_path / "a"), quiet=True)
    apart = train_grpo(small(tiny_model, even_length, tmp_path / "b", importance="none"), engine=engine, quiet=True)
    assert same(weights(shared.model), weights(apart.model))
    assert engine.weight_version == 2


@pytest.mark.slow
def test_cut_sampling_is_trained_on_with_the_mass_that_was_cut(tiny_model, even_length, tmp_path):
    train_grpo(small(tiny_model, even_length, tmp_path / "run", steps=1, top_k=3), quiet=True)
    # Without the correction a token's weight would be the kept mass, about 3 of 11 tokens; with it, it is 1.
    assert read_metrics(tmp_path / "run")[0]["importance_kept"] == pytest.approx(1.0, abs=1e-4)


@pytest.mark.slow
def test_adapters_are_saved_in_the_format_of_peft_and_trained_on_after_a_resume(tiny_model, even_length, tmp_path):
    config = small(tiny_model, even_length, tmp_path / "whole", lora_rank=4, checkpoint_every=1, keep_checkpoints=9)
    whole = train_grpo(config, quiet=True)
    assert (whole.model / "adapter_config.json").exists()
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(list_checkpoints(tmp_path / "resumed" / "checkpoints")[-1])
    resumed = train_grpo(replace(config, out=str(tmp_path / "resumed")), resume=True, quiet=True)
    a, b = (load_file(run.model / "adapter_model.safetensors") for run in (whole, resumed))
    assert same(a, b)
    assert any(value.abs().max() > 0 for name, value in a.items() if "lora_B" in name)


@pytest.mark.slow
def test_groups_that_teach_nothing_are_counted_warned_of_and_end_the_run(tiny_model, constant_env, tmp_path):
    config = small(tiny_model, constant_env, tmp_path / "run", steps=50, prompts_per_step=2, group_size=2)
    with (
        pytest.warns(TrainingWarning, match="all_groups_dead: every group of step 1 has equal rewards"),
        pytest.raises(TrainingError, match=f"{DEAD_STEPS} steps in a row"),
    ):
        train_grpo(config, quiet=True)
    rows = read_metrics(tmp_path / "run")
    assert [row["dead_group_share"] for row in rows] == [1.0] * (DEAD_STEPS - 1)


@pytest.mark.slow
def test_a_run_that_runs_dry_keeps_what_it_learned_before(tiny_model, drying_env, tmp_path):
    config = small(tiny_model, drying_env, tmp_path / "run", steps=50, prompts_per_step=2, max_tokens=40)
    with pytest.warns(TrainingWarning, match="all_groups_dead"), pytest.raises(TrainingError, match="steps in a row"):
        train_grpo(config, quiet=True)
    assert [row["live_groups"] for row in read_metrics(tmp_path / "run")] == [2.0] + [0.0] * (DEAD_STEPS - 1)
    (kept,) = list_checkpoints(tmp_path / "run" / "checkpoints")
    assert not same(weights(kept), weights(tiny_model))


@pytest.mark.slow
def test_a_run_whose_answers_are_all_right_ends_as_solved(tiny_model, constant_env, tmp_path):
    config = small(
        tiny_model, constant_env, tmp_path / "run", steps=50, prompts_per_step=2, group_size=2, knobs={"pays": 1.0},
        eval_tasks=2, max_tokens=300,
    )  # fmt: skip
    result = train_grpo(config, quiet=True)
    assert (result.ended, result.steps, result.accuracy_after) == ("solved", DEAD_STEPS, 1.0)
    assert result.model.name == f"step-{DEAD_STEPS:06d}"
    assert "eval/accuracy" in read_metrics(tmp_path / "run")[-1]
    with pytest.raises(ConfigError, match="all its tasks solved: nothing is left to do"):
        train_grpo(config, resume=True, quiet=True)


@pytest.mark.slow
def test_a_curriculum_climbs_to_its_top_before_the_run_ends_as_solved(tiny_model, tmp_path, levels_env):
    mix = (EnvConfig(levels_env, curriculum=True),)
    config = small(
        tiny_model, "", tmp_path / "run", envs=mix, steps=99, prompts_per_step=8, group_size=2, max_tokens=300
    )
    result = train_grpo(config, quiet=True)
    levels = [row[f"{levels_env}/level"] for row in read_metrics(tmp_path / "run")]
    # A window of 64 groups takes 8 steps of 8 at each of the first two levels; the top is solved after ten more.
    assert levels == [0.0] * 7 + [1.0] * 8 + [2.0] * 11
    assert result.ended == "solved"


@pytest.mark.slow
def test_a_filter_that_has_left_out_every_row_ends_the_run_as_solved(tiny_model, paid_rows_env, tmp_path):
    mix = (EnvConfig(paid_rows_env, drop_solved=True),)
    config = small(
        tiny_model, "", tmp_path / "run", envs=mix, steps=9, prompts_per_step=3, group_size=2, max_tokens=300
    )
    result = train_grpo(config, quiet=True)
    assert (result.ended, result.steps) == ("solved", 2)
    assert [row[f"{paid_rows_env}/solved"] for row in read_metrics(tmp_path / "run")] == [3.0, 6.0]


@pytest.mark.slow
def test_a_constant_reward_is_a_warning_even_where_dead_groups_are_kept(tiny_model, constant_env, tmp_path):
    config = small(
        tiny_model, constant_env, tmp_path / "run", steps=20, prompts_per_step=2, group_size=2, knobs={"pays": 0.5},
        keep_dead_groups=True, entropy_coef=0.01, max_tokens=300,
    )  # fmt: skip
    with pytest.warns(TrainingWarning, match=r"constant_reward: the mean reward was 0\.5"):
        train_grpo(config, quiet=True)


def test_a_verifier_that_raises_stops_the_run_with_its_words(tiny_model, broken_env, tmp_path):
    with pytest.raises(EnvironmentFault, match=r"of 128 episodes have no verdict.*the answer key is missing"):
        train_grpo(small(tiny_model, broken_env, tmp_path / "run", max_fault_share=0.0), quiet=True)


def test_a_reward_outside_its_range_is_a_fault_and_never_trained_on(tiny_model, constant_env, tmp_path):
    config = small(tiny_model, constant_env, tmp_path / "run", knobs={"pays": 2.0}, max_tokens=300, prompts_per_step=2)
    with pytest.raises(EnvironmentFault, match=r"of 16 episodes have no verdict.*reward 2\.0 is not in \[0, 1\]"):
        train_grpo(config, quiet=True)


@pytest.mark.filterwarnings("ignore:all_groups_dead")
def test_answers_without_a_token_are_named_and_change_nothing(tiny_model, last_letter, tmp_path):
    engine = ScriptedEngine([""], load_tokenizer(tiny_model))
    config = small(tiny_model, last_letter, tmp_path / "run", steps=1)
    with pytest.warns(TrainingWarning, match="empty_answers: no answer of step 1 has a token but its end"):
        result = train_grpo(config, engine=engine, quiet=True)
    assert result.metrics["length_mean"] == 1.0
    assert same(weights(result.model), weights(tiny_model))


def test_a_batch_larger_than_the_data_set_is_refused_before_anything_is_written(tiny_model, rows_env, tmp_path):
    with pytest.raises(ConfigError, match="prompts_per_step is 7 and test/rows-v0 has 6 training tasks"):
        train_grpo(small(tiny_model, rows_env, tmp_path / "run", prompts_per_step=7), quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"group_size": 1}, "group_size is 1"),
        ({"steps": 0}, "steps is 0"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"loss": "dap"}, "Did you mean 'dapo'"),
        ({"top_p": 0.9, "importance": "none"}, "cut distribution"),
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"overlong_buffer": 500}, "overlong_buffer is 500"),
        ({"max_fault_share": 2.0}, "max_fault_share"),
        ({"importance": "tis"}, "importance"),
        ({"kl_coef": -0.1}, "kl_coef"),
        ({"keep_checkpoints": 0}, "keep_checkpoints"),
        ({"serve_adapters": True}, "serve_adapters is set and lora_rank is 0"),
        ({"serve_adapters": True, "lora_rank": 4, "engine": "transformers"}, "engine = 'transformers' samples"),
        ({"serve_adapters": True, "lora_rank": 4, "replay": "runs/x"}, "the rollouts come from 'runs/x'"),
        ({"serve_adapters": True, "lora_rank": 513}, "lora_rank is 513"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(tiny_model, tmp_path, settings, named):
    with pytest.raises(ConfigError, match=named):
        small(tiny_model, "test/any-v0", tmp_path, **settings)


def test_no_model_no_environment_and_a_used_folder_are_refused(tiny_model, last_letter, tmp_path):
    with pytest.raises(ConfigError, match="model is not set"):
        train_grpo(replace(small(tiny_model, last_letter, tmp_path / "a"), model=""), quiet=True)
    with pytest.raises(ConfigError, match="no environment is named"):
        train_grpo(replace(small(tiny_model, last_letter, tmp_path / "a"), env=""), quiet=True)
    with pytest.raises(ConfigError, match="no model"):
        train_grpo(replace(small(tiny_model, last_letter, tmp_path / "a"), model=str(tmp_path)), quiet=True)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="holds a run already"):
        train_grpo(small(tiny_model, last_letter, tmp_path / "used"), quiet=True)
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        train_grpo(small(tiny_model, last_letter, tmp_path / "used"), resume=True, quiet=True)


@pytest.mark.slow
def test_resuming_what_is_finished_or_another_model_is_refused(tiny_model, even_length, tmp_path):
    config = small(tiny_model, even_length, tmp_path / "run", steps=1)
    train_grpo(config, quiet=True)
    with pytest.raises(ConfigError, match="nothing is left to do"):
        train_grpo(config, resume=True, quiet=True)
    other = build_tiny_model(tmp_path / "other", alphabet="abcd\n", layers=1, hidden=16, heads=2)
    checkpoint = list_checkpoints(tmp_path / "run" / "checkpoints")[-1]
    shutil.copy(other / "model.safetensors", checkpoint)
    shutil.copy(other / "config.json", checkpoint)
    with pytest.raises(CheckpointError, match="another model"):
        train_grpo(replace(config, steps=2), resume=True, quiet=True)
