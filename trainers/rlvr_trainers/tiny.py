"""A small transformer and a character tokenizer from nothing, saved as an ordinary Hugging Face folder.

Half a million random weights are enough to learn arithmetic on a laptop in minutes, and the folder goes wherever a
downloaded model would: `AutoModelForCausalLM.from_pretrained`, the engines, the trainers.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np

from rlvr.errors import ConfigError

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
"""Each is one token, and text: decoding keeps them even where special tokens are skipped."""

ASCII = string.digits + string.ascii_letters + string.punctuation + " \n"


def build_tiny_model(
    path: str | Path,
    *,
    alphabet: str = ASCII,
    layers: int = 2,
    hidden: int = 128,
    heads: int = 4,
    seed: int = 0,
    max_length: int = 1024,
    feed_forward: int | None = None,
    chat_template: str | None = None,
) -> Path:
    """Write a randomly initialised Llama-shaped model and its tokenizer to folder `path`; returns the path.

    `alphabet` holds the characters that get a token of their own, any other becomes `<unk>`; `hidden` is the width,
    `feed_forward` that of the inner layer (4 * hidden where None), `max_length` the longest sequence in tokens.
    The same arguments give the same weights on every machine. Leaves torch's global random state as it was. With no
    `chat_template`, prompts are written in rlvr's plain format. Raises ConfigError for sizes that do not fit together.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if hidden % heads or (hidden // heads) % 2:
        raise ConfigError(
            f"hidden={hidden} and heads={heads} give {hidden / heads:g} dimensions a head; rotary positions need an "
            "even whole number, so choose hidden as a multiple of 2 * heads"
        )
    tokenizer = character_tokenizer(alphabet, max_length=max_length)
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=feed_forward or 4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        # The library's 0.02 suits wide models; at this width it would take hundreds of updates to grow out of it.
        initializer_range=hidden**-0.5,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        model = LlamaForCausalLM(config)
    draw_weights(model, scale=config.initializer_range, seed=seed)
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    # Left alone, generate() would pick up the defaults of somebody else's config class.
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def draw_weights(model: Any, *, scale: float, seed: int) -> None:
    """Every matrix of the model from a normal distribution of standard deviation `scale`; what else it has stays.

    NumPy draws, because torch's numbers for one seed differ between processors with and without AVX-512.
    """
    import torch

    numbers = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                drawn = numbers.standard_normal(tuple(parameter.shape), dtype=np.float32)
                parameter.copy_(torch.from_numpy(drawn) * scale)


def character_tokenizer(alphabet: str, *, max_length: int = 1024) -> Any:
    """A fast Hugging Face tokenizer with one token a character of `alphabet`, and one for each of TAGS.

    It adds no tokens by itself, and decoding gives back exactly the text that was encoded. Raises ConfigError for an
    empty alphabet.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    characters = list(dict.fromkeys(alphabet))
    if not characters:
        raise ConfigError("alphabet is empty, so no text could be written; name the characters the tasks use")
    vocabulary = {token: i for i, token in enumerate([PAD, EOS, UNKNOWN, *TAGS, *characters])}
    core = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    core.decoder = decoders.Fuse()
    core.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=max_length,
    )
