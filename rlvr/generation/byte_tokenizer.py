"""A tokenizer that needs no vocabulary: one token a UTF-8 byte, and two special ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

PAD_ID = 256
EOS_ID = 257


class ByteTokenizer:
    """Ids 0 to 255 are bytes, 256 pads, 257 ends a turn. Any text goes in and comes out unchanged, lone surrogates too.

    It has the part of a Hugging Face tokenizer that rlvr uses, so that demos, tests and endpoints that speak only text
    need neither torch nor transformers.
    """

    vocab_size = 258
    pad_token_id = PAD_ID
    eos_token_id = EOS_ID
    pad_token = "<pad>"
    eos_token = "<eos>"
    chat_template: str | None = None

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """The bytes of a text. No text encodes to a special token."""
        ids = list(text.encode("utf-8", "surrogatepass"))
        return [*ids, EOS_ID] if add_special_tokens else ids

    def decode(self, token_ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """The text of some tokens; bytes that are no UTF-8 become U+FFFD."""
        pieces: list[str] = []
        run = bytearray()
        for token_id in token_ids:
            if token_id < PAD_ID:
                run.append(token_id)
                continue
            pieces.append(_text(run))
            run = bytearray()
            if not skip_special_tokens:
                pieces.append(self.eos_token if token_id == EOS_ID else self.pad_token)
        pieces.append(_text(run))
        return "".join(pieces)

    def batch_decode(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = False) -> list[str]:
        """`decode` for each sequence."""
        return [self.decode(ids, skip_special_tokens) for ids in sequences]


def _text(run: bytearray) -> str:
    try:
        return run.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return run.decode("utf-8", "replace")
