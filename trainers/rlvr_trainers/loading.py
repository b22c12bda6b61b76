"""Models that several ranks train together, read from disk once: by the first of them, which hands out pieces in `Spread`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rlvr.generation.loading import BUILDING, load_config, load_model
from rlvr_trainers.distributed import Ranks
from rlvr_trainers.scalar_model import build_scalar_model, load_scalar_model


def open_model(path: str | Path, ranks: Ranks, device: torch.device) -> Any:
    """The causal language model in `path`, in float32 and eval mode, on `device`.

    With several ranks it lies in the first one's main memory, and without weights on the others. Raises ConfigError, on all of
    them, if the path is unknown or holds something else.
    """

    def build() -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_config(load_config(path), dtype=torch.float32).eval()

    return _on_first(ranks, lambda: load_model(path, _place(device, ranks), torch.float32), build)


def open_scalar_model(path: str | Path, ranks: Ranks, device: torch.device) -> Any:
    """`load_scalar_model`; with several ranks as `open_model` does it."""
    return _on_first(ranks, lambda: load_scalar_model(path, _place(device, ranks)), lambda: build_scalar_model(path))


@contextmanager
def without_weights(ranks: Ranks) -> Iterator[None]:
    """What is built in here has weights on the first rank alone; what the others would read into it is dropped."""
    if ranks.main:
        yield
        return
    with BUILDING, torch.device("meta"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*copying from a non-meta parameter")
        yield


def _place(device: torch.device, ranks: Ranks) -> torch.device:
    """What is handed out goes to the devices piece by piece, out of main memory."""
    return device if ranks.size == 1 else torch.device("cpu")


def _on_first(ranks: Ranks, load: Callable[[], Any], build: Callable[[], Any]) -> Any:
    models: list[Any] = []
    ranks.on_main(lambda: models.append(load()))
    if not models:
        with without_weights(ranks):
            models.append(build())
    return models[0]
