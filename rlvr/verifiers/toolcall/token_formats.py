"""Formats that mark name and arguments with special tokens: Mistral from v11 on, DeepSeek v3 and v3.1, Kimi K2."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rlvr.verifiers.toolcall.calls import MAX_CALLS, ParsedCall, Unreadable
from rlvr.verifiers.toolcall.formats import register_format
from rlvr.verifiers.toolcall.json_formats import broken, check_follows
from rlvr.verifiers.toolcall.jsontext import decode_json, skip_space
from rlvr.verifiers.toolcall.schema import ToolSet

_MAX_NAME_CHARS = 256
_CALLS_BEGIN, _CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
_CALL_BEGIN, _CALL_END, _SEP = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
_kimi_id = re.compile(r"(?:functions\.)?(.+):\d{1,9}", re.DOTALL)


def decode_object(text: str, start: int) -> tuple[dict[str, Any], int]:
    """The JSON object at `start`. Raises Unreadable, `args_not_object` for any other JSON value."""
    inside = skip_space(text, start)
    character = text[inside : inside + 1]
    if character != "{" and (character in ('"', "[") or character.isdigit() or text.startswith("null", inside)):
        raise Unreadable("args_not_object", "the arguments must be a JSON object", inside)
    value, end = decode_json(text, inside)
    return value, end


def take_until(text: str, start: int, marker: str) -> tuple[str, int]:
    """The text up to `marker`, which must follow soon, and the position after the marker. Raises Unreadable."""
    end = text.find(marker, start, start + _MAX_NAME_CHARS + len(marker))
    if end < 0:
        if len(text) - start <= _MAX_NAME_CHARS:
            raise Unreadable("unclosed", f"the text ends before {marker}", start)
        raise Unreadable("bad_syntax", f"{marker} must follow", start)
    return text[start:end], end + len(marker)


@register_format(
    "mistral_v11", openers=("[TOOL_CALLS]",), aliases=("mistral_v13", "mistral11", "mistral_args", "mistral_new")
)
def read_mistral_v11(text: str, start: int, tools: ToolSet) -> tuple[list[ParsedCall], int]:
    """`[TOOL_CALLS]name[ARGS]{...}`, repeated for further calls; `[CALL_ID]id` may stand between."""
    opener = "[TOOL_CALLS]"
    position = start + len(opener)
    try:
        head, after = take_until(text, position, "[ARGS]")
        name, _, call_id = head.partition("[CALL_ID]")
        if not name.strip():
            raise Unreadable("missing_name", "the call has no name", position)
        arguments, end = decode_object(text, after)
        check_follows(text, end)
    except Unreadable as fault:
        following = text.find(opener, position)
        end = following if following >= 0 else len(text)
        return [broken(text, start, end, fault.status, fault.problem)], end
    return [ParsedCall(name.strip(), arguments, "ok", (start, end), text[start:end], call_id=call_id.strip())], end


ReadCall = Callable[[str, int], tuple[str, dict[str, Any], str, int]]
"""`(text, position after the call's opening token)`: name, arguments, id, position after its closing token."""


def read_section(
    text: str, start: int, section: tuple[str, str], call_begin: str, read_call: ReadCall
) -> tuple[list[ParsedCall], int]:
    """Calls between two section tokens; nothing but white space may stand between them.

    The section's closing token may be missing at the end of the text, where a server stripped it as a stop string.
    """
    section_begin, section_end = section
    if not text.startswith(section_begin, start):
        end = text.find(section_begin, start)
        end = len(text) if end < 0 else end
        return [broken(text, start, end, "bad_syntax", f"{section_begin} must come before the first call")], end
    calls: list[ParsedCall] = []
    position = skip_space(text, start + len(section_begin))
    while len(calls) <= MAX_CALLS:
        if text.startswith(section_end, position):
            position += len(section_end)
            if not calls:
                calls.append(broken(text, start, position, "bad_syntax", "the section holds no call"))
            return calls, position
        if position >= len(text) and calls:
            return calls, position
        begin = position
        try:
            if len(calls) == MAX_CALLS:
                raise Unreadable("too_large", f"more than {MAX_CALLS} calls in one response")
            if position >= len(text):
                raise Unreadable("unclosed", "the text ends inside the section of calls")
            if not text.startswith(call_begin, position):
                raise Unreadable("bad_syntax", f"{call_begin} or {section_end} must stand here")
            name, arguments, call_id, position = read_call(text, position + len(call_begin))
        except Unreadable as fault:
            end = text.find(section_end, begin)
            end = end + len(section_end) if end >= 0 else len(text)
            calls.append(broken(text, begin, end, fault.status, fault.problem))
            return calls, end
        calls.append(ParsedCall(name, arguments, "ok", (begin, position), text[begin:position], call_id=call_id))
        position = skip_space(text, position)
    return calls, position


def _close(text: str, position: int, closer: str) -> int:
    after = skip_space(text, position)
    if text.startswith(closer, after):
        return after + len(closer)
    if after >= len(text):
        raise Unreadable("unclosed", f"the text ends before {closer}", after)
    raise Unreadable("bad_json", f"{closer} must follow the arguments", after)


@register_format("deepseek_v3", openers=(_CALLS_BEGIN, _CALL_BEGIN), aliases=("deepseek", "deepseek_r1"))
def read_deepseek_v3(text: str, start: int, tools: ToolSet) -> tuple[list[ParsedCall], int]:
    """Calls of the shape `function<sep>name`, newline, a JSON code fence, between DeepSeek's tokens."""

    def read_call(text: str, position: int) -> tuple[str, dict[str, Any], str, int]:
        kind, position = take_until(text, position, _SEP)
        if kind.strip() != "function":
            raise Unreadable("bad_syntax", f"'function' must stand before {_SEP}", position)
        name, position = take_until(text, position, "\n")
        if not name.strip():
            raise Unreadable("missing_name", "the call has no name", position)
        if not text.startswith("```json", position):
            raise Unreadable("bad_syntax", "a ```json block must follow the name", position)
        arguments, position = decode_object(text, position + len("```json"))
        position = _close(text, position, "```")
        return name.strip(), arguments, "", _close(text, position, _CALL_END)

    return read_section(text, start, (_CALLS_BEGIN, _CALLS_END), _CALL_BEGIN, read_call)


