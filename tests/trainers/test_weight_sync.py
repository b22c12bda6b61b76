"""What is given to an engine: every weight once, adapters merged, and the learner's own weights left as they are."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlvr.errors import ConfigError, StaleWeightsError
from rlvr.generation.loading import load_tokenizer
from rlvr.generation.transformers import TransformersEngine
from rlvr_trainers.engines import open_engine
from rlvr_trainers.lora import adapter_settings, add_adapters, named_adapters
from rlvr_trainers.weight_sync import named_weights, sync_weights


@pytest.fixture
def model(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model)


def with_adapters(model):
    """The model with adapters that do something."""
    adapted = add_adapters(model, rank=2, alpha=8.0, seed=0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(len(name)))
    return adapted


def test_a_tied_head_is_sent_once_and_weights_are_not_copied(model):
    sent = dict(named_weights(model))
    assert "lm_head.weight" not in sent
    assert all(tensor is model.get_parameter(name) for name, tensor in sent.items())
    assert sent.keys() == {name for name, _ in model.named_parameters()}


def test_adapters_come_merged_as_peft_merges_them_and_stay_as_they_are(model):
    plain_names = {name for name, _ in model.named_parameters()}
    adapted = with_adapters(model)
    before = {name: parameter.detach().clone() for name, parameter in adapted.named_parameters()}
    sent = {name: tensor.detach().clone() for name, tensor in named_weights(adapted)}
    assert all(torch.equal(parameter, before[name]) for name, parameter in adapted.named_parameters())
    assert sent.keys() == plain_names
    merged = adapted.merge_and_unload()
    assert all(torch.equal(sent[name], parameter) for name, parameter in merged.named_parameters())
    changed = [
        name for name in sent if not torch.equal(sent[name], before.get(f"base_model.model.{name}", sent[name] * 0))
    ]
    assert any("q_proj" in name for name in changed)


def test_an_engine_of_its_own_serves_what_was_sent_and_another_precision_is_found_out(model, tiny_model):
    adapted = with_adapters(model)
    engine = TransformersEngine(tiny_model, load_tokenizer(tiny_model))
    sync_weights(engine, adapted, version=3)
    assert engine.weight_version == 3
    tokens = [4, 7, 9, 8, 3]
    with torch.no_grad():
        logprobs = adapted(torch.tensor([tokens])).logits[0, :-1].log_softmax(-1)
    expected = logprobs.gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()
    assert engine.forced_logprobs(tokens) == pytest.approx(expected, abs=1e-4)
    coarse = TransformersEngine(tiny_model, load_tokenizer(tiny_model), dtype=torch.bfloat16)
    with pytest.raises(StaleWeightsError, match="precision"):
        sync_weights(coarse, adapted, version=3)


def test_adapters_are_named_as_peft_writes_them(model, tmp_path):
    adapted = with_adapters(model)
    adapted.save_pretrained(tmp_path)
    saved, sent = load_file(tmp_path / "adapter_model.safetensors"), dict(named_adapters(adapted))
    assert sent.keys() == saved.keys()
    assert all(torch.equal(sent[name], saved[name]) for name in saved)
    settings = adapter_settings(adapted)
    assert (settings.rank, settings.alpha) == (2, 8.0)
    assert settings.kinds == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert len(settings.modules) == 7 * model.config.num_hidden_layers


def test_an_engine_that_serves_no_adapters_is_named_with_the_remedy(model, tiny_model):
    adapted = with_adapters(model)
    engine = TransformersEngine(tiny_model, load_tokenizer(tiny_model))
    with pytest.raises(ConfigError, match=r"TransformersEngine serves no adapters.*started with lora_rank"):
        sync_weights(engine, adapted, version=1, as_adapters=True)
    assert engine.weight_version == 0


def test_an_engine_chosen_for_speed_that_serves_no_adapters_is_refused(model, tiny_model):
    with pytest.raises(ConfigError, match="'auto' chose transformers"):
        open_engine("auto", model, None, path=str(tiny_model), options={}, lora_rank=2, quiet=True)
