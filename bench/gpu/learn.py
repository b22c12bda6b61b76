"""A small model from nothing on this device: supervised start and GRPO by the quickstart's recipe, with its curve.

python bench/gpu/learn.py SCRATCH [--tiny]
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.gpu import common
from rlvr.tracking import read_metrics


def main() -> None:
    out = Path(sys.argv[1]) / "learn"
    settings = [f"out={json.dumps(str(out))}"]
    if "--tiny" in sys.argv:
        settings += ["sft.steps=20", "sft.examples=200", "grpo.steps=3", "grpo.prompts_per_step=4", "grpo.eval_tasks=8"]
    command = [
        sys.executable,
        "-m",
        "rlvr",
        "train",
        "trainers/recipes/quickstart.toml",
        *settings,
        "--json",
        "--quiet",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-1000:] + done.stderr[-2000:])
    facts = json.loads(done.stdout[done.stdout.index("{") :])
    rows = [row for row in read_metrics(out) if row["step"] > 0]
    every = max(1, len(rows) // 10)
    curve = {f"reward, steps {rows[i]['step']:.0f} on": rows[i : i + every] for i in range(0, len(rows), every)}
    common.emit(
        {
            "accuracy before, after": f"{facts['accuracy_before']:.1%}, {facts['accuracy_after']:.1%}",
            "wall time": f"{facts['wall_s']:.0f} s",
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
