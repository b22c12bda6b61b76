"""A small model from nothing on this device: supervised start and GRPO by the quickstart's recipe, with its curve.

python bench/gpu/learn.py SCRATCH [--tiny]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from bench.gpu import common
from rlvr.tracking import read_metrics
from rlvr_trainers.recipe import load_recipe, run_recipe


def main() -> None:
    out = Path(sys.argv[1]) / "learn"
    settings = [f"out={json.dumps(str(out))}"]
    if "--tiny" in sys.argv:
        settings += ["sft.steps=20", "sft.examples=200", "grpo.steps=3", "grpo.prompts_per_step=4", "grpo.eval_tasks=8"]
    common.quiet()
    began = time.perf_counter()
    result = run_recipe(load_recipe(Path("trainers/recipes/quickstart.toml"), settings), quiet=True)
    seconds = time.perf_counter() - began
    rows = [row for row in read_metrics(out) if row["step"] > 0]
    every = max(1, len(rows) // 10)
    curve = {f"reward, steps {rows[i]['step']:.0f} on": rows[i : i + every] for i in range(0, len(rows), every)}
    common.emit(
        {
            "accuracy before, after": f"{result.accuracy_before:.1%}, {result.accuracy_after:.1%}",
            "wall time": f"{seconds:.0f} s",
            **{name: f"{sum(row['reward'] for row in part) / len(part):.3f}" for name, part in curve.items()},
            **common.fields(seconds_a_step=common.median([sum_of(row) for row in rows])),
        }
    )


def sum_of(row: dict[str, float]) -> float:
    """Seconds of a step without its evaluation."""
    return sum(
        v for key, v in row.items() if key.startswith("time/") and key not in ("time/processor_s", "time/eval_s")
    )


if __name__ == "__main__":
    main()
