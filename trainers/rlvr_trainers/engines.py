"""The engine a training run samples from."""

from __future__ import annotations

import sys
from typing import Any, Literal

import torch

from rlvr.errors import ConfigError
from rlvr.generation.choose import choose_engine
from rlvr.generation.engine import Engine
from rlvr.generation.transformers import TransformersEngine
from rlvr.generation.vllm import VLLMEngine
from rlvr.generation.vllm_replicas import open_servers
from rlvr_trainers.distributed import ALONE, Ranks

EngineName = Literal["auto", "transformers", "vllm", "vllm_server"]


def open_engine(
    name: EngineName,
    model: Any,
    tokenizer: Any,
    *,
    path: str,
    options: dict[str, Any],
    ranks: Ranks = ALONE,
    own_weights: bool = False,
    lora_rank: int = 0,
    in_flight: bool = False,
    quiet: bool = False,
) -> tuple[Engine | None, bool]:
    """`(engine, shared)`: the engine, and whether it samples from the very module that is trained.

    `path` is where an engine of its own loads its first weights from; `options` go to its constructor. `auto` takes the
    faster one that is installed and says on standard error, unless `quiet`, which and why. With several `ranks` the
    transformers engine samples on each of them, from a whole copy of the weights, and vLLM runs as servers that the first one
    talks to; the others have no engine then (None). `own_weights` asks for a copy on one process too, so that it may sample
    while the model is trained, `in_flight` for one whose weights may change while it samples. With `lora_rank` the engine gets
    adapters of that rank and no other weights, which needs vLLM. Raises ConfigError where vLLM is asked for and is not there, or
    cannot serve the model.
    """
    if name == "auto" and in_flight:
        name = "vllm_server"
    if name == "auto":
        parameters = sum(parameter.numel() for parameter in model.parameters())
        name, reason = choose_engine(parameters, on_gpu=torch.cuda.is_available())
        if name == "vllm" and (ranks.size > 1 or own_weights):
            name = "vllm_server"
        if ranks.main and not quiet:
            print(f"engine: {name}, because {reason}", file=sys.stderr)
    if lora_rank:
        if name == "transformers":
            raise ConfigError(
                "serve_adapters is set, and engine = 'auto' chose transformers, which samples from the trained module itself. "
                "Set engine = 'vllm' or 'vllm_server', or serve_adapters = false"
            )
        options = {"lora_rank": lora_rank, **options}
    if name == "vllm":
        if ranks.size > 1 or own_weights:
            raise ConfigError(
                "engine = 'vllm' samples inside the one process that trains; with several ranks, or while an update runs, it "
                "cannot. Set engine = 'vllm_server', with engine_options.replicas for more than one server"
            )
        return VLLMEngine(path, tokenizer, **options), False
    if name == "vllm_server":
        return (open_servers(path, **options) if ranks.main else None), False
    if ranks.size > 1 or own_weights:
        return TransformersEngine(path, tokenizer, dtype=torch.float32, **options), False
    return TransformersEngine.shared(model, tokenizer, **options), True
