"""Builds the page: one folder that opens from disk, with no server and no network.

    build_board(["runs/eval-before", "runs/eval-after"], ["runs/quickstart"], "runs/board")

`index.html` holds styles, scripts and the index; `data/` holds items, curves and transcripts as script files, because a
page opened from disk may load a script beside it and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import shutil
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from rlvr.errors import RecordError
from rlvr_leaderboard.board import Board, make_board
from rlvr_leaderboard.payloads import index_payload, model_payload, run_payload, transcripts

SCRIPTS = ("core.js", "board.js", "heatmap.js", "curves.js", "compare.js", "item.js", "record.js", "main.js")
VENDOR = "uPlot.iife.min.js", "uPlot.min.css", "uPlot-LICENSE"
MARK = '<meta name="generator" content="rlvr leaderboard">'


def build_board(
    record_dirs: Iterable[str | Path],
    run_dirs: Iterable[str | Path] = (),
    out: str | Path = "board",
    *,
    title: str = "Leaderboard",
) -> Path:
    """Make the page of some records and training runs in the folder `out`; the path of its index.html.

    A folder that holds an earlier page is replaced as a whole; one that holds anything else is refused with RecordError.
    """
    board = make_board(record_dirs, run_dirs, title=title)
    target = Path(out)
    _check_replaceable(target)
    partial = target.parent / f".{target.name}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(board, partial)
        _swap(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target / "index.html"


def page_html(index: dict[str, Any]) -> str:
    """The page around an index. Only its own scripts and styles, known by their hashes, are allowed to run."""
    style = _asset("vendor/uPlot.min.css") + _asset("style.css")
    vendor = _asset("vendor/uPlot.iife.min.js")
    script = "'use strict';\n(() => {\n" + "\n".join(_asset(name) for name in SCRIPTS) + "\n})();"
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src 'self' file: {_hash(vendor)} {_hash(script)}",
            f"style-src {_hash(style)}",
            "img-src data:",
            f"connect-src {chr(39)}self{chr(39)}" if index["live"] else "connect-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    values = {
        "POLICY": policy,
        "TITLE": html.escape(index["title"]),
        "STYLE": style,
        "DATA": inline_json(index),
        "VENDOR": vendor,
        "SCRIPT": script,
    }
    # Cut at the marks once, so that no value can hold another value's mark.
    pieces = _asset("page.html").split("%%")
    return "".join(values[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def inline_json(value: Any) -> str:
    """JSON that may stand inside a script element: it holds no `<`."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def data_script(name: str, value: Any) -> str:
    """A data file: a script that hands its value over under its name. ASCII, and without `<`."""
    return f"rlvrData({json.dumps(name)},{inline_json(value)});\n"


def _write(board: Board, folder: Path) -> None:
    data = folder / "data"
    data.mkdir(parents=True)
    for number, row in enumerate(board.rows):
        chunks: dict[tuple[str, str], int] = {}
        for chunk, (held, piece) in enumerate(transcripts(row, board.columns)):
            chunks.update(dict.fromkeys(held, chunk))
            name = f"t{number}-{chunk}"
            (data / f"{name}.js").write_text(data_script(name, piece), "ascii")
        payload = model_payload(row, board.columns, chunks)
        (data / f"m{number}.js").write_text(data_script(f"m{number}", payload), "ascii")
    for number, run in enumerate(board.runs):
        (data / f"r{number}.js").write_text(data_script(f"r{number}", run_payload(run)), "ascii")
    (folder / VENDOR[2]).write_text(_asset(f"vendor/{VENDOR[2]}"), "utf-8")
    (folder / "index.html").write_text(page_html(index_payload(board)), "utf-8")


def _check_replaceable(target: Path) -> None:
    if target.is_dir() and any(target.iterdir()):
        index = target / "index.html"
        if not index.is_file() or MARK not in index.read_text("utf-8", "replace")[:1000]:
            raise RecordError(
                f"{str(target)!r} is not empty and holds no page of rlvr, so it was left alone. Give another folder."
            )
    elif target.exists() and not target.is_dir():
        raise RecordError(f"{str(target)!r} is a file; give a folder for the page")


def _swap(partial: Path, target: Path) -> None:
    old = target.parent / f".{target.name}.old-{os.getpid()}"
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        os.replace(target, old)
    os.replace(partial, target)
    shutil.rmtree(old, ignore_errors=True)


def _asset(name: str) -> str:
    return (resources.files("rlvr_leaderboard") / "site" / name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
