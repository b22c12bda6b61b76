"""Training runs as a board shows them: their curves, their prompts, and their evaluations as records."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlvr.config import read_toml
from rlvr.errors import RecordError
from rlvr.task import Task
from rlvr.tracking import read_metrics, read_rollouts, rollout_files
from rlvr_leaderboard import provenance
from rlvr_leaderboard.plan import EnvironmentPlan, environment_name
from rlvr_leaderboard.record import SCHEMA, Item, Record, Rollout
from rlvr_leaderboard.summary import summarise
from rlvr_leaderboard.writer import RecordWriter

MAX_POINTS = 400
"""Points of a curve on the page; longer ones are averaged in equal stretches of steps."""
PROMPTS = "prompts.jsonl"
"""The prompts of a run in a board's folder, where its rollouts are left behind."""
_STEP = re.compile(r"step-([0-9]{6,})")


class TrainingRun:
    """A run folder of a trainer, for reading. Raises RecordError if the folder is none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / "metrics.jsonl").is_file():
            raise RecordError(
                f"{str(path)!r} is no run folder of a training: there is no metrics.jsonl in it. Give the `out` of `rlvr train`."
            )
        has_config = (self.path / "config.toml").is_file()
        self.id = provenance.run_id(self.path) if has_config else ""
        self.config: dict[str, Any] = read_toml(self.path / "config.toml") if has_config else {}

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    def curves(self) -> dict[str, list[list[float]]]:
        """Metric to its steps and its values, thinned to what a chart can show."""
        series: dict[str, tuple[list[float], list[float]]] = {}
        for row in read_metrics(self.path):
            for name, value in row.items():
                if name != "step" and isinstance(value, int | float) and math.isfinite(value):
                    steps, values = series.setdefault(name, ([], []))
                    steps.append(float(row["step"]))
                    values.append(float(value))
        return {name: _thinned(*columns) for name, columns in series.items()}

    def prompts(self) -> Iterator[Task]:
        """The tasks that were trained on, as far as the run stored its rollouts; each prompt once."""
        seen: set[str] = set()
        copied = self.path / PROMPTS
        for path in [copied] if copied.is_file() else rollout_files(self.path).values():
            with path.open(encoding="utf-8") as file:
                for line in file:
                    try:
                        values = json.loads(line)
                        task = Task.from_dict(values.get("task", values))
                    except (ValueError, KeyError, TypeError):
                        continue  # a torn last line of a run that was killed
                    if task.key not in seen:
                        seen.add(task.key)
                        yield task

    def evaluations(self) -> dict[int, Path]:
        """Step to file, of the evaluations that the trainer made on its way."""
        found = {
            int(match[1]): path
            for path in (self.path / "eval").glob("*.jsonl")
            if (match := _STEP.fullmatch(path.stem))
        }
        return dict(sorted(found.items()))


def record_from_run(run: TrainingRun, step: int, out: str | Path) -> Record:
    """A sealed record from an evaluation that a training made at `step`, so that it can stand on a board as it is."""
    files = run.evaluations()
    if step not in files:
        raise RecordError(
            f"{str(run.path)!r} has no evaluation at step {step}; it has {', '.join(map(str, files)) or 'none at all'}"
        )
    groups: dict[tuple[str, str], list[Any]] = {}
    for trajectory in read_rollouts(files[step]):
        task = trajectory.task
        groups.setdefault((environment_name(task.env_id, task.knobs), task.id), []).append(trajectory)
    if not groups:
        raise RecordError(f"{files[step]} holds no trajectory; the evaluation was not finished")
    items: list[Item] = []
    plans: dict[str, EnvironmentPlan] = {}
    for (env, _), trajectories in groups.items():
        task, ids = trajectories[0].task, trajectories[0].token_ids[: trajectories[0].prompt_length]
        items.append(Item(task.id, env, task, len(ids), [list(ids[:8]), list(ids[-8:])]))
        one = plans.setdefault(
            env, EnvironmentPlan(env, task.env_id, dict(task.knobs), task.split, len(trajectories), [])
        )
        one.tasks.append(task)
    from rlvr_leaderboard.evaluate import environment_facts

    settings = run.config
    header = {
        "schema": SCHEMA,
        "name": f"{run.name}@{step}",
        "model": {
            "source": f"{run.name}/checkpoints/step-{step:06d}",
            "engine": str(settings.get("engine", "transformers")),
            "training": {"run": run.name, "id": run.id, "step": step},
        },
        "sampling": settings.get("eval_sampling") or settings.get("sampling") or {},
        "seed": settings.get("seed", 0),
        "environments": {name: environment_facts(one) for name, one in plans.items()},
        "packages": provenance.packages(),
        "machine": provenance.machine(),
    }
    ordered = sorted(items, key=lambda item: list(plans).index(item.env))
    with RecordWriter(out, header, ordered) as writer:
        if not writer.sealed:
            for (env, _), trajectories in groups.items():
                for number, trajectory in enumerate(trajectories):
                    row = Rollout.of(trajectory, env=env, run=number)
                    if row.key not in writer.done:
                        writer.append(row)
            writer.seal(summarise(Record(out)))
    return Record(out)


def _thinned(steps: list[float], values: list[float]) -> list[list[float]]:
    width = -(-len(steps) // MAX_POINTS)
    if width <= 1:
        return [steps, values]
    parts = [slice(start, start + width) for start in range(0, len(steps), width)]
    return [[steps[part][-1] for part in parts], [math.fsum(values[part]) / len(values[part]) for part in parts]]
