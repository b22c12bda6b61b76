"""Formats that write arguments as tagged text without types: Qwen3-Coder and GLM 4.5. The tool's schema gives the type."""

from __future__ import annotations

import re
from typing import Any

from rlvr.verifiers.toolcall.calls import MAX_CALL_CHARS, ParsedCall, TaggedText, Unreadable
from rlvr.verifiers.toolcall.formats import register_format
from rlvr.verifiers.toolcall.json_formats import broken
from rlvr.verifiers.toolcall.jsontext import skip_space, untagged
from rlvr.verifiers.toolcall.schema import ToolSet, type_of, types_of

_OPENER, _CLOSER = "<tool_call>", "</tool_call>"
_MAX_ARGUMENTS = 256
_function = re.compile(r"\s*+<function=([^<>\n]{1,256}+)>")
_parameter = re.compile(r"\s*+<parameter=([^<>\n]{1,256}+)>")
_after_parameter = re.compile(r"</parameter>\s*+(?=<parameter=|</function>)")


def typed(text: str, tools: ToolSet, name: str, argument: str) -> Any:
    """The value that a tag's text stands for.

    A text stays a text where the schema allows only strings. Elsewhere it is read as JSON (True, False and None too,
    which templates print), and kept as a text if it is none, so that the matcher can say what is wrong with it.
    """
    schema = tools.property(name, argument)
    allowed = types_of(schema, tools.parameters(name))
    if allowed == {"string"}:
        return TaggedText(text)
    value = untagged(text)
    kind = type_of(value)
    if "string" in allowed and kind not in allowed and not (kind == "integer" and "number" in allowed):
        return TaggedText(text)
    return value


def _broken_block(text: str, start: int, inside: int, fault: Unreadable) -> tuple[list[ParsedCall], int]:
    closed, reopened = text.find(_CLOSER, inside), text.find(_OPENER, inside)
    if closed >= 0 and (reopened < 0 or closed < reopened):
        end = closed + len(_CLOSER)
    else:
        end = reopened if reopened >= 0 else len(text)
    return [broken(text, start, end, fault.status, fault.problem)], end


def _misplaced(text: str, position: int, wanted: str) -> Unreadable:
    if skip_space(text, position) >= len(text):
        return Unreadable("unclosed", f"the text ends before {wanted}", position)
    return Unreadable("bad_syntax", f"{wanted} must stand here", position)


def _find(text: str, marker: str, start: int) -> int:
    end = text.find(marker, start, start + MAX_CALL_CHARS)
    if end >= 0:
        return end
    if len(text) - start > MAX_CALL_CHARS:
        raise Unreadable("too_large", f"longer than {MAX_CALL_CHARS:,} characters", start)
    raise Unreadable("unclosed", f"the text ends before {marker}", start)


@register_format("qwen3_coder", openers=(_OPENER, "<function="), aliases=("qwen3_xml", "qwen_coder", "qwen3_coder_xml"))
def read_qwen3_coder(text: str, start: int, tools: ToolSet) -> tuple[list[ParsedCall], int]:
    """`<tool_call><function=name><parameter=key>text</parameter>...</function></tool_call>`."""
    inside = start + len(_OPENER)
    try:
        if not text.startswith(_OPENER, start):
            raise Unreadable("bad_syntax", f"{_OPENER} must stand before <function=...>")
        found = _function.match(text, inside)
        if not found:
            raise _misplaced(text, inside, "<function=name>")
        name, position = found.group(1).strip(), found.end()
        arguments: dict[str, Any] = {}
        while parameter := _parameter.match(text, position):
            key = parameter.group(1).strip()
            if key in arguments:
                raise Unreadable("duplicate_key", f"the parameter {key[:40]!r} stands twice", parameter.start())
            if len(arguments) >= _MAX_ARGUMENTS:
                raise Unreadable("too_large", f"more than {_MAX_ARGUMENTS} parameters", parameter.start())
            closing = _after_parameter.search(text, parameter.end(), parameter.end() + MAX_CALL_CHARS)
            if not closing:
                if "</function>" not in text[parameter.end() : parameter.end() + MAX_CALL_CHARS]:
                    _find(text, "</parameter>", parameter.end())
                raise Unreadable(
                    "bad_syntax", "<parameter=...> or </function> must follow </parameter>", parameter.end()
                )
            value = text[parameter.end() : closing.start()]
            if "<parameter=" in value or "</function>" in value:
                raise Unreadable("bad_syntax", f"</parameter> is missing after {key[:40]!r}", parameter.start())
            value = value.removeprefix("\n").removesuffix("\n")  # the template's own line breaks
            arguments[key] = typed(value, tools, name, key)
            position = closing.end()
        position = skip_space(text, position)
        if not text.startswith("</function>", position):
            raise _misplaced(text, position, "</function>")
        end = skip_space(text, position + len("</function>"))
        if text.startswith(_CLOSER, end):
            end += len(_CLOSER)
        elif end < len(text) and not text.startswith("<|", end):
            raise _misplaced(text, end, _CLOSER)
    except Unreadable as fault:
        return _broken_block(text, start, inside, fault)
    return [ParsedCall(name, arguments, "ok", (start, end), text[start:end])], end


@register_format("glm45", openers=(_OPENER,), aliases=("glm", "glm4", "glm47", "glm4_moe"))
def read_glm45(text: str, start: int, tools: ToolSet) -> tuple[list[ParsedCall], int]:
    """`<tool_call>name<arg_key>key</arg_key><arg_value>text</arg_value>...</tool_call>`."""
    inside = start + len(_OPENER)
    try:
        end = text.find("<", inside, inside + 300)
        if end < 0:
            raise _misplaced(text, len(text) if len(text) - inside < 300 else inside, "<arg_key> or </tool_call>")
        name, position = text[inside:end].strip(), end
        if not name or "\n" in name:
            raise Unreadable("missing_name", "the tool's name must follow <tool_call>", inside)
        arguments: dict[str, Any] = {}
        while text.startswith("<arg_key>", position):
            key_start = position + len("<arg_key>")
            key_end = _find(text, "</arg_key>", key_start)
            key = text[key_start:key_end].strip()
            if key in arguments:
                raise Unreadable("duplicate_key", f"the argument {key[:40]!r} stands twice", position)
            if len(arguments) >= _MAX_ARGUMENTS:
                raise Unreadable("too_large", f"more than {_MAX_ARGUMENTS} arguments", position)
            value_tag = skip_space(text, key_end + len("</arg_key>"))
            if not text.startswith("<arg_value>", value_tag):
                raise _misplaced(text, value_tag, "<arg_value>")
            value_start = value_tag + len("<arg_value>")
            value_end = _find(text, "</arg_value>", value_start)
            arguments[key] = typed(text[value_start:value_end], tools, name, key)
            position = skip_space(text, value_end + len("</arg_value>"))
        if not text.startswith(_CLOSER, position):
            raise _misplaced(text, position, _CLOSER)
        end = position + len(_CLOSER)
    except Unreadable as fault:
        return _broken_block(text, start, inside, fault)
    return [ParsedCall(name, arguments, "ok", (start, end), text[start:end])], end
