"""Low-rank adapters that an engine serves beside the base weights: whether they are complete, their files, and who uses them.

Hu et al. 2021, arXiv:2106.09685: an adapted weight W acts as W + (alpha / rank) B A, and W itself is never written.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.engine import Engine
from rlvr.generation.weights import WeightShapes

VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM has room for (0.32, `MaxLoRARanks` in `config/lora.py`); a smaller one is padded with zeros."""
_TENSORS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True)
class AdapterSettings:
    """What the tensors of an adapter mean."""

    rank: int
    """Inner dimension of every pair."""
    alpha: float
    """The pairs' products are multiplied by alpha / rank."""
    modules: tuple[str, ...]
    """The linear layers that are adapted, by their names in transformers (`model.layers.0.mlp.up_proj`)."""

    @property
    def kinds(self) -> set[str]:
        """The last parts of the modules' names (`up_proj`)."""
        return {module.rpartition(".")[2] for module in self.modules}


@runtime_checkable
class AdapterEngine(Engine, Protocol):
    """An engine that can serve an adapter as one, without merging it into its weights."""

    def load_adapter(self, named_tensors: Iterable[tuple[str, Any]], settings: AdapterSettings, version: int) -> None:
        """Serve the base weights with this adapter from now on, under this version.

        Names are peft's (`base_model.model.<module>.lora_A.weight`). Answers under way are finished by the adapter they began
        with. `load_weights` takes the adapter off again. Raises ConfigError if the engine was not started for adapters like
        this one, EngineError if it is incomplete or does not fit; what was served before is then still served.
        """


def room_for(rank: int) -> int:
    """The smallest rank of vLLM's that holds `rank`. Raises ConfigError if there is none."""
    if not 1 <= rank <= VLLM_RANKS[-1]:
        raise ConfigError(
            f"lora_rank is {rank}; vLLM serves adapters of ranks 1 to {VLLM_RANKS[-1]}. Lower it, or let the adapters be merged "
            "(serve_adapters = false)"
        )
    return next(size for size in VLLM_RANKS if size >= rank)


def checked_adapter(
    named_tensors: Iterable[tuple[str, Tensor]], settings: AdapterSettings, shapes: WeightShapes
) -> dict[str, Tensor]:
    """The adapter's tensors by name, if they are all that `settings` promise and fit the model of `shapes`.

    vLLM takes a layer without adapter for one that is not adapted, so that half an adapter would be served without a word.
    Raises EngineError at an unknown name, at a wrong shape and if a tensor is missing.
    """
    expected: dict[str, tuple[int, ...]] = {}
    for module in settings.modules:
        shape = shapes.shape_of(f"{module}.weight")
        if shape is None or len(shape) != 2:
            raise EngineError(f"the adapter is for a layer {module!r}, which is no linear layer of the model served")
        expected[f"base_model.model.{module}.lora_A.weight"] = (settings.rank, shape[1])
        expected[f"base_model.model.{module}.lora_B.weight"] = (shape[0], settings.rank)
    given: dict[str, Tensor] = {}
    for name, tensor in named_tensors:
        if name not in expected:
            raise EngineError(
                f"the adapter holds {name!r}, which belongs to none of the {len(settings.modules)} layers it is for"
            )
        if tuple(tensor.shape) != expected[name]:
            raise EngineError(f"{name!r} has shape {tuple(tensor.shape)}; the model needs {expected[name]}")
        given[name] = tensor
    missing = [name for name in expected if name not in given]
    if missing or not expected:
        raise EngineError(
            f"{len(missing)} tensors of the adapter were not given, first of them {missing[0]!r}; send the whole adapter"
            if missing
            else "the adapter adapts no layer; it would be the base model under another version"
        )
    return given


def check_adapter(settings: AdapterSettings, *, lora_rank: int, adaptable: Iterable[str]) -> None:
    """Raises ConfigError if an engine that was started with `lora_rank` cannot serve such an adapter.

    `adaptable` are the kinds of layers that vLLM can adapt in this model.
    """
    if settings.rank > lora_rank:
        started = f"was started with lora_rank = {lora_rank}" if lora_rank else "was started without lora_rank"
        raise ConfigError(
            f"the adapter has rank {settings.rank}, and the engine {started}. Start it with lora_rank = {settings.rank}, or "
            "send merged weights (serve_adapters = false)"
        )
    known = set(adaptable)
    if unknown := sorted(settings.kinds - known):
        raise ConfigError(
            f"vLLM cannot adapt {', '.join(unknown)} of this model, only {', '.join(sorted(known))}. Set serve_adapters = "
            "false: merged adapters are served whatever they adapt"
        )


class InUse:
    """Something that is freed when nobody uses it any more; whoever makes it is its first user. Thread-safe."""

    def __init__(self, free: Callable[[], object]) -> None:
        self._free = free
        self._users = 1
        self._lock = threading.Lock()

    def hold(self) -> None:
        """One user more."""
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """One user less; the last one frees it."""
        with self._lock:
            self._users -= 1
            last = self._users == 0
        if last:
            self._free()


class AdapterFiles(InUse):
    """An adapter in peft's format, in a folder of its own, which is removed with the last user. Iterating gives its tensors."""

    def __init__(self, path: Path) -> None:
        # A process that ends without having closed its engine, by an exception say, removes it too.
        super().__init__(weakref.finalize(self, shutil.rmtree, path, ignore_errors=True))
        self.path = path

    @property
    def name(self) -> str:
        """One that no other adapter on this machine has: vLLM keeps cached prefixes apart by it."""
        return self.path.name

    @classmethod
    def write(cls, tensors: Mapping[str, Tensor], settings: AdapterSettings, folder: str | Path) -> AdapterFiles:
        """Write them. Raises EngineError, and leaves nothing, if that fails."""
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": settings.rank,
            "lora_alpha": settings.alpha,
            "target_modules": sorted(settings.kinds),
            "bias": "none",
        }
        path = None
        try:
            path = Path(tempfile.mkdtemp(prefix=f"rlvr-adapter-{os.getpid()}-", dir=folder))
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path / _TENSORS)
            (path / _CONFIG).write_text(json.dumps(config))
        except (OSError, SafetensorError) as fault:
            if path is not None:
                shutil.rmtree(path, ignore_errors=True)
            raise EngineError(
                f"an adapter could not be written to {str(folder)!r}: {fault}. The one before it is still served. Free some "
                "space there, or name another transfer_folder."
            ) from fault
        return cls(path)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        from safetensors import safe_open

        with safe_open(self.path / _TENSORS, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                yield name, file.get_tensor(name)


class ServedAdapter(InUse):
    """An adapter that a server knows under `name`, for as long as it is the current one or an answer uses it."""

    def __init__(self, name: str, version: int, free: Callable[[], None]) -> None:
        super().__init__(free)
        self.name = name
        self.version = version


class CurrentAdapter:
    """Which adapter new requests use. Thread-safe."""

    def __init__(self) -> None:
        self._adapter: ServedAdapter | None = None
        self._lock = threading.Lock()

    @contextmanager
    def used(self) -> Iterator[ServedAdapter | None]:
        """The current adapter, which stays loaded meanwhile; None where the base weights are served."""
        with self._lock:
            adapter = self._adapter
            if adapter is not None:
                adapter.hold()
        try:
            yield adapter
        finally:
            if adapter is not None:
                adapter.release()

    def replace(self, adapter: ServedAdapter | None) -> None:
        """From now on use this one. The one before it goes when the last answer that uses it has ended."""
        with self._lock:
            before, self._adapter = self._adapter, adapter
        if before is not None:
            before.release()
