"""Pairs of answers to one prompt, the first better than the second: from verified rollouts or from a file."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.chat import encode, prompt_ids
from rlvr.errors import ConfigError
from rlvr.generation.seeds import derive_seed
from rlvr.tracking import read_rollouts, rollout_files
from rlvr.trajectory import Trajectory
from rlvr_trainers.batch import Batch


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
