"""Checkpoints: an ordinary Hugging Face folder with the trainer's whole state beside the weights.

A checkpoint appears under its name only when it is complete and on disk: it is written under another name, flushed, and
renamed. Whatever stops the writing, a full disk or a kill, the checkpoints that were there stay as they were.
"""

from __future__ import annotations

import copy
import os
import random
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import CheckpointError
from rlvr_trainers.distributed import ALONE, Ranks
from rlvr_trainers.pieces import joined, shapes_of, split
from rlvr_trainers.pieces import write as write_pieces
from rlvr_trainers.sharding import whole

STATE_FILE = "trainer_state.pt"
FORMAT = 1
"""Raised when the state's meaning changes; older ones are then refused by name."""

_NAME = re.compile(r"step-([0-9]{6,})(?:-([0-9]{3}))?")


@dataclass
class TrainerState:
    """Everything that decides how a run goes on, beside the weights. Plain values and tensors only."""

    step: int = 0
    """Steps (batches of rollouts) that are complete."""
    update: int = 0
    """Optimizer updates already made on the step that is under way; 0 between steps."""
    learner: dict[str, Any] = field(default_factory=dict)
    """The optimizer's moments and its counter, which also places the schedule."""
    sampler: dict[str, Any] = field(default_factory=dict)
    """Where each environment's stream stands, and the curriculum."""
    buffer: dict[str, Any] | None = None
    """The rollouts under way with what was computed for them, where `update` is not 0."""
    counters: dict[str, Any] = field(default_factory=dict)
    """Running totals and what the alarms remember."""
    extra: dict[str, Any] = field(default_factory=dict)
    """State of what only some algorithms have: a critic, a KL controller."""
    random: dict[str, Any] = field(default_factory=dict)
    """Every global generator; filled in by `save_checkpoint`."""


def checkpoint_name(step: int, update: int = 0) -> str:
    """`step-000010`, or `step-000010-002` for two updates into the step that follows it."""
    return f"step-{step:06d}" + (f"-{update:03d}" if update else "")


def save_checkpoint(
    folder: Path, state: TrainerState, model: Any, tokenizer: Any, *, keep: int | None = None, ranks: Ranks = ALONE
) -> Path:
    """Write `folder/step-...` with the model, the tokenizer and the state; returns its path.

    Then all but the newest `keep` checkpoints are removed. With several `ranks`, which all call this, the first one writes the
    model, gathered weight by weight, and each writes its own pieces of the state. Raises CheckpointError, on every rank, if
    it cannot be written; the checkpoints before it are untouched, and nothing half-written is left under a checkpoint's name.
    """
    final = folder / checkpoint_name(state.step, state.update)
    partial = folder / f".partial-{final.name}"
    state.random = random_states()
    description, weights = describe_model(model), gathered_weights(model, ranks)
    values, own = split({field.name: getattr(state, field.name) for field in fields(state)})

    def begin() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        partial.mkdir()

    def finish() -> None:
        model.save_pretrained(partial, **({} if weights is None else {"state_dict": weights}))
        tokenizer.save_pretrained(partial)
        torch.save({"format": FORMAT, "model": description, **values}, partial / STATE_FILE)
        for path in partial.iterdir():
            _flush(path)
        _flush(partial)
        _put_in_place(partial, final)

    try:
        ranks.on_main(lambda: _writing(final, begin))
        if ranks.size > 1:
            shapes = dict(shapes_of(values))
            ranks.everywhere(lambda: _writing(final, lambda: write_pieces(own, shapes, partial, ranks.rank, ranks.size)))
        ranks.on_main(lambda: _writing(final, finish))
    except CheckpointError:  # on every rank, when none of them writes any more
        if ranks.main:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    if keep is not None and ranks.main:
        for old in list_checkpoints(folder)[:-keep]:
            _remove(old)
    return final


def gathered_weights(model: Any, ranks: Ranks) -> dict[str, Tensor] | None:
    """The model's state, gathered weight by weight into the first rank's memory; None where it lies there whole anyway.

    Of a model with adapters it holds the adapters alone, which are all that is saved of it.
    """
    if ranks.size == 1:
        return None
    gathered: dict[int, Tensor] = {}
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if hasattr(model, "get_base_model") and "lora_" not in name:
            continue
        if id(tensor) not in gathered:  # a tied weight has two names
            full = whole(tensor.detach())
            gathered[id(tensor)] = full.cpu() if ranks.main else torch.empty(0)
        state[name] = gathered[id(tensor)]
    return state


