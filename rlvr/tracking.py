"""The run folder: what a run was told, what it measured and what it sampled, as plain files.

    config.toml                    the resolved settings; the run can be repeated from them
    metrics.jsonl                  one object a step
    rollouts/step-000010.jsonl     every trajectory of a step, with tokens, log-probabilities and Score
    eval/step-000010.jsonl         the same for an evaluation
    checkpoints/step-000010/       a Hugging Face folder and the trainer's state

Metrics also go to TensorBoard, Weights & Biases or trackio where a run asks for them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from rlvr.errors import CheckpointError, ConfigError, RecordError
from rlvr.trajectory import Trajectory

OWN = ("config.toml", "metrics.jsonl", "rollouts", "eval", "checkpoints")
"""What a run writes; anything else in its folder is left alone."""
TRACKERS = ("tensorboard", "wandb", "trackio")

_STEP = re.compile(r"step-([0-9]{6,})")


class Tracker(Protocol):
    """Something else that wants the metrics."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Take the metrics of one step."""

    def close(self) -> None:
        """Flush and end."""


class RunFolder:
    """Writes one run. Opened anew the folder must hold no run; opened to resume it must hold one."""

    def __init__(
        self, path: str | Path, *, config_toml: str, trackers: Sequence[str] = (), resume: bool = False
    ) -> None:
        self.path = Path(path)
        if resume and not self.metrics_path.exists():
            raise ConfigError(
                f"{str(self.path)!r} holds no run to resume (no metrics.jsonl); start it without resuming"
            )
        if not resume and any((self.path / name).exists() for name in OWN):
            raise ConfigError(
                f"{str(self.path)!r} holds a run already; a new one would mix with it. "
                "Give another `out`, remove the folder, or resume the run in it"
            )
        self._trackers = [open_tracker(name, self.path, resume=resume) for name in trackers]
        for folder in (self.path, self.path / "rollouts", self.path / "eval", self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            (self.path / "config.toml").write_text(config_toml, "utf-8")
        self._metrics = self.metrics_path.open("a", encoding="utf-8")

    @property
    def metrics_path(self) -> Path:
        """`metrics.jsonl`."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Append one line, and tell the trackers. With the system when this returns. Raises CheckpointError on a full disk."""
        with _writing(self.metrics_path):
            self._metrics.write(json.dumps({"step": step, **metrics}) + "\n")
            self._metrics.flush()
        for tracker in self._trackers:
            tracker.log(metrics, step)

    def write_rollouts(self, step: int, trajectories: Iterable[Trajectory]) -> Path:
        """Store a step's trajectories, one a line; `read_rollouts` gives them back."""
        return self._write("rollouts", step, (trajectory.to_dict() for trajectory in trajectories))

    def write_eval(self, step: int, trajectories: Iterable[Trajectory]) -> Path:
        """Store an evaluation's trajectories, one a line."""
        return self._write("eval", step, (trajectory.to_dict() for trajectory in trajectories))

    def forget_after(self, step: int, *, sampled: int | None = None) -> None:
        """Remove what was written after a step, so that a resumed run writes it again and nothing stands twice.

        `sampled` is the last step whose rollouts the run still goes on from, where that is a later one.
        """
        self._metrics.close()
        kept = [line for line in self.metrics_path.read_text("utf-8").splitlines() if _step_of(line) <= step]
        partial = self.metrics_path.with_suffix(".partial")
        partial.write_text("".join(line + "\n" for line in kept), "utf-8")
        os.replace(partial, self.metrics_path)
        self._metrics = self.metrics_path.open("a", encoding="utf-8")
        for folder, last in (("rollouts", step if sampled is None else sampled), ("eval", step)):
            for path in (self.path / folder).glob("step-*.jsonl"):
                match = _STEP.fullmatch(path.stem)
                if match and int(match[1]) > last:
                    path.unlink()

    def close(self) -> None:
        """Close the files and the trackers."""
        with suppress(OSError):  # what could not be written was reported when it was
            self._metrics.close()
        for tracker in self._trackers:
            tracker.close()

    def _write(self, folder: str, step: int, rows: Iterable[Mapping[str, Any]]) -> Path:
        path = self.path / folder / f"step-{step:06d}.jsonl"
        partial = path.with_suffix(".partial")
        with _writing(path), partial.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row) + "\n")
        os.replace(partial, path)
        return path


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as fault:
        raise CheckpointError(
            f"{str(path)!r} could not be written ({fault}); the run stops here, and what it wrote before is intact. Free some "
            "space or mend the folder, then resume the run"
        ) from fault


def read_metrics(run: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`; a torn last line, which a killed run leaves, is dropped."""
    path = Path(run) / "metrics.jsonl"
    if not path.exists():
        raise RecordError(f"{str(run)!r} holds no metrics.jsonl, so it is no run folder; give the `out` of a run")
    lines = path.read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if _step_of(line) < _TORN]


def read_rollouts(path: str | Path) -> Iterator[Trajectory]:
    """The trajectories of one file of a run folder. Raises RecordError for a line that is none."""
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield Trajectory.from_dict(json.loads(line))
            except (ValueError, TypeError, KeyError) as fault:
                raise RecordError(
                    f"{path}, line {number} is no trajectory ({type(fault).__name__}: {fault}); the file is damaged"
                ) from fault


def rollout_files(run: str | Path) -> dict[int, Path]:
    """Step to file, of the rollouts that a run folder holds, in order."""
    found = {
        int(match[1]): path
        for path in (Path(run) / "rollouts").glob("*.jsonl")
        if (match := _STEP.fullmatch(path.stem))
    }
    return dict(sorted(found.items()))


def open_tracker(name: str, run: Path, *, resume: bool = False) -> Tracker:
    """TensorBoard, Weights & Biases or trackio, logging under the run's name. Raises ConfigError if it is not installed."""
    makers: dict[str, Callable[[Path, bool], Tracker]] = {
        "tensorboard": _TensorBoard,
        "wandb": _WandB,
        "trackio": _Trackio,
    }
    if name not in makers:
        raise ConfigError(f"there is no tracker {name!r}; known: {', '.join(TRACKERS)}")
    try:
        return makers[name](run, resume)
    except ImportError as fault:
        raise ConfigError(f"tracker {name!r} is not installed ({fault}); pip install 'rlvr[{name}]'") from fault


class _TensorBoard:
    def __init__(self, run: Path, resume: bool) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run / "tensorboard"))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _WandB:
    def __init__(self, run: Path, resume: bool) -> None:
        import wandb

        self._run = wandb.init(project="rlvr", name=run.name, dir=str(run), resume="allow" if resume else None)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    def __init__(self, run: Path, resume: bool) -> None:
        import trackio

        self._module = trackio
        trackio.init(project="rlvr", name=run.name, resume="allow" if resume else "never")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._module.log(dict(metrics), step=step)

    def close(self) -> None:
        self._module.finish()


_TORN = 1 << 62


def _step_of(line: str) -> int:
    """A metrics line's step; larger than any for a line that a killed run left unfinished."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return _TORN
