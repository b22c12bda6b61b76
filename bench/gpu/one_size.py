"""One model size: phases of real GRPO steps, the update alone, generation, and the update of the engine's weights.

python bench/gpu/one_size.py SIZE SCRATCH [--tiny]
"""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path
from typing import Any

import torch

from bench.gpu import common
from bench.shapes import SHAPES
from rlvr.generation.vllm_versions import vllm_version


def main() -> None:
    name, scratch = sys.argv[1], Path(sys.argv[2])
    sizes = common.sizes("--tiny" in sys.argv)
    common.quiet()
    began = time.perf_counter()
    folder = common.build_model(name, scratch)
    print(
        f"{SHAPES[name].parameters / 1e9:.3f} B random weights, built in {time.perf_counter() - began:.1f} s\n",
        flush=True,
    )
    for part in (generation, *([transfers] if vllm_version() is not None else []), update, grpo_steps):
        common.emit(part(name, folder, sizes))
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def open_engine(folder: Path) -> Any:
    """vLLM in this process where it is installed, else the decode loop."""
    if vllm_version() is not None:
        from rlvr.generation.vllm import VLLMEngine

        return VLLMEngine(folder, gpu_memory_utilization=0.4, max_model_len=2048, max_num_seqs=256)
    from rlvr.generation.transformers import TransformersEngine

    return TransformersEngine(folder)


def generation(name: str, folder: Path, sizes: common.Sizes) -> dict[str, str]:
    """Tokens per second of a step's rollouts, and what new weights cost beside a plain copy of the same bytes."""
    from transformers import AutoModelForCausalLM

    from rlvr.generation.engine import Request, Sampling
    from rlvr.generation.proof import prove_served

    engine = open_engine(folder)
    prompts = [[10 + (7 * i + j) % 80 for j in range(sizes.prompt_tokens)] for i in range(sizes.prompts)]
    sampling = Sampling(max_tokens=sizes.max_tokens)
    rates = []
    for _ in range(sizes.repeats):
        requests = [Request(ids, seed=number, n=sizes.group) for number, ids in enumerate(prompts)]
        common.synchronize()
        began = time.perf_counter()
        answers = engine.generate(requests, sampling)
        rates.append(sum(len(c.token_ids) for group in answers for c in group) / (time.perf_counter() - began))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").to(device).eval()
    copies = [parameter.detach().clone() for parameter in model.parameters()]
    copy_times, load_times = [], []
    for version in range(1, 1 + sizes.repeats):
        common.synchronize()
        began = time.perf_counter()
        for target, parameter in zip(copies, model.parameters(), strict=True):
            target.copy_(parameter.detach())
        common.synchronize()
        copy_times.append(time.perf_counter() - began)
        began = time.perf_counter()
        engine.load_weights(model.named_parameters(), version)
        common.synchronize()
        load_times.append(time.perf_counter() - began)
    dtype = getattr(engine, "dtype", next(model.parameters()).dtype)
    gap = prove_served(engine, model, sizes.repeats, served_dtype=dtype)
    engine_name = type(engine).__name__
    engine.close()
    return common.fields(
        engine=engine_name,
        rows=f"{sizes.prompts} x {sizes.group}, {sizes.prompt_tokens} + {sizes.max_tokens} tokens",
        generated_tokens_per_s=common.median(rates),
        load_weights_ms=1e3 * common.median(load_times),
        plain_copy_ms=1e3 * common.median(copy_times),
        load_weights_in_copies=common.median(load_times) / common.median(copy_times),
        difference_of_fixed_tokens_in_nats=gap,
        memory_of_generation=common.memory(),
    )


def transfers(name: str, folder: Path, sizes: common.Sizes) -> dict[str, str]:
    """What new weights for a vLLM server cost: on the first GPU by files and CUDA IPC, on the last of several by NCCL."""
    from transformers import AutoModelForCausalLM

    from rlvr.generation.proof import prove_served
    from rlvr.generation.transfer import Transfer
    from rlvr.generation.vllm_server import VLLMServerEngine

    gpus = torch.cuda.device_count()
    places: dict[int | None, tuple[Transfer, ...]] = {None: ("files", "shared_memory", "broadcast")}
    if gpus:  # NCCL takes no GPU twice
        places = {0: ("files", "shared_memory")} | ({gpus - 1: ("broadcast",)} if gpus > 1 else {})
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").to("cuda" if gpus else "cpu").eval()
    found: dict[str, float] = {}
    for place, ways in places.items():
        server = VLLMServerEngine.launch(
            folder,
            transfer="files",
            gpus=None if place is None else [place],
            gpu_memory_utilization=0.4,
            max_model_len=2048,
            max_num_seqs=64,
        )
        for way in ways:
            engine = VLLMServerEngine(server._connection.url, folder, transfer=way)
            times = []
            for version in range(1, 1 + sizes.repeats):
                common.synchronize()
                began = time.perf_counter()
                engine.load_weights(model.named_parameters(), version)
                times.append(time.perf_counter() - began)
            prove_served(engine, model, sizes.repeats, served_dtype=engine.dtype)
            found[f"load_weights_of_a_server_by_{way}_ms"] = 1e3 * common.median(times)
            engine.close()
        server.close()
    return common.fields(**found)


