"""The tiny model is an ordinary Hugging Face folder, and its tokenizer loses nothing."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.errors import ConfigError
from rlvr_trainers.tiny import TAGS, build_tiny_model


def test_the_folder_loads_like_any_other_and_text_survives_the_tokenizer(tmp_path):
    folder = build_tiny_model(tmp_path / "m", alphabet="0123456789+= \n", hidden=32, heads=2)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    text = "12 + 7 =\n<think>2 + 7 = 9</think><answer>19</answer>"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert len(ids) == len(text) - sum(len(tag) - 1 for tag in TAGS), "a tag is one token, a character is one token"
    assert tokenizer.decode([*ids, tokenizer.eos_token_id], skip_special_tokens=True) == text
    assert tokenizer.eos_token_id != tokenizer.pad_token_id
    assert model.config.vocab_size == len(tokenizer) == 7 + 14


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone(tmp_path):
    before = torch.get_rng_state()
    folders = [
        build_tiny_model(tmp_path / name, alphabet="ab", hidden=16, heads=2, seed=seed)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert torch.equal(before, torch.get_rng_state())
    weights = [(folder / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize(
    ("settings", "named"), [({"hidden": 30, "heads": 4}, "hidden=30"), ({"alphabet": ""}, "alphabet")]
)
def test_sizes_that_do_not_fit_are_named(tmp_path, settings, named):
    with pytest.raises(ConfigError, match=named):
        build_tiny_model(tmp_path / "m", **settings)
