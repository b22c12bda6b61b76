"""One run while it goes: its parts, its state, and how both are saved. `opening` opens it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from rlvr.errors import CheckpointError
from rlvr.generation.engine import Engine
from rlvr.generation.loading import padding_id
from rlvr.generation.seeds import derive_seed
from rlvr.generation.transformers import TransformersEngine
from rlvr.scoring import ScoringPool
from rlvr.task import Task
from rlvr.tracking import RunFolder
from rlvr.trajectory import Trajectory
from rlvr_trainers.ahead import Ahead, Draw, token_age
from rlvr_trainers.batch import Batch
from rlvr_trainers.checkpoint import (
    TrainerState,
    save_checkpoint,
)
from rlvr_trainers.clock import Clock
from rlvr_trainers.distributed import Ranks
from rlvr_trainers.evaluation import evaluate
from rlvr_trainers.health import Alarms, TrainingError, WeightWatch
from rlvr_trainers.learner import Learner
from rlvr_trainers.progress import Progress
from rlvr_trainers.reward_model import RewardModel
from rlvr_trainers.rollouts import Collected, check_faults, collect, replayed
from rlvr_trainers.run_config import RunConfig
from rlvr_trainers.sampler import TaskSampler
from rlvr_trainers.thinking import with_format
from rlvr_trainers.weight_sync import sync_weights

Metrics = dict[str, float]


@dataclass(frozen=True)
class TrainResult:
    """What a run leaves behind."""

    out: Path
    """The run folder."""
    model: Path
    """The last checkpoint: a Hugging Face folder."""
    steps: int
    """Steps that this call made."""
    metrics: Mapping[str, float]
    """Those of the last step."""
    accuracy_before: float | None
    """Eval accuracy of the starting weights, if it was measured."""
    accuracy_after: float | None
    """Eval accuracy at the end, if it was measured."""
    ended: str = "steps"
    """Why it ended: `steps` were made, or all tasks are `solved` and nothing is left to learn."""


class Stateful(Protocol):
    """Something whose state belongs in a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""

    def load_state_dict(self, state: Any) -> None:
        """Go on from what `state_dict` gave."""


