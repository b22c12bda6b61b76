"""Tokens per second of processor time, and what an update of the weights costs: ours beside plain loops and raw vLLM.

    python bench/generation.py                   # where vLLM is installed (.venv-vllm) its rows are there too
    python bench/generation.py --sizes tiny,10m --rows 64 --new 64 --rounds 5
    python bench/generation.py --server          # the update of a vLLM server by each transfer, too
    python bench/generation.py --adapters 16     # beside it, an engine that serves an adapter of this rank (needs peft)

All engines continue the same prompts of the same random-weight model with temperature 1 and give the log-probability of
every sampled token, in one thread. Rounds alternate between engines; the table gives the median and the range. A rollout
also decodes the texts and builds trajectories; its answers all end at the limit, so that none is scored.
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

import rlvr
from rlvr.chat import Conversation
from rlvr.generation.engine import Request, Sampling
from rlvr.generation.transfer import Transfer
from rlvr.generation.transformers import TransformersEngine
from rlvr.generation.vllm_server import VLLMServerEngine
from rlvr.generation.vllm_versions import vllm_version
from rlvr.rollout import rollout
from rlvr_trainers.lora import adapter_settings, add_adapters, named_adapters
from rlvr_trainers.tiny import build_tiny_model
from rlvr_trainers.weight_sync import named_weights, sync_weights

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"layers": 2, "hidden": 128, "heads": 4},
    "10m": {"layers": 6, "hidden": 384, "heads": 6},
}
TRANSFERS: tuple[Transfer, ...] = ("files", "broadcast", "shared_memory")
ALPHABET = "0123456789+-*/=(). abcdefghijklmnopqrstuvwxyz\n"


@rlvr.register("bench/sum-v0")
def sums(rng: random.Random) -> rlvr.Task:
    """Prompts of like length."""
    left, right = rng.randint(100, 999), rng.randint(100, 999)
    return rlvr.Task(f"{left} + {right} = ", answer=str(left + right))


@torch.no_grad()
def plain_loop(model: Any, ids_BT: torch.Tensor, mask_BT: torch.Tensor, new: int) -> tuple[list[Any], list[Any]]:
    """Key-value cache, multinomial, one forward pass a token: the least that sampling can do."""
    tokens, logprobs = [], []
    positions_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
    past, step_ids = None, ids_BT
    for _ in range(new):
        reply = model(
            input_ids=step_ids, attention_mask=mask_BT, position_ids=positions_BT, past_key_values=past, use_cache=True
        )
        past = reply.past_key_values
        logprobs_BV = torch.log_softmax(reply.logits[:, -1], -1)
        token_B1 = torch.multinomial(logprobs_BV.exp(), 1)
        tokens.append(token_B1)
        logprobs.append(logprobs_BV.gather(1, token_B1))
        step_ids, positions_BT = token_B1, positions_BT[:, -1:] + 1
        mask_BT = torch.cat([mask_BT, torch.ones_like(token_B1)], 1)
    return torch.cat(tokens, 1).tolist(), torch.cat(logprobs, 1).tolist()


@torch.no_grad()
def hugging_face(model: Any, ids_BT: torch.Tensor, mask_BT: torch.Tensor, new: int) -> tuple[list[Any], list[Any]]:
    """`generate` with its scores."""
    reply = model.generate(
        input_ids=ids_BT,
        attention_mask=mask_BT,
        max_new_tokens=new,
        min_new_tokens=new,
        do_sample=True,
        top_k=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    tokens_BT = reply.sequences[:, ids_BT.shape[1] :]
    logprobs_BTV = torch.stack(reply.logits, 1).log_softmax(-1)
    return tokens_BT.tolist(), logprobs_BTV.gather(2, tokens_BT[:, :, None])[:, :, 0].tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="tiny,10m")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--server", action="store_true", help="time the update of a vLLM server by each transfer as well"
    )
    parser.add_argument("--adapters", type=int, default=0, help="rank of an adapter that vLLM serves as one")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for size in args.sizes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            build_tiny_model(folder, alphabet=ALPHABET, max_length=512, **SIZES[size])
            compare(size, folder, args)


def compare(size: str, folder: str, args: argparse.Namespace) -> None:
    """Print one table."""
    ours = TransformersEngine(folder)
    # No end token: every engine then makes the same number of tokens.
    ours._end_ids = []
    model, tokenizer = ours._model, ours.tokenizer
    tasks = rlvr.tasks("bench/sum-v0", n=args.rows // args.group)
    prompts = [Conversation(tokenizer, task.messages).prompt_ids() for task in tasks]
    requests = [Request(prompt, seed=number, n=args.group) for number, prompt in enumerate(prompts)]
    sampling = Sampling(max_tokens=args.new)
    rows = [prompt for prompt in prompts for _ in range(args.group)]
    width = max(map(len, rows))
    ids_BT = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask_BT = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    contenders: dict[str, Callable[[], Any]] = {
        "plain loop": lambda: plain_loop(model, ids_BT, mask_BT, args.new),
        "transformers generate": lambda: hugging_face(model, ids_BT, mask_BT, args.new),
        "rlvr transformers engine": lambda: ours.generate(requests, sampling),
    }
    if vllm_version() is not None:
        engine, fast = vllm_contenders(folder, requests, sampling, tasks)
        contenders |= fast
        if args.adapters:
            adapted, adapter_engine = with_adapter(folder, model, args.adapters)
            name = f"rlvr vLLM, adapter of rank {args.adapters}"
            contenders[name] = lambda: adapter_engine.generate(requests, sampling)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(args.rounds):
        for name, run in contenders.items():
            began = time.process_time()
            run()
            times[name].append(time.process_time() - began)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"\n{size}: {parameters:,} parameters, {args.rows} rows ({args.group} a prompt), {args.new} new tokens, float32"
    )
    print(f"{'':<28}{'tokens/s':>10}  {'range':<20}{'of plain loop':>14}")
    tokens = args.rows * args.new
    floor = tokens / statistics.median(times["plain loop"])
    for name, seconds in times.items():
        rate = tokens / statistics.median(seconds)
        span = f"{tokens / max(seconds):,.0f}..{tokens / min(seconds):,.0f}"
        print(f"{name:<28}{rate:>10,.0f}  {span:<20}{rate / floor:>14.2f}")
    if vllm_version() is None:
        return
    for name in ("rlvr vLLM engine", "rlvr rollout on vLLM"):
        shares = [raw / ours for raw, ours in zip(times["raw vLLM"], times[name], strict=True)]
        print(f"{name} / raw vLLM with the same log-probabilities: {statistics.median(shares):.3f}, round by round")
    updates("VLLMEngine", model, engine, args.rounds)
    if args.adapters:
        adapter_updates(adapted, adapter_engine, args.rounds)
        adapter_engine.close()  # not before the last use of the other: what vLLM closes is the whole process's
    engine.close()
    if args.server:
        server = VLLMServerEngine.launch(
            folder,
            transfer="files",
            max_num_seqs=64,
            kv_cache_memory_mb=64,
            start_timeout_s=1500,
            lora_rank=args.adapters,
        )
        for transfer in TRANSFERS:
            connected = VLLMServerEngine(server._connection.url, folder, transfer=transfer)
            updates(f"VLLMServerEngine by {transfer}", model, connected, args.rounds)
            connected.close()
        if args.adapters:
            adapter_updates(adapted, server, args.rounds)
        server.close()


def updates(title: str, model: Any, engine: Any, rounds: int) -> None:
    """What new weights cost until they are served, beside a plain copy of the same bytes and vLLM's own reload."""
    copies = [parameter.detach().clone() for parameter in model.parameters()]

    def plain() -> None:
        for target, parameter in zip(copies, model.parameters(), strict=True):
            target.copy_(parameter.detach())

    ways: dict[str, Callable[[], Any]] = {
        "plain copy": plain,
        "load_weights": lambda: engine.load_weights(model.named_parameters(), 1),
        "load_weights and its proof": lambda: sync_weights(engine, model, version=1),
    }
    llm = getattr(engine, "_llm", None)
    if llm is not None:
        weights = {"weights_iterator": [(name, value.detach()) for name, value in model.named_parameters()]}
        # Faster to call and not to be used: it leaves the old output head and the prefix cache in place (docs/vllm.md).
        ways["vLLM's reload_weights, head left stale"] = lambda: llm.collective_rpc("reload_weights", kwargs=weights)
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    print(f"\nupdate of {title}, {size / 1e6:.1f} MB, wall time")
    print_times(ways, rounds)


