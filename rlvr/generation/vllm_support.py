"""What the two vLLM engines share, without importing vLLM: environment, settings, the checks before a start."""

from __future__ import annotations

import hashlib
import os
import random
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlvr.errors import ConfigError
from rlvr.generation.adapters import room_for
from rlvr.generation.engine import Request, Sampling
from rlvr.generation.seeds import row_seed
from rlvr.generation.vllm_versions import vllm_version
from rlvr.generation.weights import WeightShapes

BACKEND = "rlvr"
"""The name under which `vllm_worker` registers its way of transferring weights."""
WORKER_EXTENSION = "rlvr.generation.vllm_worker.WorkerExtension"


def prepare_environment() -> None:
    """Variables that vLLM reads when it is imported; those that are set already stay.

    The engine lives in this process (not in one of its own), reports nothing to anybody, and on a CPU neither compiles nor
    pins threads: for models that a CPU can serve, compiling costs more than it saves.
    """
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    for name, value in server_environment().items():
        os.environ.setdefault(name, value)


def server_environment() -> dict[str, str]:
    """The variables of `prepare_environment` that hold for a process of its own, too."""
    settings = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    if not torch.cuda.is_available():
        settings |= {"TORCH_COMPILE_DISABLE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    return settings


def adapter_flags(lora_rank: int, *, versions: int) -> dict[str, Any]:
    """vLLM's settings for adapters of up to `lora_rank`, `versions` of them at a time; none for 0. Raises ConfigError."""
    if lora_rank == 0:
        return {}
    return {"enable_lora": True, "max_lora_rank": room_for(lora_rank), "max_loras": versions}


def memory_folder() -> str:
    """A folder in shared memory, where there is one."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()


@contextmanager
def untouched_process() -> Iterator[None]:
    """Whatever vLLM does inside leaves the global random states and torch's number of threads as they were.

    vLLM seeds torch, random and NumPy when it starts, draws from torch's generator whenever it samples, and replaces
    `torch.set_num_threads` on a CPU.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = torch.cuda.get_rng_state_all() if started else None
    threads, set_threads = torch.get_num_threads(), torch.set_num_threads
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)
        torch.set_num_threads = set_threads
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def sampling_settings(request: Request, sampling: Sampling, limit: int, end_ids: Sequence[int]) -> dict[str, Any]:
    """vLLM's SamplingParams for one request, as keyword arguments or JSON."""
    settings: dict[str, Any] = {
        # Greedy answers are all the same, and vLLM refuses to give more than one.
        "n": 1 if sampling.temperature == 0 else request.n,
        # vLLM gives the answers of a request the seeds s, s + 1, ...: hashed, so that neighbouring requests share none.
        "seed": row_seed(request.seed, 0) >> 2,
        "max_tokens": limit,
        "temperature": sampling.temperature,
        "logprobs": 0,
        "stop_token_ids": [*end_ids, *sampling.stop_token_ids],
        "detokenize": bool(sampling.stop),
    }
    if sampling.stop:
        settings["stop"] = list(sampling.stop)
    if not sampling.full_distribution:
        settings |= {"top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": sampling.min_p}
    return settings


def probe_settings() -> dict[str, Any]:
    """SamplingParams that make vLLM score a prompt: raw log-probabilities, past its prefix cache."""
    return {
        "max_tokens": 1,
        "temperature": 0.0,
        "prompt_logprobs": 0,
        "detokenize": False,
        "skip_reading_prefix_cache": True,
    }


def digest_of(logprobs: Sequence[float]) -> str:
    """A digest of what an engine says about fixed tokens, bit by bit."""
    return hashlib.sha256(struct.pack(f"{len(logprobs)}d", *logprobs)).hexdigest()[:32]


def version_number(label: str | None) -> int:
    """rlvr labels weights with whole numbers; vLLM's own label for those it started from counts as 0."""
    return int(label) if label is not None and label.isdigit() else 0


def version_starts(spans: Sequence[tuple[str, int, int]]) -> tuple[int, tuple[tuple[int, int], ...]]:
    """The oldest version among vLLM's (version, start, end) spans of a completion, and where each begins if there are several."""
    starts = tuple((version_number(label), start) for label, start, _ in spans)
    return min((version for version, _ in starts), default=0), starts if len(starts) > 1 else ()


_CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""What vLLM's attention for CPUs serves (0.32, `cpu_attn.py`)."""


def check_heads(config: Any, path: str | Path, tensor_parallel_size: int) -> None:
    """Raises ConfigError if the attention heads cannot be shared out evenly, or on a CPU have a size it cannot serve."""
    text = config.get_text_config()
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    if not torch.cuda.is_available() and size not in _CPU_HEAD_SIZES:
        raise ConfigError(
            f"the attention heads of {str(path)!r} have {size} dimensions; on a CPU vLLM serves "
            f"{', '.join(map(str, _CPU_HEAD_SIZES))}. Use engine 'transformers' for this model."
        )
    if tensor_parallel_size < 1 or heads % tensor_parallel_size:
        divisors = [size for size in range(1, heads + 1) if heads % size == 0]
        raise ConfigError(
            f"tensor_parallel_size is {tensor_parallel_size}, but the {heads} attention heads of {str(path)!r} can only be "
            f"shared by {', '.join(map(str, divisors))}"
        )


