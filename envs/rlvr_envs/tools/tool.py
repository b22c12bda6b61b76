"""Tools are declared, never found: a function becomes one by its decorator, with the schema that the model sees.

A parameter is described in one line, `"integer: how many"`, with `?` behind the type if it may be left out and the members
of an enum in parentheses: `"string(asc|desc)?: the order"`. `"string[]: names"` is a list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rlvr_envs.tools.store import Store

_parameter = re.compile(r"(string|integer|number|boolean)(\[\])?(?:\(([^)]*)\))?(\?)?: (.+)")


class ToolError(Exception):
    """What a tool refuses, said so that the model can do better. The state is as it was before the call."""


@dataclass(frozen=True)
class Tool:
    """One tool of a world."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of its arguments."""
    run: Callable[..., Any]
    """`run(store, **arguments)`: a JSON value, or ToolError."""
    writes: bool

    def definition(self) -> dict[str, Any]:
        """In OpenAI's format."""
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": self.parameters},
        }


def tool(description: str, *, writes: bool = False, **parameters: str) -> Callable[[Callable[..., Any]], Tool]:
    """Decorator: make a tool of `function(store, **arguments)`. It keeps the function's name."""

    def decorate(function: Callable[..., Any]) -> Tool:
        return Tool(function.__name__, description, schema_of(parameters), function, writes)

    return decorate


def schema_of(parameters: dict[str, str]) -> dict[str, Any]:
    """The JSON Schema of parameters that are described in one line each."""
    properties: dict[str, Any] = {}
    required = []
    for name, line in parameters.items():
        found = _parameter.fullmatch(line)
        if found is None:
            raise ValueError(f"parameter {name}: {line!r} is not of the form 'type: description'")
        kind, is_list, members, optional, text = found.groups()
        schema: dict[str, Any] = {"type": kind}
        if members:
            schema["enum"] = members.split("|")
        properties[name] = (
            {"type": "array", "items": schema, "description": text} if is_list else {**schema, "description": text}
        )
        if not optional:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def pages(listing: Tool, store: Store, **arguments: Any) -> Iterator[Any]:
    """All rows of a tool that shows a page at a time and takes `skip`, the way a model has to read them."""
    skip = 0
    while rows := listing.run(store, **arguments, skip=skip):
        yield from rows
        skip += len(rows)
