"""verl's two doors, used as verl uses them: the parquet file of its data set, the reward function its config names.

    pip install 'rlvr[data]' && python examples/exports/verl_score.py

The function is loaded from its file by path, as verl's `custom_reward_function.path` does, and called with verl's keywords.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet

import rlvr_envs.adapters.verl as ours
from rlvr_envs.adapters.rows import task_of


def load_function(path: str, name: str) -> Any:
    """The function `name` of the Python file at `path`."""
    spec = importlib.util.spec_from_file_location("custom_module", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        files = {split: Path(folder, f"{split}.parquet") for split in ("train", "eval")}
        for split, file in files.items():
            ours.write_verl("math/arithmetic-v0", file, n=50, split=split, level=1)
        tables = {split: pyarrow.parquet.read_table(file).to_pylist() for split, file in files.items()}
    prompts = {split: {str(row["prompt"]) for row in rows} for split, rows in tables.items()}
    print(
        {split: len(rows) for split, rows in tables.items()},
        "rows,",
        len(prompts["train"] & prompts["eval"]),
        "in both",
    )
    print("columns", list(tables["train"][0]))
    compute_score = load_function(ours.__file__, "compute_score")
    for row, wrong in zip(tables["train"][:4], (False, True) * 2, strict=True):
        truth = row["reward_model"]["ground_truth"]
        answer = f"<think>...</think><answer>{'no idea' if wrong else task_of(truth).answer}</answer>"
        verdict = compute_score(
            data_source=row["data_source"], solution_str=answer, ground_truth=truth, extra_info=row["extra_info"]
        )
        print(row["data_source"], row["prompt"][0]["content"][:40].replace("\n", " "), verdict)
