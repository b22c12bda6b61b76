"""Several ranks make the same model as one: the same losses, the same weights, the same checkpoints."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlvr.tracking import read_metrics, read_rollouts
from rlvr_trainers import losses
from rlvr_trainers.checkpoint import latest_checkpoint
from rlvr_trainers.sharding import balanced_rows

TOLERANCE = 1e-5
"""Largest difference of a float32 weight after 20 updates: sums over rows are taken in another order."""


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun would set."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in own.items()}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_ranks(program: str, *arguments: object, size: int = 2) -> list[str]:
    """Run a program on `size` ranks (one: without any variable of a launcher); their outputs."""
    port = free_port()
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
            env=environment(rank, size, port) if size > 1 else {**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(size)
    ]  # fmt: skip
    try:
        replies = [rank.communicate(timeout=240) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    for rank, (_, errors) in zip(ranks, replies, strict=True):
        assert rank.returncode == 0, errors
    return [out for out, _ in replies]


def apart(one: Path, other: Path) -> float:
    """The largest difference between two safetensors files of the same weights."""
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def test_rows_are_shared_out_by_tokens_and_each_row_once():
    lengths_B = torch.tensor([9, 1, 1, 1, 8, 2, 7, 3])
    parts = balanced_rows(lengths_B, 3)
    assert sorted(torch.cat(parts).tolist()) == list(range(8))
    assert sorted(int(lengths_B[rows].sum()) for rows in parts) == [10, 11, 11]
    assert [len(rows) for rows in balanced_rows(torch.tensor([4]), 2)] == [1, 0]


UPDATES = """
    import sys
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM
    from rlvr_trainers import losses
    from rlvr_trainers.batch import Batch
    from rlvr_trainers.distributed import close_ranks, open_ranks
    from rlvr_trainers.learner import Learner
    from rlvr_trainers.optimizer import OptimizerConfig
    from rlvr_trainers.sharding import whole

    ranks, results = open_ranks(), {}
    for kind in losses.POLICY_LOSSES:
        for rows, budget in ((9, 10_000), (1, 10_000), (9, 30)):  # also: fewer rows than ranks, unequally many micro-batches
            generator = torch.Generator().manual_seed(rows)
            lengths = torch.randint(4, 15, (rows,), generator=generator).tolist()
            batch = Batch.from_rows(
                [torch.randint(3, 12, (length,), generator=generator).tolist() for length in lengths],
                [[place >= 2 for place in range(length)] for length in lengths],
                per_row={"advantages": torch.randn(rows, generator=generator).tolist()},
            )
            learner = Learner(
                AutoModelForCausalLM.from_pretrained(sys.argv[1]), OptimizerConfig(learning_rate=1e-2), total_updates=1,
                token_budget=budget, ranks=ranks,
            )
            noise_BT = 0.3 * torch.randn(batch.token_ids_BT.shape, generator=generator)
            batch = batch.with_fields(old_logprobs=torch.where(batch.mask_BT, learner.logprobs(batch) + noise_BT, 0.0))
            num_items = float(losses.denominator(kind, batch.mask_BT))

            def loss(micro, logprobs_BT, entropy_BT):
                value = losses.policy_loss(
                    kind, logprobs_BT=logprobs_BT, old_logprobs_BT=micro.fields["old_logprobs"], num_items=num_items,
                    advantages=micro.fields["advantages"], mask_BT=micro.mask_BT, max_length=16,
                    delta=3.0 if kind == "two_sided" else None,
                )
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
        save_file(results, sys.argv[2])
    close_ranks()
