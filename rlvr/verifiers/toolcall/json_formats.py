"""Formats whose payload is a JSON object with a name and arguments: Hermes and Qwen, Llama 3, Mistral, xLAM."""

from __future__ import annotations

import re
from typing import Any

from rlvr.verifiers.toolcall.calls import MAX_CALLS, ParsedCall, Status, Unreadable
from rlvr.verifiers.toolcall.formats import register_format
from rlvr.verifiers.toolcall.jsontext import decode_json, skip_space
from rlvr.verifiers.toolcall.schema import ToolSet

_quoted_call = re.compile(r'\{\s*+"(?:name|parameters|arguments|function)"\s*+:')


def call_of(value: Any, keys: tuple[str, ...] = ("arguments",)) -> tuple[str, dict[str, Any]]:
    """Name and arguments of a decoded object; exactly one of `keys` must hold the arguments. Raises Unreadable."""
    if not isinstance(value, dict):
        raise Unreadable("bad_syntax", "a call must be one JSON object")
    name = value.get("name")
    if not isinstance(name, str) or not name:
        raise Unreadable("missing_name", "the call has no 'name'")
    present = [key for key in keys if key in value]
    if len(present) > 1:
        raise Unreadable("bad_syntax", f"the call has both {present[0]!r} and {present[1]!r}")
    arguments = value[present[0]] if present else None
    if not isinstance(arguments, dict):
        raise Unreadable(
            "args_not_object", f"{keys[0]!r} must be an object" if present else f"the call has no {keys[0]!r}"
        )
    return name, arguments


def broken(text: str, start: int, end: int, status: Status, problem: str) -> ParsedCall:
    """An attempt that is no call."""
    return ParsedCall("", {}, status, (start, end), text[start:end], problem)


@register_format("hermes", openers=("<tool_call>",), aliases=("qwen", "qwen2", "qwen25", "qwen3", "qwen3_json", "nous"))
def read_hermes(text: str, start: int, tools: ToolSet) -> tuple[list[ParsedCall], int]:
    """`<tool_call>{"name": ..., "arguments": {...}}</tool_call>`; the last closing tag may be missing (a stop string)."""
    opener, closer = "<tool_call>", "</tool_call>"
    inside = skip_space(text, start + len(opener))
    try:
        value, end = decode_json(text, inside)
        after = skip_space(text, end)
        if text.startswith(closer, after):
            after += len(closer)
        elif _turn_ends(text, after):
            after = len(text)
        else:
            raise Unreadable("bad_json", f"{closer} must follow the JSON object", end)
        name, arguments = call_of(value)
    except Unreadable as fault:
        return _broken_block(text, start, inside, closer, opener, fault)
    return [ParsedCall(name, arguments, "ok", (start, after), text[start:after])], after


def _turn_ends(text: str, position: int) -> bool:
    """True if nothing follows but one end-of-turn token."""
    rest = text[position : position + 40].strip()
    return not rest or (len(text) - position <= 40 and re.fullmatch(r"<[|｜][^<>]{1,30}[|｜]>|</s>", rest) is not None)


def _broken_block(
    text: str, start: int, inside: int, closer: str, opener: str, fault: Unreadable
) -> tuple[list[ParsedCall], int]:
    """A block that could not be read, up to its closing tag, the next opening one, or the end."""
    closed = text.find(closer, inside)
    reopened = text.find(opener, inside)
    status, problem = fault.status, fault.problem
    if closed >= 0 and (reopened < 0 or closed < reopened):
        end = closed + len(closer)
        if status == "unclosed":
            status = "bad_json"
    else:
        end = reopened if reopened >= 0 else len(text)
        if status in ("bad_json", "bad_syntax") and reopened >= 0:
            status, problem = "unclosed", f"{closer} is missing"
    return [broken(text, start, end, status, problem)], end


@register_format(
    "mistral", openers=("[TOOL_CALLS]",), aliases=("mistral_v3", "mistral_json", "mistral_pre_v11", "mistral_v7")
)
def read_mistral(text: str, start: int, tools: ToolSet) -> tuple[list[ParsedCall], int]:
    """`[TOOL_CALLS] [{"name": ..., "arguments": {...}}, ...]`."""
    opener = "[TOOL_CALLS]"
    inside = skip_space(text, start + len(opener))
    try:
        if text[inside : inside + 1] != "[":
            raise Unreadable("bad_syntax", f"a JSON list must follow {opener}", inside)
        value, end = decode_json(text, inside)
        check_follows(text, end)
        if not value:
            raise Unreadable("bad_syntax", "the list of calls is empty", inside)
    except Unreadable as fault:
        following = text.find(opener, inside)
        end = following if following >= 0 else len(text)
        return [broken(text, start, end, fault.status, fault.problem)], end
    return list_of_calls(value, text, start, end), end


