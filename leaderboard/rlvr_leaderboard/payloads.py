"""The page's data: a small index that stands in the page, and larger pieces that a view loads when it needs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlvr_leaderboard import provenance
from rlvr_leaderboard.board import Board, Column, Row
from rlvr_leaderboard.record import ROLLOUTS, VERIFICATION, Item, raw_lines, read_json
from rlvr_leaderboard.runs import TrainingRun
from rlvr_leaderboard.statistics.special import t_quantile
from rlvr_leaderboard.summary import CONFIDENCE
from rlvr_leaderboard.verify import LEVELS

CHUNK_BYTES = 200_000
"""Transcripts in one piece: small enough to open at once, large enough that a board is no flood of files."""
MAX_TEXT = 30_000
"""Letters of one text on the page; the record keeps all of them."""

Payload = dict[str, Any]


def index_payload(board: Board, *, live: bool = False, version: str = "") -> Payload:
    """What the page knows from the start: names, means, intervals and ranks; no items and no texts."""
    return {
        "title": board.title,
        "built": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "live": live,
        "version": version,
        "levels": list(LEVELS),
        "columns": [
            {"label": c.label, "items": c.num_items, "t": round(t_quantile(CONFIDENCE, max(1, c.num_items - 1)), 6)}
            for c in board.columns
        ],
        "rows": [_index_row(row, board.columns) for row in board.rows],
        "runs": [{"name": run.name, "metrics": sorted(run.curves())} for run in board.runs],
    }


def model_payload(row: Row, columns: list[Column], chunks: dict[tuple[str, str], int]) -> Payload:
    """One model's items, curves and provenance. `chunks` tells which piece holds an item's transcripts."""
    items, curves = [], []
    for column in columns:
        found = row.environment(column)
        rows = row.table.get(column.env, {}) if found else {}
        items.append(
            [
                [short(name), round(one.mean, 4), len(one.rewards), one.correct, chunks.get((column.env, name), 0)]
                for name, one in rows.items()
                if one.rewards
            ]
        )
        curves.append(
            {k: [round(v, 4) for v in values] for k, values in ((found or {}).get("pass_at_k") or {}).items()}
        )
    return {"items": items, "curves": curves, "record": _record_payload(row, columns)}


def run_payload(run: TrainingRun) -> Payload:
    """A training run's curves."""
    return {
        name: [[round(step, 3) for step in steps], [float(f"{v:.5g}") for v in values]]
        for name, (steps, values) in run.curves().items()
    }


def transcripts(row: Row, columns: list[Column]) -> Iterator[tuple[list[tuple[str, str]], Payload]]:
    """Pieces of transcripts: which items each holds, and what the page shows of them. One item's runs are read at a time."""
    if row.record.self_reported:
        return
    record = row.record
    places = {column.env: number for number, column in enumerate(columns) if row.environment(column) is not None}
    starts = _line_starts(record.path / ROLLOUTS)
    held: list[tuple[str, str]] = []
    piece: Payload = {}
    size = 0
    with (record.path / ROLLOUTS).open("rb") as file:
        for item in record.items():
            if item.env not in places:
                continue
            runs = []
            for number in row.table[item.env][item.id].line_numbers:
                file.seek(starts[number - 1])
                line = file.readline()
                runs.append(_run_payload(json.loads(line)))
                size += len(line)
            shown = _item_payload(item, sorted(runs, key=lambda run: (run["run"], run["attempt"])))
            piece[f"{places[item.env]}/{short(item.id)}"] = shown
            held.append((item.env, item.id))
            if size > CHUNK_BYTES:
                yield held, piece
                held, piece, size = [], {}, 0
    if piece:
        yield held, piece


def short(item: str) -> str:
    """An item's id within its environment."""
    return item.partition("#")[2] or item


def clipped(text: str) -> str:
    """A text as the page shows it: beginning and end of what is too long."""
    if len(text) <= MAX_TEXT:
        return text
    cut = len(text) - MAX_TEXT
    return f"{text[: MAX_TEXT // 2]}\n[... {cut} letters are left out here; the record has them ...]\n{text[-MAX_TEXT // 2 :]}"


def _index_row(row: Row, columns: list[Column]) -> Payload:
    journal = [] if row.record.self_reported else row.record.journal()
    gpus = max((len(each.get("machine", {}).get("gpus", [])) for each in journal), default=0)
    seconds = sum(each["wall_s"] for each in journal)
    return {
        "name": row.name,
        "level": row.level,
        "selfReported": row.record.self_reported,
        "problems": row.problems,
        "rank": row.rank,
        "hours": round(seconds * max(1, gpus) / 3600, 5) if journal else None,
        "device": f"{gpus} GPUs" if gpus else "CPU",
        "training": row.training,
        "overall": _overall(row, columns),
        "cells": [_cell(row, column) for column in columns],
    }


