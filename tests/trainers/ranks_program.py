"""What each rank runs in test_distributed: `python ranks_program.py FUNCTION ARGUMENTS`, where the last lines name the functions."""

from __future__ import annotations

import copy
import json
import resource
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

import rlvr
from rlvr import registry
from rlvr.errors import CheckpointError
from rlvr.generation.loading import load_model, load_tokenizer
from rlvr_trainers import losses
from rlvr_trainers.batch import Batch
from rlvr_trainers.checkpoint import TrainerState, save_checkpoint
from rlvr_trainers.distributed import close_ranks, open_ranks
from rlvr_trainers.learner import Learner
from rlvr_trainers.loading import open_model, open_scalar_model, without_weights
from rlvr_trainers.lora import add_adapters, named_adapters
from rlvr_trainers.optimizer import OptimizerConfig
from rlvr_trainers.recipe import _config_class, _function
from rlvr_trainers.reference import open_reference
from rlvr_trainers.scalar_model import load_scalar_model
from rlvr_trainers.sharding import Spread, whole


def ragged(rows: int) -> Batch:
    """Rows of 4 to 14 tokens."""
    generator = torch.Generator().manual_seed(rows)
    lengths = torch.randint(4, 15, (rows,), generator=generator).tolist()
    return Batch.from_rows(
        [torch.randint(3, 12, (length,), generator=generator).tolist() for length in lengths],
        [[place >= 2 for place in range(length)] for length in lengths],
        per_row={"advantages": torch.randn(rows, generator=generator).tolist()},
    )


def updates(model: str, out: str) -> None:
    """One update by every loss; its metrics and its gradient go to a safetensors file."""
    ranks, results, first = open_ranks(), {}, AutoModelForCausalLM.from_pretrained(model)
    for kind in losses.POLICY_LOSSES:
        for rows, budget in (
            (9, 10_000),
            (1, 10_000),
            (9, 30),
        ):  # also fewer rows than ranks, unequally many micro-batches
            batch = ragged(rows)
            learner = Learner(
                copy.deepcopy(first), OptimizerConfig(learning_rate=1e-2), total_updates=1,
                token_budget=budget, ranks=ranks,
            )  # fmt: skip
            noise_BT = 0.3 * torch.randn(batch.token_ids_BT.shape, generator=torch.Generator().manual_seed(0))
            batch = batch.with_fields(old_logprobs=torch.where(batch.mask_BT, learner.logprobs(batch) + noise_BT, 0.0))
            num_items = float(losses.denominator(kind, batch.mask_BT))

            def loss(micro, logprobs_BT, entropy_BT, kind=kind, num_items=num_items):
                value = losses.policy_loss(
                    kind, logprobs_BT=logprobs_BT, old_logprobs_BT=micro.fields["old_logprobs"], num_items=num_items,
                    advantages=micro.fields["advantages"], mask_BT=micro.mask_BT, max_length=16,
                    delta=3.0 if kind == "two_sided" else None,
                )  # fmt: skip
                return value, {"entropy": entropy_BT.sum()}

            metrics = learner.update(batch, loss)
            name = f"{kind}/{rows}/{budget}"
            results[f"{name}/old"] = batch.fields["old_logprobs"]
            results[f"{name}/metrics"] = torch.tensor([metrics[key] for key in sorted(metrics)])
            # The first moment is a tenth of the clipped gradient; Adam's step itself would hide its size.
            for number, parameter in enumerate(learner.optimizer.parameters):
                moment = learner.optimizer._adamw.state[parameter]["exp_avg"]
                results[f"{name}/gradient{number}"] = 10 * whole(moment)
    if ranks.main:
        save_file(results, out)


CPU = torch.device("cpu")


def opened(*models: str) -> None:
    """Open models in every way in which they are sharded; each must be, to the bit, the one that is read whole."""
    for model in models:
        open_and_compare(model)


