"""A learned reward: a Bradley-Terry model of which of two answers is better, and its use beside a verifier."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr.generation.loading import load_tokenizer, padding_id
from rlvr.trajectory import Trajectory
from rlvr_trainers import losses
from rlvr_trainers.batch import Batch
from rlvr_trainers.distributed import open_ranks
from rlvr_trainers.learner import best_device
from rlvr_trainers.loading import open_scalar_model
from rlvr_trainers.optimizer import Optimizer, OptimizerConfig, ScheduleKind
from rlvr_trainers.preferences import (
    Pair,
    accumulate_pairs,
    batch_of_pairs,
    deal_pairs,
    draw_pairs,
    load_pairs,
    split_pairs,
)
from rlvr_trainers.progress import Progress
from rlvr_trainers.scalar_model import load_scalar_model, row_scores, token_scores
from rlvr_trainers.sharding import WHOLE, Spread
from rlvr_trainers.starting import with_model_folders
from rlvr_trainers.supervised import open_supervised, resume_point

PART = "reward_model"
"""The part of a Score that holds the learned reward; a run that wants it gives this part a weight."""


@dataclass(frozen=True)
class RewardModelConfig:
    """One run on preference pairs."""

    model: str = ""
    """Folder or hub name of the language model to start from; the folder of a run stands for its newest checkpoint."""
    pairs: str = ""
    """A run folder, whose right and wrong rollouts are paired, or a file of JSON lines with prompt, chosen, rejected."""
    out: str = "runs/reward-model"
    """Run folder; must not hold a run already."""
    per_task: int = 4
    """Most pairs made of one task's rollouts."""
    held_out: float = 0.1
    """Share of the prompts whose pairs are not trained on but ranked at the end."""
    steps: int = 100
    """Optimizer updates."""
    batch_size: int = 32
    """Pairs an update."""
    learning_rate: float = 1e-5
    """Peak step size."""
    warmup: int = 0
    """Updates over which the step size rises."""
    schedule: ScheduleKind = "linear"
    """What the step size does after that."""
    weight_decay: float = 0.0
    """Decoupled decay of matrices."""
    margin: float = 0.0
    """How far apart, in nats of odds, the two scores should be beyond their order."""
    token_budget: int = 16_384
    """Padded tokens of a forward pass without gradient; a training pass keeps each pair whole."""
    checkpoint_every: int = 0
    """Updates between checkpoints; 0 writes one at the end."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept."""
    seed: int = 0
    """Names the pairs and their order."""
    trackers: tuple[str, ...] = ()
    """Of tensorboard, wandb, trackio."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1 or self.per_task < 1:
            raise ConfigError(
                f"reward_model has steps={self.steps}, batch_size={self.batch_size}, per_task={self.per_task}; nothing would "
                "be learned. Give at least 1 of each"
            )
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}; it is a share of the prompts and must lie in [0, 1)")

    def optimizer(self) -> OptimizerConfig:
        """The settings that the optimizer reads."""
        return OptimizerConfig(self.learning_rate, self.warmup, self.schedule, weight_decay=self.weight_decay)


def train_reward_model(config: RewardModelConfig, *, resume: bool = False, quiet: bool = False) -> Path:
    """Train, and return the folder of an `AutoModelForSequenceClassification` with one label.

    `resume` goes on from the last checkpoint in `out`.

    `metrics.jsonl` holds loss and the share of training pairs in the right order at each step, and in the last line
    `eval/accuracy`, the share of held-out pairs in the right order.
    """
    if not config.model or not config.pairs:
        raise ConfigError(
            "reward_model needs model = the model to start from, and pairs = a run folder or a file of pairs"
        )
    ranks = open_ranks()
    config, checkpoint = with_model_folders(config), resume_point(config.out, resume, ranks)
    tokenizer = load_tokenizer(config.model)
    pairs = ranks.on_main(lambda: load_pairs(config.pairs, tokenizer, per_task=config.per_task, seed=config.seed))
    train, held = split_pairs(pairs, config.held_out, config.seed)
    if config.batch_size > len(train):
        raise ConfigError(f"batch_size is {config.batch_size} and there are {len(train)} training pairs; lower it")
    device = best_device()
    model = open_scalar_model(checkpoint or config.model, ranks, device)
    model.config.pad_token_id = pad_id = padding_id(tokenizer)
    spread = Spread(model, ranks, device)
    optimizer = Optimizer(model.parameters(), config.optimizer(), total_updates=config.steps, ranks=ranks)
    with (
        open_supervised(
            config,
            stage="reward_model",
            model=model,
            optimizer=optimizer,
            tokenizer=tokenizer,
            ranks=ranks,
            checkpoint=checkpoint,
        ) as run,
        Progress(
            "reward model", config.steps, done=run.state.step, quantity="pairs in order", quiet=quiet or not ranks.main
        ) as progress,
    ):
        for step in run.steps():
            begin = time.perf_counter()
            chosen = draw_pairs(train, config.batch_size, step, config.seed)
            metrics = _update(model, optimizer, chosen, config, pad_id=pad_id, device=device, spread=spread)
            if step == config.steps and held:
                metrics["eval/accuracy"] = ranking_accuracy(
                    model, held, config.token_budget, pad_id=pad_id, device=device, spread=spread
                )
            run.end_step({**metrics, "seconds": time.perf_counter() - begin})
            progress.update(step, value=metrics["accuracy"])
        return run.result()


def _update(
    model: Any,
    optimizer: Optimizer,
    pairs: Sequence[Pair],
    config: RewardModelConfig,
    *,
    pad_id: int,
    device: torch.device,
    spread: Spread,
) -> dict[str, float]:
    def loss(_: Sequence[Pair], micro: Batch) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        chosen_N, rejected_N = row_scores(model, micro).view(-1, 2).unbind(-1)
        value = losses.bradley_terry_loss(chosen_N, rejected_N, margin=config.margin, num_items=len(pairs))
        ordered = (chosen_N > rejected_N).sum() / len(pairs)
        gap = (chosen_N - rejected_N).sum() / len(pairs)
        return value, {"accuracy": ordered, "score_gap": gap}

    totals = accumulate_pairs(
        pairs, loss, token_budget=config.token_budget, pad_id=pad_id, device=device, spread=spread
    )
    return {**totals, **optimizer.step()}


@torch.no_grad()
def ranking_accuracy(
    model: Any, pairs: Sequence[Pair], token_budget: int, *, pad_id: int, device: torch.device, spread: Spread = WHOLE
) -> float:
    """Share of pairs whose chosen answer scores above the rejected one."""
    ordered = 0
    for few, counts in deal_pairs(pairs, token_budget, spread):
        batch = batch_of_pairs(few, pad_id=pad_id).to(device)
        scores_B: Tensor = spread.run(lambda batch=batch: row_scores(model, batch))  # type: ignore[misc]
        chosen_N, rejected_N = scores_B.view(-1, 2).unbind(-1)
        ordered += int((chosen_N > rejected_N).sum()) if counts else 0
    return spread.total({"ordered": ordered})["ordered"] / len(pairs)


class RewardModel:
    """A trained reward model that judges trajectories, beside their verifier."""

    def __init__(self, path: str | Path, *, device: torch.device | None = None, token_budget: int = 16_384) -> None:
        self.device = device or best_device()
        self.token_budget = token_budget
        self.model = load_scalar_model(path, self.device).eval()

    @torch.no_grad()
    def scores(self, trajectories: Sequence[Trajectory]) -> Tensor:
        """`[B, T]` on the CPU: the score after each token of each trajectory; 0 in the padding. Unbounded, in nats of odds."""
        batch = Batch.from_rows([t.token_ids for t in trajectories], [t.loss_mask for t in trajectories])
        scores_BT = torch.zeros(batch.token_ids_BT.shape)
        for rows in batch.micro_batches(self.token_budget):
            micro = batch.select(rows).to(self.device)
            scores_BT[rows, : micro.token_ids_BT.shape[1]] = token_scores(self.model, micro).cpu()
        real_BT = torch.arange(scores_BT.shape[1])[None] < batch.lengths_B[:, None]
        return torch.where(real_BT, scores_BT, 0.0)

    def judge(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """The trajectories with part `reward_model` in their Score: sigmoid of the score after the last token, in (0, 1).

        It weighs nothing until a run gives the part a weight. An episode without a verdict stays without.
        """
        scores_BT = self.scores(trajectories)
        judged = []
        for trajectory, scores_T in zip(trajectories, scores_BT, strict=True):
            score = trajectory.score
            if score is not None and not trajectory.faulty:
                learned = float(torch.sigmoid(scores_T[len(trajectory.token_ids) - 1]))
                trajectory = replace(trajectory, score=replace(score, parts={**score.parts, PART: learned}))
            judged.append(trajectory)
        return judged

    def step_rewards(self, trajectories: Sequence[Trajectory], step_mask_BT: Tensor) -> Tensor:
        """`[B, T]`: what each step added to the score, at the step's last token; 0 elsewhere. A process reward.

        `step_mask_BT` is True where a step ends. The first step is measured from the end of the prompt, so a row's rewards add
        up to what the whole answer added.
        """
        scores_BT = self.scores(trajectories)
        rewards_BT = torch.zeros_like(scores_BT)
        for row, trajectory in enumerate(trajectories):
            before = scores_BT[row, trajectory.prompt_length - 1]
            for t in torch.nonzero(step_mask_BT[row])[:, 0].tolist():
                rewards_BT[row, t] = scores_BT[row, t] - before
                before = scores_BT[row, t]
        return rewards_BT


def step_ends(trajectories: Sequence[Trajectory], separator_ids: Sequence[int]) -> Tensor:
    """`[B, T]` booleans: policy tokens at which a step of reasoning ends: a separator token, or the answer's last token."""
    width = max(len(t.token_ids) for t in trajectories)
    ends_BT = torch.zeros(len(trajectories), width, dtype=torch.bool)
    separators = set(separator_ids)
    for row, trajectory in enumerate(trajectories):
        chosen = [i for i, mine in enumerate(trajectory.loss_mask) if mine]
        for i in chosen:
            ends_BT[row, i] = trajectory.token_ids[i] in separators or i == chosen[-1]
    return ends_BT
