"""verifiers (0.4, its `v1` interface): our environments as a taskset of theirs, and their tasksets as environments of ours.

vf-eval rlvr_envs --env.taskset.env text/reverse-v0 --env.taskset.n 20 -m MODEL       # out
to_verifiers("text/reverse-v0", n=20)                                                 # the same in Python
from_verifiers("acme/theirs-v0", taskset, n=100)                                      # in

The taskset's id is `rlvr_envs`: verifiers and prime-rl find it by that name in every process. A task of several turns is
played by `RlvrEnv`, which plays the user. Verdicts come from our scoring processes, so an answer can neither hang nor
execute in the evaluator; an answer on which a verifier failed fails the rollout instead of counting as 0.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import rlvr
from rlvr.auditing import gold_text
from rlvr.errors import ConfigError, EnvironmentFault
from rlvr.scoring import ScoringPool, shared_pool
from rlvr.spec import RowsSpec
from rlvr.streams import split_named

try:
    import verifiers.v1 as vf
except ImportError as fault:
    raise ConfigError("this adapter needs verifiers 0.4: pip install 'rlvr[verifiers]'") from fault

WORKERS, TIMEOUT_S = 2, 5.0


class RlvrData(vf.TaskData):  # type: ignore[misc]
    """A row: the prompt, and the whole task as `rlvr.Task.to_dict` writes it."""

    rlvr_task: dict[str, Any]


class RlvrTask(vf.Task[RlvrData]):  # type: ignore[misc]
    """One of our tasks with our verdict as its only reward; the parts of the score are metrics."""

    @property
    def key(self) -> str:
        """Our own identity of the content."""
        return str(self.data.rlvr_task["key"])

    @vf.reward  # type: ignore[untyped-decorator]
    async def verdict(self, trace: vf.Trace) -> float:
        """The reward of the finished episode. Raises EnvironmentFault if there is no verdict."""
        task = rlvr.Task.from_dict(self.data.rlvr_task)
        said = [message.content or "" for message in trace.assistant_messages]
        text = said if rlvr.spec(task.env_id).max_turns > 1 else "".join(said[-1:])
        [score] = await _pool().score_async([task], [text])
        if score.error:
            raise EnvironmentFault(f"{task.id}: no verdict: {score.error}")
        trace.record_metrics(score.parts)
        trace.info["reason"] = score.reason
        return score.reward

    async def validate(self, runtime: vf.Runtime) -> bool | None:
        """Whether our gold answer gets the full reward; None if there is none to try."""
        task = rlvr.Task.from_dict(self.data.rlvr_task)
        gold = gold_text(rlvr.spec(task.env_id), task)
        return None if gold is None else (await _pool().score_async([task], [gold]))[0].correct


class RlvrTasksetConfig(vf.TasksetConfig):  # type: ignore[misc]
    """Which of our tasks, under `--env.taskset.*`."""

    env: str = ""
    """Id of the environment, `namespace/name-vN`."""
    split: str = "eval"
    """`eval` or `train`; they share no task."""
    n: int | None = None
    """How many tasks; without it all rows of a data set, and a generator without end."""
    seed: int = 0
    """Seed of the task stream."""
    level: int | None = None
    """Level of difficulty."""
    knobs: dict[str, Any] = {}  # noqa: RUF012 (a field of a pydantic model, copied for each instance)
    """Knobs on top of the level's."""


class RlvrTaskset(vf.Taskset[RlvrTask, RlvrTasksetConfig]):  # type: ignore[misc]
    """The tasks of one environment. Raises ConfigError for an environment whose tasks bring tools of their own."""

    def __init__(self, config: RlvrTasksetConfig) -> None:
        super().__init__(config)
        if not config.env:
            raise ConfigError("which environment? set --env.taskset.env to an id such as text/reverse-v0")
        self._spec = rlvr.spec(config.env)
        self._knobs = self._spec.resolve_knobs(config.level, config.knobs)
        self._split = split_named(config.split, where=config.env)
        count = self._spec.count(self._split, self._knobs)
        self._count = config.n if count is None or config.n is not None else count
        if count is not None and config.n is not None and config.n > count:
            raise ConfigError(f"{config.env} has {count} tasks in the split {self._split!r}; n={config.n} is too many")
        self.INFINITE = self._count is None

    def load(self) -> Iterator[RlvrTask]:
        """The tasks in the order of the stream."""
        for index in itertools.count() if self._count is None else range(self._count):
            task = self._spec.task(index, split=self._split, seed=self.config.seed, knobs=self._knobs)
            if task.tools is not None:
                raise ConfigError(
                    f"{task.env_id}: its tasks bring tools, which verifiers takes from tool servers only; "
                    "evaluate it with `rlvr eval` against the same endpoint"
                )
            data = RlvrData(id=task.id, name=task.id, prompt=task.prompt, rlvr_task=task.to_dict())
            yield RlvrTask(data, self.config.task)


