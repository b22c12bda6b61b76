"""One read-only SQL query of a model: it sees the tables, changes nothing, and is stopped when it takes too much."""

from __future__ import annotations

import sqlite3
from typing import Any

from rlvr_envs.tools.store import Store
from rlvr_envs.tools.tool import ToolError

MAX_SQL_CHARS = 4_000
MAX_ROWS = 50
MAX_STEPS = 1_000_000
"""Steps of SQLite's virtual machine, some 50 ms."""
MAX_VALUE_BYTES = 100_000
_STEPS_A_CHECK = 10_000
_FUNCTIONS = frozenset(
    [
        "count",
        "sum",
        "avg",
        "min",
        "max",
        "total",
        "abs",
        "round",
        "lower",
        "upper",
        "length",
        "coalesce",
        "ifnull",
        "nullif",
        "substr",
        "substring",
        "trim",
        "ltrim",
        "rtrim",
        "group_concat",
        "like",
        "iif",
        "row_number",
        "rank",
        "dense_rank",
        "instr",
        "sign",
    ]
)


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ):
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def read_only(store: Store, sql: str) -> list[dict[str, Any]]:
    """The first rows of a SELECT. Raises ToolError for anything else, and for what takes too long."""
    if len(sql) > MAX_SQL_CHARS:
        raise ToolError(f"the query has {len(sql):,} characters; {MAX_SQL_CHARS:,} are allowed")
    if not sql.isascii() and "\x00" in sql:
        raise ToolError("the query holds a NUL character")
    left = [MAX_STEPS // _STEPS_A_CHECK]

    def used_up() -> bool:
        left[0] -= 1
        return left[0] < 0

    db = store.db
    before = db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    db.execute("PRAGMA query_only = ON")
    db.set_authorizer(_authorize)  # also makes SQLite compile statements anew that were compiled without it
    db.set_progress_handler(used_up, _STEPS_A_CHECK)
    try:
        cursor = db.execute(sql)
        if cursor.description is None:
            raise ToolError("only a SELECT can be asked")
        names = [column[0] for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchmany(MAX_ROWS)]
        cursor.close()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as fault:
        text = "the query takes too long" if "interrupted" in str(fault) else str(fault)
        raise ToolError(f"{text}; one SELECT over the tables is allowed") from None
    finally:
        db.set_progress_handler(None, 0)
        db.set_authorizer(None)
        db.execute("PRAGMA query_only = OFF")
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
    return [{name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()} for row in rows]
