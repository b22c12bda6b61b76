"""New weights to the engine, and the proof that it serves them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import ConfigError, StaleWeightsError
from rlvr.generation.adapters import AdapterEngine
from rlvr.generation.engine import Engine
from rlvr.generation.proof import forced_logprobs, probe_tokens, prove_served
from rlvr.generation.replicas import ReplicatedEngine
from rlvr.generation.transformers import TransformersEngine, weights_fingerprint
from rlvr.generation.vllm import VLLMEngine
from rlvr.generation.vllm_server import VLLMServerEngine
from rlvr_trainers.lora import adapter_settings, named_adapters
from rlvr_trainers.sharding import WHOLE, Spread, local, whole


def sync_weights(
    engine: Engine | None,
    model: Any,
    *,
    version: int,
    shared: bool = False,
    as_adapters: bool = False,
    spread: Spread = WHOLE,
    keep_cache: bool = False,
) -> None:
    """Serve the model's weights under `version`. Raises StaleWeightsError if the engine then serves others.

    `shared`: the engine samples from the very module that is trained, so there is nothing to copy. `as_adapters`: the engine
    has the base weights, and only the adapters are sent. With several ranks all of them call this, for weights in pieces are
    gathered together; `engine` is None on those that do not sample. `keep_cache`: what a server samples meanwhile goes on from
    the key-value cache of the weights before.
    """
    weights = named_adapters(model) if as_adapters else named_weights(model)
    if engine is None:
        for _ in weights:
            pass
        _gathered_forward(model, spread)
        return
    if keep_cache:
        assert isinstance(engine, VLLMServerEngine | ReplicatedEngine)
        engine.load_weights(weights, version, keep_cache=True)
    elif not as_adapters:
        engine.load_weights(weights, version)
    elif isinstance(engine, AdapterEngine):
        engine.load_adapter(weights, adapter_settings(model), version)
    else:
        raise ConfigError(
            f"serve_adapters is set, and {type(engine).__name__} serves no adapters. Give it a vLLM engine that was started "
            "with lora_rank, or let the adapters be merged (serve_adapters = false)"
        )
    if engine.weight_version != version:
        raise StaleWeightsError(
            f"the engine says it serves version {engine.weight_version} after it was given {version}; "
            "its answers would come from other weights than those trained. Restart the engine and resume the run"
        )
    if isinstance(engine, VLLMEngine | VLLMServerEngine | ReplicatedEngine):
        # It holds its weights fused or packed, where no digest can be compared: it has to say what the learner would say.
        with torch.no_grad():
            spread.run(lambda: prove_served(engine, model, version, served_dtype=engine.dtype))
    if not shared and isinstance(engine, TransformersEngine):
        ours = weights_fingerprint(named_weights(model))
        theirs = engine.fingerprint()
        if ours != theirs:
            raise StaleWeightsError(
                f"the engine serves weights {theirs[:12]} after version {version} with {ours[:12]} was loaded; "
                "learner and engine differ in precision or in architecture. Load both with the same dtype"
            )


def named_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of every weight, tied ones once. Adapters of peft come merged into the weights they adapt.

    Weights in pieces are gathered one at a time, together with all other ranks; a second copy of the model is never held.
    """
    if not hasattr(model, "merge_and_unload"):
        for name, parameter in model.named_parameters():
            yield name, whole(parameter.detach()) if local(parameter) is not parameter else parameter
        return
    base = model.get_base_model()
    for name, parameter in base.named_parameters():
        if "lora_" not in name:
            weight = whole(parameter.detach())
            if name.endswith(".base_layer.weight"):
                weight = weight + _adapted(base.get_submodule(name.removesuffix(".base_layer.weight")))
            yield name.replace(".base_layer.", "."), weight


def _adapted(layer: Any) -> Tensor:
    """What the active adapters add to a layer's weight: scaling * B A. Hu et al. 2021, arXiv:2106.09685, eq. 3."""
    deltas = []
    for adapter in layer.active_adapters:
        down, up = (whole(part[adapter].weight.detach()) for part in (layer.lora_A, layer.lora_B))
        delta = (up @ down) * layer.scaling[adapter]
        deltas.append(delta.T if getattr(layer, "fan_in_fan_out", False) else delta)
    return torch.stack(deltas).sum(0) if len(deltas) > 1 else deltas[0]


def _gathered_forward(model: Any, spread: Spread) -> None:
    """This rank's part in the forward pass with which a rank that samples proves what it serves."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            spread.run(lambda: forced_logprobs(model, probe_tokens(model.get_input_embeddings().weight.shape[0])))
    finally:
        model.train(training)
