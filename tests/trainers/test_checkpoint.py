"""A checkpoint is whole or it is not there, whatever stops its writing, and it fits only the model it was made of."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.errors import CheckpointError, ConfigError
from rlvr_trainers.checkpoint import (
    STATE_FILE,
    TrainerState,
    latest_checkpoint,
    list_checkpoints,
    load_state,
    random_states,
    restore_random_states,
    save_checkpoint,
)
from rlvr_trainers.ppo import PPOConfig
from rlvr_trainers.starting import model_folder, with_model_folders
from rlvr_trainers.tiny import build_tiny_model


@pytest.fixture
def parts(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)


def save(folder: Path, parts, step: int, update: int = 0, **options) -> Path:
    state = TrainerState(step=step, update=update, buffer={"batch": {"x": torch.arange(3)}}, counters={"a": 1.5})
    return save_checkpoint(folder, state, *parts, **options)


def run_python(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_was_saved_comes_back_and_the_folder_is_an_ordinary_model(tmp_path, parts):
    path = save(tmp_path, parts, 10, 2)
    assert path.name == "step-000010-002"
    state = load_state(path, parts[0])
    assert (state.step, state.update, state.counters) == (10, 2, {"a": 1.5})
    assert torch.equal(state.buffer["batch"]["x"], torch.arange(3))
    again = AutoModelForCausalLM.from_pretrained(path)
    assert all(torch.equal(a, b) for a, b in zip(parts[0].parameters(), again.parameters(), strict=True))
    assert AutoTokenizer.from_pretrained(path).encode("ab") == parts[1].encode("ab")


def test_only_the_newest_are_kept_and_updates_come_after_their_step(tmp_path, parts):
    for step, update in ((1, 0), (1, 1), (1, 2), (2, 0)):
        save(tmp_path, parts, step, update, keep=3)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-000001-001", "step-000001-002", "step-000002"]


def test_a_checkpoint_of_another_model_is_refused_by_the_weight_that_differs(tmp_path, parts):
    path = save(tmp_path, parts, 1)
    other = build_tiny_model(tmp_path / "other", alphabet="abcd\n", layers=1, hidden=16, heads=2)
    with pytest.raises(
        CheckpointError, match=r"another model: model.embed_tokens.weight is \[12, 32\] there and \[12, 16\] here"
    ):
        load_state(path, AutoModelForCausalLM.from_pretrained(other))


def test_the_folder_of_a_run_stands_for_its_newest_checkpoint_and_any_other_for_itself(tmp_path, tiny_model, parts):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    with pytest.raises(ConfigError, match="without a complete checkpoint"):
        model_folder(str(run))
    for step in (9, 10):
        newest = save(run / "checkpoints", parts, step)
    assert model_folder(str(run)) == str(newest)
    for other in (str(newest), str(tiny_model), "Qwen/Qwen2.5-0.5B", ""):
        assert model_folder(other) == other
    config = with_model_folders(
        PPOConfig(model=str(run), critic_model=str(tiny_model), reward_model=str(run), env="a/b-v0")
    )
    assert (config.model, config.critic_model, config.reward_model) == (str(newest), str(tiny_model), str(newest))


def test_a_torn_state_is_damage_and_not_a_traceback(tmp_path, parts):
    path = save(tmp_path, parts, 1)
    whole = (path / STATE_FILE).read_bytes()
    (path / STATE_FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(path, parts[0])


def test_a_folder_without_state_and_a_run_without_checkpoint_say_so(tmp_path, tiny_model, parts):
    with pytest.raises(CheckpointError, match=STATE_FILE):
        load_state(tiny_model, parts[0])
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        latest_checkpoint(tmp_path)


def test_a_state_that_would_run_code_is_not_unpickled(tmp_path, parts):
    path = save(tmp_path, parts, 1)

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    torch.save({"format": 1, "step": Hostile()}, path / STATE_FILE)
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(path, parts[0])
    assert not (tmp_path / "owned").exists()


# One process pays for the imports; what is to die is a fork of it.
FORKED = """
    import os, random, resource, signal, sys, time
    from pathlib import Path
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from rlvr.errors import CheckpointError
    from rlvr_trainers.checkpoint import TrainerState, save_checkpoint

    model, tokenizer = AutoModelForCausalLM.from_pretrained(sys.argv[1]), AutoTokenizer.from_pretrained(sys.argv[1])
    folder = Path(sys.argv[2])
"""
WRITE_UNTIL_FULL = """
    save_checkpoint(folder, TrainerState(step=1), model, tokenizer)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for limit in (100, 20_000):  # the first file fails, or one after it does
        if os.fork() == 0:
            # No file may grow past this: writes fail as they do when the disk is full.
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                save_checkpoint(folder, TrainerState(step=2), model, tokenizer)
            except CheckpointError as fault:
                print(fault, flush=True)
            else:
                print("the checkpoint was written past the limit", flush=True)
            os._exit(0)
        os.wait()
        print(sorted(path.name for path in folder.iterdir()), flush=True)
"""


@pytest.mark.slow
def test_a_full_disk_is_an_error_that_leaves_the_checkpoint_before_it_intact(tmp_path, tiny_model, parts):
    process = run_python(FORKED + WRITE_UNTIL_FULL, str(tiny_model), str(tmp_path / "run"))
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert out.count("could not be written") == 2
    assert out.count("Earlier checkpoints are intact") == 2
    assert out.count("['step-000001']") == 2, "and nothing half-written is left"
    assert load_state(tmp_path / "run" / "step-000001", parts[0]).step == 1


WRITE_FOR_EVER = """
    rng = random.Random(0)
    for number in range(5):
        run, (reader, writer) = folder / f"run{number}" / "checkpoints", os.pipe()
        child = os.fork()
        if child == 0:
            for turn in range(100_000):
                save_checkpoint(run, TrainerState(step=turn % 3), model, tokenizer, keep=2)
                os.write(writer, b".")
        for _ in range(3):
            assert os.read(reader, 1)
        time.sleep(rng.random() * 0.05)
        os.kill(child, signal.SIGKILL)
        os.wait()
"""


@pytest.mark.slow
def test_kill_9_at_any_moment_leaves_a_checkpoint_that_loads(tmp_path, tiny_model, parts):
    process = run_python(FORKED + WRITE_FOR_EVER, str(tiny_model), str(tmp_path))
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    for number in range(5):
        load_state(latest_checkpoint(tmp_path / f"run{number}"), parts[0])


def test_global_generators_are_put_back_where_they_were():
    states = random_states()
    drawn = random.random(), torch.rand(2).tolist()
    restore_random_states(states)
    assert (random.random(), torch.rand(2).tolist()) == drawn
