"""What a run looks like afterwards: its curves as a picture, and answers from before and after side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.tracking import read_metrics, read_rollouts
from rlvr.trajectory import Trajectory

PANELS = (("reward", "accuracy", "eval/accuracy"), ("length_mean", "eval/length_mean"), ("entropy",))
SMOOTH = 10
"""Steps in the running mean that is drawn over the single values."""


def write_report(run: Path, *, transcripts: int = 4) -> Path:
    """Write `report/` in a run folder: `curves.png`, `curves.svg` and `README.md` with transcripts; returns the last."""
    folder = run / "report"
    folder.mkdir(exist_ok=True)
    rows = read_metrics(run)
    _draw(rows, folder)
    evaluations = sorted((run / "eval").glob("step-*.jsonl"))
    lines = [f"# {run.name}", "", "![reward, length and entropy by step](curves.png)", ""]
    accuracy = [(int(row["step"]), row["eval/accuracy"]) for row in rows if "eval/accuracy" in row]
    lines += ["| step | accuracy on unseen tasks |", "| --- | --- |", *(f"| {s} | {a:.1%} |" for s, a in accuracy), ""]
    if len(evaluations) > 1:
        before, after = ({t.task.id: t for t in read_rollouts(path)} for path in (evaluations[0], evaluations[-1]))
        for task_id in _most_telling(before, after)[:transcripts]:
            lines += ["## " + " ".join(before[task_id].task.text.split()), ""]
            for label, trajectory in (("before", before[task_id]), ("after", after[task_id])):
                lines += [f"{label}: {_verdict(trajectory)}", "", "```text", *_answer(trajectory), "```", ""]
    path = folder / "README.md"
    path.write_text("\n".join(lines), "utf-8")
    return path


def _most_telling(before: dict[str, Trajectory], after: dict[str, Trajectory]) -> list[str]:
    """Tasks that were wrong and became right first, then what is still wrong; in the order of the evaluation."""

    def rank(task_id: str) -> int:
        was, now = (t.score is not None and t.score.correct for t in (before[task_id], after[task_id]))
        return 0 if now and not was else 1 if not now else 2

    return sorted((task_id for task_id in before if task_id in after), key=rank)


def _verdict(trajectory: Trajectory) -> str:
    score = trajectory.score
    if score is None or score.error:
        return f"no verdict ({score.error if score else 'not scored'})"
    return f"reward {score.reward:g}, {score.reason or 'no reason given'}"


def _answer(trajectory: Trajectory) -> Sequence[str]:
    # A model's text must not be able to close the block it stands in.
    return "\n".join(trajectory.texts).replace("```", "'''").splitlines() or [""]


def _draw(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    from matplotlib.figure import Figure

    panels = [[name for name in names if any(name in row for row in rows)] for names in PANELS]
    panels = [names for names in panels if names]
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, names in zip(axes, panels, strict=True):
        for name in names:
            points = [(row["step"], row[name]) for row in rows if name in row]
            steps, values = [step for step, _ in points], [value for _, value in points]
            if name.startswith("eval/"):
                axis.plot(steps, values, "o-", label=name)
                continue
            (line,) = axis.plot(steps, values, alpha=0.25)
            means = [sum(values[max(0, i - SMOOTH + 1) : i + 1]) / min(i + 1, SMOOTH) for i in range(len(values))]
            axis.plot(steps, means, color=line.get_color(), label=name)
        axis.set_xlabel("step")
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    for suffix in ("png", "svg"):
        figure.savefig(folder / f"curves.{suffix}", dpi=150)