class RlvrEnvConfig(vf.EnvConfig):  # type: ignore[misc]
    """One seat: the plain chat loop, which runs no code of the model, as a process of this machine."""

    agent: vf.AgentConfig = vf.AgentConfig(harness={"id": "null"}, runtime={"type": "subprocess"})


class RlvrEnv(vf.Env[RlvrEnvConfig]):  # type: ignore[misc]
    """Plays one of our tasks: a single turn, or a session in which the environment is the user."""

    async def run(self, task: RlvrTask, agents: vf.Agents) -> None:
        """One episode."""
        ours = rlvr.Task.from_dict(task.data.rlvr_task)
        max_turns = rlvr.spec(ours.env_id).max_turns
        if max_turns == 1:
            await agents.agent.run(task)
            return
        async with agents.agent.interaction(task) as interaction:
            segment = await interaction.turn()
            turns: list[str] = []
            while not segment.terminated:
                turns.append(segment.last_reply)
                reply = await asyncio.wrap_future(_pool().turn(ours, turns))
                if isinstance(reply, rlvr.Score) or len(turns) == max_turns:
                    break
                segment = await interaction.turn(reply)


def to_verifiers(env_id: str, **settings: Any) -> RlvrTaskset:
    """The taskset of an environment; `settings` are the other fields of `RlvrTasksetConfig`."""
    return RlvrTaskset(RlvrTasksetConfig(id="rlvr_envs", env=env_id, **settings))


def from_verifiers(env_id: str, taskset: vf.Taskset[Any, Any], n: int | None = None) -> RowsSpec:
    """Registers the first `n` tasks of a verifiers taskset as a single-turn environment of ours; all, if it is finite.

    The rewards of its task, weighted and summed as verifiers does, are the outcome; sums outside [0, 1] are faults that are
    counted. They are computed in our worker processes, without a runtime. Raises ConfigError for an endless taskset
    without `n`, and for tasks that need a container, tools or a user who speaks first.
    """
    if n is None and not taskset.bounded:
        raise ConfigError(f"{env_id}: {type(taskset).__name__} is endless; say how many tasks to take with n=")
    task_type, config = type(taskset).task_type(), taskset.config.task
    if task_type.NEEDS_CONTAINER or task_type.toolsets(config):
        raise ConfigError(
            f"{env_id}: {task_type.__name__} needs a container or tools, so a text alone cannot be judged"
        )
    tasks: Iterable[Any] = taskset if n is None else taskset.take(n)
    rows = [{"data": task.data.model_dump(mode="json"), "prompt": _messages(env_id, task.data)} for task in tasks]
    spec: RowsSpec = rlvr.register(
        env_id, rows=rows, prompt=lambda row: row["prompt"], verify=_judge_of(task_type, config)
    )
    return spec


def _judge_of(task_type: Any, config: Any) -> Callable[[rlvr.Task, str], rlvr.Score]:
    def verify(task: rlvr.Task, text: str) -> rlvr.Score:
        theirs = task_type(task_type.data_type().model_validate(task.data["data"]), config)
        trace = _trace(theirs, task.messages, text)
        asyncio.run(theirs.score(trace))
        parts = {name: reward.score for name, reward in trace.rewards.items() if reward is not None}
        parts |= {name: value for name, value in trace.metrics.items() if value is not None}
        return rlvr.Score(trace.reward, parts)

    return verify


def _trace(task: vf.Task, messages: list[rlvr.Message], text: str) -> vf.Trace:
    """The trace of a conversation that ends with `text`."""
    kinds = {"system": vf.SystemMessage, "user": vf.UserMessage, "assistant": vf.AssistantMessage}
    nodes = [
        vf.MessageNode(message=kinds[message["role"]](content=message["content"]), parent=place - 1 if place else None)
        for place, message in enumerate(messages)
    ]
    nodes.append(vf.MessageNode(message=vf.AssistantMessage(content=text), sampled=True, parent=len(nodes) - 1))
    described = vf.TraceTask(type=type(task).__name__, data=task.data)
    return vf.Trace(task=described, agent=vf.AgentInfo(config=vf.AgentConfig()), nodes=nodes)


def _messages(env_id: str, data: vf.TaskData) -> list[dict[str, Any]]:
    if data.prompt is None:
        raise ConfigError(f"{env_id}: task {data.name or data.idx} has no prompt; its user speaks first")
    system = [] if data.system_prompt is None else [{"role": "system", "content": data.system_prompt}]
    if isinstance(data.prompt, str):
        return [*system, {"role": "user", "content": data.prompt}]
    asked: list[Mapping[str, Any]] = [
        message if isinstance(message, Mapping) else message.model_dump(exclude_none=True) for message in data.prompt
    ]
    if any(not isinstance(message.get("content"), str) for message in asked):
        raise ConfigError(
            f"{env_id}: task {data.name or data.idx} holds pictures or parts; only texts can be asked here"
        )
    return [*system, *({"role": message["role"], "content": message["content"]} for message in asked)]


def _pool() -> ScoringPool:
    return shared_pool(WORKERS, TIMEOUT_S)
