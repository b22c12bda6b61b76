"""What a parser finds in a response: calls, each with a status and a place, and the text around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal[
    "ok",  # a name and an object of arguments
    "bad_json",  # the payload is no JSON
    "bad_syntax",  # delimiters or Python text that the format does not allow
    "unclosed",  # the text ends inside the call
    "missing_name",  # no name, or one that is no text
    "args_not_object",  # arguments are there but are no object, or are not there
    "duplicate_key",  # one key twice: readers disagree about which one counts
    "too_large",  # past a limit of size, depth or number
]

MAX_CALLS = 128
"""Calls read from one response; what follows is one call of status `too_large`."""
MAX_BROKEN = 16
"""Broken attempts read from one response."""
MAX_CALL_CHARS = 128 * 1024
"""Characters of one call's payload."""
MAX_DEPTH = 64
"""Levels of nesting in one call's arguments."""
MAX_CONTAINERS = 5_000
"""Lists and objects in one call's arguments; in Python text all values, since each costs a step of its walk."""


class TaggedText(str):
    """An argument from a format that writes values without types, where the schema says that it is a text.

    It is a string like any other, but where gold is none (a null or a number that the schema does not allow), the
    text is all that the model could have written, and is compared as what it says.
    """

    __slots__ = ()


class Unreadable(Exception):
    """Raised inside the parsers when a payload breaks its format; it never leaves this package."""

    def __init__(self, status: Status, problem: str, position: int = -1) -> None:
        super().__init__(problem)
        self.status: Status = status
        self.problem = problem
        self.position = position
        """Where in the text it was noticed; -1 if that is the call's beginning."""


@dataclass(frozen=True, slots=True)
class ParsedCall:
    """One call, or one attempt at a call."""

    name: str
    """The tool's name exactly as written; empty where the attempt could not be read that far."""
    arguments: dict[str, Any]
    """JSON values; empty unless `status` is `"ok"`."""
    status: Status = "ok"
    span: tuple[int, int] = (0, 0)
    """First character and one past the last, in the text that was parsed."""
    raw: str = ""
    """The text of that span."""
    problem: str = ""
    """What is wrong with it, for the model to read; empty if `status` is `"ok"`."""
    call_id: str = ""
    """The id that the format carried, empty if none."""

    @property
    def ok(self) -> bool:
        """True if the call can be carried out."""
        return self.status == "ok"


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """A whole response, taken apart."""

    calls: list[ParsedCall] = field(default_factory=list)
    """In the order of the text, broken ones included."""
    content: str = ""
    """What a reader sees: the text outside calls and reasoning, stripped."""
    reasoning: str = ""
    """What stood between the thinking tags. Calls drafted there are never carried out."""
    finished: bool = True
    """False if the reasoning was never closed, so that there is no answer."""

    @property
    def ok(self) -> bool:
        """True if every attempt at a call can be carried out and the reasoning was closed."""
        return self.finished and all(call.status == "ok" for call in self.calls)

    @property
    def broken(self) -> list[ParsedCall]:
        """The attempts that are no call."""
        return [call for call in self.calls if call.status != "ok"]
