"""A step's groups: sampled, scored, and where they teach nothing drawn again within a budget."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import EnvironmentFault
from rlvr.generation.engine import Engine, Sampling
from rlvr.generation.seeds import derive_seed
from rlvr.scoring import ScoringPool
from rlvr.tracking import read_rollouts, rollout_files
from rlvr.trajectory import Trajectory
from rlvr_trainers import advantages
from rlvr_trainers.batch import Batch
from rlvr_trainers.distributed import ALONE, Ranks
from rlvr_trainers.sampler import TaskSampler
from rlvr_trainers.shared_rollout import shared_rollout

Group = list[Trajectory]


@dataclass
class Collected:
    """What a step sampled."""

    live: list[Group] = field(default_factory=list)
    """The groups to train on."""
    dead: list[Group] = field(default_factory=list)
    """Groups whose rewards are all equal: they have no advantage."""
    refilled: int = 0
    """Prompts drawn beyond the step's own, in place of dead groups."""

    @property
    def groups(self) -> list[Group]:
        """All of them."""
        return [*self.live, *self.dead]


@dataclass(frozen=True)
class RewardTerms:
    """How a Score becomes the number that is trained on."""

    part_weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each named part of a Score that counts beside the outcome."""
    overlong_buffer: int = 0
    """Tokens below `max_tokens` from which a soft penalty grows to -1; 0 for none."""
    max_tokens: int = 0
    """Longest answer, for that penalty."""


def collect(
    engine: Engine | None,
    pool: ScoringPool,
    sampler: TaskSampler,
    *,
    step: int,
    prompts: int,
    group_size: int,
    sampling: Sampling,
    seed: int,
    terms: RewardTerms,
    refill_rounds: int = 0,
    keep_dead: bool = False,
    max_turns: int | None = None,
    judge: Callable[[Group], Group] | None = None,
    ranks: Ranks = ALONE,
) -> Collected:
    """Sample `prompts` groups; then, for up to `refill_rounds` rounds, as many new ones as are dead (DAPO's dynamic
    sampling, arXiv:2503.14476, section 3.2). With `keep_dead` dead groups count as live.
    `judge` adds parts to the Scores of a group before its rewards are compared. With several `ranks` each samples its share of
    the prompts, and all of them return everything.
    """
    collected = Collected()
    missing = prompts
    for attempt in range(1 + refill_rounds):
        tasks = sampler.draw(missing, step=step, attempt=attempt)
        if not tasks:
            break  # the first draw of this step solved the last of them
        groups = shared_rollout(
            engine,
            tasks,
            group_size=group_size,
            sampling=sampling,
            pool=pool,
            seed=derive_seed("step", seed, step, attempt),
            max_turns=max_turns,
            judge=judge,
            ranks=ranks,
        )
        rewards_PG, valid_PG = group_rewards(groups, terms)
        for group, dead in zip(groups, advantages.dead_groups(rewards_PG, valid_PG=valid_PG).tolist(), strict=True):
            (collected.dead if dead and not keep_dead else collected.live).append(group)
            sampler.observe(group[0].task, sum(t.reward for t in group) / len(group))
        collected.refilled += len(tasks) if attempt else 0
        missing = prompts - len(collected.live)
        if missing == 0:
            break
    return collected


def replayed(run: str, step: int, terms: RewardTerms, *, keep_dead: bool = False) -> Collected:
    """The groups that another run stored at this step, as if they had just been sampled."""
    groups: dict[int, Group] = {}
    # Refilled prompts count from 0 again, so a new first sample begins a new group.
    for trajectory in read_rollouts(rollout_files(run)[step]):
        if trajectory.sample == 0:
            groups[len(groups)] = []
        groups[len(groups) - 1].append(trajectory)
    rewards_PG, valid_PG = group_rewards(list(groups.values()), terms)
    collected = Collected()
    for group, dead in zip(
        groups.values(), advantages.dead_groups(rewards_PG, valid_PG=valid_PG).tolist(), strict=True
    ):
        (collected.dead if dead and not keep_dead else collected.live).append(group)
    return collected


def group_rewards(groups: Sequence[Group], terms: RewardTerms) -> tuple[Tensor, Tensor]:
    """`(rewards_PG, valid_PG)`: what is trained on, and False where there is no verdict."""
    rewards_PG = torch.tensor([[final_reward(t, terms) for t in group] for group in groups], dtype=torch.float64)
    valid_PG = torch.tensor([[not t.faulty for t in group] for group in groups])
    if terms.overlong_buffer:
        lengths_B = torch.tensor([t.num_sampled for group in groups for t in group], dtype=torch.float64)
        penalty_B = advantages.soft_overlong_penalty(lengths_B, terms.max_tokens, terms.overlong_buffer)
        rewards_PG = rewards_PG + penalty_B.view_as(rewards_PG)
    return rewards_PG, valid_PG


def final_reward(trajectory: Trajectory, terms: RewardTerms) -> float:
    """The outcome plus the weighted parts; 0 where there is no verdict."""
    if trajectory.score is None or trajectory.faulty:
        return 0.0
    parts = trajectory.score.parts
    return trajectory.score.reward + sum(weight * parts.get(name, 0.0) for name, weight in terms.part_weights.items())


def training_batch(
    groups: Sequence[Group], values_PG: Tensor, *, pad_id: int, drop_truncated: bool = False
) -> Batch | None:
    """The rows to train on, with `advantages` `[B]` and `sampling_logprobs` `[B, T]`; None if none are left.

    Episodes without a verdict are left out; with `drop_truncated` so are those that were cut off, which then still
    count in their group's mean (DAPO's overlong filtering, arXiv:2503.14476, section 3.4).
    """
    rows: list[Trajectory] = []
    values: list[float] = []
    for group, values_G in zip(groups, values_PG.tolist(), strict=True):
        for trajectory, value in zip(group, values_G, strict=True):
            if not (trajectory.faulty or (drop_truncated and trajectory.truncated)):
                rows += trajectory.samples
                values += [value] * len(trajectory.samples)
    if not rows:
        return None
    return Batch.from_rows(
        [row.token_ids for row in rows],
        [row.loss_mask for row in rows],
        pad_id=pad_id,
        per_token={"sampling_logprobs": [row.logprobs for row in rows]},
        per_row={"advantages": values},
    )


def trained_rows(groups: Sequence[Group], *, drop_truncated: bool = False) -> list[Trajectory]:
    """The token sequences that `training_batch` makes rows of, in its order."""
    episodes = (t for group in groups for t in group if not (t.faulty or (drop_truncated and t.truncated)))
    return [sample for episode in episodes for sample in episode.samples]


def check_faults(groups: Sequence[Group], *, limit: float) -> None:
    """Raises EnvironmentFault if more than this share of the episodes has no verdict."""
    episodes = [t for group in groups for t in group]
    faults = [t for t in episodes if t.faulty]
    if len(faults) <= limit * len(episodes):
        return
    reasons = Counter((t.score.error or "no reason given") if t.score else "no score" for t in faults)
    worst, count = reasons.most_common(1)[0]
    raise EnvironmentFault(
        f"{len(faults)} of {len(episodes)} episodes have no verdict, more than max_fault_share = {limit:g} allows; {count} "
        f"of them: {worst[:300]}. Training on the rest would follow the machine's faults: mend the environment or its limits"
    )


def episode_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """What the episodes earned and how long they were, over all and for each environment."""
    by_env: dict[str, list[Trajectory]] = {}
    for group in groups:
        by_env.setdefault(group[0].task.env_id, []).extend(group)
    metrics = _episode_metrics([t for group in groups for t in group])
    if len(by_env) > 1:
        for env_id, episodes in by_env.items():
            metrics |= {f"{env_id}/{name}": value for name, value in _episode_metrics(episodes).items()}
    return metrics


def _episode_metrics(episodes: Sequence[Trajectory]) -> dict[str, float]:
    count = len(episodes)
    lengths = [t.num_sampled for t in episodes]
    parts: dict[str, list[float]] = {}
    for trajectory in episodes:
        if trajectory.score is not None and not trajectory.faulty:
            for name, value in trajectory.score.parts.items():
                parts.setdefault(name, []).append(value)
    metrics: dict[str, Any] = {
        "reward": sum(t.reward for t in episodes) / count,
        "reward_std": statistics.pstdev(t.reward for t in episodes),
        "accuracy": sum(t.score is not None and t.score.correct for t in episodes) / count,
        "length_mean": sum(lengths) / count,
        "length_max": max(lengths),
        "truncated_share": sum(t.truncated for t in episodes) / count,
        "fault_share": sum(t.faulty for t in episodes) / count,
        "turns_mean": sum(t.num_turns for t in episodes) / count,
    }
    metrics |= {f"part/{name}": sum(values) / len(values) for name, values in parts.items()}
    return {name: float(value) for name, value in metrics.items()}
