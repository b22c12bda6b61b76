"""From messages to tokens and on, without ever encoding a token twice.

A conversation is rendered by the tokenizer's chat template, or, where it has none, as plain text: every message's content
followed by a line break. Its first prompt is encoded once. When the environment replies, only the text between the end of
the model's turn and the start of its next one is rendered and encoded; the tokens that were sampled stay as they are.

Some templates show a finished turn differently from how it was spoken: they cut the reasoning of earlier turns (Qwen3,
DeepSeek R1) or move the tool list to the newest user message (Mistral). What the model would see at its next turn is then no
continuation of its tokens. That is detected by rendering the whole chat and comparing; the caller opens a new sample.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.errors import ConfigError
from rlvr.task import Message

Tools = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class NextTurn:
    """What to feed the model for its next turn."""

    ids: list[int]
    """Tokens to append to the buffer; the first prompt of a new buffer if `rewritten`."""
    rewritten: bool
    """True if the template renders earlier turns differently from how they were spoken, so that a new sample begins."""


class Conversation:
    """One chat between a model and an environment, as the tokenizer's chat template shows it.

    Raises ConfigError if the template cannot render the messages.
    """

    def __init__(self, tokenizer: Any, messages: Sequence[Message], tools: Tools | None = None) -> None:
        self.messages = list(messages)
        self._tokenizer = tokenizer
        self._tools = list(tools) if tools else None
        self._seen = prompt_text(tokenizer, self.messages, self._tools)

    def prompt_ids(self) -> list[int]:
        """The tokens of the chat so far, up to where the model speaks."""
        return encode(self._tokenizer, self._seen)

    def fork(self) -> Conversation:
        """A copy that goes its own way."""
        twin = object.__new__(Conversation)
        twin.messages, twin._tokenizer = list(self.messages), self._tokenizer
        twin._tools, twin._seen = self._tools, self._seen
        return twin

    def speak(self, text: str) -> None:
        """The model said this; its turn is over."""
        self.messages.append({"role": "assistant", "content": text})
        self._seen += text

    def reply(self, replies: Sequence[Message], last_id: int) -> NextTurn:
        """The environment answers the turn that `speak` added; `last_id` is the last token the model sampled.

        If the model itself sampled the token with which the template ends a turn, it is not appended again.
        """
        before = self.messages
        self.messages = [*before, *replies]
        if getattr(self._tokenizer, "chat_template", None) is None:
            suffix = "\n" + _plain_text(replies)
            self._seen += suffix
            return NextTurn(encode(self._tokenizer, suffix), rewritten=False)
        try:
            suffix = self._suffix(before, replies)
            whole = _render(self._tokenizer, self.messages, self._tools, generate=True)
        except ConfigError:
            if all(message.get("role") != "tool" for message in self.messages):
                raise
            # Templates that want `tool_calls` before a tool's reply cannot render the turn as it was spoken.
            suffix, whole = self._suffix_after_calls(before, replies), None
        if whole is not None and _letters(whole) != _letters(self._seen + suffix):
            self._seen = whole
            return NextTurn(encode(self._tokenizer, whole), rewritten=True)
        self._seen += suffix
        ids = encode(self._tokenizer, suffix)
        return NextTurn(ids[1:] if ids and ids[0] == last_id else ids, rewritten=False)

    def _suffix(self, before: Sequence[Message], replies: Sequence[Message]) -> str:
        """What the template puts after the content of the model's turn, read off with a marker in its place."""
        marker = "turn-ends-here"
        while any(marker in str(message.get("content")) for message in self.messages):
            marker += "-x"
        marked = [*before[:-1], {"role": "assistant", "content": marker}, *replies]
        return _after(marker, _render(self._tokenizer, marked, self._tools, generate=True))

    def _suffix_after_calls(self, before: Sequence[Message], replies: Sequence[Message]) -> str:
        """The same for a template that shows a tool's reply only after `tool_calls`: end of turn, then what is added."""
        marker = "turn-ends-here"
        short = [{"role": "user", "content": "."}, {"role": "assistant", "content": marker}]
        end_of_turn = _after(marker, _render(self._tokenizer, short, None, generate=False))
        chat = _with_calls([*before, *replies])
        shorter = _render(self._tokenizer, chat[: len(before)], self._tools, generate=False)
        longer = _render(self._tokenizer, chat, self._tools, generate=True)
        if not longer.startswith(shorter):
            raise ConfigError(
                "the chat template changes earlier turns when the chat goes on after a tool's reply, and cannot show them "
                "as they were spoken; such episodes cannot be continued under it. Use another template."
            )
        return end_of_turn + longer[len(shorter) :]


def prompt_text(tokenizer: Any, messages: Sequence[Message], tools: Tools | None = None) -> str:
    """The text in front of the model's turn: by the chat template, or plain where the tokenizer has none."""
    if getattr(tokenizer, "chat_template", None) is not None:
        return _render(tokenizer, messages, tools, generate=True)
    listed = "".join(json.dumps(tool, sort_keys=True, ensure_ascii=False) + "\n" for tool in tools or ())
    return listed + _plain_text(messages)


def prompt_ids(tokenizer: Any, messages: Sequence[Message], tools: Tools | None = None) -> list[int]:
    """The tokens in front of the model's turn."""
    return encode(tokenizer, prompt_text(tokenizer, messages, tools))


def encode(tokenizer: Any, text: str) -> list[int]:
    """Tokens of a rendered text. The template has written every special token; none is added."""
    return list(tokenizer.encode(text, add_special_tokens=False))


def _plain_text(messages: Sequence[Message]) -> str:
    return "".join(f"{message.get('content') or ''}\n" for message in messages)


def _render(tokenizer: Any, messages: Sequence[Message], tools: Tools | None, *, generate: bool) -> str:
    try:
        return str(
            tokenizer.apply_chat_template(
                list(messages), tools=tools or None, tokenize=False, add_generation_prompt=generate
            )
        )
    except Exception as fault:  # a boundary: a template may raise anything, on purpose or by mistake
        roles = [str(message.get("role")) for message in messages]
        raise ConfigError(
            f"the model's chat template cannot render a chat of {', '.join(roles[-6:])}: {type(fault).__name__}: {fault}. "
            "Change the environment's messages or the template."
        ) from fault


def _after(marker: str, rendered: str) -> str:
    head, found, tail = rendered.rpartition(marker)
    if not found or marker in head:
        raise ConfigError(
            f"the chat template shows an assistant's content {rendered.count(marker)} times instead of once, so the end of a "
            "turn cannot be told. Use another template."
        )
    return tail


def _letters(text: str) -> str:
    """Without white space: templates trim and pad around contents, which rewrites nothing that was said."""
    return "".join(text.split())


def _with_calls(messages: Sequence[Message]) -> list[Message]:
    """The chat with a formal call in place of each assistant turn that a tool answers."""
    chat: list[Message] = []
    calls: list[dict[str, Any]] = []
    for place, message in enumerate(messages):
        following = messages[place + 1] if place + 1 < len(messages) else None
        if message.get("role") == "assistant" and following is not None and following.get("role") == "tool":
            calls = []
            chat.append({"role": "assistant", "content": "", "tool_calls": calls})
        elif message.get("role") == "tool":
            name = f"call{len(chat):05d}"  # Mistral insists on nine letters and digits
            calls.append({"id": name, "type": "function", "function": {"name": "call", "arguments": {}}})
            chat.append({**message, "tool_call_id": name})
        else:
            chat.append(message)
    return chat
