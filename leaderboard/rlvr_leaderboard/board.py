"""What a board says: its rows, who may be ranked, and the ranks that the data allow. Pages and tables are made from this."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr.errors import RecordError
from rlvr_leaderboard import statistics as s
from rlvr_leaderboard.overlap import Overlap, overlap
from rlvr_leaderboard.record import SUMMARY, Record, read_json
from rlvr_leaderboard.runs import TrainingRun
from rlvr_leaderboard.summary import Table, overall, scored, summarise, tabulate
from rlvr_leaderboard.verify import COMPLETE, LEVELS, SELF_REPORTED, stored_level

MISSING_LIMIT = 0.01
"""A row with a larger share of runs without a verdict is not ranked: what breaks is seldom a random sample."""


@dataclass
class Row:
    """One record on the board."""

    record: Record
    name: str
    level: int
    summary: dict[str, Any]
    table: Table
    """What became of every run; empty for self-reported rows."""
    means: dict[str, dict[str, float]]
    """Environment to item to mean reward."""
    problems: list[str] = field(default_factory=list)
    """Why it is not ranked; empty if it is."""
    overlap: Overlap | None = None
    rank: s.RankSet | None = None
    ranks: dict[str, s.RankSet] = field(default_factory=dict)
    """The same for each column by itself."""

    @property
    def training(self) -> dict[str, Any] | None:
        """The training run it is a checkpoint of, where that is known."""
        found: dict[str, Any] | None = self.record.header["model"].get("training")
        return found

    def environment(self, column: Column) -> dict[str, Any] | None:
        """Its numbers in a column; None if it was not run there."""
        facts = self.record.environments.get(column.env)
        if facts is None or facts.get("item_set_sha256") != column.item_set:
            return None
        found: dict[str, Any] | None = self.summary["environments"].get(column.env)
        return found


@dataclass(frozen=True)
class Column:
    """One set of items: an environment with its knobs and the items that were drawn."""

    label: str
    env: str
    item_set: str
    num_items: int


@dataclass
class Board:
    """Rows and columns, and the runs whose curves belong to them."""

    title: str
    rows: list[Row]
    columns: list[Column]
    runs: list[TrainingRun]

    @property
    def ranked(self) -> list[Row]:
        """The rows that take part in the ranking, best mean first."""
        return [row for row in self.rows if row.rank is not None]


def make_board(
    record_dirs: Iterable[str | Path], run_dirs: Iterable[str | Path] = (), *, title: str = "Leaderboard"
) -> Board:
    """Read records and run folders. Raises RecordError, naming it, for a folder that is neither."""
    runs = [TrainingRun(path) for path in run_dirs]
    rows = [_row(Record(path), runs) for path in record_dirs]
    if not rows and not runs:
        raise RecordError("there is nothing to show: give the folder of a record, or of a training run")
    _name_apart(rows)
    columns = _columns(rows)
    for row in rows:
        row.problems += _problems(row, columns)
    _rank(rows, columns)
    rows.sort(
        key=lambda row: (
            row.rank is None,
            row.level == SELF_REPORTED,
            -row.summary["overall"].get("mean", 0.0),
            row.name,
        )
    )
    return Board(title, rows, columns, runs)


def _row(record: Record, runs: Sequence[TrainingRun]) -> Row:
    if record.self_reported:
        return Row(record, record.name, SELF_REPORTED, read_json(record.path / SUMMARY), {}, {})
    table = tabulate(record)
    row = Row(record, record.name, stored_level(record), _summary(record, table), table, _means(table))
    if not record.sealed:
        row.problems.append("the evaluation is not finished")
    elif row.level == SELF_REPORTED:
        row.problems.append("its files are not what was sealed; run `rlvr leaderboard verify`")
    run = next((run for run in runs if row.training and run.id == row.training["id"]), None)
    if run is not None:
        row.overlap = overlap((item.task for item in record.items()), run.prompts())
        if not row.overlap.clean:
            row.problems.append(f"training has seen items: {row.overlap}")
    return row


def _summary(record: Record, table: Table) -> dict[str, Any]:
    """Computed from the rollouts and not read: a board shows what follows from the record."""
    found = summarise(record, table)
    return found if found["environments"] else {**found, "overall": overall({})}


def _means(table: Table) -> dict[str, dict[str, float]]:
    return {
        name: {item: math.fsum(values) / len(values) for item, values in scored(items).items()}
        for name, items in table.items()
    }


def _name_apart(rows: Sequence[Row]) -> None:
    """Two records of one name get their folders' names too."""
    names = [row.name for row in rows]
    for row in rows:
        if names.count(row.name) > 1:
            row.name = f"{row.name} ({row.record.path.resolve().name})"


def _columns(rows: Sequence[Row]) -> list[Column]:
    sets: dict[str, dict[str, int]] = {}
    for row in rows:
        for name, facts in row.record.environments.items():
            sets.setdefault(name, {}).setdefault(facts.get("item_set_sha256", ""), int(facts.get("items", 0)))
    return [
        Column(name if len(found) == 1 else f"{name} [{item_set[:6] or 'unknown items'}]", name, item_set, count)
        for name, found in sets.items()
        for item_set, count in found.items()
    ]


def _problems(row: Row, columns: Sequence[Column]) -> list[str]:
    if row.level == SELF_REPORTED:
        return [f"{LEVELS[SELF_REPORTED]}: there is nothing to check"] if row.record.self_reported else []
    found = []
    absent = [column.label for column in columns if row.environment(column) is None]
    if absent:
        found.append(
            f"not run on {', '.join(absent[:3])}" + (f" and {len(absent) - 3} more" if len(absent) > 3 else "")
        )
    total = row.summary["overall"]
    if total.get("missing", 0) > MISSING_LIMIT * max(1, total["missing"] + total["rollouts"]):
        found.append(f"{total['missing']} runs have no verdict; run `rlvr eval --retry-faults`")
    return found


def _rank(rows: Sequence[Row], columns: Sequence[Column]) -> None:
    ranked = [row for row in rows if not row.problems and row.level >= COMPLETE]
    pairs = [(i, j) for i in range(len(ranked)) for j in range(i + 1, len(ranked))]
    found = {pair: [_difference(ranked[pair[0]], ranked[pair[1]], column) for column in columns] for pair in pairs}
    usable = {pair: [part for part in parts if part is not None] for pair, parts in found.items()}
    if all(len(parts) == len(columns) for parts in usable.values()):
        tests = {pair: s.combine(parts) for pair, parts in usable.items()}
        for row, rank in zip(ranked, s.ranks_from_tests(len(ranked), tests), strict=True):
            row.rank = rank
    for place, column in enumerate(columns):
        tests = {pair: s.combine([part]) for pair, parts in found.items() if (part := parts[place]) is not None}
        if len(tests) == len(pairs):
            for row, rank in zip(ranked, s.ranks_from_tests(len(ranked), tests), strict=True):
                row.ranks[column.label] = rank


def _difference(a: Row, b: Row, column: Column) -> s.PairedDifference | None:
    """A minus B on the items that both have a verdict for; None for fewer than two."""
    x, y = a.means.get(column.env, {}), b.means.get(column.env, {})
    differences = [value - y[item] for item, value in x.items() if item in y]
    return s.difference_of(differences) if len(differences) > 1 else None
