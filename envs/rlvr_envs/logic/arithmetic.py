"""Arithmetic expressions from untrusted text: read by our own parser, valued exactly, never evaluated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

MAX_LENGTH, MAX_DEPTH, MAX_DIGITS = 300, 30, 9
_TOKEN = re.compile(r"\s*([0-9]+|[-+*/()])")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "x": "*"})


@dataclass(frozen=True)
class Expression:
    """An expression's exact value and the numbers it is made of, in order."""

    value: Fraction
    numbers: tuple[int, ...]


def parse(text: str) -> Expression | None:
    """`+ - * /`, brackets and whole numbers; None if it is anything else, divides by 0, or is too long or deep."""
    text = text.translate(_SIGNS).split("=")[0].strip()
    if not text or len(text) > MAX_LENGTH:
        return None
    tokens: list[str] = []
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or len(match[1]) > MAX_DIGITS:
            return None
        tokens.append(match[1])
        place = match.end()
    reader = _Reader(tokens)
    try:
        value = reader.sum(0)
    except (_NoExpression, ZeroDivisionError):
        return None
    return Expression(value, tuple(reader.numbers)) if reader.place == len(tokens) else None


class _NoExpression(Exception):
    pass


class _Reader:
    """Recursive descent: a sum of products of numbers and brackets. No unary minus: a number may be used once, as it is."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens, self.place = tokens, 0
        self.numbers: list[int] = []

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        self.place += 1
        return self.tokens[self.place - 1]

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while self.peek() in ("+", "-"):
            value = value + self.product(depth) if self.take() == "+" else value - self.product(depth)
        return value

    def product(self, depth: int) -> Fraction:
        value = self.atom(depth)
        while self.peek() in ("*", "/"):
            value = value * self.atom(depth) if self.take() == "*" else value / self.atom(depth)
        return value

    def atom(self, depth: int) -> Fraction:
        if depth > MAX_DEPTH or not self.peek():
            raise _NoExpression
        token = self.take()
        if token == "(":
            value = self.sum(depth + 1)
            if self.peek() != ")":
                raise _NoExpression
            self.take()
            return value
        if not token.isdigit():
            raise _NoExpression
        self.numbers.append(int(token))
        return Fraction(int(token))
