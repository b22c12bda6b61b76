"""A task is data: what the model is asked, and what the verifier needs to judge the answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr.errors import EnvironmentFault

Message = dict[str, Any]
"""One chat message, `{"role": ..., "content": ...}`, with `tool_calls` or `tool_call_id` where they apply."""


@dataclass(frozen=True, eq=True)
class Task:
    """One problem. Authors give the first four fields; `rlvr.tasks` and the environments fill in the rest.

    Everything is JSON, so a task can be sent to another process, stored beside a transcript, and verified again later.
    """

    prompt: str | Sequence[Message]
    """What the model sees: a text (one user message) or a whole chat."""
    answer: Any = None
    """The gold answer, a JSON value. It never reaches an observation or `info` while training."""
    data: Any = None
    """What else the verifier needs, a JSON object: hidden tests, a puzzle's rules. Not shown to the model."""
    tools: Sequence[Mapping[str, Any]] | None = None
    """Tool definitions in OpenAI's format, shown to the model through its chat template."""
    env_id: str = ""
    """The environment that made it."""
    split: str = ""
    """`"train"` or `"eval"`."""
    index: int = 0
    """Its place in the stream of (seed, split)."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """The knobs it was made with, defaults included."""
    stream: str = ""
    """Names the random stream that made it, so that an episode of several turns can be played again."""
    key: str = ""
    """Identity of the content: 64 hex digits. Splits and overlap checks go by it."""

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str | list | tuple):
            raise EnvironmentFault(
                f"a task's prompt is {type(self.prompt).__name__}: {self.prompt!r}. It must be a text or a list of messages."
            )
        if not self.key:
            object.__setattr__(self, "key", content_key(self.prompt, self.tools))

    def __hash__(self) -> int:
        return hash((self.env_id, self.key))

    @property
    def id(self) -> str:
        """Names the problem wherever it turns up: the environment's id and the first 16 digits of its key."""
        return f"{self.env_id}#{self.key[:16]}"

    @property
    def messages(self) -> list[Message]:
        """The prompt as a chat; a fresh copy on every call."""
        if isinstance(self.prompt, str):
            return [{"role": "user", "content": self.prompt}]
        return [dict(message) for message in self.prompt]

    @property
    def text(self) -> str:
        """The prompt as one text: the contents of its messages, joined by blank lines."""
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n\n".join(str(message.get("content") or "") for message in self.prompt)

    def public(self) -> Task:
        """The same task without what would give the answer away."""
        return self.placed(answer=None, data=None)

    def placed(self, **fields: Any) -> Task:
        """The same task with some fields set. As `dataclasses.replace` does, without checking again what was checked."""
        task = object.__new__(Task)
        task.__dict__.update(self.__dict__, **fields)
        return task

    def to_dict(self) -> dict[str, Any]:
        """A JSON object; the inverse of `from_dict`."""
        return {
            "prompt": self.prompt if isinstance(self.prompt, str) else self.messages,
            "answer": self.answer,
            "data": None if self.data is None else dict(self.data),
            "tools": None if self.tools is None else [dict(tool) for tool in self.tools],
            "env_id": self.env_id,
            "split": self.split,
            "index": self.index,
            "knobs": dict(self.knobs),
            "stream": self.stream,
            "key": self.key,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Task:
        """The Task that `to_dict` wrote."""
        return cls(**values)

    def to_json(self) -> str:
        """One line of JSON with sorted keys. Raises EnvironmentFault if a field is no JSON value."""
        try:
            return json.dumps(self.to_dict(), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as fault:
            raise EnvironmentFault(
                f"task {self.id} cannot be written as JSON: {fault}. "
                "Keep answer, data and tools to strings, finite numbers, booleans, None, lists and dicts."
            ) from fault

    @classmethod
    def from_json(cls, text: str) -> Task:
        """The Task that `to_json` wrote."""
        return cls.from_dict(json.loads(text))


def content_key(prompt: str | Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None) -> str:
    """The sha256 of what the model is shown: a text as it is, anything else as canonical JSON."""
    if isinstance(prompt, str) and tools is None:
        content = prompt
    else:
        content = json.dumps([prompt, tools], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
