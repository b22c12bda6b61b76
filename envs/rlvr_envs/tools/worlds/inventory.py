"""`tools/inventory-v0`: stock in warehouses, read with SQL and changed with tools."""

from __future__ import annotations

import random
from typing import Any

import rlvr
from rlvr_envs.tools.session import KNOBS, LEVELS, WorldSession, worked_turns
from rlvr_envs.tools.store import Row, Store
from rlvr_envs.tools.tool import ToolError, tool
from rlvr_envs.tools.world import Call, Expected, Request, Slot, Unsuitable, World
from rlvr_envs.tools.worlds.sql import read_only

DDL = """
CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT NOT NULL, supplier TEXT NOT NULL, cost INTEGER NOT NULL,
  reorder_point INTEGER NOT NULL, target INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE stock (sku TEXT NOT NULL, warehouse TEXT NOT NULL, quantity INTEGER NOT NULL, PRIMARY KEY (sku,
  warehouse)) WITHOUT ROWID;
CREATE TABLE orders (id INTEGER PRIMARY KEY, sku TEXT NOT NULL, warehouse TEXT NOT NULL, quantity INTEGER NOT
  NULL, status TEXT NOT NULL);
CREATE TABLE adjustments (id INTEGER PRIMARY KEY, sku TEXT NOT NULL, warehouse TEXT NOT NULL, delta INTEGER NOT
  NULL, reason TEXT NOT NULL);
"""
SUPPLIERS = ("Acorn", "Birch", "Clover", "Dahlia", "Elm", "Fern", "Ginkgo", "Hazel")
WAREHOUSES = ("north", "south", "east", "west")
THINGS = (
    "bolt",
    "bracket",
    "cable",
    "clamp",
    "crate",
    "filter",
    "gasket",
    "hinge",
    "lamp",
    "pipe",
    "pump",
    "valve",
    "washer",
)
LIMIT = 100
"""Pieces that one adjustment may correct by the rules of the house."""


def _held(store: Store, sku: str, warehouse: str) -> int:
    row = store.one("SELECT quantity FROM stock WHERE sku = ? AND warehouse = ?", sku, warehouse)
    if row is None:
        raise ToolError(f"there is no product {sku[:40]!r} in a warehouse {warehouse[:40]!r}")
    return int(row["quantity"])


def _change(store: Store, sku: str, warehouse: str, delta: int) -> None:
    if _held(store, sku, warehouse) + delta < 0:
        raise ToolError(f"{warehouse} holds fewer than {-delta} of {sku}")
    store.run("UPDATE stock SET quantity = quantity + ? WHERE sku = ? AND warehouse = ?", delta, sku, warehouse)


@tool(
    "Ask the database with one SQL SELECT (SQLite). Tables: products(sku, name, supplier, cost, reorder_point, target), "
    "stock(sku, warehouse, quantity), orders(id, sku, warehouse, quantity, status). At most 50 rows come back.",
    sql="string: the SELECT",
)
def query(store: Store, sql: str) -> Any:
    return read_only(store, sql)


@tool(
    "Order pieces of a product for a warehouse.",
    writes=True,
    sku="string: the product",
    warehouse="string: where it goes",
    quantity="integer: pieces",
)
def create_order(store: Store, sku: str, warehouse: str, quantity: int) -> Any:
    _held(store, sku, warehouse)
    if quantity <= 0:
        raise ToolError("the quantity must be positive")
    store.run(
        "INSERT INTO orders (sku, warehouse, quantity, status) VALUES (?, ?, ?, 'open')", sku, warehouse, quantity
    )
    return "ordered"


@tool(
    "Book the arrival of an open order: its pieces are added to the stock.",
    writes=True,
    order="integer: id of the order",
)
def receive(store: Store, order: int) -> Any:
    row = store.one("SELECT * FROM orders WHERE id = ?", order)
    if row is None or row["status"] != "open":
        raise ToolError(f"{order} is no open order")
    _change(store, row["sku"], row["warehouse"], row["quantity"])
    store.run("UPDATE orders SET status = 'received' WHERE id = ?", order)
    return "received"


@tool(
    "Correct a counted quantity.",
    writes=True,
    sku="string: the product",
    warehouse="string: where",
    delta="integer: pieces to add, negative to take away",
    reason="string: why",
)
def adjust(store: Store, sku: str, warehouse: str, delta: int, reason: str) -> Any:
    _change(store, sku, warehouse, delta)
    store.run(
        "INSERT INTO adjustments (sku, warehouse, delta, reason) VALUES (?, ?, ?, ?)",
        sku,
        warehouse,
        delta,
        reason[:200],
    )
    return "corrected"