def _cell(row: Row, column: Column) -> Payload | None:
    found = row.environment(column)
    if found is None or "mean" not in found:
        return None
    passed = found.get("pass_at_k") or {}
    best = max(passed, key=int, default=None)
    return {
        "mean": round(found["mean"], 4),
        **({"low": round(found["low"], 4), "high": round(found["high"], 4)} if "low" in found else {}),
        "items": found["items"],
        "k": found["k"],
        **({"pass": [int(best), round(passed[best][0], 4)]} if best else {}),
        "tokens": round(found.get("tokens_mean", 0.0), 1),
        "truncated": round(found.get("truncated", 0.0), 4),
        "rank": row.ranks.get(column.label),
    }


def _overall(row: Row, columns: list[Column]) -> Payload:
    found = row.summary["overall"]
    passed = [e["pass_at_k"] for c in columns if (e := row.environment(c)) is not None and e.get("pass_at_k")]
    shared = set.intersection(*(set(each) for each in passed)) if passed else set()
    best = max(shared, key=int, default=None)
    return {
        **{name: round(found[name], 4) for name in ("mean", "low", "high", "truncated") if name in found},
        "tokens": round(found.get("tokens_mean", 0.0), 1),
        "items": found.get("items"),
        "k": _runs(row),
        **({"pass": [int(best), round(sum(each[best][0] for each in passed) / len(passed), 4)]} if best else {}),
    }


def _runs(row: Row) -> str:
    """Runs an item: one number, or the span over environments."""
    runs = sorted({int(facts["k"]) for facts in row.record.environments.values() if facts.get("k")})
    return "" if not runs else str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"


def _record_payload(row: Row, columns: list[Column]) -> Payload:
    record, header = row.record, row.record.header
    places = {(column.env, column.item_set): number for number, column in enumerate(columns)}
    verification = record.path / VERIFICATION
    checked = read_json(verification) if verification.is_file() else {}
    return {
        "model": header.get("model", {}),
        "sampling": {**header.get("sampling", {}), "seed": header.get("seed")},
        "packages": header.get("packages", {}),
        "machine": header.get("machine", {}),
        "journal": [] if record.self_reported else record.journal(),
        "files": record.manifest() if record.sealed else {},
        "overlap": None if row.overlap is None else str(row.overlap),
        "notes": [*checked.get("notes", []), *(finding["says"] for finding in checked.get("findings", [])[:20])],
        "warnings": [
            f"{name}: {text}" for name, env in row.summary["environments"].items() for text in env.get("warnings", [])
        ],
        "environments": [
            {
                "name": name,
                "column": places.get((name, facts.get("item_set_sha256", ""))),
                "items": facts.get("items"),
                "k": facts.get("k"),
                "itemSet": facts.get("item_set_sha256", ""),
                "source": facts.get("source_sha256", ""),
                **_numbers(row.summary["environments"].get(name, {})),
            }
            for name, facts in record.environments.items()
        ],
    }


def _numbers(found: Payload) -> Payload:
    names = {"mean": "mean", "low": "low", "high": "high", "run_standard_error": "noise", "distinct": "distinct"}
    return {short_name: found.get(name) for name, short_name in names.items()} | {"statuses": found.get("statuses", {})}


def _item_payload(item: Item, runs: list[Payload]) -> Payload:
    task = item.task
    return {
        "prompt": [{**message, "content": _content(message.get("content"))} for message in task.messages],
        "answer": task.answer,
        **({"tools": [dict(tool) for tool in task.tools]} if task.tools else {}),
        "runs": runs,
    }


def _run_payload(stored: Payload) -> Payload:
    names = ("run", "attempt", "status", "reward", "finish", "reason", "error", "parts", "detail", "tokens")
    return {name: stored[name] for name in names} | {
        "turns": [clipped(text) for text in stored["turns"]],
        "replies": [[{**m, "content": _content(m.get("content"))} for m in reply] for reply in stored["replies"]],
    }


def _content(value: Any) -> Any:
    return clipped(value) if isinstance(value, str) else value


def _line_starts(path: Path) -> list[int]:
    """Where each line begins; the file is read once and nothing of it is kept."""
    starts = [0]
    for _, line in raw_lines(path):
        starts.append(starts[-1] + len(line))
    return starts


def folder_version(paths: list[Path]) -> str:
    """Changes whenever one of the folders' files does: for the live view."""
    facts = []
    for path in paths:
        for name in (ROLLOUTS, "metrics.jsonl", "MANIFEST.sha256", VERIFICATION):
            if (path / name).is_file():
                stat = (path / name).stat()
                facts.append([str(path), name, stat.st_size, stat.st_mtime_ns])
    return provenance.hash_of(facts)[:16]
