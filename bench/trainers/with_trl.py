"""The same update by TRL's GRPOTrainer, with transformers' own generation."""

from __future__ import annotations

import resource
import sys
import tempfile
from typing import Any

import torch
from datasets import Dataset
from task import MAX_TOKENS, SETTINGS, Recorder, problems, score
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class Watch(TrainerCallback):  # type: ignore[misc]
    """Hands each step's reward to the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.recorder.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.recorder.step(self.trainer._metrics["train"]["reward"][-1])


def exact_match(completions: list[str], answer: list[str], **kwargs: Any) -> list[float]:
    return [score(*pair) for pair in zip(completions, answer, strict=True)]


def main(folder: str, out: str, seed: int) -> None:
    torch.set_num_threads(1)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    recorder = Recorder()
    watch = Watch(recorder)
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=exact_match,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(problems()),
        callbacks=[watch],
        args=GRPOConfig(
            output_dir=tempfile.mkdtemp(),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=SETTINGS["prompts_per_step"] * SETTINGS["group_size"],
            num_generations=SETTINGS["group_size"],
            max_completion_length=MAX_TOKENS,
            learning_rate=SETTINGS["learning_rate"],
            lr_scheduler_type="constant",
            max_grad_norm=SETTINGS["max_grad_norm"],
            weight_decay=0.0,
            loss_type="dapo",
            scale_rewards="group",
            beta=0.0,
            max_steps=SETTINGS["max_steps"],
            seed=seed,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    )
    watch.trainer = trainer
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    recorder.save(out, peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