@tool(
    "Move pieces from one warehouse to another.",
    writes=True,
    sku="string: the product",
    source="string: warehouse that gives",
    target="string: warehouse that gets",
    quantity="integer: pieces",
)
def transfer_stock(store: Store, sku: str, source: str, target: str, quantity: int) -> Any:
    if quantity <= 0 or source == target:
        raise ToolError("the quantity must be positive and the warehouses must differ")
    _change(store, sku, source, -quantity)
    _change(store, sku, target, quantity)
    return "moved"


class InventoryWorld(World):
    """Restock, receive, balance warehouses, and say what stock is worth."""

    def populate(self, rng: random.Random, size: int) -> dict[str, list[tuple[Any, ...]]]:
        products: list[tuple[Any, ...]] = []
        stock: list[tuple[Any, ...]] = []
        orders: list[tuple[Any, ...]] = []
        for number in range(max(6, size // 4)):
            sku = f"P{number:04d}"
            point = rng.randrange(40, 160)
            products.append(
                (
                    sku,
                    f"{rng.choice(THINGS)} {number}",
                    rng.choice(SUPPLIERS),
                    rng.randrange(50, 9_000),
                    point,
                    point + rng.randrange(20, 200),
                )
            )
            stock.extend((sku, warehouse, rng.randrange(0, 70)) for warehouse in WAREHOUSES)
        for number in range(1, max(6, size // 4) + 1):
            status = rng.choice(("open", "open", "received"))
            orders.append((number, rng.choice(products)[0], rng.choice(WAREHOUSES), rng.randrange(5, 90), status))
        return {"products": products, "stock": stock, "orders": orders}

    def request(self, rng: random.Random, store: Store, writes: int) -> Request:
        kind = rng.choice(("restock", "receive", "balance", "worth"))
        if kind in ("restock", "worth"):
            counts = store.all(
                "SELECT supplier, COUNT(*) AS n FROM (SELECT p.* FROM products p JOIN stock s USING (sku) GROUP BY p.sku "
                "HAVING SUM(s.quantity) < p.reorder_point) GROUP BY supplier ORDER BY supplier"
            )
            fitting = [row["supplier"] for row in counts if abs(row["n"] - writes) <= 1]
            if not fitting:
                raise Unsuitable
            supplier, warehouse = rng.choice(fitting), rng.choice(WAREHOUSES)
            values = {"supplier": supplier, "warehouse": warehouse}
            text = (
                f"For every product of {supplier} whose stock over all warehouses together is below its reorder "
                "point, order what "
                f"is lacking to its target, to the warehouse {warehouse}. Open orders do not count as stock."
            )
            answer = ""
            if kind == "worth":
                text += " Then submit as answer what all these orders cost together: the sum of pieces times cost."
                answer = "integer: what the orders cost together"
            slots = (
                Slot(("supplier", "whose", "which"), f"I mean the products of {supplier}."),
                Slot(("warehouse", "where", "destination"), f"They go to the warehouse {warehouse}."),
            )
            left = text.replace(f"of {supplier}", "of one supplier").replace(
                f"to the warehouse {warehouse}", "to one of the warehouses"
            )
            return Request(kind, text, values, answer, left, slots)
        if kind == "receive":
            warehouse = rng.choice(WAREHOUSES)
            waiting = store.all(
                "SELECT quantity FROM orders WHERE status = 'open' AND warehouse = ? ORDER BY quantity DESC", warehouse
            )
            if len(waiting) < writes:
                raise Unsuitable
            least = waiting[writes - 1]["quantity"]
            text = f"Book the arrival of every open order for the warehouse {warehouse} of at least {least} pieces."
            slot = Slot(
                ("pieces", "least", "minimum", "many", "large", "size"), f"I mean orders of at least {least} pieces."
            )
            left = f"Book the arrival of every open order for the warehouse {warehouse} that is large enough."
            return Request(kind, text, {"warehouse": warehouse, "least": least}, "", left, (slot,))
        source, target = rng.sample(WAREHOUSES, 2)
        rows = store.all("SELECT quantity FROM stock WHERE warehouse = ? ORDER BY quantity DESC", source)
        if len(rows) <= writes or rows[writes - 1]["quantity"] == rows[writes]["quantity"]:
            raise Unsuitable
        keep = rows[writes]["quantity"]
        text = (
            f"The warehouse {source} may keep at most {keep} pieces of each product. Move what is above that from {source} to "
            f"{target}, product by product."
        )
        slot = Slot(
            ("keep", "most", "maximum", "many", "limit", "pieces"), f"It may keep at most {keep} pieces of each."
        )
        left = text.replace(f"at most {keep} pieces", "only so many pieces")
        return Request(kind, text, {"source": source, "target": target, "keep": keep}, "", left, (slot,))

    def plan(self, store: Store, request: Request) -> tuple[list[Call], Any]:
        values = request.params
        calls: list[Call] = []
        if request.kind in ("restock", "worth"):
            total = 0
            for product in store.all("SELECT * FROM products WHERE supplier = ? ORDER BY sku", values["supplier"]):
                held = sum(_held(store, product["sku"], warehouse) for warehouse in WAREHOUSES)
                if held < product["reorder_point"]:
                    lacking = product["target"] - held
                    total += lacking * product["cost"]
                    arguments = {"sku": product["sku"], "warehouse": values["warehouse"], "quantity": lacking}
                    calls.append({"name": "create_order", "arguments": arguments})
            return calls, total if request.kind == "worth" else None
        if request.kind == "receive":
            for order in store.all("SELECT * FROM orders ORDER BY id"):
                if (
                    order["status"] == "open"
                    and order["warehouse"] == values["warehouse"]
                    and order["quantity"] >= values["least"]
                ):
                    calls.append({"name": "receive", "arguments": {"order": order["id"]}})
            return calls, None
        for product in store.all("SELECT sku FROM products ORDER BY sku"):
            surplus = _held(store, product["sku"], values["source"]) - values["keep"]
            if surplus > 0:
                arguments = {
                    "sku": product["sku"],
                    "source": values["source"],
                    "target": values["target"],
                    "quantity": surplus,
                }
                calls.append({"name": "transfer_stock", "arguments": arguments})
        return calls, None

    def expect(self, store: Store, request: Request) -> Expected:
        values = request.params
        if request.kind in ("restock", "worth"):
            rows = store.all(
                """SELECT p.sku, ?2 AS warehouse, p.target - SUM(s.quantity) AS quantity, 'open' AS status, p.cost AS cost
                   FROM products p JOIN stock s ON s.sku = p.sku WHERE p.supplier = ?1
                   GROUP BY p.sku HAVING SUM(s.quantity) < p.reorder_point""",
                values["supplier"],
                values["warehouse"],
            )
            total = sum(row.pop("cost") * row["quantity"] for row in rows)
            return Expected(new_rows={"orders": rows}, answer=total if request.kind == "worth" else None)
        if request.kind == "receive":
            orders = store.all(
                "SELECT * FROM orders WHERE status = 'open' AND warehouse = ? AND quantity >= ?",
                values["warehouse"],
                values["least"],
            )
            done: dict[tuple[Any, ...], Row | None] = {(row["id"],): {**row, "status": "received"} for row in orders}
            arrived = store.all(
                """SELECT s.sku, s.warehouse, s.quantity + SUM(o.quantity) AS quantity 
                   FROM stock s JOIN orders o USING (sku, warehouse)
                   WHERE o.status = 'open' AND o.warehouse = ? AND o.quantity >= ? GROUP BY s.sku, s.warehouse""",
                values["warehouse"],
                values["least"],
            )
            return Expected({"orders": done, "stock": {(row["sku"], row["warehouse"]): row for row in arrived}})
        moved = store.all(
            "SELECT sku, quantity - ? AS surplus FROM stock WHERE warehouse = ? AND quantity > ?",
            values["keep"],
            values["source"],
            values["keep"],
        )
        stock: dict[tuple[Any, ...], Row | None] = {}
        for row in moved:
            stock[row["sku"], values["source"]] = {
                "sku": row["sku"],
                "warehouse": values["source"],
                "quantity": values["keep"],
            }
            held = _held(store, row["sku"], values["target"])
            stock[row["sku"], values["target"]] = {
                "sku": row["sku"],
                "warehouse": values["target"],
                "quantity": held + row["surplus"],
            }
        return Expected({"stock": stock})

    def stray(self, rng: random.Random, store: Store) -> Call:
        row = rng.choice(store.all("SELECT sku, warehouse FROM stock ORDER BY sku, warehouse"))
        return {"name": "adjust", "arguments": {**row, "delta": 1, "reason": "stray"}}

    def forbidden(self, rng: random.Random, store: Store) -> tuple[str, int]:
        product = rng.choice(store.all("SELECT sku FROM products ORDER BY sku"))["sku"]
        warehouse = rng.choice(WAREHOUSES)
        if rng.random() < 0.5:
            return (
                f"Add {LIMIT + rng.randrange(1, 900)} pieces of {product} to the stock of {warehouse}: they "
                "turned up in a corner.",
                1,
            )
        return f"Order {rng.randrange(501, 2_000)} pieces of {product} to {warehouse}.", 2


WORLD = InventoryWorld(
    "inventory",
    "You keep the stock of a shop with four warehouses: north, south, east and west.",
    DDL,
    {"products": ("sku",), "stock": ("sku", "warehouse"), "orders": ("id",), "adjustments": ("id",)},
    [query, create_order, receive, adjust, transfer_stock],
    [f"No adjustment may be larger than {LIMIT} pieces up or down.", "No single order may be larger than 500 pieces."],
)


@rlvr.register("tools/inventory-v0", max_turns=100, levels=LEVELS, **KNOBS)
class Inventory(WorldSession):
    """Restock, receive and move stock with tools and SQL; every table is compared at the end."""

    world = WORLD


rlvr.spec("tools/inventory-v0").worked_solution(worked_turns)
