"""A recipe is a run: its stages follow each other, its mistakes are named, and what was cut off goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.cli import run
from rlvr.errors import ConfigError
from rlvr.tracking import read_metrics
from rlvr_trainers.checkpoint import list_checkpoints
from rlvr_trainers.recipe import load_recipe, sampling_stage

RECIPE = """
env = "math/arithmetic-v0"
knobs = { terms = 2 }

[build]
alphabet = "0123456789+-= \\n"
hidden = 32
heads = 2
max_length = 64

[sft]
examples = 200
steps = 60
batch_size = 32
learning_rate = 1e-2
stop_at_accuracy = 0.02
accuracy_every = 15
checkpoint_every = 5
max_tokens = 24

[grpo]
steps = 2
prompts_per_step = 8
group_size = 8
max_tokens = 24
learning_rate = 1e-3
keep_dead_groups = true
entropy_coef = 0.01
eval_tasks = 10
"""


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.slow
def test_the_command_builds_trains_evaluates_and_goes_on_where_it_was_cut_off(recipe, tmp_path, capsys):
    out = tmp_path / "run"
    assert run(["train", str(recipe), f"out={out}", "grpo.seed=2", "--json"]) == 0
    told = capsys.readouterr()
    facts = json.loads(told.out)
    assert 0 <= facts["accuracy_before"] <= 1
    assert "sft 1/60" in told.err
    assert "reward" in told.err
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(facts["model"]),
        AutoTokenizer.from_pretrained(facts["model"]),
    )
    assert model.config.vocab_size == len(tokenizer)
    assert len(read_metrics(out / "sft")) <= 60
    assert [row["step"] for row in read_metrics(out)] == [0, 1, 2]
    assert (out / "report" / "curves.png").stat().st_size > 1000
    assert "before: reward" in (out / "report" / "README.md").read_text()
    # The written-out recipe is the same run.
    assert load_recipe(out / "recipe.toml").stages == load_recipe(recipe, [f"out={out}", "grpo.seed=2"]).stages
    # Cut off inside the supervised stage: it goes on from its checkpoint, the last stage follows, and all comes out the same.
    weights = load_file(Path(facts["model"]) / "model.safetensors")
    shutil.rmtree(out / "checkpoints")
    before, start = list_checkpoints(out / "sft" / "checkpoints")
    shutil.rmtree(start)
    assert run(["train", "--resume", str(out), "--quiet"]) == 0
    again = load_file(Path(facts["model"]) / "model.safetensors")
    assert all((weights[name] == again[name]).all() for name in weights)
    assert list_checkpoints(out / "sft" / "checkpoints") == [before, start]
    # Another recipe starts from what a stage of this one left; the folder of a run stands for its newest checkpoint.
    head, _, rest = RECIPE.partition("[build]")
    grpo = rest.partition("[grpo]")[2]
    (tmp_path / "next.toml").write_text(f'model = "{out / "sft"}"\n{head}\n[grpo]{grpo}')
    assert load_recipe(tmp_path / "next.toml").stages[0].config.model == str(start)
    # What was sampled can be trained on again, without an engine, and gives the same weights.
    words = [f"out={tmp_path / 'replayed'}", "grpo.seed=2", "grpo.importance=none", "grpo.engine=vllm", "--quiet"]
    assert run(["train", str(tmp_path / "next.toml"), *words, "--replay", str(out)]) == 0
    (last,) = list_checkpoints(tmp_path / "replayed" / "checkpoints")
    replayed = load_file(last / "model.safetensors")
    assert all((weights[name] == replayed[name]).all() for name in weights)
    # A finished run has nothing to resume, and a second run must not mix with it.
    assert run(["train", "--resume", str(out), "--quiet"]) == 2
    assert run(["train", str(recipe), f"out={out}"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert run(["rollouts", str(out), "--step", "1", "--n", "2"]) == 0
    assert capsys.readouterr().out.count("=> reward") == 2
    assert run(["rollouts", str(out), "--wrong", "--json", "--n", "3"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(shown) == 3
    assert all(episode["score"]["reward"] < 1 for episode in shown)


def test_what_is_replayed_is_the_stage_that_samples(recipe, tmp_path):
    assert sampling_stage(recipe) == "grpo"
    (tmp_path / "ppo.toml").write_text("[sft]\n[ppo]\n")
    assert sampling_stage(tmp_path / "ppo.toml") == "ppo"
    (tmp_path / "sft.toml").write_text("[sft]\n")
    with pytest.raises(ConfigError, match="samples nothing that a replay"):
        sampling_stage(tmp_path / "sft.toml")


def test_settings_above_the_tables_reach_every_stage_and_words_win(recipe):
    loaded = load_recipe(recipe, ["seed=5", "out=runs/here", "grpo.steps=9", "knobs.digits=2"])
    build, sft, grpo = (stage.config for stage in loaded.stages)
    assert (build.seed, sft.seed, grpo.seed) == (5, 5, 5)
    assert (sft.out, grpo.out) == ("runs/here/sft", "runs/here")
    assert (grpo.steps, sft.steps) == (9, 60)
    assert sft.knobs == grpo.knobs == {"terms": 2, "digits": 2}
    assert sft.env == grpo.env == "math/arithmetic-v0"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["grpo.learning_rat=1"], "did you mean 'learning_rate'"),
        (["steps=5"], r"write sft\.steps or grpo\.steps"),
        (["grpo.loss=dap"], "Did you mean 'dapo'"),
        (["colour=red"], "'colour' is no setting of a whole recipe"),
        (["grpo.steps=many"], "whole number"),
    ],
)
def test_mistakes_are_answered_before_anything_runs(recipe, words, named):
    with pytest.raises(ConfigError, match=named):
        load_recipe(recipe, words)


def test_a_recipe_that_trains_nothing_or_starts_from_nothing_is_refused(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text("[build]\n")
    with pytest.raises(ConfigError, match="trains nothing"):
        load_recipe(path)
    path.write_text('[grpo]\nenv = "math/arithmetic-v0"\n')
    with pytest.raises(ConfigError, match="set model"):
        load_recipe(path)


def test_the_commands_say_what_is_missing_with_exit_code_two(tmp_path, capsys):
    assert run(["train"]) == 2
    assert run(["train", str(tmp_path / "none.toml")]) == 2
    assert run(["train", "--resume", str(tmp_path)]) == 2
    assert run(["rollouts", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "recipe" in told
    assert "none.toml" in told
    assert "stored no rollouts" in told
