"""OpenAI's assistant messages: `tool_calls` with arguments as a JSON text, the older `function_call`, and the items of
the Responses API. As a format it reads the same things written as one JSON text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr.verifiers.toolcall.calls import MAX_CALL_CHARS, MAX_CALLS, ParsedCall, ParsedResponse, Unreadable
from rlvr.verifiers.toolcall.formats import register_format
from rlvr.verifiers.toolcall.jsontext import decode_json, decode_whole, skip_space
from rlvr.verifiers.toolcall.schema import ToolSet


def is_empty_message(message: Mapping[str, Any]) -> bool:
    """True if an assistant message holds text alone, so that calls can only be in its text."""
    return not any(message.get(key) for key in ("tool_calls", "function_call", "choices", "output", "function")) and (
        message.get("type") != "function_call"
    )


def message_content(message: Mapping[str, Any], key: str = "content") -> str:
    """The text of a message, whose content may be a list of parts."""
    content = message.get(key)
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def parse_message(message: Mapping[str, Any]) -> ParsedResponse:
    """The calls of an assistant message, a chat completion, or a Responses API result."""
    items = _items(message)
    calls = [_read(item) for item in items[:MAX_CALLS]]
    if len(items) > MAX_CALLS:
        calls.append(ParsedCall("", {}, "too_large", problem=f"more than {MAX_CALLS} calls in one response"))
    return ParsedResponse(
        calls, message_content(message).strip(), message_content(message, "reasoning_content").strip()
    )


def _items(message: Mapping[str, Any]) -> list[Any]:
    choices = message.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        inner = choices[0].get("message")
        message = inner if isinstance(inner, Mapping) else message
    if isinstance(message.get("output"), list):
        return [item for item in message["output"] if isinstance(item, Mapping) and item.get("type") == "function_call"]
    calls = message.get("tool_calls")
    if calls:
        return list(calls) if isinstance(calls, list | tuple) else [calls]
    if message.get("function_call"):
        return [message["function_call"]]
    if message.get("type") == "function_call" or message.get("function"):
        return [message]
    return []


def _read(item: Any) -> ParsedCall:
    try:
        if not isinstance(item, Mapping):
            raise Unreadable("bad_syntax", "a tool call must be an object")
        function = item.get("function", item)
        if not isinstance(function, Mapping):
            raise Unreadable("bad_syntax", "'function' must be an object")
        name = function.get("name")
        if not isinstance(name, str) or not name:
            raise Unreadable("missing_name", "the call has no name")
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            arguments = _decode_arguments(arguments)
        if not isinstance(arguments, dict):
            raise Unreadable("args_not_object", "'arguments' must be a JSON text that holds an object")
    except Unreadable as fault:
        return ParsedCall("", {}, fault.status, problem=fault.problem)
    call_id = item.get("id", item.get("call_id", ""))
    return ParsedCall(name, arguments, call_id=call_id if isinstance(call_id, str) else "")


def _decode_arguments(text: str) -> Any:
    if len(text) > MAX_CALL_CHARS:
        raise Unreadable("too_large", f"arguments longer than {MAX_CALL_CHARS:,} characters")
    start = skip_space(text, 0)
    if text[start : start + 1] not in ("{", "["):
        try:
            decode_json("[" + text + "]", 0)
        except Unreadable:
            raise Unreadable("bad_json", "'arguments' is no JSON") from None
        raise Unreadable("args_not_object", "'arguments' must be a JSON text that holds an object")
    return decode_whole(text)


@register_format(
    "openai", aliases=("openai_json", "openai_tool_calls", "tool_calls", "openai_tools", "chat_completions")
)
def read_openai(text: str, start: int, end: int, tools: ToolSet) -> list[ParsedCall]:
    """A message, or its list of tool calls, written as JSON."""
    if text[start : start + 1] not in ("{", "["):
        return []
    span, raw = (start, end), text[start:end]
    try:
        value = decode_whole(raw)
    except Unreadable as fault:
        return [ParsedCall("", {}, fault.status, span, raw, fault.problem)]
    if isinstance(value, list):
        if value and not any(isinstance(item, Mapping) for item in value):
            return []
        value = {"tool_calls": value}
    elif "name" in value and "arguments" in value:
        value = {"tool_calls": [value]}
    return [
        ParsedCall(call.name, call.arguments, call.status, span, raw, call.problem, call.call_id)
        for call in parse_message(value).calls
    ]
