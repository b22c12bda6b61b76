"""Tasks as plain rows, for trainers that read data sets, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rlvr
from rlvr.errors import ConfigError
from rlvr.task import Task

TASK = "rlvr_task"
"""The column that holds the whole task as JSON: what the reward is computed from, in whatever process."""


def to_rows(
    env_id: str,
    n: int | None = None,
    *,
    split: str = "train",
    seed: int | str = 0,
    level: int | None = None,
    **knobs: Any,
) -> list[dict[str, Any]]:
    """One row a task: `prompt` (a chat), `rlvr_task` (JSON), `env_id`, `split`, `index`. Tools, if any, stand in `tools`.

    Rows of `split="train"` and `split="eval"` share no task, whatever the seeds.
    """
    rows = []
    for task in rlvr.tasks(env_id, split, n, seed, level=level, **knobs):
        row: dict[str, Any] = {"prompt": task.messages, TASK: task.to_json()}
        row |= {"env_id": task.env_id, "split": task.split, "index": task.index}
        if task.tools is not None:
            row["tools"] = [dict(tool) for tool in task.tools]
        rows.append(row)
    return rows


def task_of(value: object) -> Task:
    """The task of a row's `rlvr_task`. Raises ConfigError if it is none."""
    try:
        return Task.from_json(str(value))
    except (ValueError, TypeError) as fault:
        raise ConfigError(
            f"{str(value)[:80]!r} is no task; pass on the column {TASK!r} as the export wrote it"
        ) from fault


def completion_text(completion: object) -> str:
    """The model's text of a completion: a text as it is, of a chat the assistant's messages, joined by blank lines."""
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Sequence):
        said = [m for m in completion if isinstance(m, dict) and m.get("role", "assistant") == "assistant"]
        return "\n\n".join(str(message.get("content") or "") for message in said)
    raise ConfigError(f"a completion is {type(completion).__name__}; it must be a text or a list of messages")


def write_jsonl(rows: Sequence[dict[str, Any]], path: str | Path) -> None:
    """The rows as JSON lines."""
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def write_parquet(rows: Sequence[dict[str, Any]], path: str | Path) -> None:
    """The rows as a parquet file (extra `data`)."""
    try:
        import datasets
    except ImportError as fault:
        raise ConfigError("writing parquet needs datasets: pip install 'rlvr[data]'") from fault
    datasets.Dataset.from_list(list(rows)).to_parquet(str(path))
