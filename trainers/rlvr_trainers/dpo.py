"""Direct preference optimization on pairs of verified right and wrong answers: no sampling while it trains."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr.generation.loading import load_tokenizer, padding_id
from rlvr_trainers import losses
from rlvr_trainers.batch import Batch
from rlvr_trainers.distributed import open_ranks
from rlvr_trainers.learner import Learner, best_device
from rlvr_trainers.loading import open_model
from rlvr_trainers.optimizer import OptimizerConfig, ScheduleKind
from rlvr_trainers.preferences import Pair, accumulate_pairs, batch_of_pairs, draw_pairs, load_pairs, split_pairs
from rlvr_trainers.progress import Progress
from rlvr_trainers.starting import with_model_folders
from rlvr_trainers.supervised import open_supervised, resume_point


@dataclass(frozen=True)
class DPOConfig:
    """One run on preference pairs."""

    model: str = ""
    """Folder or hub name of the model to start from, or the folder of a run for its newest checkpoint; also the reference."""
    pairs: str = ""
    """A run folder, whose right and wrong rollouts are paired, or a file of JSON lines with prompt, chosen, rejected."""
    out: str = "runs/dpo"
    """Run folder; must not hold a run already."""
    per_task: int = 4
    """Most pairs made of one task's rollouts."""
    held_out: float = 0.1
    """Share of the prompts whose pairs are not trained on but ranked at the end."""
    beta: float = 0.1
    """How strongly the policy is held to the reference; small lets it go far."""
    steps: int = 100
    """Optimizer updates."""
    batch_size: int = 32
    """Pairs an update."""
    learning_rate: float = 1e-6
    """Peak step size."""
    warmup: int = 0
    """Updates over which the step size rises."""
    schedule: ScheduleKind = "linear"
    """What the step size does after that."""
    weight_decay: float = 0.0
    """Decoupled decay of matrices."""
    token_budget: int = 16_384
    """Padded tokens of a micro-batch; it changes memory and speed, not the update."""
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
                f"dpo has steps={self.steps}, batch_size={self.batch_size}, per_task={self.per_task}; nothing would be "
                "learned. Give at least 1 of each"
            )
        if not self.beta > 0:
            raise ConfigError(f"beta is {self.beta}; DPO needs a positive one")
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}; it is a share of the prompts and must lie in [0, 1)")

    def optimizer(self) -> OptimizerConfig:
        """The settings that the optimizer reads."""
        return OptimizerConfig(self.learning_rate, self.warmup, self.schedule, weight_decay=self.weight_decay)


def train_dpo(config: DPOConfig, *, resume: bool = False, quiet: bool = False) -> Path:
    """Train, and return the Hugging Face folder of the result. `resume` goes on from the last checkpoint in `out`.

    `metrics.jsonl` holds at each step the loss, the share of pairs whose chosen answer moved further from the reference than
    the rejected one (`accuracy`) and by how much (`margin`, nats); in the last line `eval/accuracy` of held-out pairs.
    """
    if not config.model or not config.pairs:
        raise ConfigError("dpo needs model = the model to start from, and pairs = a run folder or a file of pairs")
    ranks = open_ranks()
    config, checkpoint = with_model_folders(config), resume_point(config.out, resume, ranks)
    tokenizer = load_tokenizer(config.model)
    pairs = ranks.on_main(lambda: load_pairs(config.pairs, tokenizer, per_task=config.per_task, seed=config.seed))
    train, held = split_pairs(pairs, config.held_out, config.seed)
    if config.batch_size > len(train):
        raise ConfigError(f"batch_size is {config.batch_size} and there are {len(train)} training pairs; lower it")
    device = best_device()
    learner = Learner(
        open_model(config.model, ranks, device), config.optimizer(),
        total_updates=config.steps, token_budget=config.token_budget, device=device, ranks=ranks,
    )  # fmt: skip
    pad_id = padding_id(tokenizer)
    # The reference is the model before the first update, so its answers can be had now and its weights need not be kept.
    reference = {id(pair): margins for pair, margins in zip(pairs, _margins(learner, pairs, pad_id), strict=True)}
    if checkpoint is not None:
        learner.spread.load(learner.model, open_model(checkpoint, ranks, device))
    with (
        open_supervised(
            config,
            stage="dpo",
            model=learner.model,
            optimizer=learner.optimizer,
            tokenizer=tokenizer,
            ranks=ranks,
            checkpoint=checkpoint,
        ) as run,
        Progress(
            "dpo", config.steps, done=run.state.step, quantity="pairs in order", quiet=quiet or not ranks.main
        ) as progress,
    ):
        for step in run.steps():
            begin = time.perf_counter()
            chosen = draw_pairs(train, config.batch_size, step, config.seed)
            metrics = _update(learner, chosen, reference, config, pad_id)
            if step == config.steps and held:
                moved = [
                    (now[0] - reference[id(pair)][0]) > (now[1] - reference[id(pair)][1])
                    for pair, now in zip(held, _margins(learner, held, pad_id), strict=True)
                ]
                metrics["eval/accuracy"] = sum(moved) / len(moved)
            run.end_step({**metrics, "seconds": time.perf_counter() - begin})
            progress.update(step, value=metrics["accuracy"])
        return run.result()


def _update(
    learner: Learner,
    pairs: Sequence[Pair],
    reference: Mapping[int, tuple[float, float]],
    config: DPOConfig,
    pad_id: int,
) -> dict[str, float]:
    def loss(few: Sequence[Pair], micro: Batch) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        logprobs_BT, _ = learner.policy(micro)
        chosen_N, rejected_N = logprobs_BT.sum(-1).view(-1, 2).unbind(-1)
        ref_N2 = torch.tensor([reference[id(pair)] for pair in few])
        ref_chosen_N, ref_rejected_N = ref_N2.to(chosen_N).unbind(-1)
        value = losses.dpo_loss(
            chosen_N, rejected_N, ref_chosen_N, ref_rejected_N, beta=config.beta, num_items=len(pairs)
        )
        margins_N = ((chosen_N - ref_chosen_N) - (rejected_N - ref_rejected_N)).detach()
        return value, {"accuracy": (margins_N > 0).sum() / len(pairs), "margin": margins_N.sum() / len(pairs)}

    totals = accumulate_pairs(
        pairs,
        loss,
        token_budget=config.token_budget,
        pad_id=pad_id,
        device=learner.device,
        spread=learner.spread,
        autocast=learner.autocast(),
    )
    return {**totals, **learner.optimizer.step()}


def _margins(learner: Learner, pairs: Sequence[Pair], pad_id: int) -> list[tuple[float, float]]:
    """Log-probability of the chosen and of the rejected answer of each pair, under the weights as they are."""
    totals_N2 = learner.logprobs(batch_of_pairs(pairs, pad_id=pad_id)).sum(-1).view(-1, 2).tolist()
    return [(chosen, rejected) for chosen, rejected in totals_N2]