"""


@pytest.mark.slow
def test_one_update_is_the_same_on_one_and_on_two_ranks_for_every_loss(tiny_model, tmp_path):
    for size in (1, 2):
        run_ranks(UPDATES, tiny_model, tmp_path / f"{size}.safetensors", size=size)
    one, two = (load_file(tmp_path / f"{size}.safetensors") for size in (1, 2))
    assert one.keys() == two.keys()
    assert sum("/metrics" in name for name in one) == 3 * len(losses.POLICY_LOSSES)
    for name in one:
        torch.testing.assert_close(
            two[name], one[name], atol=1e-6, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert all(one[name].abs().max() > 1e-3 for name in one if "/9/" in name and "gradient" in name)


RUNS = """
    import json, sys
    import rlvr
    from rlvr_trainers import GRPOConfig, PPOConfig, train_grpo, train_ppo
    from rlvr_trainers.distributed import close_ranks, open_ranks

    @rlvr.register("test/sum-v0")
    def sum_task(rng):
        return rlvr.Task("".join(rng.choice("abcd") for _ in range(4)))

    @sum_task.verifier
    def check(task, text):  # whatever is said, some answers earn more than others
        return rlvr.Score((sum(map(ord, task.prompt + text)) % 5) / 4)

    for algorithm, resume, settings in json.loads(sys.argv[1]):
        train, config = (train_grpo, GRPOConfig) if algorithm == "grpo" else (train_ppo, PPOConfig)
        result = train(config(**settings), resume=resume, quiet=True)
        print(json.dumps({"out": str(result.out), "reward": result.metrics["reward"]}), flush=True)
    close_ranks()
"""
COMMON = {
    "env": "test/sum-v0", "prompts_per_step": 8, "max_tokens": 4, "scoring_workers": 1, "seed": 3,
    "learning_rate": 1e-3, "temperature": 1.0,
}  # fmt: skip
CASES: dict[str, tuple[str, dict[str, object]]] = {
    "grpo": ("grpo", {"steps": 20, "group_size": 4, "eval_tasks": 6, "checkpoint_every": 10, "keep_checkpoints": 9}),
    "ppo": ("ppo", {"steps": 20, "prompts_per_step": 32, "critic_learning_rate": 1e-3, "num_minibatches": 2,
                    "checkpoint_every": 20, "keep_checkpoints": 9, "kl_coef": 0.05}),
    "shared": ("ppo", {"steps": 4, "prompts_per_step": 48, "critic": "shared", "critic_learning_rate": 1e-3, "value_pretraining_steps": 1}),
}  # fmt: skip


def runs_in(
    root: Path, model: Path, names: list[str], resume: bool = False
) -> list[tuple[str, bool, dict[str, object]]]:
    return [
        (CASES[name][0], resume, {**COMMON, "model": str(model), "out": str(root / name), **CASES[name][1]})
        for name in names
    ]


@pytest.fixture(scope="module")
def two_ranks(tiny_model, tmp_path_factory) -> Path:
    """All cases, run on two ranks."""
    root = tmp_path_factory.mktemp("two")
    first, second = run_ranks(RUNS, json.dumps(runs_in(root, tiny_model, list(CASES))))
    assert first == second
    return root


@pytest.fixture(scope="module")
def one_process(tiny_model, tmp_path_factory) -> Path:
    """The same, run on one."""
    root = tmp_path_factory.mktemp("one")
    run_ranks(RUNS, json.dumps(runs_in(root, tiny_model, list(CASES))), size=1)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_run_on_two_ranks_is_the_run_on_one(two_ranks, one_process, name):
    one, two = one_process / name, two_ranks / name
    for kind in ("rollouts", "eval"):
        files = sorted(path.name for path in (one / kind).iterdir())
        assert files == sorted(path.name for path in (two / kind).iterdir())
        for file in files:
            ours, theirs = (list(read_rollouts(root / kind / file)) for root in (one, two))
            assert [t.token_ids for t in ours] == [t.token_ids for t in theirs], file
            assert [(t.group, t.sample, t.score) for t in ours] == [(t.group, t.sample, t.score) for t in theirs]
    for ours, theirs in zip(read_metrics(one), read_metrics(two), strict=True):
        assert ours.keys() == theirs.keys()
        for key in ours:
            if not key.startswith(("time/", "tokens_per_s")):
                assert theirs[key] == pytest.approx(ours[key], abs=1e-4, rel=1e-4), (ours["step"], key)
    last = latest_checkpoint(one).name
    assert apart(*(root / "checkpoints" / last / "model.safetensors" for root in (one, two))) < TOLERANCE
    assert apart(tiny_weights(one), one / "checkpoints" / last / "model.safetensors") > 100 * TOLERANCE


def tiny_weights(run: Path) -> Path:
    """The weights that a run started from."""
    config = tomllib.loads((run / "config.toml").read_text())
    return (
        Path(next(iter(table["model"] for table in config.values() if isinstance(table, dict)))) / "model.safetensors"
    )
