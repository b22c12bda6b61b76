"""OpenEnv (openenv-core 0.3): any of our environments behind its server, for the trainers that speak its protocol.

rlvr serve --openenv game/bagels-v0                 # ws://127.0.0.1:8770/ws, http://127.0.0.1:8770/reset ...
make_openenv("game/bagels-v0", split="eval")        # the FastAPI application, to serve it yourself

An action is one whole turn of the model, `{"text": ...}`. OpenEnv's wire carries neither truncation nor metadata, so both
stand in the observation. Turns and verdicts are computed in our scoring processes; a verifier that fails is an error to the
client and no reward.
"""

from __future__ import annotations

import itertools
from typing import Any

import rlvr
from rlvr.errors import ConfigError, EnvironmentFault
from rlvr.scoring import ScoringPool
from rlvr.spec import SessionSpec
from rlvr.streams import split_named

try:
    from openenv.core.env_server import create_app
    from openenv.core.env_server.interfaces import Environment
    from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State
except ImportError as fault:
    raise ConfigError("this adapter needs openenv-core 0.3: pip install 'rlvr[openenv]'") from fault

MAX_SESSIONS = 64


class TextAction(Action):  # type: ignore[misc]
    """One turn of the model."""

    text: str


class TextObservation(Observation):  # type: ignore[misc]
    """What the environment says; with `done` also the verdict."""

    text: str = ""
    """The new text for the model: the prompt, later a reply."""
    messages: list[dict[str, Any]] = []  # noqa: RUF012 (a field of a pydantic model, copied for each instance)
    """The whole chat so far."""
    tools: list[dict[str, Any]] | None = None
    """Tool definitions in OpenAI's format, if the task brings any."""
    truncated: bool = False
    """The turns were used up without a verdict; the reward is 0."""
    reason: str = ""
    """Why the reward is what it is, in a few words."""
    parts: dict[str, float] = {}  # noqa: RUF012
    """Named terms beside the outcome."""


class EpisodeState(State):  # type: ignore[misc]
    """Which task is being played. The gold answer is not in it."""

    env_id: str = ""
    task_id: str = ""
    index: int = 0


class OpenEnvEnvironment(Environment):  # type: ignore[misc]
    """One session: an episode at a time of one environment.

    `reset(seed=, index=, split=, level=, knobs=)` chooses the task, and the same values always choose the same one: `seed`
    names the stream and `index` the place in it. Without both, each reset takes the next task of stream 0.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, env_id: str, split: str, pool: ScoringPool, counter: itertools.count[int]) -> None:
        super().__init__()
        self._spec = rlvr.spec(env_id)
        self._split = split
        self._pool = pool
        self._counter = counter
        self._task: rlvr.Task | None = None
        self._messages: list[rlvr.Message] = []
        self._turns: list[str] = []
        self._over = True
        self._episode_id: str | None = None

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        index: int | None = None,
        split: str | None = None,
        level: int | None = None,
        knobs: dict[str, Any] | None = None,
        **unknown: Any,
    ) -> TextObservation:
        """Start an episode; the observation is the prompt."""
        if unknown:
            raise ConfigError(f"reset takes seed, index, split, level and knobs, not {sorted(unknown)}")
        values = self._spec.resolve_knobs(level, knobs or {})
        if index is None:
            index = next(self._counter) if seed is None else 0
        home = split_named(split or self._split, where=self._spec.id)
        self._task = self._spec.task(index, split=home, seed=seed or 0, knobs=values)
        self._messages, self._turns, self._over = self._task.messages, [], False
        self._episode_id = episode_id
        tools = None if self._task.tools is None else [dict(tool) for tool in self._task.tools]
        return self._observed(text=self._task.text, tools=tools)

    def step(self, action: TextAction, timeout_s: float | None = None, **unknown: Any) -> TextObservation:
        """Judge the turn, or let the session answer it. Raises EnvironmentFault if there is no verdict."""
        if self._task is None or self._over:
            raise ConfigError("no episode is running; call reset first")
        self._turns.append(action.text)
        self._messages.append({"role": "assistant", "content": action.text})
        if isinstance(self._spec, SessionSpec):
            reply = self._pool.turn(self._task, self._turns).result()
        else:
            reply = self._pool.submit(self._task, action.text).result()
        if isinstance(reply, rlvr.Score):
            return self._ended(reply)
        new = [{"role": "user", "content": reply}] if isinstance(reply, str) else reply
        self._messages.extend(new)
        text = "\n\n".join(str(message.get("content") or "") for message in new)
        if len(self._turns) < self._spec.max_turns:
            return self._observed(text=text)
        self._over = True
        return self._observed(text=text, done=True, reward=0.0, truncated=True, reason="turn_limit")

    @property
    def state(self) -> EpisodeState:
        """The task that is being played and the turns so far."""
        task = self._task
        return EpisodeState(
            episode_id=self._episode_id,
            step_count=len(self._turns),
            env_id=self._spec.id,
            task_id=task.id if task else "",
            index=task.index if task else 0,
        )

    def get_metadata(self) -> EnvironmentMetadata:
        """The environment's id and description."""
        return EnvironmentMetadata(
            name=self._spec.id, description=self._spec.description or self._spec.id, version=rlvr.__version__
        )

    def _ended(self, score: rlvr.Score) -> TextObservation:
        self._over = True
        if score.error:
            raise EnvironmentFault(f"{self._spec.id}: no verdict, so this episode has no reward: {score.error}")
        return self._observed(done=True, reward=score.reward, reason=score.reason, parts=dict(score.parts))

    def _observed(self, **fields: Any) -> TextObservation:
        return TextObservation(messages=[dict(message) for message in self._messages], **fields)


def make_openenv(env_id: str, split: str = "train", *, pool: ScoringPool) -> Any:
    """The FastAPI application that serves episodes of one environment over OpenEnv's protocol."""
    rlvr.spec(env_id)
    counter = itertools.count()
    return create_app(
        lambda: OpenEnvEnvironment(env_id, split, pool, counter),
        TextAction,
        TextObservation,
        env_name=env_id,
        max_concurrent_envs=MAX_SESSIONS,
    )
