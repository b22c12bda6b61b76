"""The adapters that one engine gave to a vLLM server: each under a name of its own, and unloaded after its last answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

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

    def connect(self) -> None:
        """Ask what can be adapted. Raises ConfigError if the server was not started for adapters."""
        if not self._lora_rank:
            return
        self._adaptable = self._post("/collective_rpc", method="adaptable_layers")["results"][0]
        if not self._adaptable:
            raise ConfigError(
                f"lora_rank is {self._lora_rank}, and the vLLM server was started without adapters. Start it with --enable-lora "
                "--max-lora-rank and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, or let them be merged (serve_adapters = false)"
            )

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

    def serve(self, adapter: ServedAdapter | None) -> None:
        """Answer requests that begin from now on by this adapter, or by the base weights."""
        self._current.replace(adapter)

    def _unload(self, files: AdapterFiles) -> None:
        # vLLM forgets the name at once and its memory with the next adapter. A server that is gone holds nothing any more.
        with contextlib.suppress(EngineError, ConfigError):
            self._post("/v1/unload_lora_adapter", lora_name=files.name)
        files.release()