def update(name: str, folder: Path, sizes: common.Sizes) -> dict[str, str]:
    """The learner alone, on rows of full length: tokens per second, MFU and peak memory."""
    from rlvr.generation.loading import load_model
    from rlvr_trainers import losses
    from rlvr_trainers.batch import Batch
    from rlvr_trainers.learner import Learner, best_device
    from rlvr_trainers.optimizer import OptimizerConfig

    device = best_device()
    model = load_model(folder, device, torch.float32)
    learner = Learner(
        model, OptimizerConfig(learning_rate=1e-6), total_updates=9, token_budget=sizes.token_budget, device=device
    )
    learner.model.train()
    rows, width = sizes.prompts * sizes.group // 2, sizes.prompt_tokens + sizes.max_tokens
    ids = torch.randint(10, 90, (rows, width)).tolist()
    mask = [[False] * sizes.prompt_tokens + [True] * sizes.max_tokens] * rows
    batch = Batch.from_rows(ids, mask, per_row={"advantages": [1.0, -1.0] * (rows // 2)})
    num_items = float(losses.denominator("dapo", batch.mask_BT))

    def loss(
        micro: Batch, logprobs_BT: torch.Tensor, entropy_BT: torch.Tensor | None
    ) -> tuple[torch.Tensor, dict[str, float]]:
        value = losses.policy_loss(
            "dapo",
            logprobs_BT=logprobs_BT,
            old_logprobs_BT=logprobs_BT.detach(),
            advantages=micro.fields["advantages"],
            mask_BT=micro.mask_BT,
            num_items=num_items,
        )
        return value, {}

    times = []
    for _ in range(sizes.repeats):
        common.synchronize()
        began = time.perf_counter()
        learner.update(batch, loss, entropy="metric")
        common.synchronize()
        times.append(time.perf_counter() - began)
    seconds, tokens = common.median(times), float(rows * width)
    return common.fields(
        update_rows=f"{rows} of {width} tokens, micro-batches of {sizes.token_budget}",
        update_s=seconds,
        update_tokens_per_s=tokens / seconds,
        update_MFU=common.mfu(SHAPES[name], tokens, width / 2, seconds),
        memory_of_update=common.memory(),
    )


def grpo_steps(name: str, folder: Path, sizes: common.Sizes) -> dict[str, str]:
    """Whole steps as `rlvr train` makes them."""
    from rlvr.tracking import read_metrics
    from rlvr_trainers import GRPOConfig, train_grpo

    on_vllm = vllm_version() is not None
    out = folder.parent / f"run-{name}"
    config = GRPOConfig(
        model=str(folder),
        env=common.ENV,
        out=str(out),
        engine="vllm" if on_vllm else "transformers",
        engine_options={"gpu_memory_utilization": 0.3, "max_model_len": 2048, "max_num_seqs": 256} if on_vllm else {},
        steps=sizes.steps,
        prompts_per_step=sizes.prompts,
        group_size=sizes.group,
        max_tokens=sizes.max_tokens,
        learning_rate=1e-6,
        token_budget=sizes.token_budget,
        keep_dead_groups=True,
    )
    train_grpo(config, quiet=True)
    rows = [row for row in read_metrics(out) if row["step"] > 1]
    phases = {key: common.median([row[key] for row in rows]) for key in rows[0] if key.startswith("time/")}
    phases.pop("time/processor_s", None)
    whole = sum(phases.values())
    shares = {f"step: {key[5:-2]}": f"{seconds:.3f} s ({seconds / whole:.0%})" for key, seconds in phases.items()}
    tokens = common.median([row["tokens"] for row in rows])
    learning = phases.get("time/update_s", 0.0)
    return {
        **shares,
        **common.fields(
            step_s=whole,
            step_tokens=tokens,
            step_tokens_per_s=tokens / whole,
            MFU_of_the_steps_update=common.mfu(SHAPES[name], tokens, tokens / sizes.prompts / sizes.group / 2, learning)
            if learning
            else "-",
            largest_mismatch=max(row.get("mismatch", 0.0) for row in rows),
            memory_of_the_run=common.memory(),
        ),
    }


if __name__ == "__main__":
    main()
