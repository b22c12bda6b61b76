"""Which weights a run starts from: a model's folder, a hub name, or the folder of another run; and how far that one came."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from rlvr.errors import CheckpointError, ConfigError
from rlvr_trainers.checkpoint import STATE_FILE, latest_checkpoint, list_checkpoints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    C = TypeVar("C", bound=DataclassInstance)


def model_folder(path: str) -> str:
    """The newest checkpoint, if this is the folder of a run; any other path, and a hub name, as it is.

    Raises ConfigError for a run that has written none yet.
    """
    checkpoints = Path(path) / "checkpoints"
    if not path or not checkpoints.is_dir() or (Path(path) / "config.json").exists():
        return path
    if not list_checkpoints(checkpoints):
        raise ConfigError(
            f"{path!r} is a run without a complete checkpoint, so there is no model to start from. Finish it: "
            f"rlvr train --resume {path}"
        )
    return str(latest_checkpoint(Path(path)))


def with_model_folders(config: C) -> C:
    """A dataclass of settings whose models, where they were named by a run, are the checkpoints these runs end at now.

    What is written down with a run then says which weights it started from, and a resumed run starts from the same.
    """
    names = {field.name for field in fields(config)} & {"model", "critic_model", "reward_model"}
    return replace(config, **{name: model_folder(getattr(config, name)) for name in names})


def progress_of(checkpoint: Path) -> tuple[int, str]:
    """`(step, why it ended)` as a checkpoint says it; the second is empty unless the run ended before its last step.

    Raises CheckpointError for a damaged one.
    """
    try:
        values = torch.load(checkpoint / STATE_FILE, map_location="cpu", weights_only=True, mmap=True)
        return int(values["step"]), str(values["counters"].get("ended", ""))
    except Exception as fault:  # a torn file fails in whatever way the unpickler meets the tear
        raise CheckpointError(
            f"{STATE_FILE} in {str(checkpoint)!r} is damaged ({type(fault).__name__}: {fault}); remove the checkpoint, so that "
            "the run goes on from the one before it"
        ) from fault
