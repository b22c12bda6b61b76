"""Which tasks a step trains on: a weighted mix of environments, each with its place in its stream.

Every choice is a function of the seed and of the state, so a resumed run draws what the uninterrupted one would have.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import rlvr
from rlvr.errors import ConfigError
from rlvr.generation.seeds import derive_seed
from rlvr.task import Task
from rlvr_trainers.difficulty_filter import DifficultyFilter, read_filter

CURRICULUM_WINDOW = 64
"""Groups at a level whose mean decides whether to change it."""


@dataclass(frozen=True)
class EnvConfig:
    """One environment of a mix."""

    id: str
    """`namespace/name-vN`."""
    weight: float = 1.0
    """Its share of the prompts, relative to the other weights."""
    level: int | None = None
    """Level of difficulty; with `curriculum`, the one to start from."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Knobs on top of the level's."""
    curriculum: bool = False
    """Move up a level when the recent mean reward passes `promote_at`, and down when it falls under `demote_at`."""
    promote_at: float = 0.8
    """Mean reward of a full window at which the level rises."""
    demote_at: float = 0.2
    """Mean reward of a full window at which the level falls."""
    drop_solved: bool = False
    """Leave out rows of a data set whose whole group was right when they last came up."""
    filter: str = ""
    """File of `rlvr envs difficulty`: the tasks it names are left out, and its level is taken where `level` is not set."""

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ConfigError(
                f"{self.id} has weight {self.weight}, so it would never be drawn; leave it out of the mix"
            )
        if not 0 <= self.demote_at < self.promote_at <= 1:
            raise ConfigError(
                f"{self.id} has demote_at={self.demote_at} and promote_at={self.promote_at}; it needs 0 <= demote_at < "
                "promote_at <= 1"
            )


def env_mix(env: str, level: int | None, knobs: Mapping[str, Any], envs: Sequence[EnvConfig]) -> tuple[EnvConfig, ...]:
    """The environments of a config that names one (`env`, `level`, `knobs`) or several (`envs`).

    Raises ConfigError if it names none, or does both.
    """
    if env and envs:
        raise ConfigError(
            f"both env = {env!r} and a list of envs are set; put {env!r} into the list or drop one of them"
        )
    if not env and not envs:
        raise ConfigError('no environment is named; set env = "namespace/name-v0", or a list of [[envs]]')
    return (EnvConfig(env, level=level, knobs=knobs),) if env else tuple(envs)


