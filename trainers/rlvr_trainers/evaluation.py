"""How good the policy is on tasks that training never shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import rlvr
from rlvr.errors import ConfigError
from rlvr.generation.engine import Engine, Sampling
from rlvr.generation.seeds import derive_seed
from rlvr.scoring import ScoringPool
from rlvr.task import Task
from rlvr.tracking import RunFolder
from rlvr.trajectory import Trajectory
from rlvr_trainers.distributed import ALONE, Ranks
from rlvr_trainers.rollouts import episode_metrics
from rlvr_trainers.sampler import EnvConfig
from rlvr_trainers.shared_rollout import shared_rollout


@dataclass(frozen=True)
class Evaluation:
    """One answer to each of the evaluation tasks."""

    trajectories: list[Trajectory]
    """In the order of the tasks."""

    @property
    def accuracy(self) -> float:
        """Share of correct answers; an episode without a verdict is not one."""
        return sum(t.score is not None and t.score.correct for t in self.trajectories) / len(self.trajectories)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson score interval of the accuracy (Wilson 1927; Brown, Cai and DasGupta 2001, eq. 4)."""
        count, share, z = len(self.trajectories), self.accuracy, 1.959964
        centre = (share + z * z / (2 * count)) / (1 + z * z / count)
        half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
        return max(0.0, centre - half), min(1.0, centre + half)

    def metrics(self) -> dict[str, float]:
        """`eval/accuracy`, `eval/reward`, `eval/length_mean` and so on."""
        found = episode_metrics([[t] for t in self.trajectories])
        return {f"eval/{name}": value for name, value in found.items()}


def eval_tasks(envs: Sequence[EnvConfig], count: int) -> list[Task]:
    """`count` tasks of the eval split, shared among the environments by weight, each at least once.

    They are the first of stream 0, whatever the run's seed: runs with other seeds are asked the same, and so is
    `rlvr eval` where nobody names a seed, so that all of them can be compared. A data set with fewer tasks gives all it
    has; no task comes twice.
    """
    total_weight = sum(env.weight for env in envs)
    tasks: dict[str, Task] = {}
    for env in envs:
        spec = rlvr.spec(env.id)
        knobs = spec.resolve_knobs(env.level, env.knobs)
        wanted = max(1, round(count * env.weight / total_weight))
        size = spec.count("eval", knobs)
        wanted = wanted if size is None else min(wanted, size)
        found: dict[str, Task] = {}
        for index in range(size if size is not None else 50 * wanted):
            if len(found) == wanted:
                break
            task = spec.task(index, split="eval", seed=0, knobs=knobs)
            found.setdefault(task.key, task)
        tasks |= found
    if not tasks:
        raise ConfigError(
            f"no evaluation task in {', '.join(env.id for env in envs)}: its eval split is empty. Set eval_tasks = 0"
        )
    return list(tasks.values())


def evaluate(
    engine: Engine | None,
    tasks: Sequence[Task],
    *,
    pool: ScoringPool,
    sampling: Sampling,
    seed: int,
    folder: RunFolder | None = None,
    step: int = 0,
    max_turns: int | None = None,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """One sampled answer to each task, with the same draws whenever it is called with the same weights and seed.

    With several `ranks` each samples its share of the tasks, and all of them return everything.
    """
    groups = shared_rollout(
        engine,
        tasks,
        group_size=1,
        sampling=sampling,
        pool=pool,
        seed=derive_seed("eval", seed),
        max_turns=max_turns,
        ranks=ranks,
    )
    trajectories = [t for group in groups for t in group]
    if folder is not None:
        folder.write_eval(step, trajectories)
    return Evaluation(trajectories)
