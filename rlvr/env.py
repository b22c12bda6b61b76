"""The Gymnasium environment that every registered id has."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from rlvr.errors import ConfigError
from rlvr.registry import spec
from rlvr.score import Score
from rlvr.spec import Session, SessionSpec, guarded
from rlvr.streams import split_named
from rlvr.task import Message, Task

MAX_TEXT = 1_000_000
"""Longest text an observation or an action may be, in characters."""


class TextSpace(gymnasium.Space[str]):
    """All texts of up to `max_length` characters, any Unicode (lone surrogates too: models write them).

    `gymnasium.spaces.Text` enumerates its alphabet, which for Unicode takes seconds and hundreds of megabytes.
    """

    def __init__(self, max_length: int = MAX_TEXT, seed: int | np.random.Generator | None = None) -> None:
        self.max_length = max_length
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        """Texts have no array form."""
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A short text of printable ASCII."""
        length = int(self.np_random.integers(1, min(self.max_length, 32) + 1))
        return "".join(map(chr, self.np_random.integers(32, 127, size=length)))

    def contains(self, x: Any) -> bool:
        """Whether `x` is a text that is short enough."""
        return isinstance(x, str) and len(x) <= self.max_length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextSpace) and other.max_length == self.max_length

    def __hash__(self) -> int:
        return hash(("TextSpace", self.max_length))

    def __repr__(self) -> str:
        return f"TextSpace({self.max_length})"


class TaskEnv(gymnasium.Env[str, str]):
    """Episodes of one registered environment.

    ### Observation
    The new text for the model: the prompt, later the environment's reply. `info["messages"]` holds the whole chat.
    ### Action
    The model's whole turn, a text.
    ### Reward
    The final outcome, in [0, 1], given once with the last step; 0 before.
    ### Episode end
    `terminated` when there is a verdict; `truncated` when the turns are used up without one (reward 0).
    `info["score"]` then tells the parts, the reason and, if the verifier failed, the error. The gold answer is in
    neither observation nor info.
    ### Starting state
    `reset(seed=...)` draws a task index from the environment's generator; `reset(options={"index": i})` chooses task i.
    Options `split`, `seed` (of the task stream), `level` and any knob override what the environment was made with.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012 (Gymnasium's own declaration)

    def __init__(
        self,
        env_id: str,
        *,
        split: str = "train",
        level: int | None = None,
        render_mode: str | None = None,
        **knobs: Any,
    ) -> None:
        self.env_spec = spec(env_id)
        self.render_mode = render_mode
        self.observation_space = TextSpace()
        self.action_space = TextSpace()
        self._split = split_named(split, where=env_id)
        self._knobs = self.env_spec.resolve_knobs(level, knobs)
        self._task: Task | None = None
        self._session: Session | None = None
        self._messages: list[Message] = []
        self._turns = 0

    @property
    def task(self) -> Task:
        """The task of the running episode, gold answer included: for drivers and verifiers, not for the model."""
        if self._task is None:
            raise ConfigError(f"{self.env_spec.id}: there is no task before reset()")
        return self._task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode; see the class for the options."""
        super().reset(seed=seed)
        chosen = dict(options or {})
        split = split_named(chosen.pop("split", self._split), where=self.env_spec.id)
        stream_seed = chosen.pop("seed", 0)
        index = chosen.pop("index", None)
        level = chosen.pop("level", None)
        knobs = self._knobs
        if level is not None:  # a level starts from the defaults, not from the knobs the environment was made with
            knobs = self.env_spec.resolve_knobs(level, chosen)
        elif chosen:
            knobs = self.env_spec.resolve_knobs(None, {**knobs, **chosen})
        if index is None:
            index = int(self.np_random.integers(1 << 31))
        elif isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise ConfigError(f"{self.env_spec.id}: option index is {index!r}; it must be a whole number from 0 up")
        self._task = self.env_spec.task(index, split=split, seed=stream_seed, knobs=knobs)
        self._session = self.env_spec.open(self._task) if isinstance(self.env_spec, SessionSpec) else None
        self._messages = self._task.messages
        self._turns = 0
        return self._task.text, {"messages": _copy(self._messages), "task_id": self._task.id}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Judge the model's turn, or let the session answer it."""
        task = self.task
        if self._turns >= self.env_spec.max_turns or (self._messages and self._messages[-1]["role"] == "assistant"):
            raise ConfigError(f"{self.env_spec.id}: this episode has ended; call reset() before step()")
        self._turns += 1
        self._messages.append({"role": "assistant", "content": action})
        if not self.action_space.contains(action):
            return self._end(Score(0.0, reason="too_long"))
        if self._session is None:
            return self._end(self.env_spec.judge(task, action))
        session = self._session
        replies: list[str | list[Message]] = []

        def turn() -> Any:
            reply = session.turn(action)
            if isinstance(reply, str | list):
                replies.append(reply)
                return 0.0
            return reply

        score = guarded(self.env_spec.id, turn)
        if not replies:
            return self._end(score)
        text = self._reply(replies[0])
        if self._turns < self.env_spec.max_turns:
            return text, 0.0, False, False, self._info()
        return text, 0.0, False, True, self._info(Score(0.0, reason="turn_limit"))

    def render(self) -> str | None:
        """The chat so far as plain text, in the render mode `ansi`."""
        if self.render_mode != "ansi":
            return None
        return "\n".join(f"[{message['role']}] {message.get('content') or ''}" for message in self._messages)

    def _end(self, score: Score) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "", score.reward, True, False, self._info(score)

    def _reply(self, reply: str | list[Message]) -> str:
        new: Sequence[Message] = [{"role": "user", "content": reply}] if isinstance(reply, str) else reply
        self._messages.extend(_copy(new))
        return "\n\n".join(str(message.get("content") or "") for message in new)

    def _info(self, score: Score | None = None) -> dict[str, Any]:
        info: dict[str, Any] = {"messages": _copy(self._messages), "task_id": self.task.id}
        if score is not None:
            info["score"] = score.to_dict()
        return info


def make(env_id: str, split: str, *, level: int | None, **knobs: Any) -> TaskEnv:
    """What `rlvr.make` returns: the environment, with the Gymnasium spec that would make it again."""
    env = TaskEnv(env_id, split=split, level=level, **knobs)
    env.spec = copy.copy(gymnasium.spec(env_id))
    env.spec.kwargs = {"env_id": env_id, "split": split, "level": level, **knobs}
    return env


def _copy(messages: Sequence[Message]) -> list[Message]:
    return [dict(message) for message in messages]
