"""Low-rank adapters through peft: the model's own weights stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr.generation.adapters import AdapterSettings
from rlvr_trainers.sharding import whole


def add_adapters(model: Any, *, rank: int, alpha: float, seed: int) -> Any:
    """The model with fresh adapters on every linear layer but the head. Hu et al. 2021, arXiv:2106.09685.

    They are float32 and start as an exact zero, so the policy is unchanged. Raises ConfigError without peft.
    """
    peft = _peft()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = peft.LoraConfig(
            r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        return peft.get_peft_model(model, config)


def load_adapters(model: Any, path: Path) -> Any:
    """The model with the adapters of a checkpoint, ready to be trained on."""
    return _peft().PeftModel.from_pretrained(model, str(path), is_trainable=True)


def named_adapters(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Name, as peft writes it to a file, and tensor of every adapter; those in pieces are gathered with all other ranks."""
    name_of_adapter = _active(model)
    for name, parameter in model.named_parameters():
        if ".lora_A." in name or ".lora_B." in name:
            yield name.replace(f".{name_of_adapter}.weight", ".weight"), whole(parameter.detach())


def adapter_settings(model: Any) -> AdapterSettings:
    """What the tensors of `named_adapters` mean."""
    config = model.peft_config[_active(model)]
    modules = [
        name.partition(".lora_A.")[0].removeprefix("base_model.model.")
        for name, _ in model.named_parameters()
        if ".lora_A." in name
    ]
    return AdapterSettings(config.r, config.lora_alpha, tuple(modules))


def _active(model: Any) -> str:
    [name] = model.active_adapters
    return str(name)


def _peft() -> Any:
    try:
        import peft
    except ImportError as fault:
        raise ConfigError(f"lora_rank needs peft ({fault}): pip install 'rlvr[peft]', or set lora_rank = 0") from fault
    return peft