def open_and_compare(model: str) -> None:
    ranks = open_ranks()

    def adapted(base):
        with without_weights(ranks) if base.device.type == "meta" else torch.no_grad():
            return add_adapters(base, rank=2, alpha=4.0, seed=1)

    pairs = [
        (open_model(model, ranks, CPU), load_model(model, CPU, torch.float32)),
        (adapted(open_model(model, ranks, CPU)), adapted(load_model(model, CPU, torch.float32))),
        (open_scalar_model(model, ranks, CPU), load_scalar_model(model, CPU)),
    ]
    for ours, read in pairs:
        assert ours.training == read.training
        assert ranks.main != any(p.is_meta for p in ours.parameters())
        Spread(ours, ranks, CPU)
        assert ours.state_dict().keys() == read.state_dict().keys()
        mine, theirs = dict(ours.named_parameters()), dict(read.named_parameters())  # a tied weight comes once
        assert mine.keys() == theirs.keys()
        for name, weight in theirs.items():
            assert torch.equal(whole(mine[name].detach()), weight), name
            assert mine[name].requires_grad == weight.requires_grad
        buffers = dict(ours.named_buffers())
        assert buffers
        for name, buffer in read.named_buffers():
            assert torch.equal(buffers[name], buffer), name
    print(sum(map(len, (dict(read.named_parameters()) for _, read in pairs))))


def peak(model: str, small: str) -> None:
    """By how many bytes this process grows at most while it opens a model for training, and a reference and a critic."""
    ranks = open_ranks()

    def open_all(path: str) -> list[object]:
        learner = Learner(open_model(path, ranks, CPU), OptimizerConfig(), total_updates=1, ranks=ranks)
        return [learner, open_reference(path, ranks, CPU), Spread(open_scalar_model(path, ranks, CPU), ranks, CPU)]

    open_all(small)  # whatever is imported and built on the way
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM, the peak, to what is held now
    kept = open_all(model)
    print(memory("VmHWM") - before, len(kept))


def memory(name: str) -> int:
    """Bytes, as the kernel counts them for this process."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def adapters(model: str, out: str) -> None:
    """One update of adapters; those that an engine would be given go to a safetensors file."""
    adapted = add_adapters(AutoModelForCausalLM.from_pretrained(model), rank=3, alpha=6.0, seed=0)
    learner = Learner(adapted, OptimizerConfig(learning_rate=1e-2), total_updates=1, ranks=open_ranks())
    learner.update(ragged(4), lambda micro, logprobs_BT, _: (-logprobs_BT.sum(), {}))
    sent = {name: tensor.clone() for name, tensor in named_adapters(learner.model)}  # gathered on every rank
    if open_ranks().main:
        save_file(sent, out)


def full_disk(model: str, folder: str) -> None:
    """Two checkpoints; while the second is written, the disk of the last rank is full. Prints what each rank then raises."""
    ranks = open_ranks()
    learner = Learner(AutoModelForCausalLM.from_pretrained(model), OptimizerConfig(), total_updates=1, ranks=ranks)
    tokenizer = load_tokenizer(model)
    learner.update(ragged(4), lambda micro, logprobs_BT, _: (-logprobs_BT.sum(), {}))
    for step in (1, 2):
        if step == 2 and ranks.rank == ranks.size - 1:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writes then fail as they do when the disk is full
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            state = TrainerState(step=step, learner=learner.state_dict())
            save_checkpoint(Path(folder), state, learner.model, tokenizer, keep=1, ranks=ranks)
        except CheckpointError as fault:
            print(step, fault)


def runs(text: str) -> None:
    """Training runs, one after the other: a list of [stage, resume, settings]."""

    @rlvr.register("test/sum-v0")
    def sum_task(rng):
        return rlvr.Task("".join(rng.choice("abcd") for _ in range(4)))

    @sum_task.verifier
    def check(task, text):  # whatever is said, some answers earn more than others
        return rlvr.Score((sum(map(ord, f"{task.prompt}{text}")) % 5) / 4)

    @sum_task.worked_solution
    def solution(task):
        return "dcba" * "abcd".index(task.prompt[0]) + "a"

    try:
        for stage, resume, settings in json.loads(text):
            result = _function(stage)(_config_class(stage)(**settings), resume=resume, quiet=True)
            reward = getattr(result, "metrics", {}).get("reward")
            print(json.dumps({"model": str(getattr(result, "model", result)), "reward": reward}), flush=True)
    finally:
        registry._specs.pop("test/sum-v0")


if __name__ == "__main__":
    functions = {
        "updates": updates, "adapters": adapters, "opened": opened, "peak": peak, "runs": runs, "full_disk": full_disk,
    }  # fmt: skip
    functions[sys.argv[1]](*sys.argv[2:])
    close_ranks()
