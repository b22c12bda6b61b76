"""Memory and time of log-probabilities and entropies over a vocabulary of 150,000: naive, TRL's way, and ours.

    python bench/logprobs.py                       # prints the tables of bench/results/logprobs.md
    python bench/logprobs.py --tokens 512,4096 --vocabulary 32000

Each case is a process of its own, in one thread. Seconds are the processor's; memory is the peak of what is resident
during the pass, above what was resident before it. The gradients of all weights are there beforehand, so that they count
in no case. The model is small and random, because what is compared is what stands between its last hidden state and the
loss.

    naive    log_softmax of the whole float32 logits, entropy from them
    rows     whole logits, then TRL's `selective_log_softmax` (row by row) and `entropy_from_logits` (128 rows at a time)
    trl      what TRL's GRPOTrainer calls since 1.16: its head in tiles of 4,096 tokens by a slice of the vocabulary
             (`add_fused_lm_head`), TRL's own code as the row above
    ours     rlvr_trainers.policy.Policy: the head runs over chunks of 2**25 logits that the backward pass computes again
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROWS = 4
HIDDEN = 64
CASES = ("naive", "rows", "trl", "ours")
STATUS = Path("/proc/self/status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", default="512,1024,2048", help="answer tokens of the pass, over 4 rows")
    parser.add_argument("--vocabulary", type=int, default=150_000)
    parser.add_argument("--passes", default="backward,forward", help="with a backward pass, or without one")
    parser.add_argument("--child", nargs=3, metavar=("CASE", "TOKENS", "GRADIENT"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        case, tokens, gradient = args.child
        print(json.dumps(measure(case, int(tokens), args.vocabulary, gradient == "True")))
        return
    cases = [case for case in CASES if case not in ("rows", "trl") or importlib.util.find_spec("trl") is not None]
    if cases != list(CASES):
        print("TRL is not installed and is left out: pip install trl", file=sys.stderr)
    for gradient in (name == "backward" for name in args.passes.split(",")):
        print(f"\n{'with' if gradient else 'without'} a backward pass, V = {args.vocabulary:,}, float32\n")
        print("| answer tokens | logits MiB | " + " | ".join(f"{case} MiB | {case} s" for case in cases) + " |")
        print("| --- " * (2 + 2 * len(cases)) + "|")
        for tokens in map(int, args.tokens.split(",")):
            results = [ask(case, tokens, args.vocabulary, gradient) for case in cases]
            if max(abs(result["check"] - results[0]["check"]) for result in results) > 1e-4:
                raise SystemExit(f"the cases disagree on the loss: {[result['check'] for result in results]}")
            cells = " | ".join(f"{result['peak_mb']:,.0f} | {result['seconds']:.2f}" for result in results)
            print(f"| {tokens:,} | {tokens * args.vocabulary * 4 / 2**20:,.0f} | {cells} |", flush=True)


def ask(case: str, tokens: int, vocabulary: int, gradient: bool) -> dict[str, float]:
    """One case in a fresh process."""
    command = [sys.executable, __file__, "--vocabulary", str(vocabulary), "--child", case, str(tokens), str(gradient)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{case} with {tokens} tokens failed:\n{done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(case: str, tokens: int, vocabulary: int, gradient: bool) -> dict[str, float]:
    """Peak memory, seconds, and the loss, which all cases must share."""
    torch.set_num_threads(1)
    model, batch = problem(tokens, vocabulary)
    way = {"naive": naive, "rows": rows, "trl": trl, "ours": ours}[case](model)
    if gradient:
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
    way(problem(64, vocabulary, model)[1])  # first calls allocate what every later one reuses
    before = memory_mb("VmRSS")
    reset_peak()
    began = time.process_time()
    with torch.set_grad_enabled(gradient):
        logprobs, entropy = way(batch)
        loss = logprobs.mean()
        if gradient:
            loss.backward()
    seconds = time.process_time() - began
    return {
        "peak_mb": memory_mb("VmHWM") - before,
        "seconds": seconds,
        "check": float(loss.detach()) + float(entropy.mean()),
    }


def problem(tokens: int, vocabulary: int, model: Any = None) -> tuple[Any, Any]:
    """A model and a batch of `ROWS` rows whose every token but the first is an answer token."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from rlvr_trainers.batch import Batch

    torch.manual_seed(0)
    if model is None:
        config = LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=HIDDEN,
            intermediate_size=2 * HIDDEN,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=1 + tokens,
            tie_word_embeddings=True,
        )
        model = LlamaForCausalLM(config)
    width = 1 + tokens // ROWS
    ids = torch.randint(vocabulary, (ROWS, width)).tolist()
    return model, Batch.from_rows(ids, [[False] + [True] * (width - 1)] * ROWS)


Way = Callable[[Any], tuple[Tensor, Tensor]]


def naive(model: Any) -> Way:
    """Everything at once."""

    def run(batch: Any) -> tuple[Tensor, Tensor]:
        logits_BTV = model(input_ids=batch.token_ids_BT, use_cache=False).logits[:, :-1].float()
        logprobs_BTV = torch.log_softmax(logits_BTV, -1)
        chosen = logprobs_BTV.gather(-1, batch.token_ids_BT[:, 1:, None])[..., 0]
        with torch.no_grad():
            entropy = -(logprobs_BTV.exp() * logprobs_BTV).sum(-1)
        return chosen, entropy

    return run


def rows(model: Any) -> Way:
    """Whole logits, but no second tensor of their size."""
    from trl.trainer.utils import entropy_from_logits, selective_log_softmax

    def run(batch: Any) -> tuple[Tensor, Tensor]:
        logits_BTV = model(input_ids=batch.token_ids_BT, use_cache=False).logits[:, :-1, :]
        chosen = selective_log_softmax(logits_BTV, batch.token_ids_BT[:, 1:])
        with torch.no_grad():
            entropy = entropy_from_logits(logits_BTV)
        return chosen, entropy

    return run


def trl(model: Any) -> Way:
    """The call that `_get_per_token_logps_and_entropies` makes, on a model patched as GRPOTrainer patches it."""
    from trl.trainer.utils import add_fused_lm_head

    add_fused_lm_head(model, outputs=("log_probs", "entropy"))

    def run(batch: Any) -> tuple[Tensor, Tensor]:
        labels_BT = batch.token_ids_BT.masked_fill(~batch.mask_BT, -100)
        reply = model(input_ids=batch.token_ids_BT, labels=labels_BT, fused_lm_head=True)
        return reply.log_probs, reply.entropy

    return run


def ours(model: Any) -> Way:
    """What the trainers call."""
    from rlvr_trainers.policy import Policy

    policy = Policy(model)

    def run(batch: Any) -> tuple[Tensor, Tensor]:
        logprobs_BT, entropy_BT = policy(batch, entropy="metric")
        assert entropy_BT is not None
        return logprobs_BT[batch.mask_BT], entropy_BT[batch.mask_BT]

    return run


def memory_mb(field: str) -> float:
    """`VmRSS` (resident now) or `VmHWM` (its peak) of this process, in MiB."""
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def reset_peak() -> None:
    """Start VmHWM anew at what is resident now."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


if __name__ == "__main__":
    main()
