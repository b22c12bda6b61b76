"""Several ranks make the same model as one: the same rollouts, losses, weights and checkpoints."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlvr.errors import CheckpointError, ConfigError
from rlvr.tracking import read_metrics, read_rollouts
from rlvr_trainers import losses
from rlvr_trainers.checkpoint import latest_checkpoint, list_checkpoints
from rlvr_trainers.grpo import GRPOConfig, train_grpo
from rlvr_trainers.handing_out import _compare
from rlvr_trainers.launch import launch
from rlvr_trainers.sharding import balanced_rows
from rlvr_trainers.tiny import build_tiny_model

PROGRAM = Path(__file__).with_name("ranks_program.py")
TOLERANCE = 1e-5
"""Largest difference of a float32 weight after 20 steps: sums over rows are taken in another order."""
COMMON = {"seed": 3, "learning_rate": 1e-3, "keep_checkpoints": 9}
SAMPLED = {**COMMON, "env": "test/sum-v0", "prompts_per_step": 8, "max_tokens": 4, "scoring_workers": 1}
PAIRED = {**COMMON, "steps": 20, "batch_size": 8, "held_out": 0.2, "checkpoint_every": 10, "token_budget": 60}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "sft": ("sft", {**COMMON, "env": "test/sum-v0", "steps": 20, "batch_size": 7, "examples": 30, "checkpoint_every": 10,
                    "token_budget": 60, "stop_at_accuracy": 0.99, "accuracy_every": 5, "accuracy_tasks": 9, "max_tokens": 8}),
    "rft": ("rft", {"env": "test/sum-v0", "seed": 3, "learning_rate": 1e-3, "rounds": 2, "prompts": 24, "group_size": 8,
                    "batch_size": 8, "max_tokens": 4, "scoring_workers": 1}),
    "dpo": ("dpo", {**PAIRED, "beta": 0.5}),
    "reward_model": ("reward_model", PAIRED),
    "grpo": ("grpo", {"steps": 20, "group_size": 4, "eval_tasks": 6, "checkpoint_every": 10}),
    "ppo": ("ppo", {"steps": 20, "prompts_per_step": 32, "critic_learning_rate": 1e-3, "num_minibatches": 2,
                    "checkpoint_every": 19, "kl_coef": 0.05}),
    "shared": ("ppo", {"steps": 3, "prompts_per_step": 32, "critic": "shared", "critic_learning_rate": 1e-3,
                       "value_pretraining_steps": 1, "checkpoint_every": 2}),
    "full_kl": ("ppo", {"steps": 2, "prompts_per_step": 16, "kl_coef": 0.1, "kl_kind": "full", "num_iterations": 2}),
    "lora": ("grpo", {"steps": 4, "group_size": 4, "lora_rank": 2, "checkpoint_every": 2}),
    "stale": ("grpo", {"steps": 4, "group_size": 4, "staleness": 1}),
    "offload": ("ppo", {"steps": 2, "prompts_per_step": 16, "offload": True, "checkpoint_every": 1, "kl_coef": 0.1}),
    "checkpointing": ("grpo", {"steps": 3, "group_size": 4, "gradient_checkpointing": True, "token_budget": 60}),
}  # fmt: skip
WEIGHTS = {"lora": "adapter_model.safetensors"}
"""Where they are not in `model.safetensors`."""
SUPERVISED = ("sft", "rft", "dpo", "reward_model")


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun would set."""
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in own.items()}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def on_two_ranks(*arguments: object) -> list[str]:
    """Run the program of this test on two ranks; what they printed."""
    return on_ranks(2, *arguments)


