"""What a GRPO step costs, and what it takes to learn: train_grpo, a plain PyTorch loop and TRL on one task, in one run.

    python bench/grpo_step.py [--seeds 0 1 2] [--out bench/results/grpo_step.md]

Every runner starts from the same tiny model with the same settings and pins one thread. They take turns within a seed, so
that a change of the machine's speed meets all of them. Processor seconds are those of the trainer's process, the first step
left out; ours also runs verifiers in worker processes, whose seconds stand on their own line. `rlvr` makes exactly the plain
loop's update (groups with equal rewards stay in the batch); `rlvr default` drops them, as train_grpo does unless told.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "trainers"
RUNNERS = {
    "plain": ["plain.py"],
    "rlvr": ["ours.py", "same-update"],
    "rlvr default": ["ours.py", "default"],
    "trl": ["with_trl.py"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", default="bench/results/grpo_step.md")
    parser.add_argument("--runners", nargs="+", default=list(RUNNERS), choices=list(RUNNERS))
    args = parser.parse_args()
    sys.path.insert(0, str(HERE))
    from task import SETTINGS, make_model

    runners = [name for name in args.runners if name != "trl" or importlib.util.find_spec("trl") is not None]
    if runners != args.runners:
        print("TRL is not installed and is left out: pip install trl", file=sys.stderr)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "false",
    }
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in runners}
    with tempfile.TemporaryDirectory() as scratch:
        share = make_model(Path(scratch) / "model")
        print(f"start: {share:.0%} of sampled answers right; {SETTINGS}", file=sys.stderr)
        for seed in args.seeds:
            for name in runners:
                script, *mode = RUNNERS[name]
                out = Path(scratch) / "result.json"
                command = [sys.executable, script, str(Path(scratch) / "model"), str(out), str(seed), *mode]
                done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True)
                if done.returncode:
                    raise SystemExit(f"{name} failed on seed {seed}:\n{done.stderr[-3000:]}")
                results[name].append(json.loads(out.read_text()))
                print(
                    f"seed {seed} {name}: {median_step(results[name][-1]):.4f} processor s a step, goal at step "
                    f"{reached(results[name][-1], SETTINGS)}",
                    file=sys.stderr,
                )
            # A seed at a time, so that a run that is cut off leaves whole seeds.
            text = report(results, SETTINGS, share)
            Path(args.out).write_text(text, "utf-8")
    print(text)


def report(results: dict[str, list[dict[str, Any]]], settings: dict[str, Any], share: float) -> str:
    """The table as Markdown: medians over seeds, in brackets the median of the ratios to the first column seed by seed."""
    first, count = results[next(iter(results))], len(next(iter(results.values())))
    versions = ", ".join(
        f"{package} {importlib.metadata.version(package)}"
        for package in ("torch", "transformers", "trl")
        if importlib.util.find_spec(package) is not None
    )
    lines = [
        "# A GRPO step, beside a plain loop and TRL",
        "",
        f"`python bench/grpo_step.py`, {time.strftime('%Y-%m-%d')}, one thread of a shared, loaded processor; {versions}.",
        "",
        f"One-digit addition as characters, a transformer of two layers and width 128 that begins with {share:.0%} of its "
        f"samples right; {settings['prompts_per_step']} prompts x {settings['group_size']} answers a step, learning rate "
        f"{settings['learning_rate']:g}. The goal is a mean reward of {settings['goal']} over {settings['goal_window']} steps. "
        "`rlvr` makes the plain loop's update; `rlvr default` leaves out groups whose answers all earned the same.",
        "",
        f"| median of {count} seeds | " + " | ".join(results) + " |",
        "| --- " * (len(results) + 1) + "|",
        row(results, first, "processor s a step", median_step, "{:.4f}"),
        row(results, first, "the same, until the goal", lambda r: mean_to_goal(r, settings), "{:.4f}"),
        row(
            results,
            None,
            "of scoring workers beside it",
            lambda r: r.get("workers_s", 0.0) / len(r["rewards"]),
            "{:.4f}",
        ),
        row(results, None, "steps to the goal", lambda r: reached(r, settings), "{:.0f}"),
        row(results, first, "processor s to the goal", lambda r: seconds_to_goal(r, settings), "{:.1f}"),
        row(results, first, "with scoring workers", lambda r: all_seconds_to_goal(r, settings), "{:.1f}"),
        row(results, first, "peak memory MiB", lambda r: r["peak_mb"], "{:.0f}"),
        "",
        "| by seed | " + " | ".join(results) + " |",
        "| --- " * (len(results) + 1) + "|",
    ]
    for label, measure, form in (
        ("processor s a step", median_step, "{:.4f}"),
        ("steps to the goal", lambda r: reached(r, settings), "{:.0f}"),
        ("processor s to the goal", lambda r: seconds_to_goal(r, settings), "{:.1f}"),
    ):
        cells = [[measure(result) for result in results[name]] for name in results]
        shown = [" ".join("-" if value is None else form.format(value) for value in values) for values in cells]
        lines.append(f"| {label} | " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def median_step(result: dict[str, Any]) -> float:
    """Median processor seconds of a step, the first left out."""
    clock = result["processor_s"]
    return statistics.median(b - a for a, b in itertools.pairwise(clock))


def reached(result: dict[str, Any], settings: dict[str, Any]) -> float | None:
    """The step at which the mean reward of the last few reached the goal."""
    window, rewards = settings["goal_window"], result["rewards"]
    for step in range(window, len(rewards) + 1):
        if statistics.mean(rewards[step - window : step]) >= settings["goal"]:
            return step
    return None


def seconds_to_goal(result: dict[str, Any], settings: dict[str, Any]) -> float | None:
    """Processor seconds until then."""
    step = reached(result, settings)
    return None if step is None else result["processor_s"][int(step) - 1]


def mean_to_goal(result: dict[str, Any], settings: dict[str, Any]) -> float | None:
    """Mean processor seconds of the steps until then."""
    step = reached(result, settings)
    return None if step is None else result["processor_s"][int(step) - 1] / step


def all_seconds_to_goal(result: dict[str, Any], settings: dict[str, Any]) -> float | None:
    """Processor seconds until then, with the share of those that scoring processes took."""
    step = reached(result, settings)
    if step is None:
        return None
    workers: float = result.get("workers_s", 0.0) / len(result["rewards"]) * step
    return float(result["processor_s"][int(step) - 1]) + workers


def row(
    results: dict[str, list[dict[str, Any]]],
    first: list[dict[str, Any]] | None,
    label: str,
    measure: Callable[[dict[str, Any]], float | None],
    form: str,
) -> str:
    """One line: the median over seeds, and against `first` the median of the ratios seed by seed."""
    cells = []
    for name in results:
        values = [measure(result) for result in results[name]]
        known = [value for value in values if value is not None]
        text = (
            form.format(statistics.median(known))
            if len(known) == len(values)
            else f"missed by {len(values) - len(known)}"
        )
        if first is not None and len(known) == len(values):
            bases = [measure(result) for result in first]
            ratios = [value / base for value, base in zip(known, bases, strict=True) if base]
            text += f" (x{statistics.median(ratios):.2f})" if ratios else ""
        cells.append(text)
    return f"| {label} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