def adapter_updates(adapted: Any, engine: Any, rounds: int) -> None:
    """The same for a new adapter, then for merging it and sending the whole model."""
    sent = dict(named_adapters(adapted))
    size = sum(tensor.numel() * tensor.element_size() for tensor in sent.values())
    print(f"\nupdate of {type(engine).__name__} by an adapter, {size / 1e6:.1f} MB, wall time")
    copies = {name: tensor.clone() for name, tensor in sent.items()}
    plain = {"plain copy": lambda: [copies[name].copy_(tensor) for name, tensor in sent.items()]}
    ways = {
        "load_adapter": lambda: engine.load_adapter(sent.items(), adapter_settings(adapted), 1),
        "load_adapter and its proof": lambda: sync_weights(engine, adapted, version=1, as_adapters=True),
    }
    print_times(plain | ways, rounds)
    # Last, for the base weights are no longer those that the adapter belongs to.
    print_times(plain | {"merged, load_weights": lambda: engine.load_weights(named_weights(adapted), 1)}, rounds)


def print_times(ways: dict[str, Callable[[], Any]], rounds: int) -> None:
    """Median and range of each, in milliseconds and in multiples of the plain copy, which comes first."""
    for run in ways.values():
        run()
    for name, run in ways.items():
        seconds = []
        for _ in range(rounds):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        if name == "plain copy":
            copy_s = statistics.median(seconds)
        span = f"{min(seconds) * 1e3:.1f}..{max(seconds) * 1e3:.1f}"
        median = statistics.median(seconds)
        print(f"{name:<40}{median * 1e3:>8.1f} ms  {span:<16}{median / copy_s:>8.1f} copies")