def check_follows(text: str, end: int) -> None:
    """Raise Unreadable if what follows a payload without a closing tag still looks like its JSON."""
    after = skip_space(text, end)
    if text[after : after + 1] in ("]", "}", '"', ",", ":") and after < len(text):
        raise Unreadable("bad_json", "more JSON follows the complete value", after)


def list_of_calls(value: list[Any], text: str, start: int, end: int) -> list[ParsedCall]:
    """One call, readable or not, for each element of a decoded list."""
    calls: list[ParsedCall] = []
    raw = text[start:end]
    for item in value[:MAX_CALLS]:
        try:
            name, arguments = call_of(item)
            calls.append(ParsedCall(name, arguments, "ok", (start, end), raw))
        except Unreadable as fault:
            calls.append(broken(text, start, end, fault.status, fault.problem))
    if len(value) > MAX_CALLS:
        calls.append(broken(text, start, end, "too_large", f"more than {MAX_CALLS} calls in one response"))
    return calls


@register_format("xlam", aliases=("json", "json_list", "plain_json", "xlam_json"))
def read_xlam(text: str, start: int, end: int, tools: ToolSet) -> list[ParsedCall]:
    """The whole message is `[{"name": ..., "arguments": {...}}, ...]`; `[]` says that no call is needed."""
    if text[start : start + 1] != "[":
        return _attempt_in_prose(text, start, end, "the message must be a JSON list of calls and nothing else")
    try:
        value, after = decode_json(text, start)
        if skip_space(text, after) < end:
            raise Unreadable("bad_json", "text follows the JSON list", after)
    except Unreadable as fault:
        return [broken(text, start, end, fault.status, fault.problem)]
    if value and not any(isinstance(item, dict) for item in value):
        return []  # a list, but none of calls: prose such as [1, 2]
    return list_of_calls(value, text, start, end)


def _attempt_in_prose(text: str, start: int, end: int, problem: str) -> list[ParsedCall]:
    """One broken call if an object that looks like a call stands inside other text; else prose, so none."""
    found = _quoted_call.search(text, start, end)
    return [broken(text, found.start(), end, "bad_syntax", problem)] if found else []


@register_format("llama3_json", aliases=("llama3", "llama", "llama4_json", "llama_json", "llama31_json", "llama31"))
def read_llama3(text: str, start: int, end: int, tools: ToolSet) -> list[ParsedCall]:
    """The whole message is `{"name": ..., "parameters": {...}}`, several separated by semicolons."""
    if text[start : start + 1] != "{":
        tag = text.find("<|python_tag|>", start, end)
        if tag >= 0:  # the tag is a delimiter: text may stand before it
            return read_llama3(text, skip_space(text, tag + len("<|python_tag|>")), end, tools)
        return _attempt_in_prose(text, start, end, "the message must be one JSON object and nothing else")
    calls: list[ParsedCall] = []
    position = start
    while position < end:
        if len(calls) >= MAX_CALLS:
            calls.append(broken(text, position, end, "too_large", f"more than {MAX_CALLS} calls in one response"))
            break
        try:
            value, after = decode_json(text, position)
            following = skip_space(text, after)
            if following < end and text[following] != ";":
                raise Unreadable("bad_json", "text follows the JSON object", after)
            if isinstance(value, dict) and not calls and following >= end and not _looks_like_call(value):
                return []  # an answer that is itself JSON
            name, arguments = call_of(value, ("parameters", "arguments"))
        except Unreadable as fault:
            calls.append(broken(text, position, end, fault.status, fault.problem))
            break
        calls.append(ParsedCall(name, arguments, "ok", (position, after), text[position:after]))
        position = skip_space(text, following + 1) if following < end else end
        if following < end and position >= end:
            calls.append(broken(text, following, end, "unclosed", "a call must follow the semicolon"))
    return calls


def _looks_like_call(value: dict[str, Any]) -> bool:
    return any(key in value for key in ("name", "parameters", "arguments", "function"))
