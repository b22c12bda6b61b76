"""Which engine to use where nobody has said, and why. No torch: the choice can be printed before anything heavy loads."""

from __future__ import annotations

from typing import Literal, NamedTuple

from rlvr.errors import ConfigError

EngineName = Literal["transformers", "vllm"]

CPU_PARAMETERS = 5_000_000
"""On a CPU vLLM pays about 1.3 ms a step and 30 to 60 microseconds a sequence beside the model itself. Measured in tokens/s
against `generate` of transformers: 0.7 to 1.0 at 0.3 million parameters, 1.2 at 10 million (float32)."""


class Choice(NamedTuple):
    """An engine and the reason for it, in a sentence."""

    engine: EngineName
    reason: str


def choose_engine(num_parameters: int, *, on_gpu: bool) -> Choice:
    """The faster engine that is installed, for a model of `num_parameters` weights."""
    from rlvr.generation.vllm_versions import check_version, vllm_version

    version = vllm_version()
    try:
        check_version(version)
    except ConfigError as fault:
        return Choice("transformers", "vLLM is not installed" if version is None else str(fault))
    if on_gpu:
        return Choice("vllm", f"vLLM {version} is installed and there is a GPU")
    size = f"{num_parameters / 1e6:.1f} million parameters"
    if num_parameters < CPU_PARAMETERS:
        return Choice("transformers", f"on a CPU a decode loop outruns vLLM at {size} (limit: 5 million)")
    return Choice("vllm", f"vLLM {version} is installed and faster at {size} (limit on a CPU: 5 million)")
