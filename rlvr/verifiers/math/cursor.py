"""A place in a list of tokens, and how deep the reading is nested."""

from __future__ import annotations

from rlvr.verifiers.math.lexer import Token, UnreadableError
from rlvr.verifiers.math.tree import Node

MAX_DEPTH = 40


class Cursor:
    """The tokens, the place, and the depth. Raises UnreadableError at the end and beyond MAX_DEPTH."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0
        self.in_builder = False
        self.in_integral = 0
        self.differential = ""

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def ahead(self, distance: int = 1) -> Token:
        return self.tokens[min(self.at + distance, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.tokens[self.at]
        if token.kind == "end":
            raise UnreadableError("the answer ends too early")
        self.at += 1
        return token

    def is_sign(self, value: str) -> bool:
        token = self.tokens[self.at]
        return token.kind == "s" and token.value == value

    def is_command(self, value: str) -> bool:
        token = self.tokens[self.at]
        return token.kind == "c" and token.value == value

    def accept(self, value: str) -> bool:
        if self.is_sign(value):
            self.at += 1
            return True
        return False

    def expect(self, value: str) -> None:
        token = self.take()
        if token.value != value or token.kind not in "sc":
            raise UnreadableError(f"expected {value}")

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("nested too deeply")

    # What the parsers above this one bring.

    def listing(self) -> Node:
        raise NotImplementedError

    def additive(self) -> Node:
        raise NotImplementedError

    def term(self) -> Node:
        raise NotImplementedError

    def factor(self) -> Node:
        raise NotImplementedError

    def power_(self) -> Node:
        raise NotImplementedError

    def exponent(self) -> Node:
        raise NotImplementedError

    def primary(self) -> Node:
        raise NotImplementedError

    def argument(self) -> Node:
        raise NotImplementedError

    def starts_factor(self, token: Token) -> bool:
        raise NotImplementedError
