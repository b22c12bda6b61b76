"""Spreadsheet formulas: numbers, references, sums and the four operations, read by a walk over tokens and never as code."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from rlvr_envs.tools.tool import ToolError

MAX_FORMULA_CHARS = 400
MAX_DEPTH = 40
MAX_STEPS = 20_000
"""Cells and tokens that one evaluation may visit."""
MAX_DIGITS = 60
_token = re.compile(
    r"\s*(?:([A-Z])([1-9]\d{0,4})(?::([A-Z])([1-9]\d{0,4}))?|(\d+(?:\.\d+)?)|([A-Z]{3,7})(?=\()|([-+*/(),]))"
)
_number = re.compile(r"-?\d{1,40}(?:\.\d{1,20})?")

Number = int | Fraction
"""Integers stay integers, which is faster; a Fraction has the same arithmetic."""
Cells = Callable[[int, int], str]
"""`(row, column)` -> what is written in the cell, empty if nothing."""


def column_of(letter: str) -> int:
    """1 for A."""
    return ord(letter) - 64


def name_of(row: int, column: int) -> str:
    """`B3` of (3, 2)."""
    return f"{chr(64 + column)}{row}"


class Formula:
    """Evaluates one cell or expression; raises ToolError for what is no formula, a cycle, or too much work."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.steps = 0
        self.open: set[tuple[int, int]] = set()
        self.known: dict[tuple[int, int], Number | str] = {}

    def value(self, row: int, column: int) -> Number | str:
        """A cell's number, or its text."""
        place = (row, column)
        if place in self.known:
            return self.known[place]
        self._step()
        text = self.cells(row, column)
        if not text.startswith("="):
            found: Number | str = text
            if text.isascii() and text.isdigit() and len(text) <= 40:
                found = int(text)
            elif _number.fullmatch(text):
                found = Fraction(text)
        else:
            if place in self.open or len(self.open) > MAX_DEPTH:
                raise ToolError(f"the formula in {name_of(row, column)} refers to itself, or through too many cells")
            self.open.add(place)
            found = self.expression(text[1:])
            self.open.discard(place)
        self.known[place] = found
        return found

    def expression(self, text: str) -> Number:
        """The value of a formula without its equals sign."""
        if len(text) > MAX_FORMULA_CHARS:
            raise ToolError(f"a formula may have {MAX_FORMULA_CHARS} characters")
        tokens: list[re.Match[str]] = []
        position = 0
        text = text.rstrip().upper()
        while position < len(text):
            found = _token.match(text, position)
            if not found:
                raise ToolError(f"{text[position : position + 20]!r} is no part of a formula")
            tokens.append(found)
            position = found.end()
        reader = _Reader(self, tokens)
        result = reader.sum(0)
        if reader.position != len(tokens):
            raise ToolError("the formula does not end where it should")
        return result

    def _step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise ToolError("the formula takes too many steps")


class _Reader:
    """Recursive descent: sums of products of atoms."""

    def __init__(self, formula: Formula, tokens: list[re.Match[str]]) -> None:
        self.formula = formula
        self.tokens = tokens
        self.position = 0

    def next(self) -> str:
        return self.tokens[self.position].group().strip() if self.position < len(self.tokens) else ""

    def sum(self, depth: int) -> Number:
        if depth > MAX_DEPTH:
            raise ToolError("the formula is nested too deeply")
        value = self.product(depth)
        while self.next() in ("+", "-"):
            sign = 1 if self.next() == "+" else -1
            self.position += 1
            value += sign * self.product(depth)
        return _bounded(value)

    def product(self, depth: int) -> Number:
        value = self.atom(depth)
        while self.next() in ("*", "/"):
            divide = self.next() == "/"
            self.position += 1
            other = self.atom(depth)
            if divide and other == 0:
                raise ToolError("division by zero")
            value = _bounded(Fraction(value) / other if divide else value * other)
        return value

    def atom(self, depth: int) -> Number:
        self.formula._step()
        if self.position >= len(self.tokens):
            raise ToolError("the formula ends too early")
        found = self.tokens[self.position]
        self.position += 1
        letter, row, last_letter, _, number, function, sign = found.groups()
        if number:
            return _bounded(Fraction(number))
        if letter and not last_letter:
            return self._numeric(self.formula.value(int(row), column_of(letter)), found.group().strip())
        if function:
            return self.call(function, depth)
        if sign == "-":
            if depth > MAX_DEPTH:
                raise ToolError("the formula is nested too deeply")
            return -self.atom(depth + 1)
        if sign == "(":
            value = self.sum(depth + 1)
            self.expect(")")
            return value
        raise ToolError(f"{found.group().strip()!r} cannot stand here")

    def call(self, function: str, depth: int) -> Number:
        self.expect("(")
        values: list[Number] = []
        while True:
            found = self.tokens[self.position] if self.position < len(self.tokens) else None
            if found and found.group(3):
                self.position += 1
                values.extend(self.range(found))
            else:
                values.append(self.sum(depth + 1))
            if self.next() != ",":
                break
            self.position += 1
        self.expect(")")
        if function == "SUM":
            return _bounded(sum(values, 0))
        if function == "COUNT":
            return len(values)
        if function in ("MIN", "MAX", "AVERAGE") and values:
            total = sum(values, 0)
            return (
                min(values)
                if function == "MIN"
                else max(values)
                if function == "MAX"
                else _bounded(Fraction(total) / len(values))
            )
        raise ToolError(f"{function} is none of SUM, COUNT, MIN, MAX, AVERAGE, or has no numbers")

    def range(self, found: re.Match[str]) -> list[Number]:
        """The numbers of a range; texts and empty cells are passed over."""
        first, top, last, bottom = found.group(1, 2, 3, 4)
        values = []
        for row in range(int(top), int(bottom) + 1):
            for column in range(column_of(first), column_of(last) + 1):
                value = self.formula.value(row, column)
                if not isinstance(value, str):
                    values.append(value)
        return values

    def expect(self, token: str) -> None:
        if self.next() != token:
            raise ToolError(f"{token!r} is missing in the formula")
        self.position += 1

    def _numeric(self, value: Number | str, name: str) -> Number:
        if isinstance(value, str):
            if value == "":
                return 0
            raise ToolError(f"{name} holds a text, not a number")
        return value


def _bounded(value: Number) -> Number:
    if value.numerator.bit_length() > 4 * MAX_DIGITS or value.denominator.bit_length() > 4 * MAX_DIGITS:
        raise ToolError("a number in the formula is too large")
    return value
