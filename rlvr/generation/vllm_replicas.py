"""vLLM servers as replicas: started here on GPUs of their own, or run by somebody else and named by their addresses."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.replicas import ReplicatedEngine
from rlvr.generation.transfer import Transfer
from rlvr.generation.vllm_server import VLLMServerEngine


def open_servers(path: str | Path, tokenizer: Any = None, **options: Any) -> VLLMServerEngine | ReplicatedEngine:
    """The engine that `engine = "vllm_server"` means: servers at `urls`, `replicas` servers started here, or one.

    The other options are those of `connect_replicas`, `launch_replicas` or `VLLMServerEngine.launch`. Raises ConfigError for
    one that does not exist, or that does not go with the others.
    """
    if "urls" in options:
        if "replicas" in options:
            raise ConfigError("urls names servers that run already and replicas asks for new ones; give one of the two")
        return connect_replicas(**_known(options, connect_replicas, VLLMServerEngine), path=path, tokenizer=tokenizer)
    if options.get("replicas", 1) != 1:
        settings = _known(options, launch_replicas, VLLMServerEngine.launch)
        return launch_replicas(path, tokenizer, **settings)
    options.pop("replicas", None)
    return VLLMServerEngine.launch(path, tokenizer, **_known(options, VLLMServerEngine.launch))


def launch_replicas(
    path: str | Path,
    tokenizer: Any = None,
    *,
    replicas: int,
    tensor_parallel_size: int = 1,
    gpus: Sequence[int] | None = None,
    transfer: Transfer = "auto",
    transfer_folder: str | Path | None = None,
    health_every_s: float = 10.0,
    health_timeout_s: float = 30.0,
    **launch: Any,
) -> ReplicatedEngine:
    """Start `replicas` servers on this machine; one that dies is started again.

    On GPUs each takes `tensor_parallel_size` of `gpus`, by default of the last ones, which leaves the first to the learner.
    With `transfer = "files"` a server that comes back loads the current weights, which are kept in `transfer_folder`; else it
    waits for the next update. `launch` are the other settings of `VLLMServerEngine.launch`. Raises ConfigError if there are
    not enough GPUs.
    """
    ways: dict[str, Any] = {"transfer": transfer, "transfer_folder": transfer_folder}
    shares = gpu_shares(replicas, tensor_parallel_size, gpus, _num_gpus())

    def open_replica(number: int) -> VLLMServerEngine:
        return VLLMServerEngine.launch(
            path, tokenizer, tensor_parallel_size=tensor_parallel_size, gpus=shares[number], **ways, **launch
        )

    return ReplicatedEngine(
        open_replica,
        replicas,
        transfer_folder=transfer_folder or "/dev/shm",
        health_every_s=health_every_s,
        health_timeout_s=health_timeout_s,
    )


def connect_replicas(
    urls: Sequence[str],
    path: str | Path,
    tokenizer: Any = None,
    *,
    transfer: Transfer = "auto",
    transfer_folder: str | Path | None = None,
    health_every_s: float = 10.0,
    health_timeout_s: float = 30.0,
    return_timeout_s: float = 600.0,
    **connect: Any,
) -> ReplicatedEngine:
    """Use the servers at `urls`. One that dies gets `return_timeout_s` to come back, by whatever restarts it.

    `transfer` and `transfer_folder` are as for `launch_replicas`, `connect` the other settings of `VLLMServerEngine`.
    Raises ConfigError for an address that is named twice or does not fit, EngineError if a server does not answer.
    """
    if len({url.rstrip("/") for url in urls}) < len(urls):
        raise ConfigError(
            f"urls is {list(urls)}; each server may be named once, or it would get two shares of the prompts"
        )
    started = False

    def connect_to(number: int) -> VLLMServerEngine:
        return VLLMServerEngine(
            urls[number], path, tokenizer, transfer=transfer, transfer_folder=transfer_folder, **connect
        )

    def open_replica(number: int) -> VLLMServerEngine:
        # At the start an address that does not answer is a mistake to be told at once; later it is a server that restarts.
        return _until_it_answers(lambda: connect_to(number), return_timeout_s) if started else connect_to(number)

    engine = ReplicatedEngine(
        open_replica,
        len(urls),
        transfer_folder=transfer_folder or "/dev/shm",
        health_every_s=health_every_s,
        health_timeout_s=health_timeout_s,
    )
    started = True
    return engine


def gpu_shares(
    replicas: int, tensor_parallel_size: int, gpus: Sequence[int] | None, num_gpus: int
) -> list[list[int] | None]:
    """The GPUs of each replica; None where there are none. Raises ConfigError if they do not suffice."""
    needed = replicas * tensor_parallel_size
    if gpus is None:
        if num_gpus == 0:
            return [None] * replicas
        if needed >= num_gpus:
            raise ConfigError(
                f"{replicas} replicas on {tensor_parallel_size} GPUs each need {needed} GPUs beside the learner's, and this "
                f"machine shows {num_gpus}. Ask for fewer, or name the GPUs they may use in gpus."
            )
        gpus = range(num_gpus - needed, num_gpus)
    elif len(set(gpus)) != needed or len(gpus) != needed:
        raise ConfigError(
            f"gpus is {list(gpus)}; {replicas} replicas on {tensor_parallel_size} GPUs each need {needed} different ones"
        )
    each = tensor_parallel_size
    return [list(gpus[number * each : (number + 1) * each]) for number in range(replicas)]


def _known(options: dict[str, Any], *functions: Callable[..., Any]) -> dict[str, Any]:
    """`options`, if the functions together have a setting of every name."""
    own = ("self", "cls", "url", "path", "tokenizer")
    names = {name for function in functions for name in inspect.signature(function).parameters} - set(own)
    names -= {"launch", "connect"}
    if unknown := sorted(options.keys() - names):
        raise ConfigError(
            f"engine_options has {', '.join(unknown)}, unknown here; there are {', '.join(sorted(names))}"
        )
    return options


def _until_it_answers(connect: Callable[[], VLLMServerEngine], timeout_s: float) -> VLLMServerEngine:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return connect()
        except EngineError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def _num_gpus() -> int:
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
