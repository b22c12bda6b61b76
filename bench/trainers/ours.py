"""The same update by `train_grpo`, through its public door: an environment, a scoring pool, a run folder."""

from __future__ import annotations

import resource
import sys
import tempfile
from pathlib import Path

import torch
from task import MAX_TOKENS, SETTINGS, Recorder, problems, score

import rlvr
from rlvr_trainers import GRPOConfig, train_grpo
from rlvr_trainers.run import Run

rlvr.register(
    "bench/addition-v0",
    rows=lambda: [{**row, "split": "train"} for row in problems()],
    prompt="{prompt}",
    split="split",
    verify=lambda task, text: rlvr.Score(score(text, task.answer)),
)


def main(folder: str, out: str, seed: int, mode: str) -> None:
    torch.set_num_threads(1)
    recorder = Recorder()
    begin_run, end_step = Run.evaluate_start, Run.end_step

    def started(run: Run) -> None:
        begin_run(run)
        recorder.start()

    def recorded(run: Run) -> None:
        end_step(run)
        recorder.step(run.last["reward"])

    Run.evaluate_start, Run.end_step = started, recorded  # type: ignore[method-assign]
    train_grpo(
        GRPOConfig(
            model=folder,
            out=str(Path(tempfile.mkdtemp()) / "run"),
            env="bench/addition-v0",
            steps=SETTINGS["max_steps"],
            prompts_per_step=SETTINGS["prompts_per_step"],
            group_size=SETTINGS["group_size"],
            learning_rate=SETTINGS["learning_rate"],
            max_grad_norm=SETTINGS["max_grad_norm"],
            max_tokens=MAX_TOKENS,
            keep_dead_groups=mode == "same-update",
            rollouts_every=0,
            seed=seed,
        ),
        quiet=True,
    )
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    recorder.save(
        out,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        workers_s=children.ru_utime + children.ru_stime,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "default")