@register_format("deepseek_v31", openers=(_CALLS_BEGIN, _CALL_BEGIN))
def read_deepseek_v31(text: str, start: int, tools: ToolSet) -> tuple[list[ParsedCall], int]:
    """Calls of the shape `name<sep>{...}` between DeepSeek's tokens."""

    def read_call(text: str, position: int) -> tuple[str, dict[str, Any], str, int]:
        name, position = take_until(text, position, _SEP)
        if not name.strip():
            raise Unreadable("missing_name", "the call has no name", position)
        arguments, position = decode_object(text, position)
        return name.strip(), arguments, "", _close(text, position, _CALL_END)

    return read_section(text, start, (_CALLS_BEGIN, _CALLS_END), _CALL_BEGIN, read_call)


_KIMI = ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>")


@register_format("kimi_k2", openers=(_KIMI[0], "<|tool_call_begin|>"), aliases=("kimi", "kimi_k2_thinking", "moonshot"))
def read_kimi_k2(text: str, start: int, tools: ToolSet) -> tuple[list[ParsedCall], int]:
    """Calls of the shape `functions.name:index`, argument token, `{...}`, between Kimi's tokens."""

    def read_call(text: str, position: int) -> tuple[str, dict[str, Any], str, int]:
        call_id, after = take_until(text, position, "<|tool_call_argument_begin|>")
        call_id = call_id.strip()
        found = _kimi_id.fullmatch(call_id)
        if not found:
            raise Unreadable("missing_name", "a call's id has the form functions.name:index", position)
        arguments, position = decode_object(text, after)
        return found.group(1), arguments, call_id, _close(text, position, "<|tool_call_end|>")

    return read_section(text, start, _KIMI, "<|tool_call_begin|>", read_call)
