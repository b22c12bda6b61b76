"""Registrations that end with the test, and tokenizers with chat templates in the shape of four model families."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlvr import registry

TEMPLATES = Path(__file__).parent / "chat_templates"
END = {"qwen": "<|im_end|>", "llama3": "<|eot_id|>", "mistral": "</s>", "deepseek": "<|end|>"}


@pytest.fixture(autouse=True)
def _registrations_end_with_the_test() -> Iterator[None]:
    before = dict(registry.registered())
    yield
    for env_id in set(registry.registered()) - set(before):
        if env_id.startswith(("test/", "x/")):
            registry._specs.pop(env_id)


def template_tokenizer(family: str) -> Any:
    """One token a character, and one for each special text of the family; its end of turn is the end of sequence."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    template = (TEMPLATES / f"{family}.jinja").read_text()
    special = sorted(set(re.findall(r"<\|\w+\|>|</?s>|\[/?[A-Z_]+\]", template)) - {END[family]})
    words = ["<unk>", "<pad>", END[family], *special, *string.printable]
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token=END[family],
        additional_special_tokens=special,
    )
    tokenizer.chat_template = template
    return tokenizer


@pytest.fixture(scope="session")
def chat_tokenizers() -> dict[str, Any]:
    return {family: template_tokenizer(family) for family in END}