def on_ranks(size: int, *arguments: object) -> list[str]:
    """Run the program of this test on several ranks; what they printed."""
    port = free_port()
    ranks = [
        subprocess.Popen(
            [sys.executable, PROGRAM, *map(str, arguments)], env=environment(rank, size, port),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(size)
    ]  # fmt: skip
    try:
        replies = [rank.communicate(timeout=400) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    for rank, (_, errors) in zip(ranks, replies, strict=True):
        assert rank.returncode == 0, errors
    return [out for out, _ in replies]


def in_this_process(name: str, *arguments: object) -> None:
    """Run the same program as the only process of its run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runpy.run_path(str(PROGRAM))[name](*map(str, arguments))
    finally:
        torch.set_num_threads(threads)


def runs_in(root: Path, model: Path, names: Sequence[str], resume: bool = False) -> str:
    return json.dumps([(stage, resume, settings(root, model, name)) for name in names for stage in [CASES[name][0]]])


def settings(root: Path, model: Path, name: str) -> dict[str, Any]:
    stage, own = CASES[name]
    common = {} if stage in SUPERVISED else SAMPLED
    pairs = {"pairs": str(model.parent / "pairs.jsonl")} if stage in ("dpo", "reward_model") else {}
    return {**common, "model": str(model), "out": str(root / name), **pairs, **own}


def write_pairs(path: Path) -> None:
    """40 prompts; the chosen answer holds more a than b, and no two are of the same length."""
    lines = []
    for number in range(40):
        prompt = "".join("abcd"[number // 4**place % 4] for place in range(3))
        lines.append({"prompt": prompt, "chosen": "aab" * (1 + number % 3), "rejected": "b" * (1 + number % 5)})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def apart(one: Path, other: Path) -> float:
    """The largest difference between two safetensors files of the same weights."""
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def weights(run: Path) -> Path:
    return latest_checkpoint(run) / WEIGHTS.get(run.name, "model.safetensors")


def moved(run: Path) -> float:
    """How far a run has moved the weights that it started from."""
    config = tomllib.loads((run / "config.toml").read_text())
    model = Path(next(table["model"] for table in config.values() if isinstance(table, dict)))
    before, after = load_file(model / "model.safetensors"), load_file(weights(run))
    return max(float((before[name] - after[name]).abs().max()) for name in before.keys() & after.keys())


@pytest.fixture(scope="module")
def two_ranks(tiny_model, tmp_path_factory) -> Path:
    """All cases, run on two ranks."""
    root = tmp_path_factory.mktemp("two")
    write_pairs(tiny_model.parent / "pairs.jsonl")
    first, second = on_two_ranks("runs", runs_in(root, tiny_model, list(CASES)))
    assert first == second
    return root


@pytest.fixture(scope="module")
def one_process(tiny_model, tmp_path_factory) -> Path:
    """The same, run on one, which has nothing to keep elsewhere."""
    root = tmp_path_factory.mktemp("one")
    write_pairs(tiny_model.parent / "pairs.jsonl")
    runs = json.loads(runs_in(root, tiny_model, list(CASES)))
    in_this_process("runs", json.dumps([
        (stage, False, {name: value for name, value in given.items() if name != "offload"}) for stage, _, given in runs
    ]))  # fmt: skip
    return root


def test_rows_are_shared_out_by_tokens_and_each_row_once():
    lengths_B = torch.tensor([9, 1, 1, 1, 8, 2, 7, 3])
    parts = balanced_rows(lengths_B, 3)
    assert sorted(torch.cat(parts).tolist()) == list(range(8))
    assert sorted(int(lengths_B[rows].sum()) for rows in parts) == [10, 11, 11]
    assert [len(rows) for rows in balanced_rows(torch.tensor([4]), 2)] == [1, 0]


def untied(tiny_model: Path, out: Path) -> Path:
    """The tiny model with a head of its own, which no weight of the others equals."""
    shutil.copytree(tiny_model, out)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach() + 1.0)
    model.save_pretrained(out)
    return out


@pytest.mark.slow
def test_a_model_that_one_rank_reads_is_on_all_of_them_what_each_would_have_read(tiny_model, tmp_path):
    said = on_ranks(3, "opened", tiny_model, untied(tiny_model, tmp_path / "untied"))  # 3 divides no width
    (tied, alone), *others = ([int(count) for count in text.split()] for text in said)
    assert alone == tied + 2  # the head, as a weight of its own, of the model and of the one with adapters
    assert others == 2 * [[tied, alone]]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures its memory in /proc")
def test_only_the_first_rank_ever_holds_a_whole_model(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")  # what is freed goes back to the system at once
    large = build_tiny_model(tmp_path / "large", alphabet="abcd\n", layers=16, hidden=320, heads=5)
    whole = (large / "model.safetensors").stat().st_size
    assert whole > 100e6
    first, *others = (int(text.split()[0]) for text in on_ranks(3, "peak", large, tiny_model))
    # Three models, of which each rank keeps a third; the first one reads them one after the other.
    assert first > 1.5 * whole
    for grown in others:
        assert 0.95 * whole < grown < 1.35 * whole


def test_a_rank_that_builds_another_model_is_named():
    here = {"a": ("a", (2, 3), "float32"), "b": ("a", (2, 3), "float32")}
    _compare(here, {**here, "b": ("b", (2, 3), "float32")}, 1)  # tied there, not here: that can be mended
    with pytest.raises(ConfigError, match=r"rank 1 builds another model than rank 0: b is absent here and \(\(2, 3\)"):
        _compare({"a": here["a"]}, here, 1)


@pytest.mark.slow
def test_one_update_is_the_same_on_one_and_on_two_ranks_for_every_loss(tiny_model, tmp_path):
    in_this_process("updates", tiny_model, tmp_path / "one.safetensors")
    on_two_ranks("updates", tiny_model, tmp_path / "two.safetensors")
    one, two = (load_file(tmp_path / f"{size}.safetensors") for size in ("one", "two"))
    assert one.keys() == two.keys()
    assert sum("/metrics" in name for name in one) == 3 * len(losses.POLICY_LOSSES)
    for name in one:
        torch.testing.assert_close(
            two[name], one[name], atol=1e-6, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}"
        )
    assert all(one[name].abs().max() > 1e-3 for name in one if "/9/" in name and "gradient" in name)


@pytest.mark.slow
def test_adapters_in_pieces_are_gathered_into_those_of_one_process(tiny_model, tmp_path):
    in_this_process("adapters", tiny_model, tmp_path / "one.safetensors")
    on_two_ranks("adapters", tiny_model, tmp_path / "two.safetensors")
    assert apart(tmp_path / "one.safetensors", tmp_path / "two.safetensors") < TOLERANCE
    assert all(tensor.abs().max() > 1e-3 for tensor in load_file(tmp_path / "two.safetensors").values())


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_run_on_two_ranks_is_the_run_on_one(two_ranks, one_process, name):
    one, two = one_process / name, two_ranks / name
    for kind in ("rollouts", "eval"):
        files = sorted(path.name for path in (one / kind).glob("*"))
        assert files == sorted(path.name for path in (two / kind).glob("*"))
        for file in files:
            ours, theirs = (list(read_rollouts(root / kind / file)) for root in (one, two))
            assert [t.token_ids for t in ours] == [t.token_ids for t in theirs], file
            assert [(t.group, t.sample, t.score) for t in ours] == [(t.group, t.sample, t.score) for t in theirs]
    for ours, theirs in zip(read_metrics(one), read_metrics(two), strict=True):
        assert ours.keys() == theirs.keys()
        for key in ours:
            if not key.startswith(("time/", "tokens_per_s", "seconds")):
                assert theirs[key] == pytest.approx(ours[key], abs=1e-4, rel=1e-4), (ours["step"], key)
    assert apart(weights(one), weights(two)) < TOLERANCE
    if name not in WEIGHTS:
        assert moved(one) > 100 * TOLERANCE


def cut_back(run: Path, out: Path) -> Path:
    """A copy of a run as it was when its first checkpoint had just been written."""
    shutil.copytree(run, out)
    for later in list_checkpoints(out / "checkpoints")[1:]:
        shutil.rmtree(later)
    return out


@pytest.mark.slow
def test_a_checkpoint_of_two_ranks_goes_on_on_one_and_one_of_one_on_two(two_ranks, one_process, tiny_model, tmp_path):
    names = ["grpo", "ppo", "lora", *SUPERVISED]
    for source, folder in ((two_ranks, "2 to 1"), (one_process, "1 to 2"), (two_ranks, "2 to 2")):
        for name in names:
            cut_back(source / name, tmp_path / folder / name)
    pieces = tmp_path / "2 to 1" / "grpo" / "checkpoints" / "step-000010"
    assert {path.name for path in pieces.glob("*.safetensors")} == {
        "model.safetensors", "pieces-00000-of-00002.safetensors", "pieces-00001-of-00002.safetensors",
    }  # fmt: skip
    in_this_process("runs", runs_in(tmp_path / "2 to 1", tiny_model, names, resume=True))
    on_two_ranks("runs", json.dumps([
        run for folder in ("1 to 2", "2 to 2") for run in json.loads(runs_in(tmp_path / folder, tiny_model, names, resume=True))
    ]))  # fmt: skip
    for name in names:
        for folder in ("2 to 1", "1 to 2"):
            assert apart(weights(tmp_path / folder / name), weights(one_process / name)) < TOLERANCE, (folder, name)
        assert apart(weights(tmp_path / "2 to 2" / name), weights(two_ranks / name)) == 0.0, name


@pytest.mark.slow
def test_a_checkpoint_that_lacks_the_pieces_of_a_rank_says_so(two_ranks, tiny_model, tmp_path):
    cut_back(two_ranks / "grpo", tmp_path / "grpo")
    (tmp_path / "grpo" / "checkpoints" / "step-000010" / "pieces-00001-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"in none of the files of pieces .* missing"):
        in_this_process("runs", runs_in(tmp_path, tiny_model, ["grpo"], resume=True))


@pytest.mark.slow
def test_a_full_disk_on_one_rank_fails_the_checkpoint_on_all_and_leaves_the_one_before(tiny_model, tmp_path):
    first, second = on_two_ranks("full_disk", tiny_model, tmp_path / "checkpoints")
    assert first == second
    assert first.startswith("2 checkpoint ")
    assert "Earlier checkpoints are intact" in first
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]


RECIPE = """
env = "math/arithmetic-v0"
knobs = { terms = 2, digits = 1, operators = "+" }

[build]
layers = 1
hidden = 32
heads = 2

[sft]
steps = 2
batch_size = 4
examples = 8

[grpo]
steps = 5000
prompts_per_step = 4
group_size = 4
max_tokens = 8
checkpoint_every = 1
scoring_workers = 1
keep_dead_groups = true
"""


def rank_processes(launcher: int) -> dict[int, int]:
    """Rank to process id, of those that a launcher has started."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        if parent == launcher:
            found |= {int(text[5:]): int(folder.name) for text in variables if text.startswith(b"RANK=")}
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks in /proc")
def test_a_killed_rank_is_one_error_and_the_run_goes_on_from_its_checkpoint(tmp_path):
    recipe, out = tmp_path / "recipe.toml", tmp_path / "run"
    recipe.write_text(RECIPE)
    rlvr = [sys.executable, "-m", "rlvr", "train"]
    launcher = subprocess.Popen(
        [*rlvr, str(recipe), f"out={json.dumps(str(out))}", "--nproc", "2"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while len(list_checkpoints(out / "checkpoints")) < 2 and time.monotonic() < deadline and launcher.poll() is None:
        time.sleep(0.1)
    victims = rank_processes(launcher.pid)
    assert sorted(victims) == [0, 1]
    os.kill(victims[1], signal.SIGKILL)
    _, errors = launcher.communicate(timeout=120)
    assert launcher.returncode == 1
    said = [line for line in errors.splitlines() if not line.startswith(("sft ", "grpo ", "engine: "))]
    assert len(said) == 1, errors
    assert said[0].startswith(f"rlvr: RankError: rank 1 of 2 (process {victims[1]}) was killed by SIGKILL")
    done = len(read_metrics(out)) - 1  # the last step may have been cut off before its checkpoint
    resumed = subprocess.run(
        [*rlvr, "--resume", str(out), f"grpo.steps={done + 3}"], capture_output=True, text=True, timeout=240
    )
    assert resumed.returncode == 0, resumed.stderr
    assert [row["step"] for row in read_metrics(out)] == list(range(1, done + 4))
    again = subprocess.run(
        [*rlvr, str(recipe), f"out={json.dumps(str(out))}", "--nproc", "2"], capture_output=True, text=True
    )
    assert again.returncode == 2
    assert again.stderr.count("holds a run already") == 1


def start_node(recipe: Path, out: Path, port: int, *words: str) -> subprocess.Popen[str]:
    """One of two machines, each with one rank: `rlvr train` as it is given on both of them."""
    return subprocess.Popen(
        [sys.executable, "-m", "rlvr", "train", str(recipe), f"out={json.dumps(str(out))}", *words,
         "--nproc", "1", "--nodes", "2", "--rendezvous", f"127.0.0.1:{port}"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def kill_node(launcher: subprocess.Popen[str]) -> None:
    """What a machine that loses its power does to the processes on it."""
    launcher.kill()
    for rank in rank_processes(launcher.pid).values():
        os.killpg(rank, signal.SIGKILL)  # the launcher gives each rank a group of its own


FEW_STEPS = ("grpo.steps=4", "grpo.entropy_coef=0.1", "grpo.learning_rate=1e-3", "grpo.checkpoint_every=0")


@pytest.mark.slow
def test_a_run_on_two_machines_is_the_run_on_one(tmp_path):
    recipe, port = tmp_path / "recipe.toml", free_port()
    recipe.write_text(RECIPE)
    nodes = [start_node(recipe, tmp_path / "two", port, *FEW_STEPS) for _ in range(2)]
    try:
        replies = [node.communicate(timeout=300) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert [node.returncode for node in nodes] == [0, 0], replies
    assert sorted(f"model: {weights(tmp_path / 'two').parent}" in said for said, _ in replies) == [False, True]
    alone = subprocess.run(
        [sys.executable, "-m", "rlvr", "train", str(recipe), f"out={json.dumps(str(tmp_path / 'one'))}", *FEW_STEPS],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    assert apart(weights(tmp_path / "one"), weights(tmp_path / "two")) < TOLERANCE
    assert apart(weights(tmp_path / "one" / "sft"), weights(tmp_path / "one")) > 100 * TOLERANCE


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the ranks in /proc")
@pytest.mark.parametrize("lost", [0, 1])
def test_a_machine_that_is_lost_is_one_error_on_the_other_and_the_run_goes_on_without_it(tmp_path, lost):
    recipe, out, port = tmp_path / "recipe.toml", tmp_path / "run", free_port()
    recipe.write_text(RECIPE)
    nodes = [start_node(recipe, out, port) for _ in range(2)]
    try:
        deadline = time.monotonic() + 240
        while len(list_checkpoints(out / "checkpoints")) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        by_rank = {rank: node for node in nodes for rank in rank_processes(node.pid)}
        kill_node(by_rank[lost])
        _, errors = by_rank[1 - lost].communicate(timeout=120)
    finally:
        for node in nodes:
            kill_node(node)
    assert by_rank[1 - lost].returncode == 1, errors
    said = [line for line in errors.splitlines() if not line.startswith(("sft ", "grpo ", "engine: "))]
    assert len(said) == 1, errors
    assert said[0].startswith("rlvr: RankError: a rank on another machine was killed or failed")
    done = len(read_metrics(out)) - 1  # the last step may have been cut off before its checkpoint
    resumed = subprocess.run(
        [sys.executable, "-m", "rlvr", "train", "--resume", str(out), f"grpo.steps={done + 3}"],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert [row["step"] for row in read_metrics(out)] == list(range(1, done + 4))


def test_several_machines_need_a_place_to_meet():
    with pytest.raises(ConfigError, match="--rendezvous HOST:PORT"):
        launch(["train"], nproc=1, nodes=2)


def test_offload_is_refused_where_nothing_is_sharded(tiny_model, last_letter, tmp_path):
    config = GRPOConfig(model=str(tiny_model), env=last_letter, out=str(tmp_path / "run"), offload=True)
    with pytest.raises(ConfigError, match="--nproc"):
        train_grpo(config, quiet=True)
