"""Time per step, idle share and bottleneck of a run that has not been started yet; or the same beside measured steps.

    python bench/plan.py --model 7b --gpu h200 --learner-gpus 4 --engine-gpus 4 --answer-tokens 2000 --verify-s 0.1
    python bench/plan.py --check                 # predicts steps of the quickstart on this machine, then measures them

What a GPU does is taken from its data sheet and the shares of it below, which are assumptions until they have been measured;
`bench/planning.py` plays the step. `--check` measures two small batches instead, and predicts larger ones from them.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import rlvr
from rlvr_trainers.tiny import build_tiny_model

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that the scripts find each other, wherever they are run from

from bench.planning import Machine, Mode, Workload, bottlenecks, simulate
from bench.shapes import SHAPES, Shape


class GPU(NamedTuple):
    """Data sheet: dense bfloat16 operations a second, bytes a second of its memory, bytes of memory."""

    flops: float
    bandwidth: float
    memory: float


GPUS = {
    "a100": GPU(312e12, 2.04e12, 80e9),
    "h100": GPU(989e12, 3.35e12, 80e9),
    "h200": GPU(989e12, 4.8e12, 141e9),
    "l40s": GPU(362e12, 0.864e12, 48e9),
}
LEARNER_MFU = 0.40
"""Share of the peak that the update reaches."""
DECODE_BANDWIDTH = 0.7
"""Share of the memory's speed at which weights and caches are read."""
PREFILL_MFU = 0.5
STEP_S, SEQUENCE_S = 3e-3, 20e-6
"""Of an engine's scheduler and sampler: for a step, and for each sequence in it."""
SYNC_BYTES_S = 3e9
"""Through files in shared memory, written and read once."""
OPTIMIZER_BYTES = 30
"""Read and written for each weight by AdamW in float32 with a bfloat16 copy."""


def machine_of(shape: Shape, gpu: GPU, args: argparse.Namespace) -> Machine:
    """The rates that the data sheet gives for this model."""
    parts = args.tensor_parallel
    bandwidth = parts * gpu.bandwidth * DECODE_BANDWIDTH
    weights = 2 * shape.parameters
    operations = 2 * shape.matmul_parameters
    context = args.prompt_tokens + args.answer_tokens / 2
    # Forward and backward, and one forward pass for the old log-probabilities and each reference.
    learning = shape.training_flops(1, context) * (1 + args.forward_passes / 3)
    free = parts * 0.9 * gpu.memory - weights
    slots = int(min(args.slots, free / shape.kv_bytes() / (args.prompt_tokens + args.answer_tokens)))
    if slots < 1:
        raise SystemExit(f"{args.model} leaves no memory for a sequence on {parts} {args.gpu}; raise --tensor-parallel")
    return Machine(
        engines=args.engine_gpus // parts,
        slots=slots,
        step_s=STEP_S + weights / bandwidth,
        sequence_s=SEQUENCE_S + operations / (parts * gpu.flops * PREFILL_MFU),
        context_s=shape.kv_bytes() / bandwidth,
        prefill_s=operations / (parts * gpu.flops * PREFILL_MFU),
        verifiers=args.verifiers,
        learn_token_s=learning / (args.learner_gpus * gpu.flops * LEARNER_MFU),
        learn_s=OPTIMIZER_BYTES * shape.parameters / args.learner_gpus / gpu.bandwidth,
        sync_s=weights / SYNC_BYTES_S,
        rollout_s=args.driver_s,
    )


def plan(args: argparse.Namespace) -> None:
    """Print both modes for one setting."""
    shape, gpu = SHAPES[args.model], GPUS[args.gpu]
    work = Workload(
        args.prompts, args.group, args.prompt_tokens, args.answer_tokens, args.spread, args.max_tokens, args.verify_s
    )
    machine = machine_of(shape, gpu, args)
    print(
        f"{args.model}: {shape.parameters / 1e9:.2f} B weights; {args.engine_gpus} {args.gpu} generate as {machine.engines} "
        f"engines of {machine.slots} slots, {args.learner_gpus} learn; {args.prompts} x {args.group} answers a step"
    )
    print(
        "| | step s | rollout s | of it tail | update s | sync s | engines idle | learner idle | verifiers idle | tokens/s |"
    )
    print("| --- " * 10 + "|")
    for mode in get_args(Mode):
        report = simulate(work, machine, mode)
        print(
            f"| {mode} | {report.step_s:.1f} | {report.rollout_s:.1f} | {report.tail_s:.1f} | {report.update_s:.1f} | "
            f"{report.sync_s:.1f} | {report.engines_idle:.0%} | {report.learner_idle:.0%} | {report.verifiers_idle:.0%} | "
            f"{report.tokens_per_s:,.0f} |"
        )
    for mode in get_args(Mode):
        gains = ", ".join(f"{name} {gain:.0%}" for name, gain in bottlenecks(work, machine, mode))
        print(f"{mode}: twice as fast would take off the step: {gains}")


