"""Rows of a public data set: from a local file, else through the `datasets` package, which also keeps what it downloaded.

The folder that `RLVR_DATA` names holds local copies; a machine without a network needs nothing else.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rlvr.errors import ConfigError
from rlvr.rows import Row, parse_rows

VARIABLE = "RLVR_DATA"
"""The environment variable that names the folder of local copies."""
FORMATS = ("jsonl", "json", "csv", "tsv", "parquet")


@dataclass(frozen=True)
class Source:
    """Where one part of a data set may be found."""

    file: str
    """Its name in the folder that RLVR_DATA names."""
    hub: str = ""
    """Its repository on the Hugging Face hub, or empty."""
    config: str | None = None
    """The hub's name for the variant."""
    split: str = "train"
    """The hub's name for the part."""


def load(source: Source, *, env_id: str, path: str = "") -> list[Row]:
    """The rows of `path` where one is given, else of the local copy, else of the hub.

    Raises ConfigError that lists the remedies if the rows are nowhere to be had.
    """
    if path:
        return read_file(path, env_id=env_id)
    folder = os.environ.get(VARIABLE, "")
    local = Path(folder).expanduser() / source.file
    if folder and local.is_file():
        return read_file(local, env_id=env_id)
    tried = f"there is no {local}" if folder else f"{VARIABLE} is not set"
    if source.hub:
        try:
            return _from_hub(source)
        except ImportError:
            tried += "; the package `datasets` is not installed"
        except Exception as fault:  # no network, no such repository, a moved file: all mean that the rows are not here
            tried += f"; {source.hub} could not be loaded ({type(fault).__name__}: {str(fault)[:200]})"
    remedy = f"Put {source.file} into a folder and set {VARIABLE} to it, or give path="
    if source.hub:
        remedy += f", or `pip install 'rlvr[data]'` on a machine that reaches the hub (it loads {source.hub})"
    raise ConfigError(f"{env_id} has no rows: {tried}. {remedy}.")


def read_file(path: str | Path, *, env_id: str) -> list[Row]:
    """The rows of a JSON-lines, JSON, CSV, TSV or Parquet file, the text ones also as `.gz`.

    Raises ConfigError if the file cannot be read, its ending is another one, or a line is damaged (naming it).
    """
    file = Path(path).expanduser()
    packed = file.suffix == ".gz"
    ending = (file.with_suffix("") if packed else file).suffix[1:].lower()
    if ending not in FORMATS:
        raise ConfigError(f"{env_id}: {str(path)!r} ends in {file.suffix!r}; give a file of {', '.join(FORMATS)}")
    try:
        if ending == "parquet":
            return _parquet(file, env_id)
        data = gzip.decompress(file.read_bytes()) if packed else file.read_bytes()
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as fault:
        raise ConfigError(
            f"{env_id}: cannot read its rows from {str(path)!r}: {fault}. Give a readable file."
        ) from fault
    if ending in ("csv", "tsv"):
        rows: list[Row] = list(
            csv.DictReader(io.StringIO(text, newline=""), delimiter="," if ending == "csv" else "\t")
        )
        return rows
    return parse_rows(text, where=str(path))


def field(row: Row, names: Sequence[str], *, env_id: str, number: int) -> Any:
    """The first of the fields `names` that the row has. Raises ConfigError that lists the fields there are."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise ConfigError(
        f"{env_id}: row {number} has none of the fields {', '.join(names)}; it has {', '.join(map(str, row))}. "
        "Name the field, or mend the row."
    )


def _from_hub(source: Source) -> list[Row]:
    import datasets

    if not datasets.config.HF_HUB_OFFLINE:
        # Without a network the package retries for half a minute; a name that does not resolve says it at once.
        try:
            socket.getaddrinfo(urlsplit(datasets.config.HF_ENDPOINT).hostname, 443)
        except OSError as fault:
            raise OSError(f"{fault}; with HF_HUB_OFFLINE=1 an earlier download would be used") from fault
    table = datasets.load_dataset(source.hub, source.config, split=source.split)
    return [dict(row) for row in table]


def _parquet(file: Path, env_id: str) -> list[Row]:
    try:
        from pyarrow import parquet
    except ImportError as fault:
        raise ConfigError(
            f"{env_id}: {str(file)!r} is a Parquet file, which needs pyarrow: `pip install 'rlvr[data]'`"
        ) from fault
    rows: list[Row] = parquet.read_table(file).to_pylist()
    return rows
