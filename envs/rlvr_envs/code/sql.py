"""SQL: a question about two tables, answered by a query that is run on hidden data (SQLite, in the sandbox)."""

from __future__ import annotations

import json
import random
from typing import Any

import rlvr
from rlvr import Score, Task
from rlvr.errors import ConfigError, EnvironmentFault
from rlvr_envs.code.answers import code_in, fenced, judge_code

_SCHEMA = """CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, city TEXT, age INTEGER);
CREATE TABLE purchase (id INTEGER PRIMARY KEY, person_id INTEGER, item TEXT, price INTEGER);"""
_NAMES = ("Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ines", "Jon")
_CITIES = ("Rome", "Oslo", "Lima", "Cairo")
_ITEMS = ("lamp", "desk", "book", "chair", "clock")

_PROGRAM = """
import json, sqlite3
def f(people, purchases):
    connection = sqlite3.connect(":memory:")
    connection.executescript({schema!r})
    connection.executemany("INSERT INTO person VALUES (?, ?, ?, ?)", people)
    connection.executemany("INSERT INTO purchase VALUES (?, ?, ?, ?)", purchases)
    connection.commit()
    connection.execute("PRAGMA query_only = ON")
    return [list(row) for row in connection.execute({query!r}).fetchall()]
"""


def _draw_tables(rng: random.Random) -> list[Any]:
    people = [
        [number, name, rng.choice(_CITIES), rng.randint(18, 70)]
        for number, name in enumerate(rng.sample(_NAMES, rng.randint(5, 10)), 1)
    ]
    purchases = [
        [number, rng.randint(1, len(people)), rng.choice(_ITEMS), rng.randint(1, 60)]
        for number in range(1, rng.randint(8, 20))
    ]
    return [people, purchases]


def _question(rng: random.Random, joins: bool, conditions: int, grouped: bool) -> tuple[str, str, bool]:
    """(words, query, whether the order of the rows matters), from a small grammar."""
    city, item = rng.choice(_CITIES), rng.choice(_ITEMS)
    age, price, least = rng.randint(25, 55), rng.randint(10, 40), rng.randint(2, 3)
    person = [(f"live in {city}", f"p.city = '{city}'"), (f"are older than {age}", f"p.age > {age}"),
              (f"do not live in {city}", f"p.city <> '{city}'"), (f"are at most {age} years old", f"p.age <= {age}")]  # fmt: skip
    bought = [(f"a {item}", f"b.item = '{item}'"), (f"something for more than {price}", f"b.price > {price}")]
    chosen = rng.sample(person, min(conditions, len(person))) if conditions else []
    who = " and ".join(words for words, _ in chosen)
    where = [clause for _, clause in chosen]
    people = f"people who {who}" if who else "people"
    if grouped:
        what, expression = rng.choice((
            ("how many there were", "COUNT(b.id)"),
            ("the sum of their prices", "SUM(b.price)"),
            ("the highest of their prices", "MAX(b.price)"),
        ))  # fmt: skip
        having = rng.random() < 0.5
        query = "SELECT p.city, " + expression + " FROM person p JOIN purchase b ON b.person_id = p.id"
        query += f" WHERE {' AND '.join(where)}" if where else ""
        query += " GROUP BY p.city" + (f" HAVING COUNT(b.id) >= {least}" if having else "") + " ORDER BY p.city"
        limit = f", only for cities where they made at least {least} purchases" if having else ""
        return (
            f"For each city, the purchases by {people} there{limit}: the city and {what}, ordered by city",
            query,
            True,
        )
    if joins:
        words, clause = rng.choice(bought)
        query = "SELECT DISTINCT p.name FROM person p JOIN purchase b ON b.person_id = p.id WHERE "
        query += " AND ".join([*where, clause])
        return (
            f"The names of all {people} {'and' if who else 'who'} bought {words}, each once, in any order",
            query,
            False,
        )
    column = rng.choice(("name", "age"))
    way = rng.choice((("from low to high", "ASC"), ("from high to low", "DESC")))
    query = f"SELECT p.name, p.age FROM person p{' WHERE ' + ' AND '.join(where) if where else ''} "
    query += f"ORDER BY p.{column} {way[1]}, p.id ASC"
    return f"Name and age of all {people}, ordered by {column} {way[0]} (then by id)", query, True


@rlvr.register(
    "code/sql-v0",
    joins=True,
    conditions=1,
    grouped=False,
    levels=[
        {"joins": False, "conditions": 1, "grouped": False},
        {"joins": True, "conditions": 0, "grouped": False},
        {"joins": True, "conditions": 2, "grouped": False},
        {"joins": True, "conditions": 1, "grouped": True},
        {"joins": True, "conditions": 2, "grouped": True},
    ],
)
def sql(rng: random.Random, joins: bool, conditions: int, grouped: bool) -> Task:
    """A query for a question in words; the rows it gives on hidden tables decide, not how it is written."""
    if not 0 <= conditions <= 2:
        raise ConfigError(f"code/sql-v0: conditions={conditions} makes no task; choose it from 0 to 2")
    from rlvr_sandbox import run

    while True:
        words, query, ordered = _question(rng, joins, conditions, grouped)
        tables = [_draw_tables(rng) for _ in range(4)]
        program = _PROGRAM.format(schema=_SCHEMA, query=query)
        driver = "import sys\nprint(json.dumps([f(*tables) for tables in json.loads(sys.stdin.read())]))\n"
        outcome = run(program + driver, json.dumps(tables))
        if not outcome.ok:
            raise EnvironmentFault(f"a generated query failed: {query!r}: {outcome.stderr[-300:]}")
        rows = json.loads(outcome.stdout)
        if sum(map(bool, rows)) >= 3 and len({json.dumps(each) for each in rows}) >= 3:
            break
    question = (
        f"A SQLite database has these tables:\n\n{fenced(_SCHEMA, 'sql')}\n\n"
        "`purchase.person_id` is the `person.id` of who bought it.\n\n"
        f"{words}.\n\nGive one SELECT statement, as one ```sql block."
    )
    tests = {
        "kind": "function",
        "entry": "f",
        "cases": [{"args": given, "expected": wanted} for given, wanted in zip(tables, rows, strict=True)],
        "checker": "exact" if ordered else "unordered",
    }
    return Task(question, answer=query, data={"tests": tests})


@sql.verifier
def _same_rows(task: Task, text: str) -> Score:
    code = code_in(text)
    if code is None or len(code) > 5000:
        return Score(0.0, reason="no_code")
    return judge_code(_PROGRAM.format(schema=_SCHEMA, query=code.strip()), (task.data or {})["tests"])


@sql.worked_solution
def _(task: Task) -> str:
    return fenced(str(task.answer), "sql")
