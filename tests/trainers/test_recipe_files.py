"""The recipes that come with the project fit the settings, and a learned reward goes from stage to stage."""

from pathlib import Path

import pytest

import rlvr
from rlvr.tracking import read_metrics
from rlvr_trainers.grpo import GRPOConfig, train_grpo
from rlvr_trainers.recipe import load_recipe, run_recipe

RECIPES = sorted((Path(__file__).parents[2] / "trainers" / "recipes").rglob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_fits_the_settings_and_names_environments_that_exist(path):
    recipe = load_recipe(path)
    known = set(rlvr.list_envs())
    for stage in recipe.stages:
        if hasattr(stage.config, "mix"):
            assert {env.id for env in stage.config.mix} <= known


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:all_groups_dead")
def test_a_reward_model_is_made_first_and_then_judges(tiny_model, last_letter, tmp_path):
    sampled = GRPOConfig(
        model=str(tiny_model), env=last_letter, out=str(tmp_path / "sampled"), steps=4, prompts_per_step=16, group_size=16,
        max_tokens=4, scoring_workers=1, learning_rate=5e-3,
    )  # fmt: skip
    train_grpo(sampled, quiet=True)
    path = tmp_path / "recipe.toml"
    path.write_text(
        f"""
        out = "{tmp_path / "run"}"
        model = "{tiny_model}"
        env = "{last_letter}"
        [reward_model]
        pairs = "{tmp_path / "sampled"}"
        steps = 3
        batch_size = 4
        [ppo]
        part_weights = {{ reward_model = 0.5 }}
        steps = 1
        prompts_per_step = 8
        max_tokens = 4
        scoring_workers = 1
        """
    )
    run_recipe(load_recipe(path), quiet=True)
    (row,) = read_metrics(tmp_path / "run")
    assert 0 < row["part/reward_model"] < 1
    again = load_recipe(tmp_path / "run" / "recipe.toml")
    assert [stage.config.model for stage in again.stages] == [str(tiny_model), str(tiny_model)]
