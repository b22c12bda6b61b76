"""`tools/bfcl-v0` and `tools/rows-v0`: single turns from data sets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import rlvr
from rlvr.errors import ConfigError
from rlvr.verifiers.toolcall import verify, write
from rlvr_envs.sources import VARIABLE
from rlvr_envs.tools.loaders import Row, check_gold, concrete_call, read, read_bfcl


def bfcl_rows(category: str, format: str, path: str, defects: str) -> list[Row]:
    """The folder `path`, else `bfcl` in the folder that RLVR_DATA names. BFCL is a test: every row is eval."""
    folder = Path(path) if path else Path(os.environ.get(VARIABLE, "")) / "bfcl"
    if not path and VARIABLE not in os.environ:
        raise ConfigError(
            f"tools/bfcl-v0 has no rows: {VARIABLE} is not set. Set it to a folder with bfcl/, or give path="
        )
    return _finished(read_bfcl(folder, category), format, defects, split="eval")


def file_rows(path: str, layout: str, format: str, defects: str) -> list[Row]:
    """The rows of a file."""
    if not path:
        raise ConfigError("tools/rows-v0 has no rows: give path= to a file of tool-call rows, and its layout=")
    return _finished(read(path, layout), format, defects)


def _finished(rows: list[Row], format: str, defects: str, split: str = "") -> list[Row]:
    """Rows with their format and split, without those whose gold is defective if `defects` says drop; each prompt once."""
    if defects not in ("keep", "drop"):
        raise ConfigError(f"defects is {defects!r}; choose keep or drop")
    dropped = {defect.index for defect in check_gold(rows)} if defects == "drop" else set()
    kept = [row for index, row in enumerate(rows) if index not in dropped]
    return [{**row, "format": format, **({"split": split} if split else {})} for row in kept]


def check(task: rlvr.Task, text: str) -> rlvr.Score:
    """The verdict of the tool-call verifier under its strict policy."""
    row = task.data or {}
    return verify(text, row["tools"], row["gold"], row["format"])


def _prompt(row: Any) -> Any:
    return row["messages"]


BFCL = rlvr.register(
    "tools/bfcl-v0",
    rows=bfcl_rows,
    prompt=_prompt,
    answer="gold",
    verify=check,
    split="split",
    description="Single turns of the Berkeley Function-Calling Leaderboard: one call, several tools, parallel calls, none.",
    category="all",
    format="hermes",
    path="",
    defects="keep",
)
ROWS = rlvr.register(
    "tools/rows-v0",
    rows=file_rows,
    prompt=_prompt,
    answer="gold",
    verify=check,
    description="Single turns from a file in the layout of OpenAI messages, xLAM, Hermes, ToolRL, NeMo-Gym or BFCL.",
    path="",
    layout="openai",
    format="hermes",
    defects="drop",
)


def solve(task: rlvr.Task) -> str:
    """The calls that gold names, with the first allowed values; a sentence where none is wanted."""
    row = task.data or {}
    calls = [concrete_call(item) for item in row["gold"]]
    if not calls:
        return "None of the tools fits this request."
    return write([{"name": call.name, "arguments": call.arguments} for call in calls], row["format"])


BFCL.worked_solution(solve)
ROWS.worked_solution(solve)
