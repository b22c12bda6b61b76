"""A tiny model learns to act in a world of tools: from saying that it is done to doing it."""

from __future__ import annotations

from string import ascii_letters, digits

import pytest

from rlvr.errors import ConfigError
from rlvr.generation.loading import load_tokenizer
from rlvr.tracking import read_metrics, read_rollouts, rollout_files
from rlvr_trainers.recipe import load_recipe, run_recipe
from rlvr_trainers.sampler import EnvConfig
from rlvr_trainers.thinking import chat_template
from rlvr_trainers.tiny import ASCII, build_tiny_model
from rlvr_trainers.worked import worked_examples

KNOBS = {"size": 12, "writes": 1, "kinds": "sort", "max_calls": 3, "format": "pythonic"}
RECIPE = """
env = "tools/sheet-v0"
knobs = { size = 12, writes = 1, kinds = "sort", max_calls = 3, format = "pythonic" }
[build]
alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \\n()[]'\\":,;_/.=<>"
layers = 2
hidden = 48
heads = 2
max_length = 256
chat_template = "short"
[sft]
examples = 600
bare_share = 0.5
steps = 400
batch_size = 16
learning_rate = 4e-3
warmup = 10
stop_at_accuracy = 0.4
accuracy_tasks = 40
accuracy_every = 40
max_tokens = 64
[grpo]
steps = 10
prompts_per_step = 12
group_size = 8
max_tokens = 64
learning_rate = 6e-4
warmup = 2
"""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    def made(alphabet):
        folder = tmp_path_factory.mktemp("tokenizer")
        build_tiny_model(folder, alphabet=alphabet, hidden=8, heads=2, layers=1, chat_template=chat_template("short"))
        return load_tokenizer(folder)

    return made


def test_a_worked_episode_learns_what_the_model_says_and_not_what_the_tool_replies(tokenizer):
    characters = tokenizer(ASCII)
    (example,) = worked_examples([EnvConfig("tools/sheet-v0", knobs=KNOBS)], characters, count=1)
    said = characters.decode([i for i, learned in zip(example.token_ids, example.loss_mask, strict=True) if learned])
    whole = characters.decode(example.token_ids)
    call, submit, rest = said.split("<eos>")
    assert call.startswith("[sort(area='A")
    assert (submit, rest) == ("[submit(status='done')]", "")
    assert whole.startswith("Sort rows ")
    assert f'{call}<eos>\n"sorted"\n{submit}<eos>' in whole


def test_a_bare_episode_is_its_last_turn_alone(tokenizer):
    examples = worked_examples([EnvConfig("tools/sheet-v0", knobs=KNOBS)], tokenizer(ASCII), count=40, bare_share=0.5)
    turns = [sum(b and not a for a, b in zip([False, *e.loss_mask], e.loss_mask, strict=False)) for e in examples]
    assert set(turns) == {1, 2}
    assert 10 <= turns.count(1) <= 30


def test_what_the_tokenizer_cannot_write_is_not_taught(tokenizer):
    with pytest.raises(ConfigError, match="the tokenizer cannot write it"):
        worked_examples([EnvConfig("tools/sheet-v0", knobs=KNOBS)], tokenizer(ascii_letters + digits + " ,;.\n"), count=1)


@pytest.mark.slow
def test_rewards_teach_a_tiny_model_to_carry_out_a_plan_before_it_submits(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(f'out = "{tmp_path / "run"}"\n{RECIPE}')
    run_recipe(load_recipe(path), quiet=True)
    curve = [row["reward"] for row in read_metrics(tmp_path / "run") if row["step"]]
    assert curve[0] < 0.55
    assert sum(curve[-3:]) / 3 > curve[0] + 0.15
    files = rollout_files(tmp_path / "run")
    turns = {step: [t.num_turns for t in read_rollouts(files[step])] for step in (1, 10)}
    assert sum(turns[10]) > 1.15 * sum(turns[1])
