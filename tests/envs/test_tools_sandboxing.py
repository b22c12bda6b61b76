"""Model text that reaches SQL, formulas and paths: it reads what it may and cannot do more."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import pytest

import rlvr
from rlvr_envs.tools.store import Store
from rlvr_envs.tools.tool import ToolError
from rlvr_envs.tools.worlds import files, inventory, sheet
from rlvr_envs.tools.worlds.formulas import Formula
from rlvr_envs.tools.worlds.sql import read_only


@pytest.fixture
def store() -> Store:
    (task,) = rlvr.tasks("tools/inventory-v0", n=1)
    return rlvr.spec("tools/inventory-v0").open(task).store  # type: ignore[attr-defined, no-any-return]


def test_a_select_reads(store: Store) -> None:
    rows = read_only(store, "SELECT supplier, COUNT(*) AS n FROM products GROUP BY supplier ORDER BY n DESC")
    assert sum(row["n"] for row in rows) == len(store.table("products"))
    assert read_only(store, "WITH x AS (SELECT 1 AS a) SELECT a FROM x") == [{"a": 1}]
    assert len(read_only(store, "SELECT * FROM stock a, stock b")) == 50


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM stock",
        "UPDATE stock SET quantity = quantity + ? WHERE sku = ? AND warehouse = ?",
        "UPDATE stock SET quantity = 0",
        "INSERT INTO orders (sku) VALUES ('x')",
        "DROP TABLE stock",
        "CREATE TEMP TABLE x (a)",
        "PRAGMA query_only = OFF",
        "ATTACH DATABASE '/tmp/x.db' AS x",
        "VACUUM INTO '/tmp/x.db'",
        "SELECT load_extension('x')",
        "SELECT randomblob(1000000000)",
        "SELECT zeroblob(1000000000)",
        "SELECT printf('%.1000000000c', 'x')",
        "SELECT replace(name, 'a', name) FROM products",
        "WITH RECURSIVE x(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM x) SELECT COUNT(*) FROM x",
        "SELECT COUNT(*) FROM stock a, stock b, stock c, stock d, stock e",
        "SELECT 1; DELETE FROM stock",
        "BEGIN",
        "RELEASE call",
        "ROLLBACK",
        "",
        "SELECT '\ud800'",
        "SELECT \x00",
        "SELECT " + "(" * 3000,
        "SELECT 1" + " " * 5000,
    ],
)
def test_everything_else_is_refused_soon_and_changes_nothing(store: Store, sql: str) -> None:
    before = store.fork()
    # The same text was compiled without the guard before; it must be compiled anew.
    for own in ("SELECT * FROM stock", "UPDATE stock SET quantity = quantity + 0"):
        store.run(own)
    start = time.process_time()
    with pytest.raises(ToolError):
        read_only(store, sql)
    assert time.process_time() - start < 2
    assert all(before.table(name) == store.table(name) for name in store.tables)
    store.run("UPDATE stock SET quantity = quantity")  # the world itself can still write


def test_sql_that_failed_inside_a_turn_leaves_the_episode_playable() -> None:
    (task,) = rlvr.tasks("tools/inventory-v0", n=1)
    session = rlvr.spec("tools/inventory-v0").open(task)  # type: ignore[attr-defined]
    for sql in ("COMMIT", "ROLLBACK TO call", "RELEASE call", "DELETE FROM stock", "SELEC"):
        arguments = {"sql": sql}
        reply = session.turn(rlvr.verifiers.toolcall.write([{"name": "query", "arguments": arguments}]))
        assert str(reply[0]["content"]).startswith("error:")
    for turn in session.gold_turns():
        reply = session.turn(turn)
    assert reply.correct


CELLS = {(1, 1): "1", (1, 2): "2", (2, 1): "3", (2, 2): "4", (1, 4): "=B1*A2", (9, 9): "text"}


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("1+2*3", 7), ("(1+2)*3", 9), ("-2*-3", 6), ("7/2", Fraction(7, 2)), ("SUM(A1:B2)", 10), ("SUM(A1:A2, 5)", 9),
        ("MAX(A1:B2)-MIN(A1:B2)", 3), ("AVERAGE(A1:B2)", Fraction(5, 2)), ("COUNT(A1:C9)", 4), ("a1+B2", 5), ("C7", 0),
        ("1 + 1 ", 2), ("D1", 6),
    ],
)  # fmt: skip
def test_formulas_compute(formula: str, value: Any) -> None:
    assert Formula(lambda row, column: CELLS.get((row, column), "")).expression(formula) == value


@pytest.mark.parametrize(
    "formula",
    ["", "1+", "(1", "SUM(", "SUM(A1:A2", "1/0", "EVAL(1)", "__import__", "9**9", "A1:B2", "1 2", "I9+1", "A0", "E1", "F1",
     "(" * 200 + "1", "-" * 300 + "1", "9" * 300, "*".join(["9999999999"] * 30), "SUM(A1:Z99999)", "'x'", "1;2"],
)  # fmt: skip
def test_what_is_no_formula_is_refused(formula: str) -> None:
    cells = {(9, 9): "text", (1, 5): "=E1+1", (1, 6): "=G1", (1, 7): "=F1"}
    with pytest.raises(ToolError):
        Formula(lambda row, column: cells.get((row, column), "")).expression(formula)


def test_paths_stay_paths() -> None:
    store = Store(files.DDL, {"nodes": ("path",)})
    store.insert("nodes", [("/", "dir", ""), ("/a", "dir", ""), ("/a/f", "file", "x")])
    for path in ("", "a", "/a/../b", "/a//b", "/a/", "/a/%", "/a/*", "/é", "/" + "x" * 200, "/a\n", "/."):
        with pytest.raises(ToolError):
            files.write.run(store, path, "y")
    assert len(store.table("nodes")) == 3


def test_a_prefix_of_a_name_is_no_directory() -> None:
    store = Store(files.DDL, {"nodes": ("path",)})
    store.insert("nodes", [("/", "dir", ""), ("/a", "dir", ""), ("/ab", "dir", ""), ("/ab/f", "file", "x")])
    assert files.ls.run(store, "/a") == []
    assert files.ls.run(store, "/") == ["a/", "ab/"]
    assert files.rm.run(store, "/a") == "removed"


def test_sorting_is_stable_in_both_directions() -> None:
    for order, wanted in (("asc", ["c", "a", "b", "d"]), ("desc", ["d", "a", "b", "c"])):
        store = Store(sheet.DDL, {"cells": ("row", "col")})
        store.insert(
            "cells",
            [(2, 1, "a"), (2, 2, "5"), (3, 1, "b"), (3, 2, "5"), (4, 1, "c"), (4, 2, "1"), (5, 1, "d"), (5, 2, "10")],
        )
        sheet.sort.run(store, "A2:B5", "B", order)
        assert [row[0] for row in sheet.get_range.run(store, "A2:A5")] == wanted


def test_inserting_a_row_moves_the_others_down() -> None:
    store = Store(sheet.DDL, {"cells": ("row", "col")})
    store.insert("cells", [(1, 1, "h"), (2, 1, "a"), (3, 1, "b")])
    sheet.insert_row.run(store, 2)
    assert sheet.get_range.run(store, "A1:A4") == [["h"], [""], ["a"], ["b"]]


def test_stock_cannot_go_below_zero(store: Store) -> None:
    row = store.all("SELECT * FROM stock ORDER BY sku")[0]
    with pytest.raises(ToolError, match="fewer than"):
        inventory.adjust.run(store, row["sku"], row["warehouse"], -row["quantity"] - 1, "x")
