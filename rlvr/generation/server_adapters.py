"""The adapters that one engine gave to a vLLM server: each under a name of its own, and unloaded after its last answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.adapters import (
    AdapterFiles,
    AdapterSettings,
    CurrentAdapter,
    ServedAdapter,
    check_adapter,
    checked_adapter,
)
from rlvr.generation.weights import WeightShapes


class ServerAdapters:
    """vLLM's routes for adapters. Thread-safe."""

    def __init__(self, post: Callable[..., Any], *, shapes: WeightShapes, lora_rank: int, folder: str | Path) -> None:
        """`post(path, **body)` asks the server, which has to see `folder`. `lora_rank` is the largest rank it was started for."""
        self._post = post
        self._shapes = shapes
        self._lora_rank = lora_rank
        self._folder = folder
        self._current = CurrentAdapter()
        self._adaptable: list[str] = []

    def connect(self, version: int) -> None:
        """Ask what can be adapted, and serve the base weights. Raises ConfigError if the server was not started for adapters."""
        if not self._lora_rank:
            return
        self._adaptable = self._post("/collective_rpc", method="adaptable_layers")["results"][0]
        if not self._adaptable:
            raise ConfigError(
                f"lora_rank is {self._lora_rank}, and the vLLM server was started without adapters. Start it with --enable-lora "
                "--max-lora-rank and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, or let them be merged (serve_adapters = false)"
            )
        self.serve(self.blank(version))

    def used(self) -> AbstractContextManager[ServedAdapter | None]:
        """The adapter that a request which begins now is answered by, to be kept until it has been."""
        return self._current.used()

    def load(self, named_tensors: Iterable[tuple[str, Any]], settings: AdapterSettings, version: int) -> ServedAdapter:
        """Have the server load an adapter, for `serve`. Files that were written for several servers are not written again."""
        check_adapter(settings, lora_rank=self._lora_rank, adaptable=self._adaptable)
        tensors = checked_adapter(named_tensors, settings, self._shapes)
        if isinstance(named_tensors, AdapterFiles):
            files = named_tensors
            files.hold()
        else:
            files = AdapterFiles.write(tensors, settings, self._folder)
        try:
            self._post("/v1/load_lora_adapter", lora_name=files.name, lora_path=str(files.path))
        except BaseException:
            files.release()
            raise
        return ServedAdapter(files.name, version, lambda: self._unload(files))

    def blank(self, version: int) -> ServedAdapter | None:
        """An adapter of zeros: the base weights, of a server that was started for adapters; None for others.

        On a CPU vLLM 0.32 answers a request without an adapter by the one in its last place (`bgmv_shrink` reads index -1),
        as soon as another request of the batch has one. So every request gets one.
        """
        if not self._lora_rank:
            return None
        layers = [name.removesuffix(".weight") for name in self._shapes.names if _in_a_block(name)]
        layer = next(name for name in layers if name.rpartition(".")[2] in self._adaptable)
        wide, narrow = self._shapes.shape_of(f"{layer}.weight") or (0, 0)
        zeros = {"lora_A": torch.zeros(1, narrow), "lora_B": torch.zeros(wide, 1)}
        named = [(f"base_model.model.{layer}.{part}.weight", tensor) for part, tensor in zeros.items()]
        return self.load(named, AdapterSettings(1, 1.0, (layer,)), version)

    def serve(self, adapter: ServedAdapter | None) -> None:
        """Answer requests that begin from now on by this adapter, or by the base weights."""
        self._current.replace(adapter)

    def _unload(self, files: AdapterFiles) -> None:
        # vLLM forgets the name at once and its memory with the next adapter. A server that is gone holds nothing any more.
        with contextlib.suppress(EngineError, ConfigError):
            self._post("/v1/unload_lora_adapter", lora_name=files.name)
        files.release()


def _in_a_block(name: str) -> bool:
    """Whether a weight is of a numbered block, and not of an embedding or a head."""
    return any(part.isdigit() for part in name.split("."))
