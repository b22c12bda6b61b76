"""The state of a world: an SQLite database in memory, with snapshots, forks and exact differences."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Key = tuple[Any, ...]
Row = dict[str, Any]


@dataclass(frozen=True)
class TableDiff:
    """What differs between two states of one table, by primary key."""

    added: dict[Key, Row] = field(default_factory=dict)
    removed: dict[Key, Row] = field(default_factory=dict)
    changed: dict[Key, tuple[Row, Row]] = field(default_factory=dict)
    """Key -> (before, after)."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


Diff = dict[str, TableDiff]
"""Tables that differ; empty if none does."""


class Store:
    """One database. `tables` names each table's primary-key columns."""

    def __init__(self, ddl: str, tables: dict[str, tuple[str, ...]]) -> None:
        self.tables = tables
        self._ddl = ddl
        self.db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.db.deserialize(_empty(ddl))

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Add rows that give every column in its order."""
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self.db.execute("BEGIN")
            self.db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
            self.db.execute("COMMIT")

    def all(self, sql: str, *values: Any) -> list[Row]:
        """The rows of a query, as dicts."""
        cursor = self.db.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def one(self, sql: str, *values: Any) -> Row | None:
        """The first row of a query, None if there is none."""
        rows = self.all(sql, *values)
        return rows[0] if rows else None

    def run(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Carry out one statement."""
        return self.db.execute(sql, values)

    def snapshot(self) -> bytes:
        """The whole state, to be given to `restore`."""
        return self.db.serialize()

    def restore(self, snapshot: bytes) -> None:
        """Go back to a snapshot."""
        self.db.deserialize(snapshot)

    def fork(self) -> Store:
        """An independent copy."""
        return Store.open(self.snapshot(), self._ddl, self.tables)

    @classmethod
    def open(cls, snapshot: bytes, ddl: str, tables: dict[str, tuple[str, ...]]) -> Store:
        """A store in the state of a snapshot."""
        new = object.__new__(cls)
        new.tables, new._ddl = tables, ddl
        new.db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        new.db.deserialize(snapshot)
        return new

    def table(self, table: str) -> dict[Key, Row]:
        """All rows of a table by primary key."""
        key = self.tables[table]
        return {tuple(row[column] for column in key): row for row in self.all(f"SELECT * FROM {table}")}

    def close(self) -> None:
        """Free the database."""
        self.db.close()


@functools.cache
def _empty(ddl: str) -> bytes:
    """A database with these tables and no rows; compiling the statements takes ten times as long as copying the result."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(ddl)
    return db.serialize()


Contents = dict[str, frozenset[tuple[Any, ...]]]
"""All rows of all tables, as plain tuples."""


def contents(store: Store) -> Contents:
    """Everything in a store, to be compared with several later states."""
    return {table: frozenset(store.db.execute(f"SELECT * FROM {table}")) for table in store.tables}


def diff(before: Store | Contents, after: Store) -> Diff:
    """What differs between two states of the same world."""
    old_contents = contents(before) if isinstance(before, Store) else before
    result: Diff = {}
    # Compared as sets of plain tuples first: nearly every row is the same, and a dict for each would cost most.
    for table, new_rows in contents(after).items():
        gone, come = old_contents[table] - new_rows, new_rows - old_contents[table]
        if not gone and not come:
            continue
        names = [column[1] for column in after.db.execute(f"PRAGMA table_info({table})")]
        places = [names.index(column) for column in after.tables[table]]
        old = {tuple(row[place] for place in places): dict(zip(names, row, strict=True)) for row in gone}
        new = {tuple(row[place] for place in places): dict(zip(names, row, strict=True)) for row in come}
        result[table] = TableDiff(
            {key: row for key, row in new.items() if key not in old},
            {key: row for key, row in old.items() if key not in new},
            {key: (old[key], row) for key, row in new.items() if key in old},
        )
    return result
