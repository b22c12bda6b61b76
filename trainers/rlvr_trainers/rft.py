"""Rejection-sampling fine-tuning: sample answers, keep those that a verifier found right, learn from them as if given.

STaR (Zelikman et al. 2022, arXiv:2203.14465) and RFT (Yuan et al. 2023, arXiv:2308.01825): several rounds, each from the
model of the one before, or each from the start on all that was found so far.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError
from rlvr.generation.engine import Sampling
from rlvr.generation.seeds import derive_seed
from rlvr.generation.transformers import TransformersEngine
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool
from rlvr.tracking import RunFolder
from rlvr.trajectory import Trajectory
from rlvr_trainers.recipe_tables import recipe_toml
from rlvr_trainers.sampler import EnvConfig, TaskSampler, env_mix
from rlvr_trainers.sft import SFTConfig, train_sft
from rlvr_trainers.starting import with_model_folders


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


def train_rft(config: RFTConfig, *, quiet: bool = False) -> Path:
    """Train, and return the Hugging Face folder of the last round's model.

    `metrics.jsonl` has one line a round: the share of right answers before it, of tasks with at least one, and how many were
    kept. Raises ConfigError if a round finds too few to fill one update.
    """
    if not config.model:
        raise ConfigError("rft needs model = the folder or hub name of the model to start from")
    config = with_model_folders(config)
    mix = env_mix(config.env, config.level, config.knobs, config.envs)
    sampler = TaskSampler(mix, seed=config.seed)
    sampler.check(config.prompts)
    folder = RunFolder(config.out, config_toml=recipe_toml(rft=config), trackers=config.trackers)
    model = config.model
    try:
        for number in range(1, config.rounds + 1):
            groups = sample(config, model, sampler, number)
            kept = keep_verified(groups, per_task=config.keep_per_task, seed=config.seed)
            folder.write_rollouts(number, kept)
            answers = [t for group in groups for t in group]
            right = sum(t.score is not None and t.score.correct for t in answers)
            solved = sum(any(t.score is not None and t.score.correct for t in group) for group in groups)
            folder.log(
                {"accuracy": right / len(answers), "solved_share": solved / len(groups), "kept": float(len(kept))},
                step=number,
            )
            model = str(learn(config, config.model if config.from_start else model, folder.path, number, kept, quiet))
    finally:
        folder.close()
    return Path(model)


def sample(config: RFTConfig, model: str, sampler: TaskSampler, number: int) -> list[list[Trajectory]]:
    """A round's groups of scored answers, by the model as it stands."""
    engine = TransformersEngine(model)
    with ScoringPool(config.scoring_workers, config.scoring_timeout_s) as pool:
        groups = rollout(
            engine,
            sampler.draw(config.prompts, step=number),
            group_size=config.group_size,
            sampling=Sampling(config.temperature, max_tokens=config.max_tokens),
            pool=pool,
            seed=derive_seed("rft", config.seed, number),
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


def learn(config: RFTConfig, model: str, found: Path, number: int, kept: Sequence[Trajectory], quiet: bool) -> Path:
    """One round's supervised learning; the new model's folder."""
    source = found
    if not config.from_start:
        source = found / f"round-{number:03d}" / "verified"
        only = RunFolder(source, config_toml="")
        only.write_rollouts(number, kept)
        only.close()
    count = (
        len(kept) if not config.from_start else sum(1 for path in (found / "rollouts").iterdir() for _ in path.open())
    )
    if count < config.batch_size:
        raise ConfigError(
            f"round {number} kept {count} right answers and batch_size is {config.batch_size}; raise prompts or group_size, take "
            "an easier level or a better model, or lower batch_size"
        )
    settings = SFTConfig(
        model=model,
        out=str(found / f"round-{number:03d}" / "sft"),
        rollouts=str(source),
        steps=max(1, config.epochs * count // config.batch_size),
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        token_budget=config.token_budget,
        seed=derive_seed("rft-sft", config.seed, number),
    )
    return train_sft(replace(settings, trackers=config.trackers), quiet=quiet)
