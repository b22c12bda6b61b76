"""The engine a training run samples from."""

from __future__ import annotations

from typing import Any, Literal

from rlvr.errors import ConfigError
from rlvr.generation.engine import Engine
from rlvr.generation.transformers import TransformersEngine

EngineName = Literal["transformers", "vllm"]


def open_engine(
    name: EngineName, model: Any, tokenizer: Any, *, path: str, options: dict[str, Any]
) -> tuple[Engine, bool]:
    """`(engine, shared)`: the engine, and whether it samples from the very module that is trained.

    `path` is where an engine of its own loads its first weights from; `options` go to its constructor.
    """
    if name == "transformers":
        return TransformersEngine.shared(model, tokenizer, **options), True
    try:
        from rlvr.generation.vllm import VLLMEngine
    except ImportError as fault:
        raise ConfigError(
            f"engine = 'vllm' is not installed ({fault}); pip install 'rlvr[vllm]', or use transformers"
        ) from fault
    return VLLMEngine(path, **options), False
