"""Exact linear algebra on small matrices, lists of rows."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

Matrix = Sequence[Sequence[int]]


def determinant(rows: Matrix) -> int:
    """By fraction-free elimination (Bareiss 1968)."""
    table = [list(row) for row in rows]
    size, sign, previous = len(table), 1, 1
    for column in range(size - 1):
        pivot = next((place for place in range(column, size) if table[place][column]), None)
        if pivot is None:
            return 0
        if pivot != column:
            table[column], table[pivot], sign = table[pivot], table[column], -sign
        for place in range(column + 1, size):
            for other in range(column + 1, size):
                product = table[place][other] * table[column][column] - table[place][column] * table[column][other]
                table[place][other] = product // previous
        previous = table[column][column]
    return sign * table[-1][-1]


def minor(rows: Matrix, place: int, column: int) -> list[list[int]]:
    """Without one row and one column."""
    return [[*row[:column], *row[column + 1 :]] for number, row in enumerate(rows) if number != place]


def product(a: Matrix, b: Matrix) -> list[list[int]]:
    """a b."""
    return [[sum(x * y for x, y in zip(row, column, strict=True)) for column in zip(*b, strict=True)] for row in a]


def inverse(rows: Matrix) -> list[list[Fraction]]:
    """The adjugate over the determinant, which must not be 0."""
    size, whole = len(rows), determinant(rows)
    if size == 1:
        return [[Fraction(1, whole)]]
    return [
        [Fraction((-1) ** (i + j) * determinant(minor(rows, j, i)), whole) for j in range(size)] for i in range(size)
    ]


def rank(rows: Matrix) -> int:
    """By elimination."""
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
    return found


def text(rows: Sequence[Sequence[object]]) -> str:
    """`[[1, 2], [3, 4]]`."""
    return "[" + ", ".join("[" + ", ".join(map(str, row)) + "]" for row in rows) + "]"
