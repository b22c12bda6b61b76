"""New weights to the engine, and the proof that it serves them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from rlvr.errors import StaleWeightsError
from rlvr.generation.engine import Engine
from rlvr.generation.proof import prove_served
from rlvr.generation.replicas import ReplicatedEngine
from rlvr.generation.transformers import TransformersEngine, weights_fingerprint
from rlvr.generation.vllm import VLLMEngine
from rlvr.generation.vllm_server import VLLMServerEngine


def sync_weights(engine: Engine, model: Any, *, version: int, shared: bool = False) -> None:
    """Serve the model's weights under `version`. Raises StaleWeightsError if the engine then serves others.

    `shared`: the engine samples from the very module that is trained, so there is nothing to copy.
    """
    engine.load_weights(named_weights(model), version)
    if engine.weight_version != version:
        raise StaleWeightsError(
            f"the engine says it serves version {engine.weight_version} after it was given {version}; "
            "its answers would come from other weights than those trained. Restart the engine and resume the run"
        )
    if isinstance(engine, VLLMEngine | VLLMServerEngine | ReplicatedEngine):
        # It holds its weights fused or packed, where no digest can be compared: it has to say what the learner would say.
        prove_served(engine, model, version, served_dtype=engine.dtype)
    if not shared and isinstance(engine, TransformersEngine):
        ours = weights_fingerprint(named_weights(model))
        theirs = engine.fingerprint()
        if ours != theirs:
            raise StaleWeightsError(
                f"the engine serves weights {theirs[:12]} after version {version} with {ours[:12]} was loaded; "
                "learner and engine differ in precision or in architecture. Load both with the same dtype"
            )


def named_weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor of every weight, tied ones once. Adapters of peft come merged into the weights they adapt."""
    if not hasattr(model, "merge_and_unload"):
        yield from model.named_parameters()
        return
    model.merge_adapter()
    try:
        for name, tensor in model.get_base_model().named_parameters():
            if "lora_" not in name:
                # A copy: the adapter is taken out again before the engine may have read the tensor.
                yield name.replace(".base_layer.", "."), tensor.detach().clone()
    finally:
        model.unmerge_adapter()
