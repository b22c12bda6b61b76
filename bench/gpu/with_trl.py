"""The same GRPO steps by TRL, on the same random weights, prompts and sizes.

python bench/gpu/with_trl.py SIZE SCRATCH [--tiny]
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from bench.gpu import common


def main() -> None:
    if importlib.util.find_spec("trl") is None:
        print("TRL is not installed here, so nothing stands beside our steps")
        return
    name, scratch = sys.argv[1], Path(sys.argv[2])
    sizes = common.sizes("--tiny" in sys.argv)
    common.quiet()
    folder = common.build_model(name, scratch)
    common.emit(steps(folder, sizes))


def steps(folder: Path, sizes: common.Sizes) -> dict[str, str]:
    """Seconds a step; TRL generates with transformers unless vLLM is one of those it supports."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    import rlvr

    times: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        """Wall time of each step."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            common.synchronize()
            self.began = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            common.synchronize()
            times.append(time.perf_counter() - self.began)

    tasks = rlvr.tasks(common.ENV, n=sizes.prompts * sizes.steps)
    on_gpu = torch.cuda.is_available()
    rows = sizes.prompts * sizes.group
    # As many rows a pass as our token budget holds; a step is the same number of rows.
    rows_a_pass = max(sizes.group, min(rows, sizes.token_budget // (sizes.prompt_tokens + sizes.max_tokens)))
    while rows % rows_a_pass:
        rows_a_pass -= 1
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        reward_funcs=lambda completions, **kwargs: [float(len(text) % 2) for text in completions],
        processing_class=AutoTokenizer.from_pretrained(folder, padding_side="left"),
        train_dataset=Dataset.from_list([{"prompt": task.prompt} for task in tasks]),
        callbacks=[Clock()],
        args=GRPOConfig(
            output_dir=tempfile.mkdtemp(),
            use_cpu=not on_gpu,
            bf16=on_gpu,
            gradient_checkpointing=False,
            per_device_train_batch_size=rows_a_pass,
            gradient_accumulation_steps=rows // rows_a_pass,
            num_generations=sizes.group,
            max_completion_length=sizes.max_tokens,
            learning_rate=1e-6,
            beta=0.0,
            loss_type="dapo",
            max_steps=sizes.steps,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    tokens = float(rows * sizes.max_tokens)
    return common.fields(
        TRL_step_s=common.median(times),
        TRL_answer_tokens_per_s=tokens / common.median(times),
        TRL_memory=common.memory(),
    )


if __name__ == "__main__":
    main()
