"""The engine a training run samples from."""

from __future__ import annotations

import sys
from typing import Any, Literal

import torch

from rlvr.generation.choose import choose_engine
from rlvr.generation.engine import Engine
from rlvr.generation.transformers import TransformersEngine
from rlvr.generation.vllm import VLLMEngine
from rlvr.generation.vllm_replicas import open_servers

EngineName = Literal["auto", "transformers", "vllm", "vllm_server"]


def open_engine(
    name: EngineName, model: Any, tokenizer: Any, *, path: str, options: dict[str, Any]
) -> tuple[Engine, bool]:
    """`(engine, shared)`: the engine, and whether it samples from the very module that is trained.

    `path` is where an engine of its own loads its first weights from; `options` go to its constructor. `auto` takes the
    faster one that is installed and says on standard error which and why. Raises ConfigError where vLLM is asked for and is
    not there, or cannot serve the model.
    """
    if name == "auto":
        parameters = sum(parameter.numel() for parameter in model.parameters())
        name, reason = choose_engine(parameters, on_gpu=torch.cuda.is_available())
        print(f"engine: {name}, because {reason}", file=sys.stderr)
    if name == "vllm":
        return VLLMEngine(path, tokenizer, **options), False
    if name == "vllm_server":
        return open_servers(path, **options), False
    return TransformersEngine.shared(model, tokenizer, **options), True
