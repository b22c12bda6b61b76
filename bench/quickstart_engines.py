"""The quickstart's GRPO run on every engine: transformers, vLLM in process, a vLLM server. Do they learn alike?

    .venv-vllm/bin/python bench/quickstart_engines.py [--engines transformers,vllm,vllm_server] [--steps 150]

All runs begin with one supervised start, whose model has two heads of 32 dimensions in place of four of 16, because vLLM
serves no smaller ones on a CPU. Draws differ from engine to engine, so what is compared is the course and not the tokens.
`mismatch` is the largest mean difference, over the steps, between the sampler's log-probabilities of the answers and the
learner's, in nats.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlvr.tracking import read_metrics
from rlvr_trainers import GRPOConfig, train_grpo
from rlvr_trainers.recipe import load_recipe, run_recipe

RECIPE = Path("trainers/recipes/quickstart.toml")
SERVED: dict[str, Any] = {"max_num_seqs": 256, "kv_cache_memory_mb": 256}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engines", default="transformers,vllm,vllm_server")
    parser.add_argument("--steps", type=int, default=150)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recipe = load_recipe(RECIPE, [f"out={json.dumps(folder + '/start')}", "build.heads=2"])
        *supervised, reinforcement = recipe.stages
        start = run_recipe(replace(recipe, stages=tuple(supervised)), quiet=True)
        print(f"{'engine':<14}{'accuracy':<20}{'reward, 25 steps each':<44}{'mismatch':>10}{'wall s':>8}")
        for engine in args.engines.split(","):
            config = replace(
                reinforcement.config,
                model=str(start),
                out=f"{folder}/{engine}",
                engine=engine,
                engine_options={} if engine == "transformers" else SERVED,
                steps=args.steps,
                eval_every=0,
            )
            print(row(config), flush=True)


def row(config: GRPOConfig) -> str:
    """One run as a line of the table."""
    began = time.perf_counter()
    result = train_grpo(config, quiet=True)
    seconds = time.perf_counter() - began
    steps = [step for step in read_metrics(config.out) if step["step"] > 0]
    parts = [steps[place : place + 25] for place in range(0, len(steps), 25)]
    curve = " ".join(f"{sum(step['reward'] for step in part) / len(part):.2f}" for part in parts)
    mismatch = max(step["mismatch"] for step in steps)
    accuracy = f"{result.accuracy_before:.1%} -> {result.accuracy_after:.1%}"
    return f"{config.engine:<14}{accuracy:<20}{curve:<44}{mismatch:>10.1e}{seconds:>8.0f}"


if __name__ == "__main__":
    main()
