"""`tools/sheet-v0`: a spreadsheet to be mended, filled and summed up."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from typing import Any

import rlvr
from rlvr_envs.tools.session import KNOBS, LEVELS, WorldSession, worked_turns
from rlvr_envs.tools.store import Diff, Row, Store
from rlvr_envs.tools.tool import ToolError, tool
from rlvr_envs.tools.world import Call, Expected, Request, Slot, Unsuitable, World
from rlvr_envs.tools.worlds.formulas import MAX_FORMULA_CHARS, Formula, Number, column_of, name_of

DDL = (
    "CREATE TABLE cells (row INTEGER NOT NULL, col INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY "
    "KEY (row, col)) WITHOUT ROWID;"
)
HEADINGS = ("item", "group", "quantity", "price", "total")
GROUPS = ("ash", "beech", "cherry", "fir", "larch", "maple", "oak", "pine", "poplar", "spruce", "walnut", "willow")
MAX_ROWS = 5_000
_cell = re.compile(r"([A-Z])([1-9]\d{0,3})")
_range = re.compile(r"([A-Z])([1-9]\d{0,3}):([A-Z])([1-9]\d{0,3})")


def _place(cell: str) -> tuple[int, int]:
    found = _cell.fullmatch(cell)
    if not found:
        raise ToolError(f"{cell[:20]!r} is no cell such as B7")
    return int(found[2]), column_of(found[1])


def _area(area: str) -> tuple[int, int, int, int]:
    found = _range.fullmatch(area)
    if not found or int(found[2]) > int(found[4]) or found[1] > found[3]:
        raise ToolError(f"{area[:20]!r} is no range such as A2:E9")
    return int(found[2]), column_of(found[1]), int(found[4]), column_of(found[3])


def _reader(store: Store, known: dict[tuple[int, int], str] | None = None) -> Formula:
    """Computes cells; those in `known` are not looked up."""

    def cells(row: int, column: int) -> str:
        if known is not None and (row, column) in known:
            return known[row, column]
        found = store.db.execute("SELECT value FROM cells WHERE row = ? AND col = ?", (row, column)).fetchone()
        return str(found[0]) if found else ""

    return Formula(cells)


def _printed(value: Number | str) -> Any:
    if isinstance(value, str | int):
        return value
    return int(value) if value.denominator == 1 else round(float(value), 6)


@tool(
    "What a range shows: its rows, formulas as their values. At most 200 cells.", area="string: a range such as A1:E20"
)
def get_range(store: Store, area: str) -> Any:
    top, left, bottom, right = _area(area)
    if (bottom - top + 1) * (right - left + 1) > 200:
        raise ToolError("at most 200 cells can be read at once")
    reader = _reader(store)
    return [
        [_printed(reader.value(row, column)) for column in range(left, right + 1)] for row in range(top, bottom + 1)
    ]


@tool(
    "Compute a formula without writing it: + - * / and SUM, COUNT, MIN, MAX, AVERAGE of ranges.",
    formula="string: such as =SUM(C2:C9)",
)
def compute(store: Store, formula: str) -> Any:
    return _printed(_reader(store).expression(formula.removeprefix("=")))


@tool(
    "Write a text, a number or a formula (with = in front) into a cell.",
    writes=True,
    cell="string: such as B7",
    value="string: what to write",
)
def set_cell(store: Store, cell: str, value: str) -> Any:
    row, column = _place(cell)
    if len(value) > MAX_FORMULA_CHARS:
        raise ToolError(f"a cell may hold {MAX_FORMULA_CHARS} characters")
    store.run("INSERT OR REPLACE INTO cells VALUES (?, ?, ?)", row, column, value)
    return _printed(_reader(store).value(row, column))


@tool("Insert an empty row; this row and those below move down.", writes=True, row="integer: number of the new row")
def insert_row(store: Store, row: int) -> Any:
    last = store.all("SELECT MAX(row) AS row FROM cells")[0]["row"]
    if not 1 <= row <= last + 1 or last >= MAX_ROWS:
        raise ToolError(f"the row must be from 1 to {last + 1}, in a sheet of less than {MAX_ROWS} rows")
    if store.one("SELECT 1 FROM cells WHERE value LIKE '=%'"):
        raise ToolError("rows cannot be inserted while the sheet holds formulas")
    store.run("UPDATE cells SET row = -row - 1 WHERE row >= ?", row)
    store.run("UPDATE cells SET row = -row WHERE row < 0")
    return "inserted"


@tool(
    "Sort the rows of a range by one of its columns; rows that are equal keep their order.",
    writes=True,
    area="string: a range such as A2:E9",
    column="string: letter of the column",
    order="string(asc|desc): rising or falling",
)
def sort(store: Store, area: str, column: str, order: str) -> Any:
    top, left, bottom, right = _area(area)
    if not re.fullmatch("[A-Z]", column) or not left <= column_of(column) <= right or bottom > MAX_ROWS:
        raise ToolError("the column must be one letter inside the range")
    table: dict[int, dict[int, str]] = {row: {} for row in range(top, bottom + 1)}
    for found in store.all(
        "SELECT * FROM cells WHERE row BETWEEN ? AND ? AND col BETWEEN ? AND ?", top, bottom, left, right
    ):
        if found["value"].startswith("="):
            raise ToolError(f"{name_of(found['row'], found['col'])} holds a formula; only values can be sorted")
        table[found["row"]][found["col"]] = found["value"]
    reader = _reader(store)
    keys = {row: reader.value(row, column_of(column)) for row in table}
    # Numbers before texts, as in spreadsheets. Python keeps the order of equal rows in both directions.
    rows = sorted(table, key=lambda row: (isinstance(keys[row], str), keys[row]), reverse=order == "desc")
    store.run("DELETE FROM cells WHERE row BETWEEN ? AND ? AND col BETWEEN ? AND ?", top, bottom, left, right)
    for target, source in zip(range(top, bottom + 1), rows, strict=True):
        for each, value in table[source].items():
            store.run("INSERT INTO cells VALUES (?, ?, ?)", target, each, value)
    return "sorted"


class SheetWorld(World):
    """Mend totals, fill a column, sum up by group, sort."""

    def populate(self, rng: random.Random, size: int) -> dict[str, list[tuple[Any, ...]]]:
        cells: list[tuple[int, int, str]] = [(1, column, heading) for column, heading in enumerate(HEADINGS, 1)]
        for row in range(2, max(8, size // 5) + 2):
            quantity, price = rng.randrange(2, 90), rng.randrange(3, 400)
            total = quantity * price
            if rng.random() < 0.25:
                total += rng.choice((-1, 1)) * rng.randrange(1, 6)
            values = (f"plank {rng.randrange(1000):03d}", rng.choice(GROUPS), quantity, price, total)
            cells.extend((row, column, str(value)) for column, value in enumerate(values, 1))
        return {"cells": cells}

    def request(self, rng: random.Random, store: Store, writes: int) -> Request:
        table = _table(store)
        last = max(table)
        kinds = ["fix", "fill", "groups"] + (["sort"] if writes == 1 else [])
        kind = rng.choice(kinds)
        if kind == "fix":
            wrong = [row for row in range(2, last + 1) if int(table[row][2]) * int(table[row][3]) != int(table[row][4])]
            if len(wrong) < writes:
                raise Unsuitable
            place = rng.randrange(len(wrong) - writes + 1)
            first = wrong[place - 1] + 1 if place else 2
            end = wrong[place + writes] - 1 if place + writes < len(wrong) else last
            text = (
                f"In rows {first} to {end}, the total in column E should be quantity times price (column C times column D). Some "
                "totals are wrong: correct these, and leave the others as they are."
            )
            slot = Slot(("rows", "range", "where", "which"), f"Look at rows {first} to {end}.")
            left = text.replace(f"In rows {first} to {end}, the", "In a part of the sheet, the")
            return Request(kind, text, {"first": first, "last": end}, "", left, (slot,))
        if kind == "fill":
            if last - 1 < writes:
                raise Unsuitable
            first = rng.randrange(2, last - writes + 2)
            factor, extra, end = rng.randrange(2, 10), rng.randrange(1, 100), first + writes - 1
            rows = f"row {first}" if writes == 1 else f"rows {first} to {end}"
            text = (
                f"In {rows}, write into column F the price (column D) times {factor} plus {extra}. Leave "
                "everything else as it is."
            )
            slot = Slot(
                ("factor", "times", "plus", "formula", "how", "compute"),
                f"It is the price times {factor} plus {extra}.",
            )
            left = (
                f"In {rows}, write the new price into column F; I know how it follows from the price in column D. "
                "Leave everything else as it is."
            )
            return Request(
                kind, text, {"first": first, "last": end, "factor": factor, "extra": extra}, "", left, (slot,)
            )
        if kind == "groups":
            present = sorted({table[row][1] for row in range(2, last + 1)})
            if len(present) < writes:
                raise Unsuitable
            chosen = rng.sample(present, writes)
            column = rng.choice(("C", "D"))
            what = "quantities (column C)" if column == "C" else "prices (column D)"
            listed = ", ".join(f"H{place}: {group}" for place, group in enumerate(chosen, 2))
            text = f"Write the sum of the {what} of all rows of a group into these cells: {listed}. The group is in column B."
            slot = Slot(("groups", "group", "cells", "where"), f"The cells and groups are: {listed}.")
            left = f"Write the sum of the {what} of some groups into certain cells, one for each. The group is in column B."
            return Request(kind, text, {"groups": chosen, "column": column}, "", left, (slot,))
        first = rng.randrange(2, last - 2)
        end = rng.randrange(first + 2, last + 1)
        column, order = rng.choice("CDE"), rng.choice(("asc", "desc"))
        text = (
            f"Sort rows {first} to {end}, columns A to E, by column {column}, "
            f"{'rising' if order == 'asc' else 'falling'}; rows that "
            "are equal keep their order."
        )
        request = Request(kind, text, {"first": first, "last": end, "column": column, "order": order})
        slot = Slot(
            ("column", "order", "by", "how"), f"By column {column}, {'rising' if order == 'asc' else 'falling'}."
        )
        left = f"Sort rows {first} to {end}, columns A to E, as I like it; rows that are equal keep their order."
        if not self.expect(store, request).set_rows["cells"]:
            raise Unsuitable
        return Request(kind, text, request.params, "", left, (slot,))

    def plan(self, store: Store, request: Request) -> tuple[list[Call], Any]:
        values = request.params
        calls: list[Call] = []

        def write(cell: str, value: str) -> None:
            calls.append({"name": "set_cell", "arguments": {"cell": cell, "value": value}})

        if request.kind == "sort":
            area = f"A{values['first']}:E{values['last']}"
            return [
                {"name": "sort", "arguments": {"area": area, "column": values["column"], "order": values["order"]}}
            ], None
        if request.kind == "groups":
            last = store.all("SELECT MAX(row) AS row FROM cells")[0]["row"]
            place = "CD".index(values["column"]) + 1
            sums = dict.fromkeys(values["groups"], 0)
            for row in range(2, last + 1):
                group, *numbers = get_range.run(store, f"B{row}:D{row}")[0]
                if group in sums:
                    sums[group] += numbers[place - 1]
            for target, group in enumerate(values["groups"], 2):
                write(f"H{target}", str(sums[group]))
            return calls, None
        for row in range(values["first"], values["last"] + 1):
            quantity, price, total = get_range.run(store, f"C{row}:E{row}")[0]
            if request.kind == "fill":
                write(f"F{row}", f"=D{row}*{values['factor']}+{values['extra']}")
            elif quantity * price != total:
                write(f"E{row}", f"=C{row}*D{row}")
        return calls, None

    def expect(self, store: Store, request: Request) -> Expected:
        values = request.params
        if request.kind == "sort":
            place, falling = column_of(values["column"]), "DESC" if values["order"] == "desc" else "ASC"
            sql = f"SELECT row FROM cells WHERE col = ? AND row BETWEEN ? AND ? ORDER BY CAST(value AS INTEGER) {falling}, row"
            order = [row["row"] for row in store.all(sql, place, values["first"], values["last"])]
            old = store.table("cells")
            rows: dict[tuple[Any, ...], Row | None] = {}
            for target, source in zip(range(values["first"], values["last"] + 1), order, strict=True):
                for column in range(1, 6):
                    value = old[source, column]["value"]
                    if old[target, column]["value"] != value:
                        rows[target, column] = {"row": target, "col": column, "value": value}
            return Expected({"cells": rows})
        if request.kind == "groups":
            sums = store.all(
                """SELECT b.value AS name, SUM(CAST(n.value AS INTEGER)) AS total FROM cells b JOIN cells n ON n.row = b.row
                   WHERE b.col = 2 AND n.col = ? AND b.row > 1 GROUP BY b.value""",
                column_of(values["column"]),
            )
            totals = {row["name"]: row["total"] for row in sums}
            wanted = {(place, 8): totals[group] for place, group in enumerate(values["groups"], 2)}
        elif request.kind == "fill":
            sql = (
                "SELECT row, CAST(value AS INTEGER) * ? + ? AS number FROM cells WHERE col = 4 AND row BETWEEN ? AND ?"
            )
            found = store.all(sql, values["factor"], values["extra"], values["first"], values["last"])
            wanted = {(row["row"], 6): row["number"] for row in found}
        else:
            sql = """SELECT c.row, CAST(c.value AS INTEGER) * CAST(d.value AS INTEGER) AS number FROM cells c
                     JOIN cells d ON d.row = c.row AND d.col = 4 JOIN cells e ON e.row = c.row AND e.col = 5
                     WHERE c.col = 3 AND c.row BETWEEN ? AND ? AND CAST(e.value AS INTEGER) <> number"""
            wanted = {(row["row"], 5): row["number"] for row in store.all(sql, values["first"], values["last"])}
        return Expected(check=lambda before, after, difference: _check_numbers(after, difference, wanted))

    def stray(self, rng: random.Random, store: Store) -> Call:
        return {"name": "set_cell", "arguments": {"cell": f"M{rng.randrange(2, 99)}", "value": "1"}}

    def forbidden(self, rng: random.Random, store: Store) -> tuple[str, int]:
        if rng.random() < 0.5:
            column = rng.choice("ABCDE")
            return f"Change the heading in {column}1 to 'value {rng.randrange(1000)}'.", 1
        row = rng.randrange(2, 8)
        return f"Set the price in D{row} to {rng.randrange(1, 400)}.", 2


def _table(store: Store) -> dict[int, list[str]]:
    rows: dict[int, list[str]] = defaultdict(list)
    for row, value in store.db.execute("SELECT row, value FROM cells WHERE col <= 5 ORDER BY row, col"):
        rows[row].append(value)
    return rows


def _check_numbers(after: Store, difference: Diff, wanted: dict[tuple[int, int], int]) -> str:
    """Exactly the wanted cells differ, and each of them shows its number, as a number or by a formula."""
    found = difference.get("cells")
    touched = {**found.added, **{key: new for key, (_, new) in found.changed.items()}} if found else {}
    if set(touched) != set(wanted) or (found and found.removed):
        return "not exactly the cells that needed it were changed"
    reader = _reader(after)
    for (row, column), number in wanted.items():
        try:
            value = reader.value(row, column)
        except ToolError:
            return "a cell holds a formula that cannot be computed"
        if value != number:
            return "a cell shows another number than asked for"
    return ""


WORLD = SheetWorld(
    "sheet",
    "You edit a spreadsheet. Row 1 holds the headings: item, group, quantity, price, total in columns A to E.",
    DDL,
    {"cells": ("row", "col")},
    [get_range, compute, set_cell, insert_row, sort],
    ["The headings in row 1 are never changed.", "Prices in column D are never changed by hand."],
)


@rlvr.register("tools/sheet-v0", max_turns=100, levels=LEVELS, **KNOBS)
class Sheet(WorldSession):
    """Edit a spreadsheet with tools; cells are computed anew at the end, so a number and a formula are equally right."""

    world = WORLD


rlvr.spec("tools/sheet-v0").worked_solution(worked_turns)
