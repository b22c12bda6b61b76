"""The run folder keeps what a run was told, measured and sampled, and survives a kill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlvr.errors import CheckpointError, ConfigError, RecordError
from rlvr.score import Score
from rlvr.task import Task
from rlvr.tracking import RunFolder, open_tracker, read_metrics, read_rollouts, rollout_files
from rlvr.trajectory import Trajectory


def trajectory(sample: int) -> Trajectory:
    task = Task("1+1=", answer="2", env_id="math/arithmetic-v0", split="train")
    return Trajectory(
        task, [1, 2, 3], [False, True, True], [0.0, -0.5, -0.25], Score(1.0, reason="correct"), "stop", 4, 1,
        ["2"], [*task.messages, {"role": "assistant", "content": "2"}], 0, sample, 1,
    )  # fmt: skip


def test_what_was_written_is_read_back(tmp_path):
    folder = RunFolder(tmp_path / "run", config_toml="[grpo]\nsteps = 2\n")
    folder.log({"reward": 0.5}, step=1)
    folder.write_rollouts(1, [trajectory(0), trajectory(1)])
    folder.close()
    assert read_metrics(tmp_path / "run") == [{"step": 1, "reward": 0.5}]
    (path,) = rollout_files(tmp_path / "run").values()
    assert list(read_rollouts(path)) == [trajectory(0), trajectory(1)]
    assert (tmp_path / "run" / "config.toml").read_text() == "[grpo]\nsteps = 2\n"


def test_a_run_is_not_written_over_and_foreign_files_are_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder(tmp_path, config_toml="").close()
    with pytest.raises(ConfigError, match="holds a run already"):
        RunFolder(tmp_path, config_toml="")
    with pytest.raises(ConfigError, match="no run to resume"):
        RunFolder(tmp_path / "nothing", config_toml="", resume=True)


def test_going_back_removes_what_came_after_and_a_torn_line(tmp_path):
    folder = RunFolder(tmp_path, config_toml="")
    for step in range(5):
        folder.log({"reward": step / 10}, step=step)
        folder.write_rollouts(step, [trajectory(step)])
        folder.write_eval(step, [trajectory(step)])
    folder.close()
    with folder.metrics_path.open("a") as file:
        file.write('{"step": 5, "rew')
    assert len(read_metrics(tmp_path)) == 5
    again = RunFolder(tmp_path, config_toml="", resume=True)
    again.forget_after(2, sampled=3)
    again.log({"reward": 0.9}, step=3)
    again.close()
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2, 3]
    assert read_metrics(tmp_path)[-1]["reward"] == 0.9
    assert list(rollout_files(tmp_path)) == [0, 1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "eval").iterdir())[-1] == "step-000002.jsonl"


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "step-000001.jsonl"
    path.write_text(json.dumps(trajectory(0).to_dict()) + "\n{}\n")
    with pytest.raises(RecordError, match="line 2"):
        list(read_rollouts(path))
    with pytest.raises(RecordError, match="no run folder"):
        read_metrics(tmp_path)


def test_an_unknown_tracker_is_named_and_one_that_is_missing_says_how_to_get_it(tmp_path):
    with pytest.raises(ConfigError, match="there is no tracker 'tensorbord'"):
        open_tracker("tensorbord", tmp_path)
    try:
        import trackio  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match=r"pip install 'rlvr\[trackio\]'"):
            open_tracker("trackio", tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_named_where_it_is_met(tmp_path):
    for name in ("metrics.jsonl", "rollouts/step-000001.partial"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to("/dev/full")
    run = RunFolder(tmp_path, config_toml="", resume=True)
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl' could not be written .*No space left.* resume the run"):
        run.log({"reward": 1.0}, step=1)
    with pytest.raises(CheckpointError, match=r"step-000001\.jsonl' could not be written"):
        run.write_rollouts(1, [trajectory(0)])
    run.close()
