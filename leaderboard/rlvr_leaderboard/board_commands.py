"""`rlvr leaderboard add | verify | build | submit | export | overlap`, and `rlvr view`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from rlvr.errors import ConfigError, RecordError
from rlvr_leaderboard import exports, plausible, publishing
from rlvr_leaderboard import verify as verification
from rlvr_leaderboard.commands import CHECK_FAILED, Json, Timeout, Workers
from rlvr_leaderboard.models import open_model
from rlvr_leaderboard.overlap import overlap
from rlvr_leaderboard.pages import build_board
from rlvr_leaderboard.record import Record
from rlvr_leaderboard.runs import TrainingRun

app = typer.Typer(help="Boards: add records, verify them, build the page, submit and export.", no_args_is_help=True)
Sources = Annotated[list[Path], typer.Argument(help="Folders of records, of training runs, or of boards.")]


@app.command("add")
def add(
    sources: Annotated[list[Path], typer.Argument(help="Records, training runs, or self-reported JSON files.")],
    board: Annotated[Path, typer.Option("--board", "-b", help="The board's folder.")] = Path("board-records"),
) -> None:
    """Copy records, training runs or self-reported summaries into a board's folder.

    Example: rlvr leaderboard add runs/eval-demo runs/quickstart --board my-board
    """
    for source in sources:
        for path in publishing.add(source, board):
            print(path)


@app.command("verify")
def verify(
    records: Annotated[list[Path], typer.Argument(help="Folders of records, or of boards.")],
    workers: Workers = 2,
    timeout_s: Timeout = 5.0,
    judge: Annotated[bool, typer.Option(help="Run the verifiers again, not only the hashes.")] = True,
    against: Annotated[str | None, typer.Option(help="The model itself: ask it, for the level `plausible`.")] = None,
    engine: Annotated[str, typer.Option(help="Engine for --against.")] = "auto",
    store: Annotated[bool, typer.Option(help="Write what was found beside the record, for boards.")] = True,
    as_json: Json = False,
) -> None:
    """Check hashes, numbers and verdicts. Exit code 3 with file, line and item if something does not hold.

    Example: rlvr leaderboard verify runs/eval-demo --workers 4
    """
    failed = False
    results = {}
    for path in _records(records):
        record = Record(path)
        found = verification.verify(record, workers=workers, timeout_s=timeout_s, judge=judge)
        if against is not None and found.level == verification.VERIFIED:
            opened = open_model(against, engine, (item.task for item in record.items()))
            checked = plausible.check(record, opened.engine, workers=workers)
            opened.engine.close()
            found.notes += checked.says
            if checked.passed:
                found.level = verification.PLAUSIBLE
            else:
                found.findings.append(verification.Finding("rollouts.jsonl", None, None, "does not fit " + against))
        if store and record.sealed:
            verification.store(record, found)
        failed = failed or not found.passed
        results[str(path)] = found.to_dict()
        if not as_json:
            print(f"{path}: {verification.LEVELS[found.level]}, {found.judged} answers judged again")
            for note in found.notes:
                print(f"  {note}")
            for finding in found.findings[: verification.MOST]:
                print(f"  {path / finding.file}{str(finding).removeprefix(finding.file)}", file=sys.stderr)
    if as_json:
        print(json.dumps({"schema": "rlvr-verify/1", "records": results}, indent=1))
    if failed:
        raise typer.Exit(CHECK_FAILED)


@app.command("build")
def build(
    sources: Sources,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the page.")] = Path("board"),
    title: str = "Leaderboard",
) -> None:
    """Build the page: one folder that opens from disk, without server or network.

    Example: rlvr leaderboard build runs/eval-before runs/eval-after runs/quickstart -o board
    """
    with publishing.gathered(sources) as (records, runs):
        print(build_board(records, runs, out, title=title))


@app.command("submit")
def submit(
    record: Annotated[Path, typer.Argument(help="Folder of a record.")],
    board: Annotated[Path, typer.Option("--board", "-b", help="A checkout of the board's repository.")],
    workers: Workers = 2,
    timeout_s: Timeout = 5.0,
) -> None:
    """Verify a record and put it where a pull request to a board's repository expects it. Opens nothing and sends nothing.

    Example: rlvr leaderboard submit runs/eval-demo --board ../our-board
    """
    found = verification.verify(Record(record), workers=workers, timeout_s=timeout_s)
    if not found.passed or found.level < verification.VERIFIED:
        raise RecordError(f"{str(record)!r} does not pass and was not copied: {(found.findings or found.notes)[0]}")
    (path,) = publishing.add(record, board)
    size_mb = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 2**20
    print(path)
    print(
        f"{size_mb:.1f} MiB, {found.judged} answers judged again and equal. Commit {path.relative_to(board)} and open a pull "
        "request; its check is `rlvr leaderboard verify .`.",
        file=sys.stderr,
    )


@app.command("export")
def export(
    record: Annotated[Path, typer.Argument(help="Folder of a record.")],
    form: Annotated[str, typer.Option("--format", "-f", help=f"One of {', '.join(exports.FORMATS)}.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")],
) -> None:
    """Write a record in another system's format.

    Example: rlvr leaderboard export runs/eval-demo --format inspect -o logs
    """
    if form not in exports.FORMATS:
        raise ConfigError(f"there is no format {form!r}; known: {', '.join(exports.FORMATS)}")
    for path in exports.FORMATS[form](Record(record), out):
        print(path)


@app.command("overlap")
def overlap_command(
    record: Annotated[Path, typer.Argument(help="Folder of a record.")],
    run: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    as_json: Json = False,
) -> None:
    """Did training see the items? Exact prompts and 13-grams. Exit code 3 if it did.

    Example: rlvr leaderboard overlap runs/eval-demo runs/quickstart
    """
    found = overlap((item.task for item in Record(record).items()), TrainingRun(run).prompts())
    print(json.dumps({"schema": "rlvr-overlap/1", **found.to_dict()}, indent=1) if as_json else found)
    if not found.clean:
        for item in [*found.exact, *found.partial][:20]:
            print(f"  {item}", file=sys.stderr)
        raise typer.Exit(CHECK_FAILED)


def view_command(
    sources: Sources,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than loopback show your records to the network.")
    ] = "127.0.0.1",
    port: int = 8710,
    title: str = "Live",
) -> None:
    """Serve the page while runs go on: it follows the folders as they grow.

    Example: rlvr view runs
    """
    from rlvr_leaderboard.view import serve

    serve(sources, host=host, port=port, title=title)


def _records(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found += publishing.members(path)[0] if (path / publishing.RECORDS).is_dir() else [path]
    if not found:
        raise RecordError("there is no record in what was named; give the folder of a record or of a board")
    return found
