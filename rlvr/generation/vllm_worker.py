"""rlvr inside vLLM's worker: how new weights get in. vLLM imports this module by the name of its worker extension.

The transfer goes through vLLM's own interface (`start_weight_update`, `update_weights`, `finish_weight_update`), and needs no
accelerator. An engine in the learner's process takes the tensors by reference; a server reads safetensors files, or receives
buckets by broadcast or through shared memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from vllm.distributed.device_communicators import shm_broadcast
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

from rlvr.generation.vllm_support import BACKEND
from rlvr.generation.weight_broadcast import BroadcastReceiver
from rlvr.generation.weight_packing import Layout, num_bytes, unpack
from rlvr.generation.weight_sharing import SharedMemoryReceiver

PAUSE_S = 0.0002
"""Between a worker's looks for its next step, on a CPU."""
HANDED_OVER: dict[str, Iterable[tuple[str, torch.Tensor]]] = {}
"""Tensors from the learner in this process, under the key that `update_weights` names."""


class WorkerExtension:
    """Methods that vLLM's worker gets beside its own. Importing this module is what the transfer back end needs it for."""

    model_runner: Any

    def adaptable_layers(self) -> list[str]:
        """The kinds of layers (`up_proj`) that an adapter may adapt; none unless the engine was started for adapters."""
        manager = getattr(self.model_runner.get_model(), "lora_manager", None)
        if manager is None:
            return []
        names = [part for name in manager.modules for part in manager.packed_modules.get(name, [name])]
        return sorted({name.rpartition(".")[2] for name in names})


@dataclass
class InitInfo(WeightTransferInitInfo):  # type: ignore[misc]
    """How buckets will come. Files and tensors in this process need nothing to be agreed on."""

    transfer: str = "files"
    """Or `broadcast`, or `shared_memory`."""
    sender: str = ""
    """The learner's name for this connection."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What the receiver of that transfer takes."""
    leaves: str = ""
    """The connection that its learner ends; nothing else happens then, and nothing at all if another one has taken its place."""


@dataclass
class UpdateInfo(WeightTransferUpdateInfo):  # type: ignore[misc]
    """Where one bucket of weights is."""

    key: str | None = None
    """In `HANDED_OVER`."""
    path: str | None = None
    """A safetensors file on this machine."""
    sender: str = ""
    """The connection through which a bucket comes."""
    layout: Layout | None = None
    """Of that bucket."""
    abandoned: bool = False
    """The learner could not send the rest: the update fails, which is how vLLM ends one."""


class TransferEngine(WeightTransferEngine[InitInfo, UpdateInfo]):  # type: ignore[misc]
    """vLLM's side of a weight update."""

    init_info_cls = InitInfo
    update_info_cls = UpdateInfo
    _receiver: BroadcastReceiver | SharedMemoryReceiver | None = None
    _sender = ""

    def init_transfer_engine(self, init_info: InitInfo) -> None:
        """Connect with the learner, and with no other one from now on. Files take nobody's place."""
        if init_info.transfer == "files" and init_info.leaves != self._sender:
            return
        self.shutdown()
        self._sender = init_info.sender
        if init_info.transfer == "broadcast":
            parallel = self.parallel_config
            rank = 1 + parallel.data_parallel_index * parallel.world_size + parallel.rank
            with _nccl_settings_of_the_start():
                self._receiver = BroadcastReceiver(init_info.settings, rank, self.device)
        elif init_info.transfer == "shared_memory":
            self._receiver = SharedMemoryReceiver(init_info.settings, self.device)

    def start_weight_update(self) -> None:
        """Put the layers into the state in which they take checkpoint weights again."""
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Take one bucket. The base class synchronises an accelerator afterwards, which raises where there is none."""
        self.receive_weights(self.parse_update_info(update_info))
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def receive_weights(self, update_info: UpdateInfo) -> None:
        """Load the tensors that `update_info` points to."""
        if update_info.abandoned:
            raise RuntimeError("the learner gave this weight update up")
        if update_info.key is not None:
            self.model.load_weights(HANDED_OVER[update_info.key])
            return
        if update_info.layout is not None:
            self.model.load_weights(unpack(self._take(update_info), update_info.layout))
            return
        from safetensors import safe_open

        with safe_open(update_info.path, "pt") as file:
            self.model.load_weights((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118

    def _take(self, update_info: UpdateInfo) -> torch.Tensor:
        """The bytes of a bucket. After a failure the connection is closed, so that whoever still sends on it fails, too."""
        if self._receiver is None or update_info.sender != self._sender:
            raise RuntimeError("this learner's connection was closed, or another one has connected since")
        try:
            return self._receiver.take(num_bytes(update_info.layout or ()))
        except BaseException:
            self.shutdown()
            raise

    def finish_weight_update(self) -> None:
        """Let the layers digest what they were given."""
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)
        repack_tied_heads(self.model)

    def shutdown(self) -> None:
        """Close the connection with the learner."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.close()

    @staticmethod
    def trainer_send_weights(*args: Any, **kwargs: Any) -> None:
        """The learner's side is the engine's `load_weights`."""
        raise NotImplementedError


def _nccl_settings_of_the_start() -> AbstractContextManager[None]:
    """vLLM may set NCCL variables for its own groups; a group with the learner, which has not set them, would hang."""
    try:
        from vllm.utils.nccl import unpinned_nccl_env
    except ImportError:  # vLLM 0.31 sets none
        return nullcontext()
    return unpinned_nccl_env()  # type: ignore[no-any-return]


def repack_tied_heads(model: Any) -> None:
    """Pack shared weights again for oneDNN, which multiplies by a packed copy on CPUs.

    vLLM 0.32 packs the output head when it starts. A reload writes the embedding that the head is tied to and never packs
    it again, so that new embeddings would be followed by the old head, under the new version's label.
    """
    sharing: dict[int, list[Any]] = {}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if weight is not None and weight.ndim == 2 and weight.numel() and hasattr(module, "cpu_linear"):
            sharing.setdefault(weight.data_ptr(), []).append(module)
    for modules in sharing.values():
        if len(modules) > 1:
            from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm

            for module in modules:
                dispatch_cpu_unquantized_gemm(module, remove_weight=False)


if not torch.cuda.is_available():
    # For a second after each step vLLM's worker looks for the next one without a pause, on a core that a learner on the same
    # machine needs; vLLM 0.32 has no setting for it (vllm-project/vllm#52814). To let it sleep until it is called is no way
    # out: calls get lost, and each costs five seconds.
    shm_broadcast.sched_yield = partial(time.sleep, PAUSE_S)
if BACKEND not in WeightTransferEngineFactory._registry:
    WeightTransferEngineFactory.register_engine(BACKEND, TransferEngine)
