"""One step on two processes is the same step."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
import torch
import torch.distributed as dist
from rlvr_trainers import losses

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
generator = torch.Generator().manual_seed(1)
logits = torch.randn(6, 5, generator=generator, dtype=torch.float64)
old = torch.randn(6, 5, generator=generator, dtype=torch.float64) - 1
advantages = torch.randn(6, generator=generator, dtype=torch.float64)
mask = torch.rand(6, 5, generator=generator) < 0.6
rows = slice(0, 2) if rank == 0 else slice(2, 6)  # uneven on purpose


def gradient(kind, rows, num_items):
    weight = torch.ones(5, dtype=torch.float64, requires_grad=True)  # one parameter that every row shares
    loss = losses.policy_loss(
        kind, logprobs_BT=logits[rows] * weight - 1, old_logprobs_BT=old[rows], advantages=advantages[rows],
        mask_BT=mask[rows], num_items=num_items, max_length=5, delta=3.0 if kind == "two_sided" else None,
    )
    loss.backward()
    return weight.grad


for kind in losses.POLICY_LOSSES:
    num_items = (mask[rows].sum() if losses.denominator(kind, mask) == mask.sum() else mask[rows].any(-1).sum()).clone()
    dist.all_reduce(num_items)
    mine = gradient(kind, rows, num_items)
    dist.all_reduce(mine)
    torch.testing.assert_close(mine, gradient(kind, slice(0, 6), None), atol=1e-13, rtol=0)
    print(kind)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_gloo_processes_make_the_gradient_of_one_for_every_loss(tmp_path: Path):
    from rlvr_trainers import losses

    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for rank in ranks:
        out, err = rank.communicate(timeout=120)
        assert rank.returncode == 0, err
        assert out.split() == list(losses.POLICY_LOSSES)