def check_gpus(tensor_parallel_size: int, gpus: Sequence[int] | None) -> None:
    """Raises ConfigError if an engine is to be spread over GPUs that are not there. Without any GPU there is nothing to check."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus is not None:
        unknown = [number for number in gpus if not 0 <= number < count]
        if unknown:
            raise ConfigError(f"gpus names {unknown}, and this machine shows {count} GPUs, numbered from 0")
        if len(set(gpus)) != tensor_parallel_size:
            raise ConfigError(
                f"gpus is {list(gpus)} and tensor_parallel_size {tensor_parallel_size}; an engine needs one GPU for each part"
            )
    elif count and tensor_parallel_size > count:
        raise ConfigError(f"tensor_parallel_size is {tensor_parallel_size}, and this machine shows {count} GPUs")


def visible_devices(gpus: Sequence[int]) -> str:
    """CUDA_VISIBLE_DEVICES for a child that may use these of the GPUs that this process sees."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else None
    return ",".join(names[number].strip() if names else str(number) for number in gpus)


def serving_dtype(config: Any, dtype: torch.dtype | None) -> torch.dtype:
    """What the engine computes in.

    By default float32 on a CPU and the stored half precision, or bfloat16, on a GPU.
    """
    if dtype is not None:
        return dtype
    if not torch.cuda.is_available():
        return torch.float32
    stored = config.get_text_config().dtype
    return stored if stored in (torch.bfloat16, torch.float16) else torch.bfloat16


def kv_cache_bytes(config: Any, max_model_len: int, max_num_seqs: int, itemsize: int) -> int:
    """Key-value cache for all sequences at full length, at least 64 MiB and at most a quarter of the free main memory.

    Raises ConfigError if one sequence, or the weights beside it, do not fit.
    """
    per_token = kv_bytes_per_token(config, itemsize)
    blocks = -(-max_model_len // 128) + 1  # vLLM's blocks hold 128 tokens on a CPU
    needed = per_token * blocks * 128
    free = free_bytes()
    if needed > free // 2:
        raise ConfigError(
            f"one sequence of {max_model_len} tokens needs {needed >> 20} MiB of key-value cache, and {free >> 20} MiB of memory "
            "are free. Lower max_model_len or use a smaller model."
        )
    weights = WeightShapes.of_config(config).num_weights * itemsize
    if weights + needed > free:
        raise ConfigError(
            f"the weights take {weights >> 20} MiB and one sequence of {max_model_len} tokens {needed >> 20} MiB, and "
            f"{free >> 20} MiB of memory are free. Use a smaller model, or a machine with more memory."
        )
    return max(64 << 20, needed, min(needed * max_num_seqs, free // 4))


def check_gpu_memory(
    config: Any, path: str | Path, dtype: torch.dtype, share: float, tensor_parallel_size: int, *, max_model_len: int
) -> None:
    """Raises ConfigError if weights and one sequence do not fit into their share of a GPU's memory. Allocates nothing."""
    if not 0 < share <= 1:
        raise ConfigError(f"gpu_memory_utilization is {share}; it is the engine's share of the memory, in (0, 1]")
    if not torch.cuda.is_available():
        return
    total = torch.cuda.get_device_properties(0).total_memory
    needed = gpu_bytes_needed(config, dtype.itemsize, tensor_parallel_size, max_model_len)
    if needed > share * total:
        room = f"gpu_memory_utilization = {share:g} of {total / 2**30:.1f} GiB leaves {share * total / 2**30:.1f}"
        raise ConfigError(
            f"{str(path)!r} needs {needed / 2**30:.1f} GiB of each GPU for its weights and one sequence of {max_model_len} "
            f"tokens; {room}. Raise it or tensor_parallel_size, or lower max_model_len."
        )


def gpu_bytes_needed(config: Any, itemsize: int, tensor_parallel_size: int, max_model_len: int) -> int:
    """Weights and the key-value cache of one sequence, on each of the GPUs they are spread over."""
    weights = WeightShapes.of_config(config).num_weights * itemsize
    return (weights + kv_bytes_per_token(config, itemsize) * max_model_len) // tensor_parallel_size


def kv_bytes_per_token(config: Any, itemsize: int) -> int:
    """Keys and values of one token in all layers."""
    text = config.get_text_config()
    heads: int = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width: int = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * width * itemsize)


def free_bytes() -> int:
    """Main memory that can be had: on Linux with what the system would give back from its caches."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def start_failure(path: str | Path, fault: BaseException | str) -> ConfigError:
    """vLLM's own account of why it does not start, and what usually helps."""
    text = str(fault)
    lower = text.lower()
    if "lora" in lower:
        remedy = "vLLM cannot adapt this model; set serve_adapters = false, and the adapters are merged."
    elif "memory" in lower or "kv cache" in lower:
        remedy = (
            "Lower max_model_len or max_num_seqs, or give it more memory (kv_cache_memory_mb, gpu_memory_utilization)."
        )
    elif "not supported" in lower or "architectures" in lower:
        remedy = "vLLM cannot serve this model; use engine 'transformers'."
    else:
        remedy = "Try engine 'transformers' to tell a fault of the model from one of vLLM."
    line = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no message")
    return ConfigError(f"vLLM {vllm_version()} did not start with {str(path)!r}: {line[:400]}. {remedy}")
