"""GRPO, PPO and what they are made of.

    from rlvr_trainers import GRPOConfig, train_grpo, PPOConfig, train_ppo
    from rlvr_trainers import losses, advantages

Nothing heavy is imported until one of these names is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlvr_trainers import advantages as advantages
    from rlvr_trainers import losses as losses
    from rlvr_trainers.dpo import DPOConfig as DPOConfig
    from rlvr_trainers.dpo import train_dpo as train_dpo
    from rlvr_trainers.grpo import GRPOConfig as GRPOConfig
    from rlvr_trainers.grpo import train_grpo as train_grpo
    from rlvr_trainers.ppo import PPOConfig as PPOConfig
    from rlvr_trainers.ppo import train_ppo as train_ppo
    from rlvr_trainers.reward_model import RewardModel as RewardModel
    from rlvr_trainers.reward_model import RewardModelConfig as RewardModelConfig
    from rlvr_trainers.reward_model import train_reward_model as train_reward_model
    from rlvr_trainers.rft import RFTConfig as RFTConfig
    from rlvr_trainers.rft import train_rft as train_rft
    from rlvr_trainers.sft import SFTConfig as SFTConfig
    from rlvr_trainers.sft import train_sft as train_sft
    from rlvr_trainers.tiny import build_tiny_model as build_tiny_model

_HOMES = {
    "GRPOConfig": "grpo",
    "train_grpo": "grpo",
    "PPOConfig": "ppo",
    "train_ppo": "ppo",
    "RewardModel": "reward_model",
    "RewardModelConfig": "reward_model",
    "train_reward_model": "reward_model",
    "DPOConfig": "dpo",
    "train_dpo": "dpo",
    "RFTConfig": "rft",
    "train_rft": "rft",
    "SFTConfig": "sft",
    "train_sft": "sft",
    "build_tiny_model": "tiny",
}
_MODULES = ("losses", "advantages")

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
