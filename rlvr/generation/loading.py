"""Model and tokenizer from a folder or a hub name, with an error that says what is wrong with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rlvr.errors import ConfigError

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)


BUILDING = threading.RLock()
"""Held while transformers builds a model. It replaces functions of torch meanwhile, and two threads that do so at once leave
them replaced for good: later models come without their weights, or untied."""


def load_tokenizer(path: str | Path) -> Any:
    """The tokenizer that lies beside a model. Raises ConfigError if there is none."""
    from transformers import AutoTokenizer

    folder = _existing(path, "config.json", "adapter_config.json")
    # Checked by hand: from a configuration alone transformers builds a tokenizer that knows no words.
    if folder is not None and not any((folder / name).exists() for name in _TOKENIZER_FILES):
        raise ConfigError(
            f"model folder {str(path)!r} has no tokenizer (none of {', '.join(_TOKENIZER_FILES)}), so no prompt can be encoded. "
            "Save it there: tokenizer.save_pretrained(folder)."
        )
    try:
        return AutoTokenizer.from_pretrained(str(path))
    except Exception as fault:  # a boundary: transformers raises OSError, ValueError, KeyError and others for bad files
        raise ConfigError(f"no tokenizer could be loaded from {str(path)!r}: {_first_line(fault)}") from fault


def load_config(path: str | Path) -> Any:
    """The configuration of a causal language model. Raises ConfigError if the path is unknown or holds something else."""
    from transformers import AutoConfig, AutoModelForCausalLM

    _existing(path)
    try:
        config = AutoConfig.from_pretrained(str(path))
    except Exception as fault:  # a boundary, as above
        raise ConfigError(
            f"{str(path)!r} is neither a model folder nor a model that can be downloaded: {_first_line(fault)}"
        ) from fault
    if type(config) not in AutoModelForCausalLM._model_mapping:
        kind = (config.architectures or [config.model_type])[0]
        raise ConfigError(
            f"{str(path)!r} holds a {kind}, which is no causal language model and cannot continue a text. "
            "Name a model for text generation (...ForCausalLM)."
        )
    return config


def load_model(path: str | Path, device: torch.device, dtype: torch.dtype | None) -> Any:
    """A causal language model in eval mode. Raises ConfigError if the path is unknown or holds something else."""
    from transformers import AutoModelForCausalLM

    config = load_config(path)
    wanted: Any = dtype or (torch.float32 if device.type == "cpu" else "auto")
    try:
        with _no_progress_bars(), BUILDING:
            model = AutoModelForCausalLM.from_pretrained(str(path), config=config, dtype=wanted)
    except Exception as fault:  # a boundary, as above
        raise ConfigError(f"the model in {str(path)!r} could not be loaded: {_first_line(fault)}") from fault
    return model.to(device).eval()


def end_ids(path: str | Path, tokenizer: Any) -> list[int]:
    """The tokenizer's end of sequence and those the model's generation settings add (a chat model has several)."""
    from transformers import GenerationConfig

    try:
        configured = GenerationConfig.from_pretrained(str(path)).eos_token_id
    except OSError:  # a model need not have any
        configured = None
    return merged_end_ids(configured, tokenizer)


def padding_id(tokenizer: Any) -> int:
    """The token that fills rows up: the tokenizer's own, or its end of sequence where it has none."""
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


def merged_end_ids(configured: Any, tokenizer: Any) -> list[int]:
    """End tokens from generation settings (one, several or none) and the tokenizer's own."""
    ends = {tokenizer.eos_token_id, *(configured if isinstance(configured, list | tuple) else [configured])}
    return sorted(end for end in ends if end is not None)


def _existing(path: str | Path, *one_of: str) -> Path | None:
    """The folder, or None for a hub name. A path that looks like a folder must be one, with a `config.json` or `one_of` in it."""
    folder = Path(path)
    if folder.is_dir():
        if not any((folder / name).exists() for name in one_of or ("config.json",)):
            raise ConfigError(f"folder {str(path)!r} holds no model: there is no config.json in it")
        return folder
    text = str(path)
    if isinstance(path, Path) or text.startswith(("/", ".", "~")) or text.count("/") > 1:
        raise ConfigError(
            f"model folder {text!r} does not exist; give a folder or a hub name such as 'Qwen/Qwen2.5-0.5B'"
        )
    return None


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Loading a model of a few MB need not draw a bar into somebody's log."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _first_line(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {(str(fault).strip() or 'no message').splitlines()[0][:300]}"
