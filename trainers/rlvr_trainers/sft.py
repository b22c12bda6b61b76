"""Supervised fine-tuning on worked solutions or on verified rollouts: the start before reinforcement learning.

The examples are prompt and answer as tokens; only the answer's tokens carry loss, each the same weight. Rejection sampling
fine-tuning is the same loop on the rollouts of a run that a verifier found correct.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from rlvr.errors import ConfigError
from rlvr.generation.engine import Sampling
from rlvr.generation.loading import load_tokenizer, padding_id
from rlvr.generation.seeds import derive_seed
from rlvr.scoring import ScoringPool
from rlvr.tracking import read_rollouts, rollout_files
from rlvr_trainers.batch import Batch
from rlvr_trainers.distributed import open_ranks
from rlvr_trainers.engines import open_engine
from rlvr_trainers.evaluation import evaluate
from rlvr_trainers.learner import Learner, best_device
from rlvr_trainers.loading import open_model
from rlvr_trainers.optimizer import OptimizerConfig, ScheduleKind
from rlvr_trainers.progress import Progress
from rlvr_trainers.sampler import EnvConfig, TaskSampler, env_mix
from rlvr_trainers.starting import with_model_folders
from rlvr_trainers.supervised import open_supervised, resume_point
from rlvr_trainers.weight_sync import sync_weights
from rlvr_trainers.worked import Example, worked_examples


@dataclass(frozen=True)
class SFTConfig:
    """One supervised run."""

    model: str = ""
    """Folder or hub name of the model to start from; the folder of a run stands for its newest checkpoint."""
    out: str = "runs/sft"
    """Run folder; must not hold a run already."""
    env: str = ""
    """Environment whose worked solutions are learned, where there is one."""
    level: int | None = None
    """Its level of difficulty."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Its knobs, on top of the level's."""
    envs: tuple[EnvConfig, ...] = ()
    """A mix of environments in place of `env`; of each, its id, weight, level and knobs are read."""
    rollouts: str = ""
    """A run folder whose correct rollouts are learned in place of worked solutions."""
    examples: int = 1000
    """Worked solutions to learn from; they are repeated if the run is longer."""
    bare_share: float = 0.0
    """Share of the worked solutions that are shown without their reasoning: the answer alone."""
    steps: int = 100
    """Optimizer updates."""
    batch_size: int = 64
    """Examples an update."""
    learning_rate: float = 1e-5
    """Peak step size."""
    warmup: int = 0
    """Updates over which the step size rises."""
    schedule: ScheduleKind = "linear"
    """What the step size does after that."""
    weight_decay: float = 0.0
    """Decoupled decay of matrices."""
    max_grad_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it."""
    token_budget: int = 16_384
    """Padded tokens of a micro-batch; it changes memory and speed, not the update."""
    stop_at_accuracy: float = 0.0
    """Stop before `steps` when this share of sampled answers to other training tasks is right; 0 never looks."""
    accuracy_every: int = 20
    """Updates between two looks."""
    accuracy_tasks: int = 100
    """Tasks a look samples one answer to."""
    max_tokens: int = 256
    """Longest such answer, in tokens."""
    checkpoint_every: int = 0
    """Updates between checkpoints; 0 writes one at the end."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept."""
    seed: int = 0
    """Names the examples and their order."""
    trackers: tuple[str, ...] = ()
    """Of tensorboard, wandb, trackio."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.examples < 1:
            raise ConfigError(
                f"sft has steps={self.steps}, batch_size={self.batch_size}, examples={self.examples}; nothing would be "
                "learned. Give at least 1 of each"
            )
        if not 0 <= self.bare_share <= 1:
            raise ConfigError(f"bare_share is {self.bare_share}; it is a share of the examples, from 0 to 1")
        if not 0 <= self.stop_at_accuracy <= 1 or self.accuracy_every < 1 or self.accuracy_tasks < 1:
            raise ConfigError(
                f"sft has stop_at_accuracy={self.stop_at_accuracy}, accuracy_every={self.accuracy_every}, "
                f"accuracy_tasks={self.accuracy_tasks}; the first is a share from 0 to 1, the others at least 1"
            )

    def optimizer(self) -> OptimizerConfig:
        """The settings that the optimizer reads."""
        return OptimizerConfig(
            self.learning_rate,
            self.warmup,
            self.schedule,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
        )


def train_sft(config: SFTConfig, *, resume: bool = False, quiet: bool = False) -> Path:
    """Train, and return the Hugging Face folder of the result. `resume` goes on from the last checkpoint in `out`."""
    if not config.model:
        raise ConfigError("sft needs model = the folder or hub name of the model to start from")
    ranks = open_ranks()
    config, checkpoint = with_model_folders(config), resume_point(config.out, resume, ranks)
    tokenizer = load_tokenizer(config.model)
    examples = ranks.on_main(lambda: find_examples(config, tokenizer))
    if config.batch_size > len(examples):
        raise ConfigError(
            f"batch_size is {config.batch_size} and there are {len(examples)} examples; an update would repeat some. Lower "
            "batch_size or raise examples"
        )
    device = best_device()
    learner = Learner(
        open_model(checkpoint or config.model, ranks, device),
        config.optimizer(),
        total_updates=config.steps,
        token_budget=config.token_budget,
        device=device,
        ranks=ranks,
    )
    pad_id = padding_id(tokenizer)
    look = _Look(config, learner, tokenizer) if config.stop_at_accuracy else None
    with (
        open_supervised(
            config,
            stage="sft",
            model=learner.model,
            optimizer=learner.optimizer,
            tokenizer=tokenizer,
            ranks=ranks,
            checkpoint=checkpoint,
        ) as run,
        Progress("sft", config.steps, done=run.state.step, quantity="loss", quiet=quiet or not ranks.main) as progress,
        look or nullcontext(),
    ):
        for step in run.steps():
            begin = time.perf_counter()
            chosen = draw_examples(examples, config.batch_size, step, config.seed)
            batch = Batch.from_rows(
                [example.token_ids for example in chosen],
                [example.loss_mask for example in chosen],
                pad_id=pad_id,
            )
            metrics = update(learner, batch)
            tokens = int(batch.lengths_B.sum())
            metrics["tokens_per_s"] = tokens / (time.perf_counter() - begin)
            if look is not None and step % config.accuracy_every == 0:
                metrics["accuracy"] = look.accuracy()
            far_enough = metrics.get("accuracy", 0.0) >= config.stop_at_accuracy > 0
            progress.update(step, value=metrics["loss"], tokens=tokens)
            if far_enough:
                progress.say(f"sft stops at step {step}: {metrics['accuracy']:.1%} of sampled answers are right")
            run.end_step(metrics, ended="accuracy" if far_enough else "")
        return run.result()


def find_examples(config: SFTConfig, tokenizer: Any) -> list[Example]:
    """What a run learns. Raises ConfigError if there is nothing."""
    if config.rollouts:
        return verified_examples(config)
    mix = env_mix(config.env, config.level, config.knobs, config.envs)
    count, bare_share = config.examples, config.bare_share
    return worked_examples(mix, tokenizer, count=count, bare_share=bare_share, seed=config.seed)


def update(learner: Learner, batch: Batch) -> dict[str, float]:
    """One optimizer step on the mean of -log p over the batch's answer tokens."""
    num_tokens = batch.num_answer_tokens

    def loss(micro: Batch, logprobs_BT: Tensor, entropy_BT: Tensor | None) -> tuple[Tensor, Mapping[str, Tensor]]:
        return -logprobs_BT.sum() / num_tokens, {}

    return learner.update(batch, loss, entropy="none")


