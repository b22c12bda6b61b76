"""Matrices: determinants, products, powers, inverses, ranks."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from fractions import Fraction

import rlvr
from rlvr_envs.math.asking import (
    ask,
    bounded,
    judge,
    one_kind,
    phrase,
    rational,
    signed,
    split_list,
    verify_answer,
    worked,
)
from rlvr_envs.math.matrices import determinant, inverse, minor, product, rank, text

PHRASINGS = {
    "determinant": (
        "Find the determinant of {a}.",
        "What is det({a})?",
        "Compute the determinant of the matrix {a}.",
        "Evaluate |A| for A = {a}.",
    ),
    "product": (
        "Compute the matrix product {a} times {b}.",
        "Let A = {a} and B = {b}. What is AB?",
        "Multiply {a} by {b} from the right.",
    ),
    "power": (
        "Let A = {a}. Find A^{n}.",
        "Raise the matrix {a} to the power {n}.",
        "Compute A^{n} for A = {a}.",
    ),
    "inverse": (
        "Find the inverse of {a}.",
        "Let A = {a}. What is A^(-1)?",
        "Which matrix B satisfies AB = I for A = {a}?",
    ),
    "ranks": (
        "Find the ranks of {a}.",
        "What are the ranks of the matrices {a}, in this order?",
        "Determine the rank of each of {a}.",
    ),
}


@rlvr.register(
    "math/matrix-v0",
    chance=0.015,
    kinds=["determinant"],
    size=2,
    entry=15,
    levels=[
        {"kinds": ["determinant"], "size": 2, "entry": 15},
        {"kinds": ["product", "inverse"], "size": 2, "entry": 9},
        {"kinds": ["determinant"], "size": 3, "entry": 9},
        {"kinds": ["inverse", "product", "power"], "size": 3, "entry": 9},
        {"kinds": ["determinant", "ranks"], "size": 4, "entry": 9},
    ],
)
def matrix(rng: random.Random, kinds: list[str], size: int, entry: int) -> rlvr.Task:
    """A question about square matrices of a `size`, with entries from -entry to entry.

    Kinds: determinant, product, power (second or third), inverse, ranks (of three matrices at once, so that guessing does
    not pay). Golds: determinants by fraction-free elimination, inverses by the adjugate; worked solutions expand by
    minors and eliminate.
    """
    bounded("math/matrix-v0", size=(size, 2, 6), entry=(entry, 1, 10**4))
    kind = one_kind(rng, "math/matrix-v0", kinds, PHRASINGS)
    a = _random(rng, size, entry)
    data: dict[str, object] = {"kind": kind, "a": a}
    if kind == "determinant":
        question = phrase(rng, PHRASINGS[kind], a=text(a))
        return rlvr.Task(ask(question, "a whole number"), answer=str(determinant(a)), data=data)
    if kind == "ranks":
        several = [_deficient(rng, size, entry, rng.randint(1, size)) for _ in range(3)]
        question = phrase(rng, PHRASINGS[kind], a=", ".join(map(text, several)))
        gold = ", ".join(str(rank(rows)) for rows in several)
        return rlvr.Task(
            ask(question, "the ranks as a tuple like (1, 2, 3)"), answer=f"({gold})", data={**data, "a": several}
        )
    if kind == "product":
        b = _random(rng, size, entry)
        question = phrase(rng, PHRASINGS[kind], a=text(a), b=text(b))
        result: Sequence[Sequence[int | Fraction]] = product(a, b)
        data["b"] = b
    elif kind == "power":
        n = rng.randint(2, 3)
        question = phrase(rng, PHRASINGS[kind], a=text(a), n=n)
        result = product(a, a) if n == 2 else product(a, product(a, a))
        data["n"] = n
    else:
        while not determinant(a):
            a = _random(rng, size, entry)
        data["a"] = a
        question = phrase(rng, PHRASINGS[kind], a=text(a))
        result = inverse(a)
    prompt = ask(question, "the matrix as a list of rows like [[1, 2], [3, 4]], exact entries,")
    return rlvr.Task(prompt, answer=text(result), data=data)


@matrix.verifier
def _(task: rlvr.Task, answer_text: str) -> rlvr.Score:
    """Every entry in its place, exactly; lists of rows and LaTeX matrices are read. Numbers go to the math verifier."""
    kind = (task.data or {})["kind"]
    if kind == "determinant":
        return verify_answer(task, answer_text)

    def rule(answer: str) -> bool | None:
        if kind == "ranks":
            gold = str(task.answer)
            return split_list(answer) == split_list(gold)
        given = read_matrix(answer)
        return None if given is None else given == read_matrix(str(task.answer))

    return judge(task, answer_text, rule)


@matrix.worked_solution
def _(task: rlvr.Task) -> str:
    data = task.data or {}
    a: list[list[int]] = data["a"]
    lines: list[str] = []
    if data["kind"] == "determinant":
        return worked(lines, str(_expand(a, lines)))
    if data["kind"] == "ranks":
        found = [_echelon(rows, lines) for rows in data["a"]]
        return worked(lines, f"({', '.join(map(str, found))})")
    if data["kind"] == "product":
        return worked(lines, text(_multiply(a, data["b"], lines)))
    if data["kind"] == "power":
        result = a
        for _ in range(data["n"] - 1):
            result = _multiply(result, a, lines)
            lines.append(text(result))
        return worked(lines, text(result))
    return worked(lines, text(_invert(a, lines)))


_ROW = re.compile(r"[\[({]([^\[\](){}]*)[\])}]")
_LATEX = re.compile(r"\\begin\{([pbvBV]?matrix|array)\}(?:\{[lcr| ]*\})?(.*?)\\end\{\1\}", re.DOTALL)


def read_matrix(answer: str) -> list[list[Fraction]] | None:
    """The rows of `[[1, 2], [3, 4]]` or of a LaTeX matrix; None if it is neither, or an entry is no exact number."""
    plain = answer.strip().strip("$").strip()
    plain = plain.rpartition("=")[2].strip()
    if len(plain) > 2000:
        return None
    latex = _LATEX.fullmatch(plain)
    if latex is not None:
        body = latex[2].strip().removesuffix("\\\\")
        parts = [row.split("&") for row in body.split("\\\\")]
    else:
        if plain[:1] + plain[-1:] not in ("[]", "()"):
            return None
        inner = plain[1:-1].strip()
        if _ROW.sub("", inner).strip(", \n;"):
            return None
        parts = [row.split(",") for row in _ROW.findall(inner)]
    rows = [[rational(part) for part in row] for row in parts]
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        return None
    exact = [[value for value in row if value is not None] for row in rows]
    return exact if [len(row) for row in exact] == [len(row) for row in rows] else None


def _random(rng: random.Random, size: int, entry: int) -> list[list[int]]:
    return [[rng.randint(-entry, entry) for _ in range(size)] for _ in range(size)]


def _deficient(rng: random.Random, size: int, entry: int, wanted: int) -> list[list[int]]:
    """A matrix of about this rank: rows that are small combinations of so many."""
    base = [[rng.randint(-entry, entry) for _ in range(size)] for _ in range(wanted)]
    mixed = [[rng.randint(-2, 2) for _ in range(wanted)] for _ in range(size - wanted)]
    rows = base + product(mixed, base) if mixed else base
    rng.shuffle(rows)
    return rows


def _expand(rows: list[list[int]], lines: list[str]) -> int:
    """Expansion along the first row."""
    if len(rows) == 2:
        (a, b), (c, d) = rows
        value = a * d - b * c
        lines.append(
            f"det {text(rows)} = {a}*{signed(d)} - {signed(b)}*{signed(c)} = {a * d} - {signed(b * c)} = {value}"
        )
        return value
    terms = []
    total = 0
    for column, c in enumerate(rows[0]):
        if c:
            below = _expand(minor(rows, 0, column), lines)
            terms.append(f"{'-' if column % 2 else '+'} {signed(c)}*{signed(below)}")
            total += (-1) ** column * c * below
    lines.append(f"det {text(rows)} = {' '.join(terms).removeprefix('+ ')} = {total}")
    return total


def _multiply(a: list[list[int]], b: list[list[int]], lines: list[str]) -> list[list[int]]:
    result = product(a, b)
    for i, row in enumerate(a):
        for j, column in enumerate(zip(*b, strict=True)):
            terms = " + ".join(f"{signed(x)}*{signed(y)}" for x, y in zip(row, column, strict=True))
            lines.append(f"({i + 1}, {j + 1}): {terms} = {result[i][j]}")
    return result


def _echelon(rows: list[list[int]], lines: list[str]) -> int:
    table = [[Fraction(c) for c in row] for row in rows]
    found = 0
    for column in range(len(table[0])):
        pivot = next((place for place in range(found, len(table)) if table[place][column]), None)
        if pivot is None:
            continue
        table[found], table[pivot] = table[pivot], table[found]
        for place in range(found + 1, len(table)):
            factor = table[place][column] / table[found][column]
            table[place] = [c - factor * p for c, p in zip(table[place], table[found], strict=True)]
        found += 1
        lines.append(text(table))
    lines.append(f"rank {found}")
    return found


def _invert(rows: list[list[int]], lines: list[str]) -> list[list[Fraction]]:
    """Gauss-Jordan on the matrix beside the unit matrix."""
    size = len(rows)
    table = [[Fraction(c) for c in row] + [Fraction(int(i == j)) for j in range(size)] for i, row in enumerate(rows)]
    for column in range(size):
        pivot = next(place for place in range(column, size) if table[place][column])
        table[column], table[pivot] = table[pivot], table[column]
        table[column] = [c / table[column][column] for c in table[column]]
        for place in range(size):
            if place != column and table[place][column]:
                factor = table[place][column]
                table[place] = [c - factor * p for c, p in zip(table[place], table[column], strict=True)]
        lines.append(text(table))
    return [row[size:] for row in table]
