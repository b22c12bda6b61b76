"""TRL's GRPOTrainer on one of our environments, on a CPU, with a tiny model made from nothing.

    pip install trl && python examples/exports/trl_grpo.py

It shows that the reward function and the rows fit, not that a random model learns in ten steps.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from rlvr_envs.adapters.trl import to_trl
from rlvr_trainers.tiny import build_tiny_model

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        model = str(build_tiny_model(Path(folder, "model")))
        rows, reward = to_trl("text/reverse-v0", n=64, length=4)
        trainer = GRPOTrainer(
            model,
            reward_funcs=reward,
            train_dataset=Dataset.from_list([{**row, "prompt": row["prompt"][0]["content"]} for row in rows]),
            args=GRPOConfig(
                output_dir=str(Path(folder, "trl")),
                max_steps=10,
                per_device_train_batch_size=8,
                num_generations=8,
                max_completion_length=16,
                logging_steps=5,
                report_to=[],
                use_cpu=True,
            ),
        )
        trainer.train()
        print(
            "rewards by TRL's log:",
            [round(entry["reward"], 3) for entry in trainer.state.log_history if "reward" in entry],
        )
