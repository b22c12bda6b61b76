from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from rlvr.errors import StaleWeightsError
from rlvr.generation.engine import Sampling
from rlvr.generation.proof import prove_served
from rlvr.generation.transformers import TransformersEngine


def test_served_weights_are_proved_and_the_learner_keeps_its_mode(tiny: Any, tokenizer: Any) -> None:
    model = tiny().train()
    assert prove_served(TransformersEngine(tiny(), tokenizer), model, 0) < 5e-5
    assert model.training


def test_another_version_is_stale(tiny: Any, tokenizer: Any) -> None:
    with pytest.raises(StaleWeightsError, match="version 0, the learner is at 3"):
        prove_served(TransformersEngine(tiny(), tokenizer), tiny(), 3)


@pytest.mark.parametrize(
    "part", ["model.embed_tokens.weight", "model.norm.weight", "model.layers.1.mlp.up_proj.weight"]
)
def test_one_tensor_that_did_not_arrive_is_found(tiny: Any, tokenizer: Any, part: str) -> None:
    engine, model = TransformersEngine(tiny(), tokenizer), tiny()
    with torch.no_grad():
        tensor = dict(model.named_parameters())[part]
        tensor.add_(0.01 * torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(StaleWeightsError, match="fixed tokens"):
        prove_served(engine, model, 0)
    engine.load_weights(model.named_parameters(), 1)
    prove_served(engine, model, 1)


def test_half_precision_is_allowed_its_noise_and_no_more(tiny: Any, tokenizer: Any) -> None:
    model = tiny()
    engine = TransformersEngine(tiny(), tokenizer, dtype=torch.bfloat16)
    assert prove_served(engine, model, 0, served_dtype=torch.bfloat16) > 0
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.3)
    with pytest.raises(StaleWeightsError):
        prove_served(engine, model, 0, served_dtype=torch.bfloat16)


def test_a_model_that_says_nan_is_refused(tiny: Any, tokenizer: Any) -> None:
    engine, model = TransformersEngine(tiny(), tokenizer), tiny()
    with torch.no_grad():
        engine._model.model.norm.weight[0] = math.nan
    with pytest.raises(StaleWeightsError):
        prove_served(engine, model, 0)
    assert engine.generate([], Sampling()) == []