def with_adapter(folder: str, model: Any, rank: int) -> tuple[Any, Any]:
    """The model with an adapter that does something, and an engine that serves it."""
    from rlvr.generation.vllm import VLLMEngine

    adapted = add_adapters(copy.deepcopy(model), rank=rank, alpha=32.0, seed=0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.01)
    engine = VLLMEngine(folder, lora_rank=rank)
    make_endless(engine)
    sync_weights(engine, adapted, version=1, as_adapters=True)
    return adapted, engine


def make_endless(engine: Any) -> None:
    """Let every answer end at the limit."""
    engine._end_ids = []
    original = engine._run

    def endless(prompts: Any, params: Any) -> Any:
        for one in params if isinstance(params, list) else [params]:
            one.ignore_eos = True
        return original(prompts, params)

    engine._run = endless


def vllm_contenders(
    folder: str, requests: list[Request], sampling: Sampling, tasks: list[rlvr.Task]
) -> tuple[Any, dict[str, Callable[[], Any]]]:
    """Our engine, the vLLM inside it asked directly, and rollouts through the engine."""
    from vllm import SamplingParams

    from rlvr.generation.vllm import VLLMEngine

    engine = VLLMEngine(folder)
    make_endless(engine)
    llm = engine._llm
    prompts = [{"prompt_token_ids": list(request.prompt_ids)} for request in requests]
    params = [
        SamplingParams(
            n=request.n, seed=request.seed, max_tokens=sampling.max_tokens, logprobs=0, ignore_eos=True, detokenize=False,
            flat_logprobs=True,
        )
        for request in requests
    ]  # fmt: skip
    pool = rlvr.ScoringPool(workers=1)
    group = requests[0].n
    return engine, {
        "raw vLLM": lambda: llm.generate(prompts, params, use_tqdm=False),
        "rlvr vLLM engine": lambda: engine.generate(requests, sampling),
        "rlvr rollout on vLLM": lambda: rollout(engine, tasks, group_size=group, sampling=sampling, pool=pool, seed=0),
    }


if __name__ == "__main__":
    main()