class TaskSampler:
    """Draws training tasks. `observe` tells it how groups fared; `state_dict` is everything it remembers."""

    def __init__(self, envs: Sequence[EnvConfig], *, seed: int) -> None:
        self.seed = seed
        self._streams = [_Stream(env, seed) for env in envs]

    def draw(self, count: int, *, step: int, attempt: int = 0) -> list[Task]:
        """`count` tasks for a step; `attempt` numbers the refills within it.

        A data set whose rows are all solved leaves its share to the others; where none is left the list is empty.
        """
        streams = [stream for stream in self._streams if not stream.solved]
        if not streams:
            return []
        picks = [self._pick(streams, step, attempt, slot) for slot in range(count)]
        return [stream.next() for stream in picks]

    @property
    def solved(self) -> bool:
        """True once `drop_solved` leaves no task to draw."""
        return all(stream.solved for stream in self._streams)

    @property
    def moving(self) -> bool:
        """True while a curriculum is on its way to another level: what the next steps teach is not what these did."""
        return any(stream.moving for stream in self._streams)

    def check(self, count: int) -> None:
        """Raises ConfigError if one step would ask the same prompt twice."""
        total_weight = sum(stream.env.weight for stream in self._streams)
        for stream in self._streams:
            size, share = stream.size(), round(count * stream.env.weight / total_weight)
            if size is not None and share > size:
                of_them = f", of which {share} are its share," if len(self._streams) > 1 else ""
                raise ConfigError(
                    f"prompts_per_step is {count}{of_them} and {stream.env.id} has {size} training tasks; a step would repeat "
                    f"some. Set prompts_per_step to {int(size * total_weight / stream.env.weight)} or fewer"
                )

    def observe(self, task: Task, mean_reward: float) -> None:
        """A finished group's mean reward, for the curriculum and the filter of solved rows."""
        same = [stream for stream in self._streams if stream.env.id == task.env_id]
        for stream in same:
            if len(same) == 1 or stream.knobs == task.knobs:  # an environment may stand in a mix at several levels
                stream.observe(task, mean_reward)
                return

    def metrics(self) -> dict[str, float]:
        """The level that each curriculum stands at, and how many rows each filter leaves out."""
        levels = {
            f"{s.env.id}/level": float(s.level) for s in self._streams if s.env.curriculum and s.level is not None
        }
        return levels | {f"{s.env.id}/solved": float(s.num_solved) for s in self._streams if s.env.drop_solved}

    def state_dict(self) -> dict[str, Any]:
        """Plain values; the inverse of `load_state_dict`."""
        return {"streams": [stream.state_dict() for stream in self._streams]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken. Raises ConfigError for another mix."""
        ids = [stream.env.id for stream in self._streams]
        if [values["id"] for values in state["streams"]] != ids:
            raise ConfigError(f"the checkpoint was trained on {[v['id'] for v in state['streams']]}, this run on {ids}")
        for stream, values in zip(self._streams, state["streams"], strict=True):
            stream.load_state_dict(values)

    def _pick(self, streams: Sequence[_Stream], step: int, attempt: int, slot: int) -> _Stream:
        if len(streams) == 1:
            return streams[0]
        total_weight = sum(stream.env.weight for stream in streams)
        point = derive_seed("mix", self.seed, step, attempt, slot) / 2.0**63 * total_weight
        for stream in streams:
            point -= stream.env.weight
            if point < 0:
                return stream
        return streams[-1]


class _Stream:
    """One environment's tasks in order: for a data set a new shuffle every epoch."""

    def __init__(self, env: EnvConfig, seed: int) -> None:
        self.env = env
        self.spec = rlvr.spec(env.id)
        measured = read_filter(env.filter, env.id) if env.filter else DifficultyFilter()
        self._left_out = measured.drop
        self.level = env.level if env.level is not None else measured.level
        if env.curriculum:
            if len(self.spec.levels) < 2:
                raise ConfigError(f"{env.id} has {len(self.spec.levels)} levels; a curriculum needs at least 2")
            self.level = self.level or 0
        self._seed = seed
        self._next = 0
        self._solved: set[str] = set()
        self._recent: list[float] = []
        self.knobs = self.spec.resolve_knobs(self.level, env.knobs)
        size = self.size()
        if size == 0:
            raise ConfigError(
                f"{env.id} has no training task with {self.knobs}; choose other knobs or another environment"
            )
        if size is not None and self._find() is None:
            raise ConfigError(
                f"filter {env.filter!r} leaves out all {size} training tasks of {env.id}; measure a weaker or a stronger model"
            )
        if env.drop_solved and size is None:
            raise ConfigError(
                f"{env.id} draws its tasks without end, so drop_solved would never meet one again; leave it out"
            )

    def size(self) -> int | None:
        return self.spec.count("train", self.knobs)

    def next(self) -> Task:
        """The next task that is not left out; `solved` says whether there is one."""
        found = self._find()
        assert found is not None, "a solved stream is not drawn from"
        self._next, task = found
        return task

    @property
    def solved(self) -> bool:
        return bool(self._solved or self._left_out) and self._find() is None

    @property
    def num_solved(self) -> int:
        return len(self._solved)

    @property
    def moving(self) -> bool:
        if not self.env.curriculum or self.level is None:
            return False
        if not self._recent:
            return True  # it has just moved, or just begun
        mean, top = sum(self._recent) / len(self._recent), len(self.spec.levels) - 1
        return (mean >= self.env.promote_at and self.level < top) or (mean <= self.env.demote_at and self.level > 0)

    def _find(self) -> tuple[int, Task] | None:
        """The place after the next task and the task itself; None if all are solved."""
        size = self.size()
        if size is None:
            return next(
                (number + 1, task)
                for number in itertools.count(self._next)  # a filter names some tasks only, so this ends
                if (task := self.spec.task(number, seed=self._seed, knobs=self.knobs)).key not in self._left_out
            )
        for number in range(self._next, self._next + 2 * size):  # one whole epoch, wherever the first one stands
            epoch, place = divmod(number, size)
            # The stream's own shuffle by seed gives every epoch another order.
            task = self.spec.task(place, seed=f"{self._seed}/epoch/{epoch}", knobs=self.knobs)
            if task.key not in self._solved and task.key not in self._left_out:
                return number + 1, task
        return None

    def observe(self, task: Task, mean_reward: float) -> None:
        if self.env.drop_solved:
            (self._solved.add if mean_reward == 1.0 else self._solved.discard)(task.key)
        if not self.env.curriculum or self.level is None or task.knobs != self.knobs:
            return
        self._recent.append(mean_reward)
        if len(self._recent) < CURRICULUM_WINDOW:
            return
        mean = sum(self._recent) / len(self._recent)
        if mean >= self.env.promote_at and self.level + 1 < len(self.spec.levels):
            self._move_to(self.level + 1)
        elif mean <= self.env.demote_at and self.level > 0:
            self._move_to(self.level - 1)
        else:
            self._recent.pop(0)

    def _move_to(self, level: int) -> None:
        self.level = level
        self.knobs = self.spec.resolve_knobs(level, self.env.knobs)
        self._recent = []

    def state_dict(self) -> dict[str, Any]:
        return {
            "id": self.env.id,
            "next": self._next,
            "level": self.level,
            "recent": list(self._recent),
            "solved": sorted(self._solved),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._next, self._recent, self._solved = state["next"], list(state["recent"]), set(state["solved"])
        if self.env.curriculum:
            self._move_to(state["level"])
            self._recent = list(state["recent"])
