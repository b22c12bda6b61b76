"""`parse`: find the calls in a response, in any registered format.

Tolerant around the delimiters, strict inside them. The reasoning is cut first: a call drafted between thinking tags is
no call. Positions of the original text are kept. The work is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr.errors import ConfigError
from rlvr.verifiers.toolcall.calls import MAX_BROKEN, MAX_CALLS, ParsedCall, ParsedResponse
from rlvr.verifiers.toolcall.formats import Format, find_format
from rlvr.verifiers.toolcall.openai_format import is_empty_message, message_content, parse_message
from rlvr.verifiers.toolcall.schema import ToolSet

_THINKING = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<seed:think>", "</seed:think>"),
)
_CLOSER_OF = dict(_THINKING)
_MAX_SEGMENTS = 400
_space = re.compile(r"\s*+")
# What an engine that keeps special tokens leaves at the end of a turn, and may leave before a whole-message call.
_END_TOKENS = (
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>", "</s>", "<｜end▁of▁sentence｜>",
    "<|python_end|>", "<|eot|>", "<|eom|>", "<|end|>", "<|return|>", "<|call|>", "<|user|>", "<|observation|>",
)  # fmt: skip
_BEGIN_TOKENS = ("<|python_tag|>", "<|python_start|>")

Response = str | Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


def parse(
    text: Response, format: str = "hermes", tools: Sequence[Mapping[str, Any]] | ToolSet | None = None
) -> ParsedResponse:
    """Take a response apart into calls, content and reasoning.

    `text` is what the model wrote, or an OpenAI assistant message (a dict, or the list of its `tool_calls`), whose calls
    are taken from there whatever `format` says. `tools` matters only to formats that write arguments without types
    (`qwen3_coder`, `glm45`), where the schema decides between `5` and `"5"`. Any text has a result. Raises ConfigError
    if the format is unknown or `text` is none of these.
    """
    chosen = find_format(format)
    toolset = tools if isinstance(tools, ToolSet) else ToolSet(tools)
    if text is None:
        return ParsedResponse()
    if isinstance(text, Mapping):
        if not is_empty_message(text):
            return parse_message(text)
        text = message_content(text)
    elif isinstance(text, list | tuple):
        return parse_message({"tool_calls": list(text)})
    if not isinstance(text, str):
        raise ConfigError(
            f"a response is a text or an OpenAI assistant message, not {type(text).__name__}; decode it before parsing"
        )
    if chosen.openers:
        return _parse_delimited(text, chosen, toolset)
    return _parse_message_text(text, chosen, toolset)


class _Finder:
    """The next of several markers, each searched for once per stretch of text."""

    def __init__(self, text: str, markers: Sequence[str]) -> None:
        self.text = text
        self.at = {marker: position for marker in markers if (position := text.find(marker)) >= 0}

    def next(self, start: int) -> tuple[int, str]:
        """Position and marker; (-1, "") if none stands at or after `start`. At one place the longest counts."""
        best, which = -1, ""
        for marker, position in list(self.at.items()):
            if position < start:
                position = self.text.find(marker, start)
                if position < 0:
                    del self.at[marker]
                    continue
                self.at[marker] = position
            if best < 0 or position < best or (position == best and len(marker) > len(which)):
                best, which = position, marker
        return best, which


def _parse_delimited(text: str, chosen: Format, tools: ToolSet) -> ParsedResponse:
    body = _prompt_opened(text)
    if body:
        # A closing tag without an opening one ends reasoning that the prompt began, unless a call's argument holds it.
        whole = _scan(text, 0, chosen, tools)
        if any(call.ok and call.span[0] < body <= call.span[1] for call in whole.calls):
            return whole
    return _scan(text, body, chosen, tools)


def _scan(text: str, body: int, chosen: Format, tools: ToolSet) -> ParsedResponse:
    assert chosen.read_delimited is not None
    calls: list[ParsedCall] = []
    content: list[str] = []
    reasoning: list[str] = [text[:body]] if body else []
    finder = _Finder(text, (*chosen.openers, *_CLOSER_OF) if "ink" in text or "INK" in text else chosen.openers)
    position, finished, num_broken = body, True, 0
    for segment in range(_MAX_SEGMENTS + 1):
        start, marker = finder.next(position)
        if start < 0:
            content.append(text[position:])
            break
        if segment == _MAX_SEGMENTS or len(calls) >= MAX_CALLS or num_broken >= MAX_BROKEN:
            problem = (
                f"more than {MAX_CALLS} calls, {MAX_BROKEN} broken ones or {_MAX_SEGMENTS:,} pieces in one response"
            )
            calls.append(ParsedCall("", {}, "too_large", (start, len(text)), "", problem))
            break
        content.append(text[position:start])
        closer = _CLOSER_OF.get(marker)
        if closer is None:
            found, end = chosen.read_delimited(text, start, tools)
            calls.extend(found)
            num_broken += sum(not call.ok for call in found)
            position = max(end, start + 1)
            continue
        end = text.find(closer, start)
        if end < 0:
            reasoning.append(text[start:])
            finished = False
            break
        reasoning.append(text[start + len(marker) : end])
        position = end + len(closer)
    return ParsedResponse(calls, "".join(content).strip(), "".join(reasoning).strip(), finished)


def _prompt_opened(text: str) -> int:
    """Where the answer begins if the prompt opened the reasoning and the text only closes it; else 0."""
    if not any(closer in text for closer in _CLOSER_OF.values()):
        return 0
    best = 0
    for opener, closer in _THINKING:
        end = text.find(closer)
        if end >= 0 and text.rfind(opener, 0, end) < 0 and (best == 0 or end < best):
            best = end + len(closer)
    return best


def _parse_message_text(text: str, chosen: Format, tools: ToolSet) -> ParsedResponse:
    assert chosen.read_message is not None
    body = 0
    if _prompt_opened(text):
        start, end = _trimmed(text, 0)
        calls = chosen.read_message(text, start, end, tools)
        if calls and all(call.ok for call in calls):
            return ParsedResponse(calls)
        body = _prompt_opened(text)
    for _ in range(_MAX_SEGMENTS):
        if "ink" not in text and "INK" not in text:  # part of every thinking tag
            break
        found = _space.match(text, body)
        body = found.end() if found else body
        opener = next((opener for opener in _CLOSER_OF if text.startswith(opener, body)), None)
        if opener is None:
            break
        end = text.find(_CLOSER_OF[opener], body)
        if end < 0:
            return ParsedResponse(reasoning=text[body:].strip(), finished=False)
        body = end + len(_CLOSER_OF[opener])
    start, end = _trimmed(text, body)
    calls = chosen.read_message(text, start, end, tools)
    return ParsedResponse(calls, "" if calls else text[start:end].strip(), text[:body].strip())


def _trimmed(text: str, start: int) -> tuple[int, int]:
    """The message between `start` and the end without white space, turn tokens and one code fence around all of it."""
    end = len(text)
    changed = True
    while changed:
        changed = False
        end = start + len(text[start:end].rstrip())
        for token in _END_TOKENS:
            if text.endswith(token, start, end):
                end -= len(token)
                changed = True
    start = end - len(text[start:end].lstrip())
    for token in _BEGIN_TOKENS:
        if text.startswith(token, start, end):
            start += len(token)
    if text.startswith("```", start, end) and text.endswith("```", start + 3, end):
        line = text.find("\n", start, end)
        language = text[start + 3 : line].strip() if line >= 0 else " "
        if line >= 0 and (language == "" or language.isidentifier()) and line < end - 3:
            return line + 1, end - 3
    return start, end
