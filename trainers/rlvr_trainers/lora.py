"""Low-rank adapters through peft: the model's own weights stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rlvr.errors import ConfigError


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


def _peft() -> Any:
    try:
        import peft
    except ImportError as fault:
        raise ConfigError(f"lora_rank needs peft ({fault}): pip install 'rlvr[peft]', or set lora_rank = 0") from fault
    return peft
