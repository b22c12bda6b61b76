"""What the GPU scripts share: a model folder of random weights, the sizes of a step, the device's peak."""

from __future__ import annotations

import json
import statistics
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.gpu_all import RESULT
from bench.plan import GPUS
from bench.shapes import SHAPES, Shape

ENV = "math/arithmetic-v0"


@dataclass(frozen=True)
class Sizes:
    """A step small enough to be repeated and large enough to fill a GPU."""

    prompts: int
    group: int
    prompt_tokens: int
    max_tokens: int
    steps: int
    token_budget: int
    repeats: int


def sizes(tiny: bool) -> Sizes:
    """Those of a GPU, or those that a CPU plays in seconds."""
    return Sizes(2, 2, 12, 8, 3, 64, 2) if tiny else Sizes(32, 8, 200, 512, 4, 32_768, 4)


def build_model(name: str, folder: Path) -> Path:
    """Random weights of this shape and a character tokenizer, saved as any model is. Made once a folder."""
    path = folder / name
    if path.exists():
        return path
    from transformers import Qwen2ForCausalLM

    from rlvr_trainers.tiny import ASCII, character_tokenizer

    shape = SHAPES[name]
    tokenizer = character_tokenizer(ASCII, max_length=4096)
    config = shape.config(
        max_position_embeddings=4096,
        dtype="bfloat16" if torch.cuda.is_available() else "float32",
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = Qwen2ForCausalLM(config).to(config.dtype)  # type: ignore[attr-defined]
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def peak_flops() -> float | None:
    """Dense bfloat16 operations a second of this GPU by its data sheet; None if it is not in the table of bench/plan.py."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name().lower()
    return next((gpu.flops for key, gpu in GPUS.items() if key in name), None)


def mfu(shape: Shape, tokens: float, context: float, seconds: float) -> str:
    """Model flops utilisation as text; a dash where the peak is unknown."""
    peak = peak_flops()
    return "-" if peak is None else f"{shape.training_flops(1, context) * tokens / seconds / peak:.1%}"


def memory() -> str:
    """Peak of what this process had allocated on the GPU since the last call."""
    if not torch.cuda.is_available():
        return "-"
    peak = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return f"{peak:.1f} GiB"


def synchronize() -> None:
    """Wait until the GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def median(values: list[float]) -> float:
    """The first is left out where there are more: it compiles and allocates."""
    return statistics.median(values[1:] or values)


def quiet() -> None:
    """Random weights earn nothing, which the trainer would say at every step."""
    warnings.simplefilter("ignore")


def emit(result: dict[str, str]) -> None:
    """A line that bench/gpu_all.py makes a table of."""
    print(RESULT + json.dumps(result), flush=True)


def fields(**values: Any) -> dict[str, str]:
    """Numbers as they are read."""
    return {
        key.replace("_", " "): f"{value:,.3g}" if isinstance(value, float) else str(value)
        for key, value in values.items()
    }