class _Look:
    """Samples answers to training tasks on the way, to see how far the cold start has come.

    On several ranks each samples its share of them, from a whole copy of the weights.
    """

    def __init__(self, config: SFTConfig, learner: Learner, tokenizer: Any) -> None:
        self._mix = env_mix(config.env, config.level, config.knobs, config.envs)
        self._tasks = TaskSampler(self._mix, seed=derive_seed("sft look", config.seed)).draw(
            config.accuracy_tasks, step=0
        )
        self._ranks = learner.spread.ranks
        self._engine, self._shared = open_engine(
            "transformers", learner.model, tokenizer, path=config.model, options={}, ranks=self._ranks
        )
        self._sampling = Sampling(max_tokens=config.max_tokens)
        self._learner, self._seed = learner, config.seed

    def accuracy(self) -> float:
        """Share of one sampled answer to each task that is right."""
        learner = self._learner
        sync_weights(
            self._engine,
            learner.model,
            version=learner.optimizer.updates,
            shared=self._shared,
            spread=learner.spread,
        )
        with learner.autocast():
            return evaluate(
                self._engine,
                self._tasks,
                pool=self._pool,
                sampling=self._sampling,
                seed=self._seed,
                ranks=self._ranks,
            ).accuracy

    def __enter__(self) -> Self:
        self._pool = ScoringPool()
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.close()


def verified_examples(config: SFTConfig) -> list[Example]:
    """The correct rollouts of a run, each once. Raises ConfigError if there are none."""
    found: dict[tuple[int, ...], Example] = {}
    for path in rollout_files(config.rollouts).values():
        for trajectory in read_rollouts(path):
            score = trajectory.score
            if score is not None and score.correct and trajectory.finish == "stop":
                for part in trajectory.samples:
                    found.setdefault(tuple(part.token_ids), Example(part.token_ids, part.loss_mask))
    if not found:
        raise ConfigError(f"{config.rollouts!r} holds no rollout that was correct; there is nothing to learn from it")
    return list(found.values())


def draw_examples(examples: list[Example], count: int, step: int, seed: int) -> list[Example]:
    """The examples of an update: a new shuffle every epoch, a function of (seed, step)."""
    per_epoch = len(examples) // count
    epoch, place = divmod(step - 1, per_epoch)
    order = list(range(len(examples)))
    random.Random(derive_seed("sft", seed, epoch)).shuffle(order)
    return [examples[i] for i in order[place * count : (place + 1) * count]]
