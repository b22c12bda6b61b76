"""GPU memory of a run, by counting: what weights, optimizer, activations, logits and engine take.

    python bench/memory.py                     # the recipes under trainers/recipes/gpu
    python bench/memory.py some/recipe.toml

Bytes, for N weights on R learner GPUs (docs/performance.md derives each line):

    weights, gradients, AdamW     16 N / R                float32 weights, gradients and two moments
    products in bfloat16          2 N, or 2 layers of it  autocast's copies; sharded, those that are gathered
    activations                   t * (L * s + a)         t tokens of a micro-batch; s of each layer, a of the one at work
        without checkpointing     s = 24 h + 4 k + 8 f, a = 0
        with it                   s = 4 h, a = 24 h + 4 k + 8 f
    log-probabilities             5 * 4 * 2**25           up to five float32 copies of a chunk of logits
    engine on the same GPU        its share of the GPU's memory, of which 2 N are weights and the rest is cache

L layers, h hidden size, k size of all keys of a token, f feed-forward size. LoRA keeps 4 N of frozen weights and 16 bytes for
each weight of the adapters. What is not counted: the allocator's fragments (some per cent), NCCL's buffers, CUDA's own 0.5 GB.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.plan import GPUS
from bench.shapes import SHAPES, Shape

RECIPES = Path(__file__).parents[1] / "trainers" / "recipes" / "gpu"
CHUNK_BYTES = 5 * 4 * (1 << 25)
GB = 1e9


@dataclass(frozen=True)
class Place:
    """The machine that a recipe is written for."""

    gpu: str
    learner_gpus: int
    engine_gpus: int
    """Beside those of the learner; 0 where the engine shares them."""


PLACES = {
    "0.5b": Place("h100", 1, 0),
    "1.5b": Place("h100", 1, 0),
    "3b": Place("h200", 1, 0),
    "7b": Place("h100", 4, 4),
}


def learner_bytes(
    shape: Shape, *, gpus: int = 1, token_budget: int, checkpointing: bool, lora_rank: int = 0
) -> dict[str, float]:
    """What one of the learner's GPUs holds, part by part."""
    n = shape.parameters
    keys = shape.kv_heads * shape.head_size
    whole_layer = 24 * shape.hidden + 4 * keys + 8 * shape.feed_forward
    kept, working = (4 * shape.hidden, whole_layer) if checkpointing else (whole_layer, 0)
    if lora_rank:
        layer = lora_rank * (
            6 * shape.hidden + 4 * keys + 3 * shape.feed_forward
        )  # seven matrices, each of two factors
        state = 4.0 * n / gpus + 16.0 * shape.layers * layer / gpus
    else:
        state = 16.0 * n / gpus
    return {
        "weights, gradients, optimizer": state,
        "bfloat16 copies": 2.0 * n if gpus == 1 else 4.0 * max(shape.layer_parameters, shape.vocabulary * shape.hidden),
        "activations": float(token_budget * (shape.layers * kept + working)),
        "log-probabilities": float(CHUNK_BYTES),
    }


def engine_bytes(shape: Shape, gpu_bytes: float, share: float, tensor_parallel: int = 1) -> tuple[float, int]:
    """What an engine takes of one GPU, and how many tokens its key-value cache then holds over all of its GPUs."""
    taken = share * gpu_bytes
    weights = 2.0 * shape.parameters / tensor_parallel
    return taken, int((taken - weights) * tensor_parallel / shape.kv_bytes())


def of_recipe(path: Path) -> tuple[str, Place, dict[str, float], int]:
    """Size, machine, bytes on a learner's GPU by part, and tokens in one engine's cache, of a recipe under recipes/gpu."""
    import tomllib

    recipe = tomllib.loads(path.read_text())
    size = path.stem
    place, shape = PLACES[size], SHAPES[size]
    grpo: dict[str, Any] = recipe["grpo"]
    parts = learner_bytes(
        shape,
        gpus=place.learner_gpus,
        token_budget=grpo["token_budget"],
        checkpointing=grpo.get("gradient_checkpointing", False),
        lora_rank=grpo.get("lora_rank", 0),
    )
    options = grpo["engine_options"]
    gpu = GPUS[place.gpu].memory
    taken, cached = engine_bytes(shape, gpu, options["gpu_memory_utilization"], options.get("tensor_parallel_size", 1))
    if not place.engine_gpus:
        parts["engine"] = taken
    return size, place, parts, cached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", type=Path, default=sorted(RECIPES.glob("*.toml")))
    args = parser.parse_args()
    names = ["weights, gradients, optimizer", "bfloat16 copies", "activations", "log-probabilities", "engine"]
    print("| model | GPUs | " + " | ".join(names) + " | sum, GB a GPU | of | tokens an engine caches |")
    print("| --- " * (len(names) + 5) + "|")
    for path in args.recipes:
        size, place, parts, cached = of_recipe(path)
        gpus = f"{place.learner_gpus}" + (f" + {place.engine_gpus}" if place.engine_gpus else "") + f" {place.gpu}"
        cells = " | ".join(f"{parts[name] / GB:.1f}" if name in parts else "-" for name in names)
        whole = sum(parts.values()) / GB
        print(f"| {size} | {gpus} | {cells} | {whole:.0f} | {GPUS[place.gpu].memory / GB:.0f} | {cached:,} |")


if __name__ == "__main__":
    main()
