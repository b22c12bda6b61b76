"""Rows of a data set, from wherever an author keeps them."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError

Row = Mapping[str, Any]
RowSource = str | Path | Iterable[Row] | Callable[..., Iterable[Row]]


def load_rows(source: RowSource, knobs: Mapping[str, Any], *, env_id: str) -> list[Row]:
    """All rows of `source`: a callable of the knobs, an iterable, a path, or `package:file` inside an installed package.

    Raises ConfigError if there is no such file, a line is no JSON object, or nothing is in it.
    """
    rows: list[Row]
    if callable(source):
        rows = list(source(**knobs))
    elif isinstance(source, str | Path):
        rows = _read(source, env_id)
    else:
        rows = list(source)
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ConfigError(
                f"{env_id}: row {number} is {type(row).__name__}, not an object with named fields: {row!r:.80}"
            )
    if not rows:
        raise ConfigError(f"{env_id}: its source {source!r:.120} has no rows, so there is nothing to ask")
    return rows


def _read(source: str | Path, env_id: str) -> list[Row]:
    package, colon, name = str(source).partition(":")
    try:
        if colon and package.replace(".", "").isidentifier():
            text = importlib.resources.files(package).joinpath(name).read_text("utf-8")
        else:
            text = Path(source).expanduser().read_text("utf-8")
    except (OSError, ModuleNotFoundError) as fault:
        raise ConfigError(
            f"{env_id}: cannot read its rows from {str(source)!r} ({fault}). Give a path or 'package:file.jsonl'."
        ) from fault
    return parse_rows(text, where=str(source))


def parse_rows(text: str, *, where: str) -> list[Row]:
    """The objects of a JSON list or of JSON lines. Raises ConfigError that names the line."""
    if text.lstrip()[:1] == "[":
        try:
            values = json.loads(text)
        except json.JSONDecodeError as fault:
            raise ConfigError(f"{where} is no JSON list: {fault}") from fault
        return list(values)
    rows = []
    # Not splitlines(): JSON strings may hold U+2028 and its kin, which that would cut.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as fault:
                raise ConfigError(f"{where} line {number} is no JSON: {fault}. Line: {line[:80]!r}") from fault
    return rows
