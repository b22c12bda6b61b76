from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.engine import Request, Sampling
from rlvr.generation.transformers import TransformersEngine, weights_fingerprint


def test_a_shared_engine_serves_the_learners_updates_without_a_copy(tiny: Any, tokenizer: Any) -> None:
    model = tiny()
    engine = TransformersEngine.shared(model, tokenizer)
    request = Request(tokenizer.encode("1+2="), seed=3)
    before = engine.generate([request], Sampling(max_tokens=20))[0][0]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    engine.load_weights(iter(()), 4)
    after = engine.generate([request], Sampling(max_tokens=20))[0][0]
    assert (before.weight_version, after.weight_version) == (0, 4)
    assert after.token_ids != before.token_ids
    assert engine.fingerprint() == weights_fingerprint(model.named_parameters())


def test_a_module_in_training_is_in_training_again_afterwards(tiny: Any, tokenizer: Any) -> None:
    model = tiny()
    model.train()
    engine = TransformersEngine.shared(model, tokenizer)
    engine.generate([Request([5], seed=0)], Sampling(max_tokens=2))
    assert model.training
    with pytest.raises(EngineError):
        engine.generate([Request([], seed=0)], Sampling(max_tokens=2))
    assert model.training
    assert not any(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tokens_do_not_depend_on_batch_shape_or_neighbours(tiny: Any, tokenizer: Any, dtype: torch.dtype) -> None:
    model = tiny().to(dtype)
    requests = [Request(tokenizer.encode("x" * (i % 9) + f"{i}="), seed=i, n=1 + i % 4) for i in range(9)]
    reference = TransformersEngine.shared(model, tokenizer).generate(requests, Sampling(max_tokens=32))
    for batch_tokens in (1, 200, 500):  # one row at a time, a few, several batches
        engine = TransformersEngine.shared(model, tokenizer, max_batch_tokens=batch_tokens)
        answers = engine.generate(requests, Sampling(max_tokens=32))
        assert [[c.token_ids for c in group] for group in answers] == [
            [c.token_ids for c in group] for group in reference
        ]
    lengths = {len(completion.token_ids) for group in reference for completion in group}
    assert len(lengths) > 5  # rows left the batch at different times


def test_two_calls_give_the_same_bits(tiny: Any, tokenizer: Any) -> None:
    engine = TransformersEngine.shared(tiny(), tokenizer)
    requests = [Request(tokenizer.encode(f"{i}+"), seed=i, n=3) for i in range(5)]
    assert engine.generate(requests, Sampling(max_tokens=30)) == engine.generate(requests, Sampling(max_tokens=30))


def test_equal_weights_have_equal_fingerprints_and_one_changed_bit_another(tiny: Any, tokenizer: Any) -> None:
    first, second = tiny(), tiny()
    engines = [TransformersEngine(model, tokenizer) for model in (first, second)]
    assert engines[0].fingerprint() == engines[1].fingerprint()
    with torch.no_grad():
        weight = second.model.layers[1].mlp.up_proj.weight
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(torch.inf))
    assert engines[0].fingerprint() != engines[1].fingerprint()
    assert weights_fingerprint(reversed(list(first.named_parameters()))) == engines[0].fingerprint()
    before = engines[0].fingerprint()
    assert weights_fingerprint(first.bfloat16().named_parameters()) != before


def test_a_tied_head_may_be_sent_once_or_twice_but_not_differently(tiny: Any, tokenizer: Any) -> None:
    source, engine = tiny(seed=7), TransformersEngine(tiny(), tokenizer)
    engine.load_weights(source.named_parameters(), 1)  # names a tied weight once
    assert engine.fingerprint() == weights_fingerprint(source.named_parameters())
    engine.load_weights(source.state_dict().items(), 2)  # names it twice
    assert engine.weight_version == 2
    untied = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    untied["lm_head.weight"] += 1
    with pytest.raises(EngineError, match="lm_head"):
        engine.load_weights(untied.items(), 3)


