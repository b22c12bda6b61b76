"""`tools/bank-v0`: accounts, invoices and a ledger in double entry."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import rlvr
from rlvr_envs.tools.session import KNOBS, LEVELS, WorldSession, worked_turns
from rlvr_envs.tools.store import Row, Store
from rlvr_envs.tools.tool import ToolError, pages, tool
from rlvr_envs.tools.world import Call, Expected, Request, Slot, Unsuitable, World

DDL = """
CREATE TABLE accounts (id TEXT PRIMARY KEY, owner TEXT NOT NULL, kind TEXT NOT NULL, balance INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE invoices (id TEXT PRIMARY KEY, payee TEXT NOT NULL, amount INTEGER NOT NULL, due INTEGER NOT NULL,
  status TEXT NOT NULL, paid_from TEXT) WITHOUT ROWID;
CREATE TABLE ledger (id INTEGER PRIMARY KEY, day INTEGER NOT NULL, debit TEXT NOT NULL, credit TEXT NOT NULL,
  amount INTEGER NOT NULL, memo TEXT NOT NULL);
CREATE INDEX by_payee ON ledger (credit);
CREATE TABLE orders (id INTEGER PRIMARY KEY, account TEXT NOT NULL, payee TEXT NOT NULL, amount INTEGER NOT
  NULL, day INTEGER NOT NULL);
"""
PEOPLE = (
    "Abel",
    "Berta",
    "Chen",
    "Dora",
    "Emil",
    "Farid",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Keiko",
    "Lena",
    "Milo",
    "Nora",
)
PAYEES = (
    "waterworks",
    "power company",
    "landlord",
    "insurer",
    "library",
    "bakery",
    "garage",
    "florist",
    "school",
    "theatre",
)
TODAY = 100
LIMIT = 500_000
"""Cents that one transfer may carry by the rules of the house."""


def _account(store: Store, account: str) -> Row:
    found = store.one("SELECT * FROM accounts WHERE id = ?", account)
    if found is None:
        raise ToolError(f"there is no account {account[:40]!r}")
    return found


def _post(store: Store, debit: str, credit: str, amount: int, memo: str) -> None:
    store.run(
        "INSERT INTO ledger (day, debit, credit, amount, memo) VALUES (?, ?, ?, ?, ?)",
        TODAY,
        debit,
        credit,
        amount,
        memo,
    )


def _take(store: Store, account: str, amount: int) -> None:
    if amount <= 0:
        raise ToolError("the amount must be positive, in cents")
    balance = _account(store, account)["balance"]
    if balance < amount:
        raise ToolError(f"{account} holds {balance} cents, less than {amount}")
    store.run("UPDATE accounts SET balance = balance - ? WHERE id = ?", amount, account)


PAGE = 25
"""Rows that one call shows; `skip` turns the page."""


@tool(
    f"Accounts with owner, kind and balance in cents, in the order of their ids. At most {PAGE}.",
    owner="string?: only those of this owner",
    kind="string(checking|savings|household)?: only those of this kind",
    skip="integer?: how many to pass over",
)
def accounts(store: Store, owner: str | None = None, kind: str | None = None, skip: int = 0) -> Any:
    sql = f"""SELECT * FROM accounts WHERE (?1 IS NULL OR owner = ?1) AND (?2 IS NULL OR kind = ?2)
              ORDER BY id LIMIT {PAGE} OFFSET ?3"""
    return store.all(sql, owner, kind, skip)


@tool(
    f"Invoices in the order of their due days; amounts in cents. At most {PAGE}.",
    status="string(open|paid)?: only these",
    payee="string?: only those of this payee",
    skip="integer?: how many to pass over",
)
def invoices(store: Store, status: str | None = None, payee: str | None = None, skip: int = 0) -> Any:
    sql = f"""SELECT * FROM invoices WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR payee = ?2)
              ORDER BY due, id LIMIT {PAGE} OFFSET ?3"""
    return store.all(sql, status, payee, skip)


@tool(
    f"Postings that an account or a payee took part in, in the order of their ids. At most {PAGE}.",
    party="string: id of the account, or name of the payee",
    skip="integer?: how many to pass over",
)
def postings(store: Store, party: str, skip: int = 0) -> Any:
    sql = f"SELECT * FROM ledger WHERE debit = ?1 OR credit = ?1 ORDER BY id LIMIT {PAGE} OFFSET ?2"
    return store.all(sql, party, skip)


@tool(
    "Move money between two accounts.",
    writes=True,
    source="string: id of the account that pays",
    target="string: id of the account that receives",
    amount="integer: cents",
)
def transfer(store: Store, source: str, target: str, amount: int) -> Any:
    if _account(store, target)["id"] == source:
        raise ToolError("source and target are the same account")
    _take(store, source, amount)
    store.run("UPDATE accounts SET balance = balance + ? WHERE id = ?", amount, target)
    _post(store, source, target, amount, "transfer")
    return "done"


@tool(
    "Pay an open invoice in full.",
    writes=True,
    invoice="string: id of the invoice",
    account="string: id of the account that pays",
)
def pay_invoice(store: Store, invoice: str, account: str) -> Any:
    row = store.one("SELECT * FROM invoices WHERE id = ?", invoice)
    if row is None or row["status"] != "open":
        raise ToolError(f"{invoice[:40]!r} is no open invoice")
    _take(store, account, row["amount"])
    store.run("UPDATE invoices SET status = 'paid', paid_from = ? WHERE id = ?", account, invoice)
    _post(store, account, row["payee"], row["amount"], f"invoice {invoice}")
    return "paid"


@tool(
    "Take a payment to a payee back: the account gets its money again.",
    writes=True,
    posting="integer: id of the posting",
)
def refund(store: Store, posting: int) -> Any:
    row = store.one("SELECT * FROM ledger WHERE id = ?", posting)
    if row is None or not row["debit"].startswith("A") or row["credit"].startswith("A"):
        raise ToolError(f"posting {posting} is no payment of an account to a payee")
    if store.one("SELECT 1 FROM ledger WHERE memo = ?", f"refund of {posting}"):
        raise ToolError(f"posting {posting} was refunded already")
    store.run("UPDATE accounts SET balance = balance + ? WHERE id = ?", row["amount"], row["debit"])
    _post(store, row["credit"], row["debit"], row["amount"], f"refund of {posting}")
    return "refunded"


@tool(
    "Have an account pay a payee the same amount every month.",
    writes=True,
    account="string: id of the account",
    payee="string: name",
    amount="integer: cents",
    day="integer: day of the month, 1 to 28",
)
def standing_order(store: Store, account: str, payee: str, amount: int, day: int) -> Any:
    _account(store, account)
    if amount <= 0 or not 1 <= day <= 28:
        raise ToolError("the amount must be positive and the day from 1 to 28")
    store.run("INSERT INTO orders (account, payee, amount, day) VALUES (?, ?, ?, ?)", account, payee, amount, day)
    return "ordered"


class BankWorld(World):
    """Pay under a limit, refund what was paid twice, fill accounts up."""

    def populate(self, rng: random.Random, size: int) -> dict[str, list[tuple[Any, ...]]]:
        rows = []
        for number in range(max(6, size // 6)):
            kind = ("checking", "savings", "household")[number % 3]
            balance = rng.randrange(2_000_000, 6_000_000) if kind == "savings" else rng.randrange(1_000, 90_000)
            rows.append(
                (
                    f"A{number:03d}",
                    PEOPLE[(number // 3) % len(PEOPLE)] + ("" if number < 42 else str(number // 42)),
                    kind,
                    balance,
                )
            )
        bills = []
        for number in range(size):
            amount = rng.randrange(500, 30_000)
            paid = rng.random() < 0.3
            bills.append(
                (
                    f"I{number:04d}",
                    rng.choice(PAYEES),
                    amount,
                    rng.randrange(60, 160),
                    "paid" if paid else "open",
                    rows[0][0] if paid else None,
                )
            )
        ledger: list[tuple[Any, ...]] = []
        for number in range(1, size + 1):
            if number > 1 and rng.random() < 0.2:
                _, day, debit, credit, amount, _ = rng.choice(ledger)
            else:
                day, debit, credit, amount = (
                    rng.randrange(1, TODAY),
                    rng.choice(rows)[0],
                    rng.choice(PAYEES),
                    rng.randrange(100, 9_000),
                )
            ledger.append((number, day, debit, credit, amount, f"card {rng.randrange(1000):03d}"))
        return {"accounts": rows, "invoices": bills, "ledger": ledger}

    def request(self, rng: random.Random, store: Store, writes: int) -> Request:
        kind = rng.choice(("pay", "refund", "fill"))
        if kind == "pay":
            payee = rng.choice(PAYEES)
            bills = store.all("SELECT amount FROM invoices WHERE payee = ? AND status = 'open' ORDER BY due, id", payee)
            if len(bills) < writes:
                raise Unsuitable
            spent = sum(bill["amount"] for bill in bills[:writes])
            able = store.all("SELECT id, balance FROM accounts WHERE balance > ? ORDER BY id", spent)
            if not able:
                raise Unsuitable
            account, balance = rng.choice(able).values()
            # The floor admits exactly the first bills: what the next one would leave is below it.
            low = balance - spent - bills[writes]["amount"] + 1 if len(bills) > writes else 0
            floor = rng.randrange(max(0, low), balance - spent + 1)
            text = (
                f"Pay the open invoices of the {payee} from account {account}, in the order of their due days (the lower id "
                f"first on one day). Stop before the first invoice that would leave less than {floor} cents in the account."
            )
            slot = Slot(("floor", "minimum", "least", "leave", "limit"), f"At least {floor} cents must be left.")
            left = text.replace(f"less than {floor} cents", "too little money")
            return Request(kind, text, {"payee": payee, "account": account, "floor": floor}, "", left, (slot,))
        if kind == "refund":
            payments = store.all("SELECT * FROM ledger ORDER BY id")
            counts = Counter((row["credit"], row["debit"], row["day"], row["amount"]) for row in payments)
            extra: dict[str, int] = defaultdict(int)
            for (payee, *_), count in counts.items():
                extra[payee] += count - 1
            fitting = sorted(payee for payee, count in extra.items() if count and abs(count - writes) <= 1)
            if not fitting:
                raise Unsuitable
            payee = rng.choice(fitting)
            text = (
                f"Some card payments to the {payee} were booked more than once: same account, same day, same "
                "amount. Keep the one "
                "with the lowest id of each and refund the others."
            )
            slot = Slot(("payee", "whom", "who", "which"), f"It is about the {payee}.")
            left = text.replace(f"to the {payee}", "to one payee")
            return Request(kind, text, {"payee": payee}, "", left, (slot,))
        rows = store.all("SELECT * FROM accounts WHERE kind = 'household' ORDER BY balance, id")
        if len(rows) <= writes:
            raise Unsuitable
        low, high = rows[writes - 1]["balance"] + 1, rows[writes]["balance"]
        if low > high:
            raise Unsuitable
        level = rng.randrange(low, high + 1)
        source = rng.choice(store.all("SELECT id FROM accounts WHERE kind = 'savings' ORDER BY id"))["id"]
        text = (
            f"Fill every household account that holds less than {level} cents up to exactly {level} cents, "
            f"from account {source}."
        )
        slot = Slot(("amount", "level", "much", "cents"), f"The level is {level} cents.")
        left = f"Fill the household accounts that hold too little up to the level I have in mind, exactly, from account {source}."
        return Request(kind, text, {"level": level, "source": source}, "", left, (slot,))

    def plan(self, store: Store, request: Request) -> tuple[list[Call], Any]:
        values = request.params
        calls: list[Call] = []
        if request.kind == "pay":
            for bill in store.all(
                "SELECT * FROM invoices WHERE payee = ? AND status = 'open' ORDER BY due, id", values["payee"]
            ):
                if _account(store, values["account"])["balance"] - bill["amount"] < values["floor"]:
                    break
                arguments = {"invoice": bill["id"], "account": values["account"]}
                pay_invoice.run(store, **arguments)
                calls.append({"name": "pay_invoice", "arguments": arguments})
        elif request.kind == "refund":
            seen = set()
            for row in pages(postings, store, party=values["payee"]):
                mark = (row["debit"], row["day"], row["amount"])
                if mark in seen:
                    calls.append({"name": "refund", "arguments": {"posting": row["id"]}})
                seen.add(mark)
        else:
            for row in pages(accounts, store, kind="household"):
                if row["balance"] < values["level"]:
                    arguments = {
                        "source": values["source"],
                        "target": row["id"],
                        "amount": values["level"] - row["balance"],
                    }
                    calls.append({"name": "transfer", "arguments": arguments})
        return calls, None

    def expect(self, store: Store, request: Request) -> Expected:
        values = request.params
        balances: dict[str, int] = {}
        bills: dict[tuple[Any, ...], Row | None] = {}
        entries: list[Row] = []

        def post(debit: str, credit: str, amount: int, memo: str) -> None:
            entries.append({"day": TODAY, "debit": debit, "credit": credit, "amount": amount, "memo": memo})

        if request.kind == "pay":
            # Running sums in SQL, where the plan pays one by one.
            sql = """SELECT * FROM (SELECT *, SUM(amount) OVER (ORDER BY due, id) AS total FROM invoices
                     WHERE payee = ? AND status = 'open') WHERE total <= ?"""
            balance = _account(store, values["account"])["balance"]
            paid = store.all(sql, values["payee"], balance - values["floor"])
            for row in paid:
                total = row.pop("total")
                balances[values["account"]] = balance - total
                bills[(row["id"],)] = {**row, "status": "paid", "paid_from": values["account"]}
                post(values["account"], row["payee"], row["amount"], f"invoice {row['id']}")
        elif request.kind == "refund":
            sql = """SELECT a.* FROM ledger a WHERE a.credit = ? AND EXISTS (SELECT 1 FROM ledger b WHERE b.id < a.id
                     AND b.credit = a.credit AND b.debit = a.debit AND b.day = a.day AND b.amount = a.amount)"""
            for row in store.all(sql, values["payee"]):
                held = balances.get(row["debit"], _account(store, row["debit"])["balance"])
                balances[row["debit"]] = held + row["amount"]
                post(row["credit"], row["debit"], row["amount"], f"refund of {row['id']}")
        else:
            sql = "SELECT id, ?1 - balance AS lacks FROM accounts WHERE kind = 'household' AND balance < ?1"
            lacking = store.all(sql, values["level"])
            for row in lacking:
                balances[row["id"]] = values["level"]
                post(values["source"], row["id"], row["lacks"], "transfer")
            balances[values["source"]] = _account(store, values["source"])["balance"] - sum(
                row["lacks"] for row in lacking
            )
        rows: dict[tuple[Any, ...], Row | None] = {
            (key,): {**_account(store, key), "balance": value} for key, value in balances.items()
        }
        return Expected({"accounts": rows, "invoices": bills}, {"ledger": entries})

    def stray(self, rng: random.Random, store: Store) -> Call:
        account = rng.choice(store.all("SELECT id FROM accounts ORDER BY id"))["id"]
        return {"name": "standing_order", "arguments": {"account": account, "payee": "florist", "amount": 1, "day": 1}}

    def forbidden(self, rng: random.Random, store: Store) -> tuple[str, int]:
        savings = store.all("SELECT id FROM accounts WHERE kind = 'savings' ORDER BY id")
        other = store.all("SELECT id, owner FROM accounts WHERE kind = 'checking' ORDER BY id")
        if rng.random() < 0.5:
            amount = LIMIT + rng.randrange(1, 900_000)
            return (
                f"Transfer {amount} cents from {rng.choice(savings)['id']} to {rng.choice(other)['id']} in one transfer.",
                1,
            )
        day, account = rng.randrange(1, 29), rng.choice(savings)["id"]
        return (
            f"Set up a standing order of {rng.randrange(1_000, 9_000)} cents from {account} to the "
            f"{rng.choice(PAYEES)} on day {day}.",
            2,
        )


WORLD = BankWorld(
    "bank",
    f"You work at a bank. Amounts are whole cents, days are numbers, today is day {TODAY}.",
    DDL,
    {"accounts": ("id",), "invoices": ("id",), "ledger": ("id",), "orders": ("id",)},
    [accounts, invoices, postings, transfer, pay_invoice, refund, standing_order],
    [
        f"One transfer may carry at most {LIMIT} cents, and none may be split to get around this.",
        "Savings accounts have no standing orders.",
    ],
)


@rlvr.register("tools/bank-v0", max_turns=100, levels=LEVELS, **KNOBS)
class Bank(WorldSession):
    """Pay, refund and transfer with tools; accounts, invoices and the ledger are compared at the end."""

    world = WORLD


rlvr.spec("tools/bank-v0").worked_solution(worked_turns)
