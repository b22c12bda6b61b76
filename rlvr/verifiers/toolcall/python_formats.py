"""Calls as Python text: the pythonic list of Llama 3.2 and 4, and plain calls."""

from __future__ import annotations

import re
from typing import Any

from rlvr.verifiers.toolcall.calls import MAX_CALL_CHARS, MAX_CALLS, ParsedCall, Unreadable
from rlvr.verifiers.toolcall.formats import register_format
from rlvr.verifiers.toolcall.json_formats import broken
from rlvr.verifiers.toolcall.pythontext import PythonReader
from rlvr.verifiers.toolcall.schema import ToolSet

_call_begins = re.compile(r"(?<![\w.])([^\W\d][\w.]*+)\(")
_MAX_TRIES = 1_000


def _json_arguments(arguments: dict[str, Any], tools: ToolSet, name: str) -> dict[str, Any]:
    """The arguments with tuples turned into lists where the schema's type is `tuple`. Raises Unreadable elsewhere."""
    for key, value in arguments.items():
        schema = tools.property(name, key)
        if isinstance(value, tuple) and isinstance(schema, dict) and schema.get("type") == "tuple":
            arguments[key] = value = list(value)
        if _holds_tuple(value):
            raise Unreadable(
                "bad_syntax", f"the argument {key[:40]!r} holds a tuple, which is no JSON value; write a list"
            )
    return arguments


def _holds_tuple(value: Any) -> bool:
    if isinstance(value, tuple):
        return True
    if isinstance(value, list):
        return any(map(_holds_tuple, value))
    return isinstance(value, dict) and any(map(_holds_tuple, value.values()))


def _attempt_in_prose(text: str, start: int, end: int, tools: ToolSet, problem: str) -> list[ParsedCall]:
    """One broken call if a known tool is called inside other text; else prose, so none."""
    tries = 0
    for name in tools.names:
        found = text.find(name + "(", start, end)
        while found >= 0:
            before = text[found - 1 : found]
            tries += 1
            if not (before.isalnum() or before in ("_", ".")) or found == start or tries > _MAX_TRIES:
                return [broken(text, found, end, "bad_syntax", problem)]
            found = text.find(name + "(", found + 1, end)
    return []


def _read_list(text: str, start: int, end: int, tools: ToolSet, closer: str) -> list[ParsedCall]:
    """Calls separated by commas (without `closer` also by line breaks or semicolons) up to `closer` and the end."""
    reader = PythonReader(text, start, end)
    calls: list[ParsedCall] = []
    begin = start
    try:
        if end - start > MAX_CALL_CHARS:
            raise Unreadable("too_large", f"longer than {MAX_CALL_CHARS:,} characters")
        while not (closer and reader.take(closer)):
            reader.space()
            if not closer and reader.position >= end:
                break
            if len(calls) == MAX_CALLS:
                raise Unreadable("too_large", f"more than {MAX_CALLS} calls in one response")
            begin = reader.position
            name, arguments = reader.call()
            if reader.tuples:
                arguments = _json_arguments(arguments, tools, name)
            calls.append(ParsedCall(name, arguments, "ok", (begin, reader.position), text[begin : reader.position]))
            line = reader.position
            if reader.take(",") or (not closer and reader.take(";")):
                continue
            if closer:
                if reader.take(closer):
                    break
                raise reader.fail(f"a comma or {closer!r} must follow a call")
            if reader.position < end and "\n" not in text[line : reader.position]:
                raise reader.fail("text follows a call")
        reader.space()
        if reader.position < end:
            raise reader.fail("text follows the calls")
    except Unreadable as fault:
        calls.append(broken(text, begin, end, fault.status, fault.problem))
    return calls


def _first_character(text: str, start: int, end: int) -> int:
    return end - len(text[start:end].lstrip())


@register_format("pythonic", aliases=("llama4_pythonic", "llama3_pythonic", "llama_pythonic", "pythonic_list"))
def read_pythonic(text: str, start: int, end: int, tools: ToolSet) -> list[ParsedCall]:
    """The whole message is `[name(key=literal, ...), ...]`."""
    problem = "the message must be a list of calls in brackets and nothing else"
    if text[start : start + 1] != "[":
        return _attempt_in_prose(text, start, end, tools, problem)
    if text.find("]", start, end) < 0:
        return [broken(text, start, end, "unclosed", "the text ends inside the list of calls")]
    if not _call_begins.match(text, _first_character(text, start + 1, end), end):
        return _attempt_in_prose(text, start, end, tools, problem)
    return _read_list(text, start + 1, end, tools, "]")


@register_format("python", aliases=("python_call", "python_calls", "python_text", "olmo3"))
def read_python(text: str, start: int, end: int, tools: ToolSet) -> list[ParsedCall]:
    """The whole message is one or several calls `name(key=literal, ...)`, in brackets or not."""
    if text[start : start + 1] == "[":
        return read_pythonic(text, start, end, tools)
    begins = _call_begins.match(text, start, end)
    if begins and (begins.group(1) in tools or not len(tools) or _ends_like_call(text, end)):
        return _read_list(text, start, end, tools, "")
    return _attempt_in_prose(text, start, end, tools, "the message must be calls and nothing else")


def _ends_like_call(text: str, end: int) -> bool:
    return text[end - 1 : end] == ")"
