"""The page, served while runs go on. Reads the folders anew whenever their files have changed."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError, RlvrError
from rlvr_leaderboard.board import Board, make_board
from rlvr_leaderboard.pages import data_script, page_html
from rlvr_leaderboard.payloads import (
    folder_version,
    index_payload,
    model_payload,
    run_payload,
    transcripts,
)
from rlvr_leaderboard.publishing import RECORDS, RUNS, members
from rlvr_leaderboard.record import RECORD

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DATA = re.compile(r"(m|r|t)([0-9]{1,6})(?:-([0-9]{1,6}))?")


class LiveBoard:
    """A board that follows its folders. Thread-safe; holds numbers and no texts."""

    def __init__(self, sources: Sequence[Path], title: str = "Live") -> None:
        self._sources = [Path(source) for source in sources]
        self._title = title
        self._lock = threading.Lock()
        self._version = ""
        self._board: Board | None = None
        self._chunks: dict[int, dict[tuple[str, str], int]] = {}

    def folders(self) -> tuple[list[Path], list[Path]]:
        """Records and training runs in the sources, or in folders up to three levels below them; new ones too."""
        records: list[Path] = []
        runs: list[Path] = []
        for source in self._sources:
            if (source / RECORDS).is_dir() or (source / RUNS).is_dir():
                more_records, more_runs = members(source)
                records, runs = records + more_records, runs + more_runs
                continue
            for depth in ("", "*/", "*/*/", "*/*/*/"):
                records += sorted(path.parent for path in source.glob(f"{depth}{RECORD}"))
                runs += sorted(path.parent for path in source.glob(f"{depth}metrics.jsonl"))
        return records, runs

    def version(self) -> str:
        """Changes when there is something new to show."""
        records, runs = self.folders()
        return folder_version([*records, *runs])

    def board(self) -> Board:
        """The board as the folders are now."""
        with self._lock:
            version = self.version()
            if self._board is None or version != self._version:
                records, runs = self.folders()
                empty = not records and not runs
                self._board = Board(self._title, [], [], []) if empty else make_board(records, runs, title=self._title)
                self._version, self._chunks = version, {}
            return self._board

    def index(self) -> dict[str, Any]:
        """The page's index."""
        board = self.board()
        return index_payload(board, live=True, version=self._version)

    def data(self, name: str) -> str | None:
        """One of the page's data files, made when it is asked for; None if there is no such file."""
        match = _DATA.fullmatch(name)
        board = self.board()
        if match is None:
            return None
        kind, number, chunk = match[1], int(match[2]), match[3]
        if kind == "r":
            return (
                data_script(name, run_payload(board.runs[number])) if number < len(board.runs) and not chunk else None
            )
        if number >= len(board.rows) or (kind == "t") != (chunk is not None):
            return None
        row = board.rows[number]
        if kind == "t":
            pieces = enumerate(transcripts(row, board.columns))
            return next((data_script(name, piece) for place, (_, piece) in pieces if place == int(chunk or 0)), None)
        if number not in self._chunks:
            found: dict[tuple[str, str], int] = {}
            for place, (held, _) in enumerate(transcripts(row, board.columns)):
                found.update(dict.fromkeys(held, place))
            self._chunks[number] = found
        return data_script(name, model_payload(row, board.columns, self._chunks[number]))


def application(live: LiveBoard) -> Any:
    """The Starlette application: the page, its index, its data."""
    try:
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
        from starlette.routing import Route
    except ImportError as fault:
        raise ConfigError(f"`rlvr view` needs a web server: pip install 'rlvr[view]' ({fault})") from fault

    def page(request: Request) -> Response:
        return HTMLResponse(page_html(live.index()))

    def index(request: Request) -> Response:
        return JSONResponse(live.index())

    def version(request: Request) -> Response:
        return JSONResponse({"version": live.version()})

    def data(request: Request) -> Response:
        text = live.data(request.path_params["name"])
        if text is None:
            return PlainTextResponse("there is no such data", status_code=404)
        return Response(text, media_type="text/javascript")

    def damaged(request: Request, fault: Exception) -> Response:
        return PlainTextResponse(str(fault), status_code=500)

    return Starlette(
        exception_handlers={RlvrError: damaged},
        routes=[
            Route("/", page),
            Route("/index.json", index),
            Route("/version", version),
            Route("/data/{name}.js", data),
        ],
    )


def serve(sources: Sequence[Path], *, host: str, port: int, title: str) -> None:
    """Serve until interrupted. Raises ConfigError if a source does not exist or the packages are missing."""
    for source in sources:
        if not Path(source).is_dir():
            raise ConfigError(f"{str(source)!r} is no folder, so there is nothing to follow")
    app = application(LiveBoard(sources, title))
    import uvicorn

    if host not in LOOPBACK:
        print(f"rlvr: listening on {host}: whoever reaches this machine can read these records", file=sys.stderr)
    print(f"http://{host}:{port}/  (Ctrl-C ends it)", file=sys.stderr)
    uvicorn.run(app, host=host, port=port, log_level="warning")
