"""Reads a formula in one variable, written plainly or in LaTeX, into a small tree. Nothing is ever executed.

The text may come from a model, so every size is bounded: what is too long, too deep or not understood raises `Unreadable`
and is left to the general math verifier. `2x(x+1)`, `2*x*(x+1)`, `2 \\cdot x \\left(x+1\\right)`, `x^{2}`, `x**2`, `x²`,
`\\frac{1}{2}`, `sin 2x`, `\\sin^2(x)`, `e^{-3x}` and `ln|x|` are understood.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARACTERS = 1000
MAX_TOKENS = 300
MAX_DEPTH = 40
MAX_POWERS = 40
MAX_DIGITS = 40
FUNCTIONS = frozenset({"sin", "cos", "tan", "sec", "csc", "cot", "exp", "ln", "log", "sqrt"})


class Unreadable(ValueError):
    """The text is no formula of the kind that is understood here, or it is too large."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a formula: `kind` is "number", "name", "+", "*", "/", "^", "negative", "absolute" or the name of a function."""

    kind: str
    parts: tuple[Node, ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""


_TOKEN = re.compile(r"\d+(?:\.\d+)?|\.\d+|\\[A-Za-z]+|[A-Za-z]|[-+*/^()|]|[{}]")
_IGNORED = re.compile(r"\\left|\\right|\\[,;:! ]|\\q?quad|\\displaystyle|\$|\\\(|\\\)|\\\[|\\\]")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPERSCRIPT_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_PLAIN = str.maketrans({"−": "-", "–": "-", "·": "*", "⋅": "*", "×": "*", "∗": "*", "÷": "/", "[": "(", "]": ")"})
_RUN = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{3,}")
_KNOWN = re.compile("|".join([*sorted(FUNCTIONS), "pi"]))
_WORDS = re.compile(r"\\?(?:operatorname|mathrm|text)\s*\{\s*([A-Za-z]{1,4})\s*\}")


def read(text: str) -> Node:
    """The tree of a formula; of `f'(x) = 2x`, of what stands after the last equals sign. Raises Unreadable."""
    if len(text) > MAX_CHARACTERS:
        raise Unreadable("too long")
    text = text.rpartition("=")[2]
    text = _SUPERSCRIPT_RUN.sub(lambda run: "^(" + run[0].translate(_SUPERSCRIPTS) + ")", text)
    text = _WORDS.sub(r" \1 ", _IGNORED.sub(" ", text.translate(_PLAIN))).replace("**", "^")
    for run in _RUN.findall(text):  # a product of letters is no word, and arcsin is no product
        if len(_KNOWN.sub("", run)) > 2:
            raise Unreadable(f"the word {run[:20]!r}")
    return _Reader(_tokens(text.strip().rstrip("."))).all()


def _tokens(text: str) -> list[str]:
    tokens = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        word = next((name for name in _BY_LENGTH if text.startswith(name, place)), None)
        if word is not None:
            tokens.append(word)
            place += len(word)
            continue
        match = _TOKEN.match(text, place)
        if match is None or len(match[0]) > MAX_DIGITS:
            raise Unreadable(f"at {text[place : place + 10]!r}")
        token = match[0]
        if token in ("\\cdot", "\\times", "\\ast"):
            token = "*"
        elif token in ("\\frac", "\\dfrac", "\\tfrac", "\\cfrac"):
            token = "\\frac"
        elif token == "\\div":
            token = "/"
        elif token in ("\\lvert", "\\rvert", "\\vert"):
            token = "|"
        elif token[0] == "\\":
            token = token[1:]
            if token not in FUNCTIONS and token != "pi":
                raise Unreadable(f"command {token[:20]}")
        tokens.append(token)
        place = match.end()
    if len(tokens) > MAX_TOKENS or tokens.count("^") > MAX_POWERS:
        raise Unreadable("too many parts")
    return tokens


_BY_LENGTH = sorted([*FUNCTIONS, "pi"], key=len, reverse=True)


class _Reader:
    """Recursive descent; binding from loose to tight: + -, * /, a product without a sign, the minus before a term, ^."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    def all(self) -> Node:
        tree = self._sum()
        if self._peek():
            raise Unreadable(f"at {self._peek()!r}")
        return tree

    def _peek(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._place += 1
        return token

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise Unreadable(f"{token} is missing")

    def _sum(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("too deep")
        tree = self._product()
        while self._peek() in ("+", "-"):
            sign = self._next()
            term = self._product()
            tree = Node("+", (tree, Node("negative", (term,)) if sign == "-" else term))
        self._depth -= 1
        return tree

    def _product(self) -> Node:
        tree = self._signed()
        while True:
            token = self._peek()
            if token in ("*", "/"):
                self._next()
                tree = Node(token, (tree, self._signed()))
            elif self._starts_factor(token):
                tree = Node("*", (tree, self._power()))
            else:
                return tree

    def _signed(self) -> Node:
        negative = False
        while self._peek() in ("+", "-"):
            negative ^= self._next() == "-"
        tree = self._power()
        return Node("negative", (tree,)) if negative else tree

    def _starts_factor(self, token: str) -> bool:
        return bool(token) and (token in ("(", "{", "\\frac") or token.isalnum() or token[0] in ".")

    def _power(self) -> Node:
        base = self._atom()
        while self._peek() == "^":
            self._next()
            base = Node("^", (base, self._exponent()))
        return base

    def _exponent(self) -> Node:
        if self._peek() in ("+", "-"):
            sign = self._next()
            inner = self._exponent()
            return Node("negative", (inner,)) if sign == "-" else inner
        base = self._atom()
        if self._peek() == "^":
            self._next()
            return Node("^", (base, self._exponent()))
        return base

    def _atom(self) -> Node:
        token = self._next()
        if not token:
            raise Unreadable("the end")
        if token[0].isdigit() or token[0] == ".":
            if not token.isascii():
                raise Unreadable("digits of another script")
            return Node("number", value=Fraction(token))
        if token in ("(", "{"):
            tree = self._sum()
            self._expect(")" if token == "(" else "}")
            return tree
        if token == "|":
            inner = self._sum()
            self._expect("|")
            return Node("absolute", (inner,))
        if token == "\\frac":
            return Node("/", (self._braced(), self._braced()))
        if token in FUNCTIONS:
            return self._function(token)
        if token.isalpha() and token.isascii():
            return Node("name", name=token)
        raise Unreadable(f"at {token!r}")

    def _braced(self) -> Node:
        if self._peek() == "{":
            return self._atom()
        token = self._next()
        if len(token) >= 1 and token.isascii() and token.isdigit():  # \frac12
            if len(token) > 1:
                self._place -= 1
                self._tokens[self._place] = token[1:]
            return Node("number", value=Fraction(token[0]))
        if len(token) == 1 and token.isalpha() and token.isascii():
            return Node("name", name=token)
        raise Unreadable("a fraction")

    def _function(self, name: str) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("too deep")
        power = None
        if self._peek() == "^":
            self._next()
            power = self._exponent()
            if power.kind == "negative":
                raise Unreadable("an inverse function")
        if self._peek() in ("(", "{", "|"):
            inner = self._atom()
        else:  # sin 2x: everything that is multiplied without a sign
            inner = self._power()
            while (
                self._starts_factor(self._peek()) and self._peek() not in FUNCTIONS and self._peek() not in ("(", "{")
            ):
                inner = Node("*", (inner, self._power()))
        self._depth -= 1
        tree = Node("ln" if name == "log" else name, (inner,))
        return tree if power is None else Node("^", (tree, power))