def test_weights_may_come_from_an_iterator_that_gathers_as_it_goes(tiny: Any, tokenizer: Any) -> None:
    source, engine = tiny(seed=7, tied=False), TransformersEngine(tiny(tied=False), tokenizer)
    engine.load_weights(((name, tensor.detach().clone()) for name, tensor in source.named_parameters()), 1)
    assert engine.fingerprint() == weights_fingerprint(source.named_parameters())


def test_a_bfloat16_engine_takes_float32_weights(tiny: Any, tokenizer: Any) -> None:
    source = tiny(seed=7)
    engine = TransformersEngine(tiny(), tokenizer, dtype=torch.bfloat16)
    engine.load_weights(source.named_parameters(), 1)
    [[completion]] = engine.generate([Request(tokenizer.encode("1="), seed=0)], Sampling(max_tokens=5))
    assert all(value <= 0 for value in completion.logprobs)


def test_a_stop_text_may_be_spread_over_tokens_and_end_in_white_space(tiny: Any, tokenizer: Any) -> None:
    engine = TransformersEngine.shared(tiny(), tokenizer)
    requests = [Request(tokenizer.encode("1="), seed=i, n=16) for i in range(4)]
    free = [c for group in engine.generate(requests, Sampling(max_tokens=60)) for c in group]
    texts = [tokenizer.decode(c.token_ids) for c in free]
    stop = next(text[text.index(" ") - 1 : text.index(" ") + 1] for text in texts if " " in text[1:])
    cut = [c for group in engine.generate(requests, Sampling(max_tokens=60, stop=(stop,))) for c in group]
    for text, completion in zip(texts, cut, strict=True):
        expected = text[: text.index(stop) + len(stop)] if stop in text else text
        assert tokenizer.decode(completion.token_ids) == expected


def test_an_empty_stop_text_is_an_error(tiny: Any, tokenizer: Any) -> None:
    with pytest.raises(EngineError, match="empty"):
        TransformersEngine(tiny(), tokenizer).generate([Request([5], seed=0)], Sampling(stop=("",)))


def test_every_end_token_of_the_generation_settings_ends_an_answer(tiny: Any, tokenizer: Any) -> None:
    model = tiny()
    digits = tokenizer.encode("0123456789")
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *digits]
    answers = TransformersEngine(model, tokenizer).generate([Request([9], seed=0, n=32)], Sampling(max_tokens=64))
    assert {c.token_ids[-1] for c in answers[0] if c.finish_reason == "stop"} & set(digits)
    assert not any(set(c.token_ids[:-1]) & set(digits) for c in answers[0])


def test_a_folder_without_tokenizer_is_named_with_the_remedy(model: Any, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"has no tokenizer .*save_pretrained"):
        TransformersEngine(tmp_path)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such-folder"):
        TransformersEngine(str(tmp_path / "no-such-folder"))


def test_a_folder_without_a_model_is_named(tmp_path: Path, tokenizer: Any) -> None:
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"no config\.json"):
        TransformersEngine(tmp_path)


def test_a_model_that_writes_no_text_is_named(tmp_path: Path, tokenizer: Any) -> None:
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit", "architectures": ["ViTModel"]}))
    with pytest.raises(ConfigError, match="ViTModel"):
        TransformersEngine(tmp_path)


def test_damaged_weights_are_an_error_that_names_the_folder(model_folder: Path, tmp_path: Path) -> None:
    for file in model_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ConfigError, match=tmp_path.name):
        TransformersEngine(tmp_path)


def test_a_tokenizer_without_an_end_token_is_an_error(model_folder: Path, tmp_path: Path) -> None:
    for file in model_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings.pop("eos_token")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="end-of-sequence"):
        TransformersEngine(tmp_path)


def test_a_loaded_model_needs_its_tokenizer(model: Any) -> None:
    with pytest.raises(ConfigError, match="tokenizer"):
        TransformersEngine(model)


def test_closing_twice_is_harmless(tiny: Any, tokenizer: Any) -> None:
    engine = TransformersEngine(tiny(), tokenizer)
    engine.close()
    engine.close()
