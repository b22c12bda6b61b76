"""The run folder, and what stands in its place on the ranks that do not write to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rlvr.tracking import RunFolder
from rlvr.trajectory import Trajectory
from rlvr_trainers.distributed import Ranks


def open_folder(
    path: Path, ranks: Ranks, *, config_toml: str, trackers: Sequence[str] = (), resume: bool = False
) -> RunFolder:
    """The run folder on the first rank, its read-only twin on the others. Raises ConfigError on all of them or on none."""
    opened: list[RunFolder] = []

    def open_on_main() -> None:
        opened.append(RunFolder(path, config_toml=config_toml, trackers=trackers, resume=resume))

    ranks.on_main(open_on_main)
    return opened[0] if opened else ReadOnlyFolder(path)


class ReadOnlyFolder(RunFolder):
    """A run folder that another rank writes: its paths are known, and writing does nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Nothing."""

    def write_rollouts(self, step: int, trajectories: Iterable[Trajectory]) -> Path:
        """Nothing; where the rank that writes puts them."""
        return self.path / "rollouts"

    def write_eval(self, step: int, trajectories: Iterable[Trajectory]) -> Path:
        """Nothing; where the rank that writes puts them."""
        return self.path / "eval"

    def forget_after(self, step: int, *, sampled: int | None = None) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
