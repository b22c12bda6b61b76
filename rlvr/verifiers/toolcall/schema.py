"""Tool definitions: OpenAI's, flat ones, Gorilla's and MCP's, read as one thing, and arguments checked against them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypeIs

from rlvr.errors import ConfigError

# BFCL's data set writes Gorilla's types; JSON Schema has other words for them.
_GORILLA = {
    "dict": "object", "float": "number", "tuple": "array", "double": "number", "long": "integer", "int": "integer",
    "str": "string", "list": "array", "bool": "boolean", "hashmap": "object", "hashtable": "object", "arraylist": "array",
    "byte": "integer", "short": "integer", "char": "string", "bigint": "integer", "none": "null",
}  # fmt: skip
_JSON_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_ANY: frozenset[str] = frozenset()
MAX_CHECKED_CHARS = 16 * 1024
"""Arguments whose text is longer are checked for names and types only; a schema's `pattern` may be slow on them."""


def is_object(value: Any) -> TypeIs[Mapping[str, Any]]:
    """Whether a value is a mapping; the plain dict, which nearly all are, is recognised without the abstract class."""
    return type(value) is dict or isinstance(value, Mapping)


def json_type(name: object) -> str | None:
    """The JSON Schema type behind a type's name in a tool definition; None for `any` and what nobody knows."""
    if not isinstance(name, str):
        return None
    lowered = name.lower()
    return lowered if lowered in _JSON_TYPES else _GORILLA.get(lowered)


def json_schema(schema: Any) -> Any:
    """A copy of `schema` with Gorilla's type names replaced, at every level."""
    if isinstance(schema, Mapping):
        result: dict[str, Any] = {}
        for key, value in schema.items():
            if key == "type" and isinstance(value, str):
                found = json_type(value)
                if found:
                    result[key] = found
            elif key == "type" and isinstance(value, list):
                result[key] = [json_type(item) or item for item in value]
            elif key in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, Mapping):
                result[key] = {name: json_schema(inner) for name, inner in value.items()}
            elif key in ("enum", "const", "default", "examples"):
                result[key] = value
            else:
                result[key] = json_schema(value)
        return result
    if isinstance(schema, list):
        return [json_schema(item) for item in schema]
    return schema


class ToolSet:
    """The tools a response may use, by name.

    Takes OpenAI definitions `{"type": "function", "function": {...}}`, their flat form `{"name", "parameters"}`, and
    MCP's `{"name", "inputSchema"}`. Raises ConfigError if a definition has no name.
    """

    __slots__ = ("_schemas", "functions")

    def __init__(self, tools: Sequence[Mapping[str, Any]] | None = None) -> None:
        self.functions: dict[str, Mapping[str, Any]] = {}
        self._schemas: dict[str, dict[str, Any]] = {}
        for tool in tools or ():
            function = tool.get("function", tool) if is_object(tool) else None
            name = function.get("name") if is_object(function) else None
            if not isinstance(name, str) or not is_object(function):
                raise ConfigError(
                    f"a tool definition without a name: {str(tool)[:80]}. "
                    'Write {"type": "function", "function": {"name": ..., "parameters": {...}}}.'
                )
            self.functions[name] = function

    def __contains__(self, name: str) -> bool:
        return name in self.functions

    def __len__(self) -> int:
        return len(self.functions)

    @property
    def names(self) -> list[str]:
        """The tools' names in their order."""
        return list(self.functions)

    def parameters(self, name: str) -> Mapping[str, Any]:
        """The schema of a tool's arguments as it was given; empty if there is none."""
        function = self.functions.get(name)
        if function is None:
            return {}
        for key in ("parameters", "inputSchema", "input_schema"):
            found = function.get(key)
            if type(found) is dict or isinstance(found, Mapping):
                return found
        return {}

    def property(self, name: str, argument: str) -> Any:
        """The schema of one argument as it was given; None if the tool does not have it."""
        properties = self.parameters(name).get("properties")
        return properties.get(argument) if isinstance(properties, Mapping) else None

    def schema(self, name: str) -> dict[str, Any]:
        """The JSON Schema of a tool's arguments. Unknown arguments are refused unless it says otherwise."""
        found = self._schemas.get(name)
        if found is None:
            given = json_schema(self.parameters(name))
            found = {"additionalProperties": False, "type": "object", "properties": {}, **given}
            self._schemas[name] = found
        return found


def types_of(schema: Any, root: Mapping[str, Any], hops: int = 8) -> frozenset[str]:
    """The JSON types a schema allows; empty if it does not say. Follows local references and unions."""
    if not is_object(schema):
        return _ANY
    kind = schema.get("type")
    if isinstance(kind, str):
        found = json_type(kind)
        return frozenset((found,)) if found else _ANY
    if isinstance(kind, list):
        return frozenset(filter(None, map(json_type, kind)))
    if hops == 0:
        return _ANY
    if "$ref" in schema:
        return types_of(resolve(schema, root), root, hops - 1)
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if isinstance(options, list):
            each = [types_of(option, root, hops - 1) for option in options]
            return frozenset().union(*each) if all(each) else _ANY
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(values, list):
        return frozenset(type_of(value) for value in values)
    return _ANY


def resolve(schema: Any, root: Mapping[str, Any]) -> Any:
    """What a local reference (`#/$defs/...`) points to; the schema itself if it has none or it leads nowhere."""
    if type(schema) is dict and "$ref" not in schema:  # nearly always; an abstract class's isinstance is slow
        return schema
    for _ in range(8):
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        target: Any = root
        for part in reference[2:].split("/"):
            target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
        schema = target
    return schema


def type_of(value: Any) -> str:
    """The JSON type of a value; `integer` for an int."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list | tuple) else "object"


def nearest(name: str, names: Sequence[str]) -> str:
    """` Did you mean 'x'?`, or nothing if no name is near."""
    lowered = name[:64].lower()
    # The ratio is slow, and two names of one length class that share their first or last letters are the likely ones.
    likely = [
        each
        for each in names[:200]
        if abs(len(each) - len(lowered)) <= 4 and (each[:2].lower() == lowered[:2] or each[-3:].lower() == lowered[-3:])
    ]
    near = difflib.get_close_matches(name[:64], likely, n=1) if likely else []
    return f" Did you mean {near[0]!r}?" if near else ""
