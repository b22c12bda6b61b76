"""Rejection-sampling fine-tuning: sample answers, keep those that a verifier found right, learn from them as if given.

STaR (Zelikman et al. 2022, arXiv:2203.14465) and RFT (Yuan et al. 2023, arXiv:2308.01825): several rounds, each from the
model of the one before, or each from the start on all that was found so far.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rlvr.errors import ConfigError
from rlvr.generation.engine import Sampling
from rlvr.generation.loading import load_model, load_tokenizer
from rlvr.generation.seeds import derive_seed
from rlvr.generation.transformers import TransformersEngine
from rlvr.scoring import ScoringPool
from rlvr.tracking import RunFolder
from rlvr.trajectory import Trajectory
from rlvr_trainers.checkpoint import TrainerState, load_state, save_checkpoint
from rlvr_trainers.distributed import Ranks, open_ranks
from rlvr_trainers.recipe_tables import recipe_toml
from rlvr_trainers.run_folder import open_folder
from rlvr_trainers.sampler import EnvConfig, TaskSampler, env_mix
from rlvr_trainers.sft import SFTConfig, train_sft
from rlvr_trainers.shared_rollout import shared_rollout
from rlvr_trainers.starting import with_model_folders
from rlvr_trainers.supervised import resume_point

CPU = torch.device("cpu")


@dataclass(frozen=True)
class RFTConfig:
    """Rounds of sampling and supervised learning."""

    model: str = ""
    """Folder or hub name of the model to start from; the folder of a run stands for its newest checkpoint."""
    out: str = "runs/rft"
    """Run folder; must not hold a run already."""
    env: str = ""
    """Environment to sample, `namespace/name-vN`."""
    level: int | None = None
    """Its level of difficulty."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Its knobs, on top of the level's."""
    envs: tuple[EnvConfig, ...] = ()
    """A mix of environments in place of `env`."""
    rounds: int = 1
    """Times to sample and learn."""
    from_start: bool = False
    """Learn each round from the first model, on everything found so far; else from the round before, on what is new."""
    prompts: int = 256
    """Tasks sampled a round."""
    group_size: int = 8
    """Answers to each."""
    keep_per_task: int = 4
    """Most right answers to one task that are learned, so that easy tasks do not drown hard ones."""
    temperature: float = 1.0
    """Of sampling."""
    max_tokens: int = 256
    """Longest answer, in tokens."""
    epochs: int = 2
    """Times each kept answer is learned."""
    batch_size: int = 32
    """Answers an update."""
    learning_rate: float = 1e-5
    """Peak step size."""
    token_budget: int = 16_384
    """Padded tokens of a micro-batch."""
    scoring_workers: int = 2
    """Processes that run verifiers."""
    scoring_timeout_s: float = 10.0
    """Seconds that one verdict may take."""
    seed: int = 0
    """Names every random choice."""
    trackers: tuple[str, ...] = ()
    """Of tensorboard, wandb, trackio."""

    def __post_init__(self) -> None:
        for name in ("rounds", "prompts", "group_size", "keep_per_task", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"rft has {name}={getattr(self, name)}; nothing would be learned. Give at least 1")


