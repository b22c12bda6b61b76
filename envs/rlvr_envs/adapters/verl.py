"""Our environments in verl: parquet rows, and the reward function that its config names.

write_verl("math/arithmetic-v0", "train.parquet", n=10_000)
write_verl("math/arithmetic-v0", "eval.parquet", n=500, split="eval")

custom_reward_function.path=.../rlvr_envs/adapters/verl.py custom_reward_function.name=compute_score
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rlvr
from rlvr.errors import ConfigError, EnvironmentFault
from rlvr_envs.adapters.rows import TASK, task_of, to_rows, write_parquet


def to_verl(env_id: str, n: int | None = None, **settings: Any) -> list[dict[str, Any]]:
    """Rows in verl's shape: `data_source`, `prompt`, `ability`, `reward_model`, `extra_info`. Single-turn environments only."""
    if rlvr.spec(env_id).max_turns > 1:
        raise ConfigError(f"{env_id} takes several turns; verl's reward function sees one text only")
    return [
        {
            "data_source": env_id,
            "prompt": row["prompt"],
            "ability": env_id.partition("/")[0],
            "reward_model": {"style": "rule", "ground_truth": row[TASK]},
            "extra_info": {"split": row["split"], "index": row["index"]},
        }
        for row in to_rows(env_id, n, **settings)
    ]


def write_verl(env_id: str, path: str | Path, n: int | None = None, **settings: Any) -> None:
    """The rows as the parquet file that verl reads."""
    write_parquet(to_verl(env_id, n, **settings), path)


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None, **settings: Any
) -> dict[str, Any]:
    """verl's reward function: `score` and, beside it, `reason` and the parts.

    Scores in a process that is killed on time, so it may be called from any thread. Raises EnvironmentFault if the verifier
    failed: verl would otherwise train on a 0 that says nothing about the answer.
    """
    score = rlvr.score([task_of(ground_truth)], [solution_str])[0]
    if score.error:
        raise EnvironmentFault(f"{data_source}: no verdict: {score.error}")
    return {"score": score.reward, "reason": score.reason, **score.parts}
