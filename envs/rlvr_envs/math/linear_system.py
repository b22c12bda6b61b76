"""Systems of linear equations."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import rlvr
from rlvr_envs.math.asking import ask, bounded, judge, phrase, rational, signed, split_list, worked
from rlvr_envs.math.matrices import determinant

PHRASINGS = (
    "Solve the system: {system}.",
    "Find {names} such that {system}.",
    "{system}. What are {names}?",
    "Determine the values of {names} that satisfy {system}.",
    "The unknowns {names} satisfy {system}. Find them.",
)


@rlvr.register(
    "math/linear-system-v0",
    chance=0.01,
    unknowns=2,
    coefficient=6,
    solution=9,
    denominator=1,
    levels=[
        {"unknowns": 2, "coefficient": 6, "solution": 9, "denominator": 1},
        {"unknowns": 2, "coefficient": 12, "solution": 15, "denominator": 6},
        {"unknowns": 3, "coefficient": 6, "solution": 9, "denominator": 1},
        {"unknowns": 3, "coefficient": 9, "solution": 9, "denominator": 4},
        {"unknowns": 4, "coefficient": 6, "solution": 9, "denominator": 1},
    ],
)
def linear_system(rng: random.Random, unknowns: int, coefficient: int, solution: int, denominator: int) -> rlvr.Task:
    """As many equations as `unknowns`, with coefficients up to `coefficient` and exactly one solution.

    The solution is drawn first (numbers up to `solution`, over denominators up to `denominator`) and gives the right
    sides; the gold is recomputed from what is shown by Cramer's rule. The worked solution eliminates.
    """
    bounded(
        "math/linear-system-v0",
        unknowns=(unknowns, 2, 4),
        coefficient=(coefficient, 2, 10**4),
        solution=(solution, 1, 10**4),
        denominator=(denominator, 1, 100),
    )
    while True:
        rows = [[rng.randint(-coefficient, coefficient) for _ in range(unknowns)] for _ in range(unknowns)]
        if determinant(rows) and all(sum(map(bool, row)) > 1 for row in rows):
            break
    root = [Fraction(rng.choice([-1, 1]) * rng.randint(1, solution), rng.randint(1, denominator)) for _ in rows]
    right: list[int] = []
    for row in rows:
        total = sum((c * x for c, x in zip(row, root, strict=True)), Fraction(0))
        row[:] = [c * total.denominator for c in row]
        right.append(total.numerator)
    gold = _cramer(rows, right)
    names = "xyzw"[:unknowns]
    system = ", ".join(f"{_sum(row, names)} = {b}" for row, b in zip(rows, right, strict=True))
    order = f"({', '.join(names)})"
    question = phrase(rng, PHRASINGS, system=system, names=", ".join(names[:-1]) + f" and {names[-1]}")
    prompt = ask(question, f"the ordered tuple {order}, exact numbers only,")
    return rlvr.Task(
        prompt, answer=f"({', '.join(map(str, gold))})", data={"rows": rows, "right": right, "names": names}
    )


@linear_system.verifier
def _(task: rlvr.Task, text: str) -> rlvr.Score:
    """Every number in its place; `x = 2, y = 3` in any order counts as well."""
    names: str = (task.data or {})["names"]
    gold = [Fraction(part) for part in str(task.answer).strip("()").split(", ")]

    def rule(answer: str) -> bool | None:
        parts = split_list(answer)
        if len(parts) == 1:
            return None
        values: dict[str, Fraction | None] = {}
        for name, part in zip(names, parts, strict=False):
            left, equals, right = part.rpartition("=")
            values[left.strip() if equals else name] = rational(right)
        if set(values) != set(names) or None in values.values():
            return None
        return len(parts) == len(gold) and [values[name] for name in names] == gold

    return judge(task, text, rule)


@linear_system.worked_solution
def _(task: rlvr.Task) -> str:
    data = task.data or {}
    names: str = data["names"]
    table = [[Fraction(c) for c in [*row, b]] for row, b in zip(data["rows"], data["right"], strict=True)]
    size = len(table)
    lines: list[str] = []
    for column in range(size):
        pivot = next(place for place in range(column, size) if table[place][column])
        table[column], table[pivot] = table[pivot], table[column]
        for place in range(column + 1, size):
            factor = table[place][column] / table[column][column]
            if factor:
                table[place] = [c - factor * p for c, p in zip(table[place], table[column], strict=True)]
                row = table[place]
                lines.append(f"minus {signed(factor)} times equation {column + 1}: {_sum(row[:-1], names)} = {row[-1]}")
    values = [Fraction(0)] * size
    for place in range(size - 1, -1, -1):
        row = table[place]
        known = sum((row[other] * values[other] for other in range(place + 1, size)), Fraction(0))
        values[place] = (row[-1] - known) / row[place]
        divisor = row[place] if row[place].denominator == 1 and row[place] > 0 else f"({row[place]})"
        lines.append(f"{names[place]} = ({row[-1]} - {signed(known)})/{divisor} = {values[place]}")
    return worked(lines, f"({', '.join(map(str, values))})")


def _cramer(rows: list[list[int]], right: list[int]) -> list[Fraction]:
    """x_i = det(A with column i replaced by b) / det(A)."""
    whole = determinant(rows)
    return [
        Fraction(determinant([[*row[:i], b, *row[i + 1 :]] for row, b in zip(rows, right, strict=True)]), whole)
        for i in range(len(rows))
    ]


def _sum(row: Sequence[int | Fraction], names: str) -> str:
    parts: list[str] = []
    for c, name in zip(row, names, strict=True):
        if c:
            number = "" if abs(c) == 1 else f"({abs(c)})" if c.denominator > 1 else str(abs(c))
            sign = ("- " if c < 0 else "+ ") if parts else ("-" if c < 0 else "")
            parts.append(f"{sign}{number}{name}")
    return " ".join(parts) or "0"