def train_rft(config: RFTConfig, *, resume: bool = False, quiet: bool = False) -> Path:
    """Train, and return the Hugging Face folder of the last round's model. `resume` goes on after the last whole round.

    `metrics.jsonl` has one line a round: the share of right answers before it, of tasks with at least one, and how many were
    kept. Raises ConfigError if a round finds too few to fill one update.

    On several ranks each samples its share of the tasks, from a whole copy of the weights, and all of them learn.
    """
    if not config.model:
        raise ConfigError("rft needs model = the folder or hub name of the model to start from")
    config, ranks = with_model_folders(config), open_ranks()
    sampler = TaskSampler(env_mix(config.env, config.level, config.knobs, config.envs), seed=config.seed)
    sampler.check(config.prompts)
    checkpoint = resume_point(config.out, resume, ranks)
    model, done = config.model if checkpoint is None else str(checkpoint), 0
    if checkpoint is not None:
        state = ranks.on_main(lambda: load_state(checkpoint, load_model(checkpoint, CPU, torch.float32)))
        done = state.step
        sampler.load_state_dict(state.sampler)
    if done >= config.rounds or sampler.solved:
        raise ConfigError(
            f"the rft run in {config.out!r} has made {done} of {config.rounds} rounds, or solved every task: nothing is left to "
            "do. Raise rounds, or take harder tasks"
        )
    folder = open_folder(
        Path(config.out), ranks, config_toml=recipe_toml(rft=config), trackers=config.trackers, resume=resume
    )
    try:
        if resume:
            folder.forget_after(done)
        for number in range(done + 1, config.rounds + 1):
            if ranks.main:
                shutil.rmtree(round_folder(folder.path, number), ignore_errors=True)  # of a round that was cut off
            groups = sample(config, model, sampler, number, ranks)
            for group in groups:
                sampler.observe(group[0].task, sum(t.reward for t in group) / len(group))
            kept = keep_verified(groups, per_task=config.keep_per_task, seed=config.seed)
            folder.write_rollouts(number, kept)
            answers = [t for group in groups for t in group]
            right = sum(t.score is not None and t.score.correct for t in answers)
            solved = sum(any(t.score is not None and t.score.correct for t in group) for group in groups)
            start = config.model if config.from_start else model
            learned = learn(config, start, folder.path, number, kept, ranks, quiet=quiet)
            folder.log(
                {"accuracy": right / len(answers), "solved_share": solved / len(groups), "kept": float(len(kept))},
                step=number,
            )
            model = ranks.on_main(partial(keep_round, folder, learned, number, sampler))
            if sampler.solved:
                break
    finally:
        folder.close()
    return Path(model)


def round_folder(run: Path, number: int) -> Path:
    """What a round leaves beside its model."""
    return run / f"round-{number:03d}"


def keep_round(folder: RunFolder, learned: Path, number: int, sampler: TaskSampler) -> str:
    """Make the round's model a checkpoint of this run; returns its folder. The round's own copy of it is removed."""
    counters = {"ended": "solved"} if sampler.solved else {}
    state = TrainerState(step=number, sampler=sampler.state_dict(), counters=counters)
    made = save_checkpoint(
        folder.checkpoints, state, load_model(learned, CPU, torch.float32), load_tokenizer(learned), keep=2
    )
    shutil.rmtree(learned)
    return str(made)


def sample(config: RFTConfig, model: str, sampler: TaskSampler, number: int, ranks: Ranks) -> list[list[Trajectory]]:
    """A round's groups of scored answers, by the model as it stands."""
    engine = TransformersEngine(model)
    with ScoringPool(config.scoring_workers, config.scoring_timeout_s) as pool:
        groups = shared_rollout(
            engine,
            sampler.draw(config.prompts, step=number),
            group_size=config.group_size,
            sampling=Sampling(config.temperature, max_tokens=config.max_tokens),
            pool=pool,
            seed=derive_seed("rft", config.seed, number),
            ranks=ranks,
        )
    engine.close()
    return groups


def keep_verified(groups: Sequence[Sequence[Trajectory]], *, per_task: int, seed: int) -> list[Trajectory]:
    """At most `per_task` right answers of each group, no two with the same tokens, chosen by chance."""
    kept = []
    for group in groups:
        right = {tuple(t.token_ids): t for t in group if t.finish == "stop" and t.score is not None and t.score.correct}
        distinct = list(right.values())
        if distinct:
            random.Random(derive_seed("keep", seed, distinct[0].task.id)).shuffle(distinct)
        kept += distinct[:per_task]
    return kept


def learn(
    config: RFTConfig,
    model: str,
    found: Path,
    number: int,
    kept: Sequence[Trajectory],
    ranks: Ranks,
    *,
    quiet: bool,
) -> Path:
    """One round's supervised learning; the new model's folder."""
    source, count = found, 0
    if config.from_start:
        count = ranks.on_main(lambda: sum(1 for path in (found / "rollouts").iterdir() for _ in path.open()))
    else:
        source, count = round_folder(found, number) / "verified", len(kept)
        only = open_folder(source, ranks, config_toml="")
        only.write_rollouts(number, kept)
        only.close()
    if count < config.batch_size:
        raise ConfigError(
            f"round {number} kept {count} right answers and batch_size is {config.batch_size}; raise prompts or group_size, take "
            "an easier level or a better model, or lower batch_size"
        )
    settings = SFTConfig(
        model=model,
        out=str(round_folder(found, number) / "sft"),
        rollouts=str(source),
        steps=max(1, config.epochs * count // config.batch_size),
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        token_budget=config.token_budget,
        seed=derive_seed("rft-sft", config.seed, number),
    )
    return train_sft(replace(settings, trackers=config.trackers), quiet=quiet)
