"""Runs that are really killed, and a disk that is really full: what goes on afterwards is the run that was never disturbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlvr.tracking import read_metrics, rollout_files

# One process pays for the imports; every life of a run is a fork of it.
PROGRAM = """
import json, os, random, shutil, signal, sys, time, traceback
from pathlib import Path

import torch
import rlvr
from rlvr_trainers import GRPOConfig, PPOConfig, train_grpo, train_ppo
from rlvr_trainers.checkpoint import list_checkpoints

rlvr.register(
    "test/rows-v0",
    rows=lambda: [{"q": a + b, "answer": "b", "split": "test" if a == "d" else "train"} for a in "abcd" for b in "ab"],
    prompt="{q}", split="split", verify=lambda task, text: rlvr.Score(float(text[:1] in ("a", "b"))),
)
COMMON = dict(
    model=sys.argv[1], env="test/rows-v0", steps=2, max_tokens=12, learning_rate=4e-3, num_iterations=2, num_minibatches=2,
    token_budget=120, checkpoint_every=1, schedule="cosine", scoring_workers=1, kl_coef=0.02, entropy_coef=0.01, seed=3,
)
RUNS = {
    "grpo": (train_grpo, GRPOConfig, dict(prompts_per_step=5, group_size=6, refill_rounds=1)),
    "ppo": (train_ppo, PPOConfig, dict(prompts_per_step=5, group_size=4, kl_in="reward", kl_kind="k1", kl_target=0.01)),
}


def live(name, out, backward_passes=None):
    \"\"\"Start the run, or go on with it; die in the middle of the given backward pass.\"\"\"
    train, config, own = RUNS[name]
    if backward_passes:
        left, backward = [backward_passes], torch.Tensor.backward

        def counted(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return backward(*arguments, **options)

        torch.Tensor.backward = counted
    resume = bool(list_checkpoints(out / "checkpoints"))
    if not resume:
        shutil.rmtree(out, ignore_errors=True)
    train(config(out=str(out), **COMMON, **own), resume=resume, quiet=True)


def forked(call, kill_after_s=None):
    child = os.fork()
    if child == 0:
        try:
            call()
        except BaseException as fault:
            print(f"{type(fault).__name__}: {fault}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if kill_after_s:
        time.sleep(kill_after_s)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""

KILLED = """
name, folder = sys.argv[2], Path(sys.argv[3])
assert forked(lambda: live(name, folder / "whole")) == 0
codes, rng = [], random.Random(name)
# Inside the first window, before there is a checkpoint; inside one between two updates on a batch; and further on.
for passes in (2, 5, 4):
    codes.append(forked(lambda: live(name, folder / "killed", passes)))
for _ in range(2):  # wherever a clock says: while it loads, samples or writes
    codes.append(codes[-1] and forked(lambda: live(name, folder / "killed"), 0.1 + 0.5 * rng.random()))
if codes[-1] != 0:
    codes.append(forked(lambda: live(name, folder / "killed")))
print(json.dumps(codes))
"""

FULL = """
disk, folder = Path(sys.argv[2]), Path(sys.argv[3])
assert forked(lambda: live("grpo", folder / "whole")) == 0
code = forked(lambda: live("grpo", disk / "run"))
left = [path.name for path in list_checkpoints(disk / "run" / "checkpoints")]
assert os.system(f"mount -o remount,size=32m {disk}") == 0
assert forked(lambda: live("grpo", disk / "run")) == 0
shutil.copytree(disk / "run", folder / "filled")
print(json.dumps([code, left]))
"""


def run_program(code: str, *arguments: str, before: tuple[str, ...] = ()) -> tuple[str, str]:
    """What the program printed; it must have ended well."""
    process = subprocess.run(
        [*before, sys.executable, "-c", PROGRAM + code, *arguments], capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout, process.stderr


def are_the_same_run(a: Path, b: Path) -> None:
    """Weights, metrics without their times, and rollouts are equal, bit for bit."""
    one, two = (load_file(max((run / "checkpoints").glob("step-*")) / "model.safetensors") for run in (a, b))
    assert all(torch.equal(one[name], two[name]) for name in one)
    metrics = [
        [
            {k: v for k, v in row.items() if not k.startswith("time/") and k != "tokens_per_s"}
            for row in read_metrics(run)
        ]
        for run in (a, b)
    ]
    assert metrics[0] == metrics[1]
    assert {s: p.read_text() for s, p in rollout_files(a).items()} == {
        s: p.read_text() for s, p in rollout_files(b).items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "ppo"])
def test_a_run_that_is_killed_again_and_again_ends_as_the_run_that_was_not(tiny_model, tmp_path, name):
    out, _ = run_program(KILLED, str(tiny_model), name, str(tmp_path))
    codes = json.loads(out.splitlines()[-1])
    assert codes[:3] == [-9, -9, -9]
    assert codes[-1] == 0
    are_the_same_run(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_a_run_on_a_full_disk_stops_with_a_name_and_goes_on_when_there_is_room(tiny_model, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-c",
             f'mount -t tmpfs -o size=700k tmpfs {disk} && exec "$@"', "sh")  # fmt: skip
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk of their own")
    out, errors = run_program(FULL, str(tiny_model), str(disk), str(tmp_path), before=mount)
    code, left = json.loads(out.splitlines()[-1])
    assert code == 1
    assert "CheckpointError: checkpoint" in errors
    assert "could not be written" in errors
    assert left, "the checkpoints before it are whole"
    are_the_same_run(tmp_path / "whole", tmp_path / "filled")
