"""A tokenizer whose tokens spell a chat, for endpoints that take messages instead of tokens.

The rollout driver keeps every episode as tokens. For an endpoint that speaks only messages those tokens are the bytes of
the chat's own JSON, with special tokens between messages, so that `chat_of` can read the messages back exactly. No text
can imitate a special token: messages are written in ASCII JSON, and what the model says is encoded byte by byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlvr.generation.byte_tokenizer import EOS_ID, ByteTokenizer
from rlvr.task import Message

MESSAGE_ID, TOOLS_ID, TURN_ID = 258, 259, 260
_MESSAGE, _TOOLS, _TURN, _END = "\ue000", "\ue001", "\ue002", "\ue003"
_SPECIAL = {_MESSAGE: MESSAGE_ID, _TOOLS: TOOLS_ID, _TURN: TURN_ID, _END: EOS_ID}
_NAMES = {token_id: text for text, token_id in _SPECIAL.items()}


class TranscriptTokenizer(ByteTokenizer):
    """`apply_chat_template` writes a chat, `encode` and `decode` go between text and tokens, `chat_of` reads it back."""

    vocab_size = 261
    eos_token = _END
    chat_template: str | None = "one JSON object for each message"

    def apply_chat_template(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tokenize: bool = False,
        add_generation_prompt: bool = False,
    ) -> str:
        """The chat as text; only `tokenize=False` is there."""
        pieces = [_TOOLS + json.dumps(tools)] if tools else []
        for message in messages:
            if message.keys() == {"role", "content"} and message["role"] == "assistant":
                pieces.append(f"{_TURN}{message['content']}{_END}")
            else:
                pieces.append(_MESSAGE + json.dumps(message))
        if add_generation_prompt:
            pieces.append(_TURN)
        return "".join(pieces)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """The tokens of a written chat."""
        ids: list[int] = []
        for piece in re.split(f"([{''.join(_SPECIAL)}])", text):
            ids += [_SPECIAL[piece]] if piece in _SPECIAL else self.spoken(piece)
        return ids

    def spoken(self, text: str) -> list[int]:
        """The tokens of something the model said: its bytes and nothing else."""
        return super().encode(text)

    def decode(self, token_ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text of some tokens."""
        pieces: list[str] = []
        run: list[int] = []
        for token_id in token_ids:
            if token_id in _NAMES:
                pieces.append(super().decode(run, skip_special_tokens))
                run = []
                if not skip_special_tokens:
                    pieces.append(_NAMES[token_id])
            else:
                run.append(token_id)
        pieces.append(super().decode(run, skip_special_tokens))
        return "".join(pieces)

    def chat_of(self, token_ids: Sequence[int]) -> tuple[list[Message], list[dict[str, Any]]]:
        """The messages and the tools that some tokens spell, up to where the model is to speak."""
        messages: list[Message] = []
        tools: list[dict[str, Any]] = []
        starts = [place for place, token_id in enumerate(token_ids) if token_id >= MESSAGE_ID]
        for start, end in zip(starts, [*starts[1:], len(token_ids)], strict=True):
            text = self.decode(token_ids[start + 1 : end], skip_special_tokens=True)
            if token_ids[start] == TOOLS_ID:
                tools = json.loads(text)
            elif token_ids[start] == MESSAGE_ID:
                messages.append(json.loads(text))
            elif end < len(token_ids):  # the last one is the turn that is still to come
                messages.append({"role": "assistant", "content": text})
        return messages, tools
