"""Several ranks make the same model as one: the same losses, the same weights, the same checkpoints."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlvr_trainers import losses
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
        torch.testing.assert_close(two[name], one[name], atol=1e-6, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    assert all(one[name].abs().max() > 1e-3 for name in one if "/9/" in name and "gradient" in name)
