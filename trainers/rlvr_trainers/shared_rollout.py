"""A rollout whose prompts the ranks share out: the same episodes as on one process, in the same order, on every rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from rlvr.generation.engine import Engine, Sampling
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool
from rlvr.task import Task
from rlvr.trajectory import Trajectory
from rlvr_trainers.distributed import ALONE, Ranks

Group = list[Trajectory]


def shared_rollout(
    engine: Engine | None,
    tasks: Sequence[Task],
    *,
    group_size: int,
    sampling: Sampling,
    pool: ScoringPool,
    seed: int,
    max_turns: int | None = None,
    judge: Callable[[Group], Group] | None = None,
    ranks: Ranks = ALONE,
) -> list[Group]:
    """`rlvr.rollout.rollout` over the ranks that have an engine; `judge` adds parts to the Scores of each group.

    Every draw follows from the seed, the task and the answer's number, so it does not matter which rank makes it. A rank
    without an engine (None) waits for the others.
    """
    able = [rank for rank, can in enumerate(ranks.gather(engine is not None)) if can]
    occurrences: list[int] = []
    seen: Counter[str] = Counter()
    for task in tasks:
        occurrences.append(seen[task.id])
        seen[task.id] += 1
    mine = range(able.index(ranks.rank), len(tasks), len(able)) if ranks.rank in able else range(0)
    groups: list[Group] = []
    if engine is not None and len(mine):
        groups = rollout(
            engine,
            [tasks[number] for number in mine],
            group_size=group_size,
            sampling=sampling,
            pool=pool,
            seed=seed,
            max_turns=max_turns,
            occurrences=[occurrences[number] for number in mine],
        )
    if judge is not None:
        groups = [judge(group) for group in groups]
    if ranks.size == 1:
        return groups
    numbered = {number: [_renumbered(t, number) for t in group] for number, group in zip(mine, groups, strict=True)}
    found: dict[int, Group] = {}
    for part in ranks.gather(numbered):
        found |= part
    return [found[number] for number in range(len(tasks))]


def _renumbered(trajectory: Trajectory, group: int) -> Trajectory:
    return replace(trajectory, group=group, earlier=tuple(_renumbered(part, group) for part in trajectory.earlier))