@dataclass
class Run:
    """The parts of a run. An algorithm drives them; see `train_grpo`."""

    config: RunConfig
    state: TrainerState
    tokenizer: Any
    learner: Learner
    engine: Engine | None
    """None on a rank that does not sample."""
    shared: bool
    """True if the engine samples from the learner's own module."""
    pool: ScoringPool
    sampler: TaskSampler
    folder: RunFolder
    eval_tasks: list[Task]
    progress: Progress
    judge: RewardModel | None = None
    """The learned reward beside the verifier, where the run has one."""
    alarms: Alarms = field(default_factory=Alarms)
    clock: Clock = field(default_factory=Clock)
    saved: Path | None = None
    """The newest checkpoint."""
    made: int = 0
    """Steps made in this process."""
    last: Metrics = field(default_factory=dict)
    """The newest line of metrics."""
    attached: dict[str, Stateful] = field(default_factory=dict)
    """What an algorithm has beside the parts of every run; saved and taken up again with them."""
    ahead: Ahead | None = None
    """What samples while an update runs, with `staleness`."""
    _draw: Draw | None = None
    _token_age: Metrics = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.watch = WeightWatch(self.learner.optimizer.parameters, self.ranks)

    @property
    def ranks(self) -> Ranks:
        """The processes that train together; every one of them runs all of this."""
        return self.learner.spread.ranks

    @property
    def pad_id(self) -> int:
        """The token that fills rows up."""
        return padding_id(self.tokenizer)

    @property
    def going(self) -> bool:
        """True while there are steps to make and something to learn from them."""
        return self.state.step < self.config.steps and "ended" not in self.state.counters

    def attach(self, name: str, part: Stateful) -> None:
        """Make a part of an algorithm, such as a critic, part of the run's state. A resumed run restores it here."""
        self.attached[name] = part
        if self.saved is None:
            return
        if name not in self.state.extra:
            raise CheckpointError(
                f"{str(self.saved)!r} holds no {name}; it was written by another algorithm. Resume with the run's own config"
            )
        part.load_state_dict(self.state.extra[name])

    def evaluate_start(self) -> None:
        """Measure the starting weights, unless this run has done so before."""
        if self.eval_tasks and "accuracy_before" not in self.state.counters:
            self.folder.log(self.evaluate(0), step=0)

    def sample(self, *, refill_rounds: int = 0, keep_dead: bool = False) -> Collected:
        """A step's groups of scored answers: sampled now, sampled during the step before, or taken from the run that is replayed.

        Raises EnvironmentFault if too many have no verdict.
        """
        config, step = self.config, self.state.step + 1
        self._draw = partial(self._collect, refill_rounds=refill_rounds, keep_dead=keep_dead)
        if config.replay:
            collected = replayed(config.replay, step, config.reward_terms(), keep_dead=keep_dead)
        else:
            collected = self._draw(step) if self.ahead is None else self.ahead.take(step, self._draw)
        check_faults(collected.groups, limit=config.max_fault_share)
        if _due(step, config.rollouts_every):
            self.folder.write_rollouts(step, (t for group in collected.groups for t in group))
        if self.ahead is not None:
            self._token_age = token_age(collected, self.learner.optimizer.updates)
        return collected

    def sample_ahead(self) -> None:
        """With `staleness`, begin to sample the next step's groups by the weights that the engine serves now."""
        if self.ahead is not None and self._draw is not None and self.state.step + 2 <= self.config.steps:
            self.ahead.start(self.state.step + 2, self._draw)

    def _collect(self, step: int, *, refill_rounds: int, keep_dead: bool) -> Collected:
        config = self.config
        with self.learner.autocast():
            return collect(
                self.engine,
                self.pool,
                self.sampler,
                step=step,
                prompts=config.prompts_per_step,
                group_size=config.group_size,
                sampling=config.sampling(),
                seed=config.seed,
                terms=config.reward_terms(),
                refill_rounds=refill_rounds,
                keep_dead=keep_dead,
                max_turns=config.max_turns,
                judge=self.add_parts,
                ranks=self.ranks,
            )

    def _settle(self) -> None:
        """Nothing samples when this returns, so that engine and sampler may be used."""
        if self.ahead is not None:
            self.ahead.settle()

    def add_parts(self, group: list[Trajectory]) -> list[Trajectory]:
        """The group with what the run itself adds to the Scores: the format, and the reward model's opinion."""
        if self.config.format_part:
            group = with_format(group)
        return group if self.judge is None else self.judge.judge(group)

    @property
    def importance(self) -> str:
        """The importance weights that `auto` stands for: none where the trained weights themselves sampled."""
        config = self.config
        if config.importance != "auto":
            return config.importance
        # A transformers engine computes what the learner computes, from its module or from a proven copy of its weights.
        exact = self.shared or (self.ranks.size > 1 and isinstance(self.engine, TransformersEngine))
        exact = exact and config.sampling().full_distribution and not config.replay and not config.staleness
        return "none" if exact else "token_truncate"

    def begin_step(self, batch: Batch | None, metrics: Mapping[str, float]) -> None:
        """Keep what the updates of this step work on; a checkpoint between them holds it."""
        self.state.buffer = {
            "batch": None if batch is None else batch.tensors(),
            "metrics": dict(metrics) | self._token_age,
            "updates": [],
        }

    @property
    def batch(self) -> Batch | None:
        """What the step under way trains on; None if all its groups are dead."""
        assert self.state.buffer is not None
        tensors = self.state.buffer["batch"]
        return None if tensors is None else Batch.from_tensors(tensors)

    def minibatch(self, batch: Batch, update: int) -> Batch:
        """The rows of one update: each pass over the batch has a shuffle of its own."""
        parts = min(self.config.num_minibatches, batch.num_rows)
        if parts == 1:
            return batch
        turn, part = divmod(update, self.config.num_minibatches)
        generator = torch.Generator().manual_seed(derive_seed("minibatch", self.config.seed, self.state.step, turn))
        order = torch.randperm(batch.num_rows, generator=generator)
        return batch.select(order.tensor_split(parts)[min(part, parts - 1)])

    def end_update(self, measured: Mapping[str, float]) -> None:
        """Count an update. If a checkpoint is due and more updates follow on this batch, it is written here."""
        assert self.state.buffer is not None
        self.watch.check(grad_norm=measured["grad_norm"], learning_rate=measured["learning_rate"])
        self.state.buffer["updates"].append(dict(measured))
        self.state.update += 1
        if self.state.update < self.config.updates_per_step and self._checkpoint_due():
            self.save()

    def sync(self) -> None:
        """Give the new weights to the engine: when nothing samples, or with `in_flight` to what is sampling, too."""
        if self.config.in_flight == "off":
            self._settle()
            self.clock.lap("rollout")
        sync_weights(
            self.engine,
            self.learner.model,
            version=self.learner.optimizer.updates,
            shared=self.shared,
            as_adapters=self.config.serve_adapters,
            spread=self.learner.spread,
            keep_cache=self.config.in_flight == "keep",
        )

    def end_step(self) -> None:
        """Metrics, evaluation and checkpoint, each when due."""
        assert self.state.buffer is not None
        self._settle()
        self.clock.lap("rollout")
        step = self.state.step + 1
        metrics: Metrics = dict(self.state.buffer["metrics"])
        updates: list[Metrics] = self.state.buffer["updates"]
        for name in updates[0] if updates else ():
            metrics[name] = sum(update[name] for update in updates) / len(updates)
        self.state.step, self.state.update, self.state.buffer = step, 0, None
        self._watch({"step": step, **metrics})
        self.progress.update(step, value=metrics["reward"], tokens=int(metrics["tokens"]))
        if self.eval_tasks and (not self.going or _due(step, self.config.eval_every)):
            metrics |= self.evaluate(step)
            self.alarms.after_eval(metrics)
        seconds = self.clock.lap("rest")
        metrics |= {**{f"time/{name}_s": value for name, value in seconds.items()}}
        metrics["time/processor_s"] = self.clock.processor_s()
        metrics["tokens_per_s"] = metrics["tokens"] / max(sum(seconds.values()) - seconds.get("eval", 0.0), 1e-9)
        self.folder.log(metrics, step=step)
        self.last = metrics
        self.made += 1
        if not self.going or self._checkpoint_due():
            self.save()

    def _watch(self, metrics: Metrics) -> None:
        """Look at a step's metrics: end the run where all tasks are solved, stop it where nothing is learned."""
        try:
            self.alarms.after_step(metrics, max_tokens=self.config.max_tokens, moving=self.sampler.moving)
        except TrainingError:
            if self.learner.optimizer.updates > self.state.counters.get("saved_at", 0):
                self.save()  # what was learned before it ran dry is not lost
            raise
        if self.alarms.solved or self.sampler.solved:
            self.state.counters["ended"] = "solved"
            self.progress.say(f"all tasks are solved at step {self.state.step}; the run ends here")

    def evaluate(self, step: int) -> Metrics:
        """Measure the policy on the evaluation tasks."""
        self.clock.lap("rest")
        with self.learner.autocast():
            found = evaluate(
                self.engine,
                self.eval_tasks,
                pool=self.pool,
                sampling=self.config.eval_sampling(),
                seed=self.config.seed,
                folder=self.folder,
                step=step,
                max_turns=self.config.max_turns,
                ranks=self.ranks,
            )
        low, high = found.interval
        self.state.counters.setdefault("accuracy_before", found.accuracy)
        self.state.counters["accuracy_after"] = found.accuracy
        self.progress.say(
            f"eval at step {step}: accuracy {found.accuracy:.3f} [{low:.3f}, {high:.3f}] on {len(self.eval_tasks)}"
        )
        self.clock.lap("eval")
        return found.metrics()

    def save(self) -> None:
        """Write a checkpoint of everything."""
        self._settle()
        self.state.learner = self.learner.state_dict()
        self.state.sampler = self.sampler.state_dict()
        self.state.extra = {name: part.state_dict() for name, part in self.attached.items()}
        self.state.counters["alarms"] = self.alarms.state_dict()
        self.saved = save_checkpoint(
            self.folder.checkpoints,
            self.state,
            self.learner.model,
            self.tokenizer,
            keep=self.config.keep_checkpoints,
            ranks=self.ranks,
        )
        self.state.counters["saved_at"] = self.learner.optimizer.updates

    def result(self) -> TrainResult:
        """What the run left behind."""
        assert self.saved is not None
        counters = self.state.counters
        before, after = counters.get("accuracy_before"), counters.get("accuracy_after")
        ended = counters.get("ended", "steps")
        return TrainResult(self.folder.path, self.saved, self.made, self.last, before, after, ended)

    def _checkpoint_due(self) -> bool:
        since: int = self.learner.optimizer.updates - self.state.counters.get("saved_at", 0)
        return 0 < self.config.checkpoint_every <= since


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
