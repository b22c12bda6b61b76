"""The registry of formats: how one model family writes its calls. Others add theirs with `register_format`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from rlvr.errors import ConfigError
from rlvr.verifiers.toolcall.calls import ParsedCall
from rlvr.verifiers.toolcall.schema import ToolSet

DelimitedReader = Callable[[str, int, ToolSet], tuple[list[ParsedCall], int]]
"""`(text, start, tools)` with an opening delimiter at `start`: the calls behind it, and where reading goes on."""
MessageReader = Callable[[str, int, int, ToolSet], list[ParsedCall]]
"""`(text, start, end, tools)`: the calls that the message `text[start:end]` consists of; none if it is prose."""


F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write calls: behind delimiters inside a text, or as the whole message."""

    name: str
    openers: tuple[str, ...] = ()
    """Texts that open a call; each is an attempt wherever it stands outside the reasoning. Empty: the whole message."""
    read_delimited: DelimitedReader | None = None
    read_message: MessageReader | None = None


_formats: dict[str, Format] = {}
_names: dict[str, str] = {}


def _key(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def register_format(name: str, *, openers: tuple[str, ...] = (), aliases: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Decorator that makes a reader known as format `name`.

    With `openers` the function is a `DelimitedReader`, without it a `MessageReader`. Names are compared without case
    and punctuation. Raises ConfigError if a name is taken.
    """

    def decorate(reader: F) -> F:
        for label in (name, *aliases):
            if _key(label) in _names:
                raise ConfigError(f"the tool-call format {label!r} is registered already; choose another name")
            _names[_key(label)] = name
        if openers:
            _formats[name] = Format(name, openers, read_delimited=reader)
        else:
            _formats[name] = Format(name, read_message=reader)
        return reader

    return decorate


def find_format(name: str) -> Format:
    """The format of that name or alias. Raises ConfigError that names the nearest."""
    found = _formats.get(name)
    if found:
        return found
    key = _key(name) if isinstance(name, str) else ""
    if key not in _names:
        near = difflib.get_close_matches(key, _names, n=1, cutoff=0.4)
        hint = f" Did you mean {_names[near[0]]!r}?" if near else ""
        raise ConfigError(f"no tool-call format {name!r}.{hint} Known: {', '.join(formats())}.")
    return _formats[_names[key]]


def formats() -> list[str]:
    """The registered names, sorted, aliases left out."""
    return sorted(_formats)