def _writing(final: Path, call: Callable[[], None]) -> None:
    try:
        call()
    # A full disk reaches us as OSError, from safetensors as its own error, from torch.save as RuntimeError.
    except Exception as fault:
        raise CheckpointError(
            f"checkpoint {str(final)!r} could not be written ({type(fault).__name__}: {fault}). Earlier checkpoints are "
            "intact; free some space or change `out`, then resume the run"
        ) from fault


def _put_in_place(partial: Path, final: Path) -> None:
    if final.exists():  # resumed to before it, and here again
        replaced = final.parent / f".replaced-{final.name}"
        _remove(replaced)
        os.rename(final, replaced)
        os.rename(partial, final)
        _remove(replaced)
    else:
        os.rename(partial, final)
    _flush(final.parent)


def load_state(path: Path, model: Any, ranks: Ranks = ALONE) -> TrainerState:
    """The state of a checkpoint, checked against the model that is to go on from it.

    Raises CheckpointError if there is none, it is damaged, or it belongs to another model.
    """
    if not (path / STATE_FILE).exists():
        raise CheckpointError(
            f"{str(path)!r} holds no {STATE_FILE}, so no run can go on from it; give a run's checkpoint"
        )
    try:
        # Mapped, not read, where several ranks each need only their rows of what one process wrote.
        read = torch.load(path / STATE_FILE, map_location="cpu", weights_only=True, mmap=ranks.size > 1)
        values = joined(read, path)
        values["buffer"] = copy.deepcopy(values["buffer"])  # the file may be removed while the run goes on
        written, expected = values.pop("format"), {f.name for f in fields(TrainerState)}
    except Exception as fault:  # a torn file fails in whatever way the unpickler meets the tear
        raise CheckpointError(
            f"{STATE_FILE} in {str(path)!r} is damaged ({type(fault).__name__}: {fault}); resume from an earlier checkpoint"
        ) from fault
    if written != FORMAT or set(values) - {"model"} != expected:
        raise CheckpointError(
            f"{str(path)!r} has state format {written!r}; this version reads {FORMAT}. Use its rlvr version"
        )
    saved, here = values.pop("model"), describe_model(model)
    if saved != here:
        differing = sorted(name for name in {*saved, *here} if saved.get(name) != here.get(name))
        name = differing[0]
        raise CheckpointError(
            f"{str(path)!r} is a checkpoint of another model: {name} is {saved.get(name)} there and {here.get(name)} here "
            f"({len(differing)} differ). Resume with the run's own config, or start from the weights: model={str(path)!r}"
        )
    return TrainerState(**values)


def list_checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    if not folder.is_dir():
        return []
    found = [
        ((int(match[1]), int(match[2] or 0)), path)
        for path in folder.iterdir()
        if (match := _NAME.fullmatch(path.name)) and (path / STATE_FILE).exists()
    ]
    return [path for _, path in sorted(found)]


def latest_checkpoint(run: Path) -> Path:
    """The newest complete checkpoint of a run folder. Raises CheckpointError if it has none."""
    _finish_replacing(run / "checkpoints")
    found = list_checkpoints(run / "checkpoints")
    if not found:
        raise CheckpointError(f"{str(run)!r} has no complete checkpoint to resume from; start the run anew")
    return found[-1]


def describe_model(model: Any) -> dict[str, Any]:
    """Class and shape of every parameter: what must be equal for an optimizer's state to fit."""
    shapes = {name: list(parameter.shape) for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {"class": type(model).__name__, **shapes}


def random_states() -> dict[str, Any]:
    """Every global random generator of this process. Ours are functions of seeds; a model's or a plugin's need not be."""
    version, internal, gauss = random.getstate()
    states: dict[str, Any] = {"python": [version, list(internal), gauss], "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Put the global generators where `random_states` found them."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])


def _finish_replacing(folder: Path) -> None:
    """Undo a replacement that a kill cut between its two renames."""
    for replaced in folder.glob(".replaced-*"):
        final = folder / replaced.name.removeprefix(".replaced-")
        if not final.exists():
            os.rename(replaced, final)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)
