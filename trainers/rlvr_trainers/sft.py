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

import torch
from torch import Tensor

import rlvr
from rlvr.answers import after_thinking
from rlvr.chat import encode, prompt_ids
from rlvr.errors import ConfigError
from rlvr.generation.engine import Sampling
from rlvr.generation.loading import load_model, load_tokenizer
from rlvr.generation.seeds import derive_seed
from rlvr.generation.transformers import TransformersEngine
from rlvr.scoring import ScoringPool
from rlvr.tracking import RunFolder, read_rollouts, rollout_files
from rlvr_trainers.batch import Batch
from rlvr_trainers.checkpoint import TrainerState, save_checkpoint
from rlvr_trainers.evaluation import evaluate
from rlvr_trainers.learner import Learner, best_device
from rlvr_trainers.optimizer import OptimizerConfig, ScheduleKind
from rlvr_trainers.progress import Progress
from rlvr_trainers.recipe_tables import recipe_toml
from rlvr_trainers.sampler import EnvConfig, TaskSampler, env_mix
from rlvr_trainers.starting import with_model_folders


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
    """A mix of environments in place of `env`."""
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


@dataclass(frozen=True)
class Example:
    """An episode to imitate."""

    token_ids: list[int]
    """Prompt and answer; an answer ends with the end token."""
    loss_mask: list[bool]
    """True for the tokens to learn: what the model says, in every turn."""


def train_sft(config: SFTConfig, *, quiet: bool = False) -> Path:
    """Train, and return the Hugging Face folder of the result."""
    if not config.model:
        raise ConfigError("sft needs model = the folder or hub name of the model to start from")
    config = with_model_folders(config)
    tokenizer = load_tokenizer(config.model)
    examples = verified_examples(config) if config.rollouts else worked_examples(config, tokenizer)
    if config.batch_size > len(examples):
        raise ConfigError(
            f"batch_size is {config.batch_size} and there are {len(examples)} examples; an update would repeat some. Lower "
            "batch_size or raise examples"
        )
    device = best_device()
    learner = Learner(
        load_model(config.model, device, torch.float32),
        config.optimizer(),
        total_updates=config.steps,
        token_budget=config.token_budget,
        device=device,
    )
    folder = RunFolder(config.out, config_toml=recipe_toml(sft=config), trackers=config.trackers)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    look = _Look(config, learner, tokenizer) if config.stop_at_accuracy else None
    with Progress("sft", config.steps, quantity="loss", quiet=quiet) as progress, look or nullcontext():
        for step in range(1, config.steps + 1):
            begin = time.perf_counter()
            chosen = draw_examples(examples, config.batch_size, step, config.seed)
            batch = Batch.from_rows(
                [example.token_ids for example in chosen],
                [example.loss_mask for example in chosen],
                pad_id=pad_id,
            )
            num_tokens = batch.num_answer_tokens

            def loss(
                micro: Batch, logprobs_BT: Tensor, entropy_BT: Tensor | None, num_tokens: int = num_tokens
            ) -> tuple[Tensor, Mapping[str, Tensor | float]]:
                return -logprobs_BT.sum() / num_tokens, {}

            metrics = learner.update(batch, loss, entropy="none")
            tokens = int(batch.lengths_B.sum())
            metrics["tokens_per_s"] = tokens / (time.perf_counter() - begin)
            if look is not None and step % config.accuracy_every == 0:
                metrics["accuracy"] = look.accuracy()
            folder.log(metrics, step=step)
            progress.update(step, value=metrics["loss"], tokens=tokens)
            if metrics.get("accuracy", 0.0) >= config.stop_at_accuracy > 0:
                progress.say(f"sft stops at step {step}: {metrics['accuracy']:.1%} of sampled answers are right")
                break
    state = TrainerState(step=step, learner=learner.state_dict())
    path = save_checkpoint(folder.checkpoints, state, learner.model, tokenizer)
    folder.close()
    return path


class _Look:
    """Samples answers to training tasks on the way, to see how far the cold start has come."""

    def __init__(self, config: SFTConfig, learner: Learner, tokenizer: Any) -> None:
        self._mix = env_mix(config.env, config.level, config.knobs, config.envs)
        self._tasks = TaskSampler(self._mix, seed=derive_seed("sft look", config.seed)).draw(
            config.accuracy_tasks, step=0
        )
        self._engine = TransformersEngine.shared(learner.model, tokenizer)
        self._sampling = Sampling(max_tokens=config.max_tokens)
        self._learner, self._seed = learner, config.seed

    def accuracy(self) -> float:
        """Share of one sampled answer to each task that is right."""
        with self._learner.autocast():
            return evaluate(
                self._engine, self._tasks, pool=self._pool, sampling=self._sampling, seed=self._seed
            ).accuracy

    def __enter__(self) -> Self:
        self._pool = ScoringPool()
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.close()


def worked_examples(config: SFTConfig, tokenizer: Any) -> list[Example]:
    """Worked solutions of training tasks, in the prompt format that rollouts use. Raises ConfigError if none are written."""
    examples = []
    mix = env_mix(config.env, config.level, config.knobs, config.envs)
    total_weight = sum(env.weight for env in mix)
    for env in mix:
        spec = rlvr.spec(env.id)
        if spec.solution is None:
            raise ConfigError(
                f"{env.id} writes no worked solutions to learn from; give rollouts = a run folder with correct answers, or an "
                "environment with @spec.worked_solution"
            )
        count = round(config.examples * env.weight / total_weight)
        for task in rlvr.tasks(env.id, "train", count, f"sft/{config.seed}", level=env.level, **env.knobs):
            text = spec.solution(task)
            if derive_seed("bare", config.seed, task.key) < config.bare_share * 2.0**63:
                text = after_thinking(text) or text
            prompt = prompt_ids(tokenizer, task.messages, task.tools)
            answer = [*encode(tokenizer, text), tokenizer.eos_token_id]
            examples.append(Example([*prompt, *answer], [False] * len(prompt) + [True] * len(answer)))
    return examples


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
