"""Pairs of answers to one prompt, the first better than the second: from verified rollouts or from a file."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlvr.chat import encode, prompt_ids
from rlvr.errors import ConfigError
from rlvr.generation.seeds import derive_seed
from rlvr.tracking import read_rollouts, rollout_files
from rlvr.trajectory import Trajectory
from rlvr_trainers.batch import Batch
from rlvr_trainers.learner import Metrics, add_gradients
from rlvr_trainers.sharding import Spread

PairLoss = Callable[[Sequence["Pair"], Batch], tuple[Tensor, Mapping[str, Tensor | float]]]
"""As `learner.MicroLoss`, of some pairs and the batch of their answers."""


@dataclass(frozen=True)
class Answer:
    """One episode as tokens."""

    token_ids: list[int]
    """Prompt and answer."""
    mask: list[bool]
    """True where the policy chose the token."""


@dataclass(frozen=True)
class Pair:
    """`chosen` was preferred over `rejected`."""

    chosen: Answer
    rejected: Answer

    @property
    def num_tokens(self) -> int:
        """Of both answers and their prompts."""
        return len(self.chosen.token_ids) + len(self.rejected.token_ids)


def pairs_from_rollouts(trajectories: Iterable[Trajectory], *, per_task: int = 4, seed: int = 0) -> list[Pair]:
    """Right and wrong answers to the same task, as a verifier judged them: at most `per_task` pairs each.

    The tokens are those that were sampled; nothing is encoded again. Answers without a verdict and answers that were cut off are
    left out: they are no examples of a wrong answer. Each text stands once, and pairs are spread over both sides.
    """
    tasks: dict[str, tuple[dict[tuple[int, ...], Answer], dict[tuple[int, ...], Answer]]] = {}
    for trajectory in trajectories:
        score = trajectory.score
        if score is None or score.error is not None or trajectory.finish != "stop":
            continue
        if score.reward not in (0.0, 1.0):
            continue
        side = tasks.setdefault(trajectory.task.id, ({}, {}))[0 if score.correct else 1]
        side.setdefault(tuple(trajectory.token_ids), Answer(trajectory.token_ids, trajectory.loss_mask))
    pairs = []
    for task_id, (right, wrong) in tasks.items():
        rng = random.Random(derive_seed("pairs", seed, task_id))
        chosen, rejected = list(right.values()), list(wrong.values())
        rng.shuffle(chosen)
        rng.shuffle(rejected)
        count = min(per_task, len(chosen) * len(rejected))
        # Diagonals of the table of all pairs: no pair twice, and each answer as often as the next.
        width, height = len(chosen), len(rejected)
        cells = [(i % width, (i + i // math.lcm(width, height)) % height) for i in range(count)]
        pairs += [Pair(chosen[a], rejected[b]) for a, b in cells]
    return pairs


def pairs_from_file(path: str | Path, tokenizer: Any) -> list[Pair]:
    """Pairs from JSON lines `{"prompt": ..., "chosen": ..., "rejected": ...}`; `prompt` is a text or a list of messages.

    Raises ConfigError that names the line, if one is something else.
    """
    pairs = []
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            prompt, chosen, rejected = row["prompt"], row["chosen"], row["rejected"]
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
            before = prompt_ids(tokenizer, messages)
            answers = [[*encode(tokenizer, text), tokenizer.eos_token_id] for text in (chosen, rejected)]
        except (ValueError, KeyError, TypeError) as fault:
            raise ConfigError(
                f"{path}, line {number} is no pair ({type(fault).__name__}: {fault}); it needs prompt, chosen and rejected"
            ) from fault
        pairs.append(Pair(*(Answer([*before, *ids], [False] * len(before) + [True] * len(ids)) for ids in answers)))
    return pairs


def batch_of_pairs(pairs: Sequence[Pair], *, pad_id: int) -> Batch:
    """2 N rows: chosen and rejected answer of each pair, in turn."""
    answers = [answer for pair in pairs for answer in (pair.chosen, pair.rejected)]
    return Batch.from_rows([a.token_ids for a in answers], [a.mask for a in answers], pad_id=pad_id)


def load_pairs(source: str, tokenizer: Any, *, per_task: int, seed: int) -> list[Pair]:
    """Pairs from a run folder's rollouts, or from a file of JSON lines. Raises ConfigError if it gives none."""
    if Path(source).is_dir():
        files = rollout_files(source).values()
        pairs = pairs_from_rollouts((t for path in files for t in read_rollouts(path)), per_task=per_task, seed=seed)
    elif Path(source).is_file():
        pairs = pairs_from_file(source, tokenizer)
    else:
        raise ConfigError(f"pairs is {source!r}, which is neither a run folder nor a file of JSON lines")
    if not pairs:
        raise ConfigError(
            f"{source!r} gives no pair: no task in it has both a right and a wrong answer that came to its end. "
            "Sample more answers a task, or an easier or harder level"
        )
    return pairs


def split_pairs(pairs: Sequence[Pair], held_out: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """(training pairs, held-out pairs), split by prompt so that no prompt stands on both sides."""
    train: list[Pair] = []
    held: list[Pair] = []
    for pair in pairs:
        prompt = pair.chosen.token_ids[: pair.chosen.mask.index(True)]
        point = derive_seed("held-out", seed, " ".join(map(str, prompt))) / 2.0**63
        (held if point < held_out else train).append(pair)
    if not train:
        raise ConfigError(f"held_out = {held_out} leaves none of {len(pairs)} pairs to train on; lower it")
    return train, held


def draw_pairs(pairs: Sequence[Pair], count: int, step: int, seed: int) -> list[Pair]:
    """The pairs of an update: a new shuffle every epoch, a function of (seed, step)."""
    per_epoch = max(1, len(pairs) // count)
    epoch, place = divmod(step - 1, per_epoch)
    order = list(range(len(pairs)))
    random.Random(derive_seed("pairs", seed, epoch)).shuffle(order)
    return [pairs[i] for i in order[place * count : (place + 1) * count]]


def whole_pairs(pairs: Sequence[Pair], token_budget: int) -> list[list[Pair]]:
    """The pairs in groups of at most `token_budget` padded tokens, at least one pair each; longest first."""

    def longest(pair: Pair) -> int:
        return max(len(pair.chosen.token_ids), len(pair.rejected.token_ids))

    groups: list[list[Pair]] = []
    for pair in sorted(pairs, key=longest, reverse=True):
        if not groups or 2 * (len(groups[-1]) + 1) * longest(groups[-1][0]) > token_budget:
            groups.append([])
        groups[-1].append(pair)
    return groups


def deal_pairs(pairs: Sequence[Pair], token_budget: int, spread: Spread) -> list[tuple[list[Pair], bool]]:
    """This rank's share of the pairs in groups of a token budget, and whether each group counts."""
    return spread.deal(pairs, [pair.num_tokens for pair in pairs], lambda share: whole_pairs(share, token_budget))


def accumulate_pairs(
    pairs: Sequence[Pair],
    loss: PairLoss,
    *,
    token_budget: int,
    pad_id: int,
    device: torch.device,
    spread: Spread,
    autocast: AbstractContextManager[Any] | None = None,
) -> Metrics:
    """`learner.accumulate` over pairs, none of which is taken apart."""
    totals: dict[str, float] = {}
    for few, counts in deal_pairs(pairs, token_budget, spread):
        batch = batch_of_pairs(few, pad_id=pad_id).to(device)
        shares = add_gradients(batch, partial(loss, few), counts=counts, autocast=autocast, spread=spread)
        totals = {name: totals.get(name, 0.0) + float(share) for name, share in shares.items()}
    return spread.total(totals)
