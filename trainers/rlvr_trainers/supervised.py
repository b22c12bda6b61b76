"""A stage that learns from fixed examples, while it goes: its run folder, its checkpoints, and how it is taken up again.

Which examples an update sees is a function of the settings and of its number, so weights, optimizer and that number are all
that a resumed stage needs to go on bit for bit. Where torchrun started this process beside others, all of them run the stage:
they share out the examples of each update, and the first one writes to its folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rlvr.errors import CheckpointError, ConfigError
from rlvr.tracking import RunFolder
from rlvr_trainers.checkpoint import (
    TrainerState,
    latest_checkpoint,
    load_state,
    restore_random_states,
    save_checkpoint,
)
from rlvr_trainers.distributed import Ranks
from rlvr_trainers.optimizer import Optimizer
from rlvr_trainers.recipe_tables import recipe_toml
from rlvr_trainers.run_folder import open_folder


class SupervisedConfig(Protocol):
    """What the settings of such a stage have in common."""

    @property
    def out(self) -> str:
        """Run folder."""

    @property
    def steps(self) -> int:
        """Updates."""

    @property
    def checkpoint_every(self) -> int:
        """Updates between checkpoints; 0 writes one at the end."""

    @property
    def keep_checkpoints(self) -> int:
        """Newest checkpoints that are kept."""

    @property
    def trackers(self) -> tuple[str, ...]:
        """Of tensorboard, wandb, trackio."""


@dataclass
class SupervisedRun:
    """The stage under way."""

    config: SupervisedConfig
    folder: RunFolder
    state: TrainerState
    model: Any
    optimizer: Optimizer
    tokenizer: Any
    ranks: Ranks
    """The processes that train together."""
    saved: Path | None
    """The newest checkpoint."""

    def steps(self) -> Iterator[int]:
        """Numbers of the updates that are left."""
        while self.state.step < self.config.steps and "ended" not in self.state.counters:
            yield self.state.step + 1

    def end_step(self, metrics: Mapping[str, float], *, ended: str = "") -> None:
        """Log an update and write a checkpoint if one is due; `ended` says why the stage stops before its last step."""
        step = self.state.step = self.state.step + 1
        if ended:
            self.state.counters["ended"] = ended
        self.folder.log(metrics, step=step)
        every = self.config.checkpoint_every
        if ended or step == self.config.steps or (every > 0 and step % every == 0):
            self.state.learner = self.optimizer.state_dict()
            self.saved = save_checkpoint(
                self.folder.checkpoints,
                self.state,
                self.model,
                self.tokenizer,
                keep=self.config.keep_checkpoints,
                ranks=self.ranks,
            )

    def result(self) -> Path:
        """The last checkpoint: a Hugging Face folder."""
        assert self.saved is not None
        return self.saved


def resume_point(out: str, resume: bool, ranks: Ranks) -> Path | None:
    """The checkpoint whose weights to go on from; None for a new run."""
    return ranks.on_main(lambda: latest_checkpoint(Path(out))) if resume else None


@contextmanager
def open_supervised(
    config: SupervisedConfig,
    *,
    stage: str,
    model: Any,
    optimizer: Optimizer,
    tokenizer: Any,
    ranks: Ranks,
    checkpoint: Path | None,
) -> Iterator[SupervisedRun]:
    """The run folder of a stage, new or as `checkpoint` left it; closed again at the end.

    `model` has the checkpoint's weights already; the optimizer gets its state here. Raises ConfigError where nothing is left
    to do, CheckpointError for a checkpoint of another model.
    """
    state = TrainerState() if checkpoint is None else load_state(checkpoint, model, ranks)
    if "ended" in state.counters or state.step >= config.steps:
        why = f" ({state.counters['ended']})" if "ended" in state.counters else ""
        raise ConfigError(
            f"the {stage} run in {config.out!r} ended at step {state.step}{why} and steps is {config.steps}: nothing is left "
            "to do. Start from its weights in a new run"
        )
    folder = open_folder(
        Path(config.out),
        ranks,
        config_toml=recipe_toml(**{stage: config}),
        trackers=config.trackers,
        resume=checkpoint is not None,
    )
    try:
        if checkpoint is not None:
            try:
                optimizer.load_state_dict(state.learner)
                restore_random_states(state.random)
            except (KeyError, ValueError, RuntimeError) as fault:
                raise CheckpointError(
                    f"the state in {str(checkpoint)!r} does not fit this run ({fault}); resume with the config in the run folder"
                ) from fault
            folder.forget_after(state.step)
        with ranks.together():
            yield SupervisedRun(config, folder, state, model, optimizer, tokenizer, ranks, checkpoint)
    finally:
        folder.close()