class Measured(NamedTuple):
    """Medians over the steps of a run but the first."""

    rollout_s: float
    update_s: float
    step_s: float
    answers: int
    tokens: float
    """Of all prompts and answers of a step."""
    prompt_tokens: float
    answer_tokens: float
    spread: float


VERIFY_S = 0.04
"""What the slow verifier of the check takes."""


@rlvr.register("bench/slow-v0")
def slow(rng: random.Random) -> rlvr.Task:
    """The quickstart's prompts."""
    return rlvr.Task(f"{rng.randint(100, 999)}+{rng.randint(100, 999)}=", answer="0")


@slow.verifier
def judge(task: rlvr.Task, text: str) -> rlvr.Score:
    """A verifier that waits, as one does that asks a service or runs tests."""
    time.sleep(VERIFY_S)
    return rlvr.Score(0.0)


QUICKSTART: dict[str, Any] = {"env": "math/arithmetic-v0", "knobs": {"terms": 2, "digits": 3, "operators": "+"}}
SLOW: dict[str, Any] = {"env": "bench/slow-v0"}


def run_steps(folder: Path, prompts: int, task: dict[str, Any], steps: int = 8) -> Measured:
    """Real GRPO steps of the quickstart's model on random weights; groups without a right answer are kept."""
    from rlvr.tracking import read_metrics, read_rollouts, rollout_files
    from rlvr_trainers import GRPOConfig, train_grpo

    out = folder / f"run-{prompts}-{task['env'].replace('/', '-')}"
    config = GRPOConfig(
        model=str(folder / "model"),
        out=str(out),
        steps=steps,
        prompts_per_step=prompts,
        group_size=8,
        max_tokens=40,
        learning_rate=1e-9,  # so that the lengths stay those of the first step
        keep_dead_groups=True,
        scoring_workers=2,
        **task,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing is learned here, which the trainer says
        train_grpo(config, quiet=True)
    rows = [row for row in read_metrics(out) if row["step"] > 1]
    parts = [
        (trajectory.prompt_length, len(trajectory.token_ids) - trajectory.prompt_length)
        for path in rollout_files(out).values()
        for trajectory in read_rollouts(path)
    ]
    lengths = [length for _, length in parts]
    prompt_tokens = statistics.mean(length for length, _ in parts)

    def median(*names: str) -> float:
        return statistics.median(sum(row[f"time/{name}_s"] for name in names) for row in rows)

    return Measured(
        rollout_s=median("rollout"),
        update_s=median("prepare", "update"),
        step_s=median("rollout", "prepare", "update", "sync"),
        answers=8 * prompts,
        tokens=8 * prompts * (prompt_tokens + statistics.mean(lengths)),
        prompt_tokens=prompt_tokens,
        answer_tokens=statistics.mean(lengths),
        spread=statistics.pstdev(lengths) / statistics.mean(lengths),
    )


def decode_rates(folder: Path) -> tuple[float, float]:
    """Seconds of a decode step, and of each sequence in it, from batches of 16 and 128."""
    from rlvr.generation.engine import Request, Sampling
    from rlvr.generation.transformers import TransformersEngine

    engine = TransformersEngine(folder / "model")
    engine._end_ids = []  # every answer then has the same length
    ids = engine.tokenizer.encode("123+456=")
    tokens = 24
    step_times = {}
    for rows in (16, 128):
        requests = [Request(ids, seed=number) for number in range(rows)]
        times = []
        for _ in range(6):
            began = time.perf_counter()
            engine.generate(requests, Sampling(max_tokens=tokens))
            times.append((time.perf_counter() - began) / tokens)
        step_times[rows] = statistics.median(times[1:])
    sequence_s = max((step_times[128] - step_times[16]) / 112, 0.0)
    return step_times[16] - 16 * sequence_s, sequence_s


def check() -> None:
    """Rates from small batches, predictions for larger ones and for a slow verifier, and those measured."""
    torch_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build_tiny_model(folder / "model", alphabet="0123456789+= \n", layers=2, hidden=64, heads=4, max_length=128)
        step_s, sequence_s = decode_rates(folder)
        small, middle = run_steps(folder, 4, QUICKSTART), run_steps(folder, 12, QUICKSTART)
        token_s = max((middle.update_s - small.update_s) / (middle.tokens - small.tokens), 0.0)
        machine = Machine(
            engines=1, slots=10**6, step_s=step_s, sequence_s=sequence_s, context_s=0.0, prefill_s=0.0, verifiers=2,
            learn_token_s=token_s, learn_s=max(small.update_s - token_s * small.tokens, 0.0), sync_s=0.0,
        )  # fmt: skip
        # What else a rollout does for each answer: tokenizing, texts, hand-over, a fast verdict.
        rest = middle.rollout_s - simulate(workload(middle, 12), machine).rollout_s
        machine = replace(machine, rollout_s=max(rest, 0.0) / middle.answers)
        print(
            f"from batches of 32 and 96 answers: decode step {step_s * 1e3:.2f} ms + {sequence_s * 1e6:.0f} us a sequence, "
            f"update {machine.learn_s * 1e3:.0f} ms + {token_s * 1e6:.1f} us a token, {machine.rollout_s * 1e6:.0f} us an answer"
        )
        print(
            "| case | predicted rollout s | measured | predicted update s | measured | predicted step s | measured | off |"
        )
        print("| --- " * 8 + "|")
        for prompts, task, verify_s in ((24, QUICKSTART, 0.0), (32, QUICKSTART, 0.0), (12, SLOW, VERIFY_S)):
            report = simulate(workload(middle, prompts, verify_s), machine)
            seen = run_steps(folder, prompts, task)
            name = f"{prompts} x 8" + (f", verdicts of {verify_s * 1e3:.0f} ms" if verify_s else "")
            print(
                f"| {name} | {report.rollout_s:.3f} | {seen.rollout_s:.3f} | {report.update_s:.3f} | {seen.update_s:.3f} | "
                f"{report.step_s:.3f} | {seen.step_s:.3f} | {report.step_s / seen.step_s - 1:+.0%} |"
            )


def workload(seen: Measured, prompts: int, verify_s: float = 0.0) -> Workload:
    """A step of this many prompts, with the lengths that were seen."""
    return Workload(prompts, 8, seen.prompt_tokens, seen.answer_tokens, seen.spread, 40, verify_s)


def torch_threads(number: int) -> None:
    """One thread, as the rates are of one."""
    import torch

    torch.set_num_threads(number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="predict and measure steps of the quickstart here")
    parser.add_argument("--model", default="1.5b", choices=[name for name in SHAPES if name != "tiny"])
    parser.add_argument("--gpu", default="h200", choices=list(GPUS))
    parser.add_argument("--learner-gpus", type=int, default=1)
    parser.add_argument("--engine-gpus", type=int, default=1)
    parser.add_argument("--tensor-parallel", type=int, default=1, help="GPUs of an engine")
    parser.add_argument("--slots", type=int, default=256, help="most sequences an engine decodes at a time")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--prompt-tokens", type=float, default=200)
    parser.add_argument("--answer-tokens", type=float, default=1000, help="mean length")
    parser.add_argument("--spread", type=float, default=0.7, help="standard deviation of the length over its mean")
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--verify-s", type=float, default=0.02, help="mean time of a verdict")
    parser.add_argument("--verifiers", type=int, default=8)
    parser.add_argument("--forward-passes", type=int, default=1, help="old log-probabilities, and one for a reference")
    parser.add_argument("--driver-s", type=float, default=2e-4, help="of the driver, for each answer")
    args = parser.parse_args()
    if args.engine_gpus % args.tensor_parallel or args.engine_gpus < args.tensor_parallel:
        raise SystemExit(f"{args.engine_gpus} GPUs cannot be shared out to engines of {args.tensor_parallel}")
    if args.check:
        check()
    else:
        plan(args)


if __name__ == "__main__":
    main()
