"""Calls written as Python text, read by a walk over literals. Nothing is compiled and nothing is evaluated.

What is a value: strings (also raw, triple-quoted, and adjacent ones joined), integers, floats, True, False, None, lists,
and dicts with text keys. What is not: names, operators, calls inside calls, f-strings, bytes, sets, unpacking. A tuple is
read and marked, because only a parameter that the schema calls a tuple may take one; JSON has no other use for it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Any

from rlvr.verifiers.toolcall.calls import MAX_CONTAINERS, MAX_DEPTH, Unreadable

_space = re.compile(r"[ \t\r\n\f]*+")
_name = re.compile(r"[^\W\d]\w*+(?:\.[^\W\d]\w*+)*+")
_keyword = re.compile(r"[^\W\d]\w*+")
_number = re.compile(
    r"[+-]?(?:(0[xX][0-9a-fA-F]++|0[oO][0-7]++|0[bB][01]++|\d++(?:_\d++)*+(?![.eE\d]))"
    r"|((?:\d++(?:_\d++)*+(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?))(?![\w.])"
)
_string = re.compile(
    r"([rRuU]?)(?:"
    r'"""((?:[^"\\]|\\.|"(?!""))*+)"""'
    r"|'''((?:[^'\\]|\\.|'(?!''))*+)'''"
    r'|"((?:[^"\\\n]|\\.)*+)"'
    r"|'((?:[^'\\\n]|\\.)*+)')",
    re.DOTALL,
)
_escape = re.compile(
    r"\\(?:(\n)|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|N\{([^{}\\]{1,80})\}|([0-7]{1,3})|(.))", re.DOTALL
)
_SIMPLE = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_SPACES = (" ", "\n", "\t", "\r", "\f")
_CONSTANTS: dict[str, bool | None] = {"True": True, "False": False, "None": None}


class PythonReader:
    """Reads calls and literals from `text` between `position` and `end`; every method raises Unreadable."""

    def __init__(self, text: str, position: int, end: int) -> None:
        self.text = text
        self.position = position
        self.end = end
        self.values = 0
        self.tuples = False
        """True once a tuple was read in the call at hand."""

    def space(self) -> None:
        """Go past white space."""
        found = _space.match(self.text, self.position, self.end)
        if found:
            self.position = found.end()

    def peek(self) -> str:
        """The next character, empty at the end."""
        return self.text[self.position] if self.position < self.end else ""

    def take(self, token: str) -> bool:
        """Go past white space and, if it is next, past `token`."""
        if self.text[self.position : self.position + 1] in _SPACES:
            self.space()
        if self.text.startswith(token, self.position, self.end):
            self.position += len(token)
            return True
        return False

    def fail(self, problem: str) -> Unreadable:
        """The error to raise here: `unclosed` where the text is at its end."""
        self.space()
        if self.position >= self.end:
            return Unreadable("unclosed", "the text ends inside a call", self.position)
        return Unreadable("bad_syntax", problem, self.position)

    def call(self) -> tuple[str, dict[str, Any]]:
        """`name(key=literal, ...)`; tuples stay tuples."""
        self.space()
        found = _name.match(self.text, self.position, self.end)
        if not found:
            raise self.fail("a tool's name must stand here")
        self.position = found.end()
        if self.peek() != "(":
            raise self.fail("an opening parenthesis must follow the tool's name")
        self.position += 1
        self.tuples = False
        arguments: dict[str, Any] = {}
        while not self.take(")"):
            key = _keyword.match(self.text, self.position, self.end)
            if not key:
                raise self.fail("arguments are written name=value")
            self.position = key.end()
            if not self.take("=") or self.peek() == "=":
                self.position = key.start()
                raise self.fail("arguments are written name=value, with literal values")
            if key.group() in arguments:
                raise Unreadable("duplicate_key", f"the argument {key.group()[:40]!r} stands twice", key.start())
            arguments[key.group()] = self.value(1)
            if not self.take(","):
                if self.take(")"):
                    break
                raise self.fail("a comma or a closing parenthesis must follow an argument; values are literals only")
        return found.group(), arguments

    def count(self) -> None:
        """Note one more value; past the limit, raise."""
        self.values += 1
        if self.values > MAX_CONTAINERS:
            raise Unreadable("too_large", f"more than {MAX_CONTAINERS:,} values", self.position)

    def value(self, depth: int) -> Any:
        """One literal."""
        self.space()
        self.count()
        character = self.text[self.position] if self.position < self.end else ""
        if character in ("[", "{", "("):
            if depth > MAX_DEPTH:
                raise Unreadable("too_large", f"more than {MAX_DEPTH} levels of nesting", self.position)
            self.position += 1
            if character == "[":
                return self.items("]", depth)[0]
            return self.mapping(depth) if character == "{" else self.parenthesis(depth)
        if character in "'\"rRuU":
            found = _string.match(self.text, self.position, self.end)
            if found:
                return self.strings(found)
        found = _number.match(self.text, self.position, self.end)
        if found:
            return self.number(found)
        found = _keyword.match(self.text, self.position, self.end)
        if found and found.group() in _CONSTANTS:
            self.position = found.end()
            return _CONSTANTS[found.group()]
        if found:
            raise self.fail(f"{found.group()[:40]!r} is no literal; write strings in quotes, and True, False or None")
        if character in ('"', "'"):
            raise Unreadable("unclosed", "a string is not closed", self.position)
        raise self.fail("a literal must stand here")

    def items(self, closer: str, depth: int) -> tuple[list[Any], bool]:
        """Values up to `closer`, and whether a comma followed the last."""
        values: list[Any] = []
        comma = False
        while not self.take(closer):
            values.append(self.value(depth + 1))
            comma = self.take(",")
            if not comma:
                if self.take(closer):
                    break
                raise self.fail(f"a comma or {closer!r} must stand here; values are literals only")
        return values, comma

    def parenthesis(self, depth: int) -> Any:
        """A value in parentheses, or a tuple."""
        values, comma = self.items(")", depth)
        if len(values) == 1 and not comma:
            return values[0]
        self.tuples = True
        return tuple(values)

    def mapping(self, depth: int) -> dict[str, Any]:
        """A dict with text keys."""
        values: dict[str, Any] = {}
        while not self.take("}"):
            start = self.position
            found = _string.match(self.text, self.position, self.end)
            if not found:
                raise self.fail("the keys of a dict are strings")
            key = self.strings(found)
            if key in values:
                raise Unreadable("duplicate_key", f"the key {key[:40]!r} stands twice in one dict", start)
            if not self.take(":"):
                raise self.fail("a colon must follow a key")
            values[key] = self.value(depth + 1)
            if not self.take(","):
                if self.take("}"):
                    break
                raise self.fail("a comma or '}' must stand here; values are literals only")
        return values

    def strings(self, found: re.Match[str]) -> str:
        """One string, or several side by side, which Python joins."""
        parts: list[str] = []
        following: re.Match[str] | None = found
        while following:
            self.count()
            self.position = following.end()
            body = following.group(following.lastindex or 0)
            raw = following.group(1) in ("r", "R")
            parts.append(body if raw or "\\" not in body else unescape(body, following.start()))
            self.space()
            more = self.text[self.position : self.position + 1] in ("'", '"', "r", "R", "u", "U")
            following = _string.match(self.text, self.position, self.end) if more else None
        return "".join(parts)

    def number(self, found: re.Match[str]) -> int | float:
        """An integer or a finite float."""
        self.position = found.end()
        text = found.group()
        try:
            value: int | float = int(text, 0) if found.group(1) else float(text)
        except ValueError:  # leading zeros; more digits than Python converts
            raise Unreadable("bad_syntax", f"{text[:40]} is no number", found.start()) from None
        if isinstance(value, float) and math.isinf(value):
            raise Unreadable("bad_syntax", f"the number {text[:40]} is too large", found.start())
        return value


def unescape(body: str, position: int) -> str:
    """The text that a Python string literal with this body stands for. Raises Unreadable at a malformed escape."""

    def replace(found: re.Match[str]) -> str:
        newline, byte, short, long, name, octal, character = found.groups()
        if newline:
            return ""
        digits = byte or short or long
        if digits:
            code = int(digits, 16)
            if code > 0x10FFFF:
                raise Unreadable("bad_syntax", f"the escape {found.group()} names no character", position)
            return chr(code)
        if octal:
            return chr(int(octal, 8))
        if name:
            try:
                return unicodedata.lookup(name)
            except KeyError:
                raise Unreadable("bad_syntax", f"no character is called {name[:40]!r}", position) from None
        if character in "xuUN":
            raise Unreadable("bad_syntax", f"the escape \\{character} is incomplete", position)
        return _SIMPLE.get(character, "\\" + character)

    return _escape.sub(replace, body)
