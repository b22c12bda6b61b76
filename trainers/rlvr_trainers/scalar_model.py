"""A transformer that puts a number after every token: the critic, and the learned reward.

The model is an ordinary `AutoModelForSequenceClassification` with one label, so its folder works wherever such a model does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlvr.errors import ConfigError
from rlvr.generation.loading import BUILDING
from rlvr_trainers.batch import Batch
from rlvr_trainers.learner import disable_dropout


def load_scalar_model(path: str | Path, device: torch.device) -> Any:
    """A model with one number a position, from a folder of its own kind or of any language model, in float32.

    From a language model the head is new and zero, so every number is 0 at first. Leaves the global random state alone.
    Raises ConfigError if the folder holds neither.
    """
    from transformers import AutoModelForSequenceClassification

    # transformers warns that the head is new; that is what was asked for.
    with BUILDING, torch.random.fork_rng(devices=[]), _only_errors(), _explained(path):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            str(path), num_labels=1, dtype=torch.float32, output_loading_info=True
        )
    head = scalar_head(model)
    if any(name.endswith("score.weight") for name in report["missing_keys"]):
        nn.init.zeros_(head.weight)
    disable_dropout(model)
    return model.to(device)


def build_scalar_model(path: str | Path) -> Any:
    """The model that `load_scalar_model` loads, without its weights: on the device, and with the numbers, of its context."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    with _explained(path):
        config = AutoConfig.from_pretrained(str(path), num_labels=1)
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).eval()
    disable_dropout(model)
    return model


@contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    try:
        yield
    except Exception as fault:  # a boundary: transformers raises OSError, ValueError, KeyError and others for bad files
        raise ConfigError(
            f"{str(path)!r} gives no model with a scalar head ({type(fault).__name__}: {str(fault)[:200]}); name a "
            "language model or a reward model of a family that transformers can classify sequences with"
        ) from fault


@contextmanager
def _only_errors() -> Iterator[None]:
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def scalar_head(model: Any) -> nn.Linear:
    """The layer that turns a hidden state into the number. Raises ConfigError for a family that keeps it elsewhere."""
    head = getattr(model, "score", None)
    if not isinstance(head, nn.Linear) or head.out_features != 1:
        raise ConfigError(
            f"{type(model).__name__} has no `score` layer with one output; use a decoder-only model's family"
        )
    return head


def token_scores(model: Any, batch: Batch) -> Tensor:
    """`[B, T]`, float32: the number after reading token t. Meaningless in the padding."""
    hidden_BTH = model.base_model(input_ids=batch.token_ids_BT, use_cache=False).last_hidden_state
    return score_hidden(scalar_head(model), hidden_BTH)


def score_hidden(head: nn.Linear, hidden_BTH: Tensor) -> Tensor:
    """The head's numbers in float32, whatever the hidden states are: returns differ by less than bfloat16 can tell."""
    bias = None if head.bias is None else head.bias.float()
    with torch.autocast(hidden_BTH.device.type, enabled=False):
        return F.linear(hidden_BTH.float(), head.weight.float(), bias)[..., 0]


def row_scores(model: Any, batch: Batch) -> Tensor:
    """`[B]`: the number after each row's last token."""
    return token_scores(model, batch).gather(1, (batch.lengths_B - 1)[:, None])[:, 0]


def before_tokens(scores_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Numbers moved one position on, to the token chosen after them; 0 where the policy chose nothing. A state's value."""
    moved_BT = torch.cat([torch.zeros_like(scores_BT[:, :1]), scores_BT[:, :-1]], dim=1)
    return torch.where(mask_BT, moved_BT, torch.zeros_like(moved_BT))
