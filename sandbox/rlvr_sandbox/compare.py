"""Compares what a program gave with what was expected, without making an object of anything it gave.

Answers stay the tagged JSON they came as (`guest/codec.py`) and are walked along the expected value. Nothing of them is
ever a key of a hash table except text, whose hash nobody can predict, so no answer makes a comparison slow.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from rlvr.errors import ConfigError
from rlvr_sandbox.guest import codec
from rlvr_sandbox.testspec import Checker

_MAX_NUMBER_CHARACTERS = 1 << 20
_SEQUENCES = {"t": "tuple", "n": "tuple", "q": "deque"}
_FREE_OF_ORDER = {"s", "f"}


class OpaqueAnswer(Exception):
    """The answer holds an object that is no plain value."""


def same_text(got: str, expected: str, checker: Checker) -> bool:
    """Whether a program's output is the expected one.

    Lines are compared without trailing blanks, blank lines at the end do not count, and line ends may be of any kind.
    """
    if checker.kind == "float":
        left, right = got.split(), expected.split()
        return len(left) == len(right) and all(_same_token(a, b, checker) for a, b in zip(left, right, strict=True))
    left, right = _lines(got), _lines(expected)
    if checker.kind == "unordered":
        return sorted(left) == sorted(right)
    return left == right


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_token(got: str, expected: str, checker: Checker) -> bool:
    if got == expected:
        return True
    if max(len(got), len(expected)) > 400:
        return False
    try:
        left, right = float(got), float(expected)
    except ValueError:
        return False
    return math.isclose(left, right, rel_tol=checker.rel_tol, abs_tol=checker.abs_tol)


class Comparison:
    """One way to compare values.

    strict: exactly Python's ==, for what a test wrote as `assert f(x) == y`. Otherwise, because expected values come from
    JSON rows, a tuple answers a list, nan equals nan, and floats may differ by a relative 1e-9 (the order of a sum).
    Raises OpaqueAnswer in strict mode where an object would have a say; otherwise an object equals nothing.
    """

    def __init__(self, *, strict: bool = False, checker: Checker | None = None) -> None:
        self._strict = strict
        kind = checker.kind if checker else "exact"
        self._rel_tol, self._abs_tol = (
            (checker.rel_tol, checker.abs_tol) if checker and kind == "float" else (1e-9, 1e-12)
        )
        self._unordered = kind == "unordered"

    def same(self, got: Any, expected: Any) -> bool:
        """Whether the answer `got`, as tagged JSON, is `expected`.

        Raises ValueError if it is not what the codec writes, ConfigError if `expected` is no plain value.
        """
        if self._unordered and isinstance(expected, list | tuple):
            items = _items(got, ("t", "n", "q", None))
            return items is not None and sorted(map(_canonical, items)) == sorted(
                _canonical(codec.encode(item, _no_object)) for item in expected
            )
        return self._same(got, expected)

    def _same(self, got: Any, expected: Any) -> bool:
        if isinstance(got, dict) and ("h" in got or "cb" in got):
            if self._strict:
                raise OpaqueAnswer
            return False
        kind = type(expected)
        if expected is None:
            return got is None
        if kind in (bool, int, float, complex, decimal.Decimal, fractions.Fraction):
            return self._same_number(got, expected)
        if kind is str:
            return type(got) is str and got == expected
        if kind is list:
            return self._same_items(_items(got, (None,) if self._strict else (None, "t", "n", "q")), expected)
        if kind is tuple:
            return self._same_items(_items(got, ("t", "n")), expected)
        if kind is collections.deque:
            return self._same_items(_items(got, ("q",)), expected)
        if kind is dict:
            return self._same_dict(got, expected)
        if kind in (set, frozenset):
            items = _items(got, ("s", "f"))
            wanted = {_canonical(codec.encode(item, _no_object)) for item in expected}
            return items is not None and {_canonical(item) for item in items} == wanted
        if kind in (bytes, bytearray):
            tag, payload = _tagged(got)
            return tag in ("b", "B") and payload == expected.hex()
        if kind in (range, datetime.date, datetime.datetime, datetime.time, datetime.timedelta):
            wanted_json = codec.encode(expected, _no_object)
            return bool(json.dumps(got, sort_keys=True) == json.dumps(wanted_json, sort_keys=True))
        _no_object(expected)

    def _same_items(self, got: list[Any] | None, expected: Any) -> bool:
        return (
            got is not None
            and len(got) == len(expected)
            and all(self._same(left, right) for left, right in zip(got, expected, strict=True))
        )

    def _same_dict(self, got: Any, expected: Mapping[Any, Any]) -> bool:
        tag, payload = _tagged(got)
        if tag != "d" or type(payload) is not list or len(payload) != len(expected):
            return False
        values = {_canonical(key): value for key, value in payload}
        missing = object()
        for key, value in expected.items():
            answer = values.get(_canonical(codec.encode(key, _no_object)), missing)
            if answer is missing or not self._same(answer, value):
                return False
        return True

    def _same_number(self, got: Any, expected: Any) -> bool:
        number = number_of(got)
        if number is None:
            return False
        if self._strict or not isinstance(expected, float | complex):
            return bool(number == expected)
        if isinstance(expected, complex) or isinstance(number, complex):
            return bool(abs(complex(number) - expected) <= max(self._rel_tol * abs(expected), self._abs_tol))
        try:
            value = float(number)
        except OverflowError:
            return False
        if math.isnan(expected):
            return math.isnan(value)
        return math.isclose(value, expected, rel_tol=self._rel_tol, abs_tol=self._abs_tol)


def _no_object(value: Any) -> NoReturn:
    raise ConfigError(f"a test case expects a {type(value).__name__}; only plain values can be compared. No verdict.")


def _tagged(data: Any) -> tuple[str | None, Any]:
    if type(data) is not dict or len(data) != 1:
        return None, None
    return next(iter(data.items()))


def _items(data: Any, tags: tuple[str | None, ...]) -> list[Any] | None:
    """The items of a list (tag None) or of one of the tagged containers; None for anything else."""
    if type(data) is list:
        return data if None in tags else None
    tag, payload = _tagged(data)
    if tag is None or tag not in tags:
        return None
    if tag == "n":
        payload = payload[2]
    if type(payload) is not list:
        raise ValueError("not a value")
    return payload


def number_of(data: Any) -> Any:
    """A Python number, or None if the answer is none."""
    if type(data) in (bool, int, float):
        return data
    tag, payload = _tagged(data)
    if tag not in ("i", "c", "D", "F") or len(str(payload)) > _MAX_NUMBER_CHARACTERS:
        return None
    try:
        if tag == "i":
            return int(payload, 16)
        if tag == "c":
            return complex(float(payload[0]), float(payload[1]))
        if tag == "D":
            value = decimal.Decimal(str(payload))
            # Comparing it with an int or Fraction would write the exponent out.
            return value if not value.is_finite() or abs(value.adjusted()) < 10_000 else None
        if max(len(part) for part in payload) > 10_000:
            return None
        return fractions.Fraction(int(payload[0], 16), int(payload[1], 16))
    except (ValueError, TypeError, ArithmeticError, IndexError):
        return None


def _canonical(data: Any) -> str:
    """One text for all answers that Python holds equal: 1, 1.0 and True; the same set or dict in any order."""
    if isinstance(data, dict) and ("h" in data or "cb" in data):
        return f"object {id(data)}"
    number = number_of(data)
    if number is not None:
        try:
            if number == (whole := int(number.real)):
                return f"number {whole:x}"
        except (ValueError, OverflowError, AttributeError):
            pass
        return f"number {number!r}"
    if type(data) is list:
        return "[" + ",".join(map(_canonical, data)) + "]"
    tag, payload = _tagged(data)
    if tag in _SEQUENCES:
        return _SEQUENCES[tag] + "[" + ",".join(map(_canonical, payload[2] if tag == "n" else payload)) + "]"
    if tag in _FREE_OF_ORDER:
        return "{" + ",".join(sorted(set(map(_canonical, payload)))) + "}"
    if tag == "d":
        return "{" + ",".join(sorted(f"{_canonical(key)}:{_canonical(value)}" for key, value in payload)) + "}"
    return json.dumps(data, sort_keys=True)
