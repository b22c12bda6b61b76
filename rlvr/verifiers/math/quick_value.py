"""An expression's value in machine floats, only ever used to tell two expressions apart.

Two hundred times faster than evaluate.py, and honest about it: any sum that cancels, any overflow and any function that is not
listed here raises UnsureError, and then the slow way decides.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping

from rlvr.verifiers.math.tree import Node


class UnsureError(Exception):
    """Machine floats cannot say what this expression is worth."""


_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "ln": cmath.log,
    "log": cmath.log,
    "sinh": cmath.sinh,
    "cosh": cmath.cosh,
    "tanh": cmath.tanh,
    "asin": cmath.asin,
    "acos": cmath.acos,
    "atan": cmath.atan,
    "abs": abs,
}
_CONSTANTS: dict[str, complex] = {"pi": math.pi, "e": math.e, "i": 1j}
_CANCELLED = 1e-5


def quick_value(node: Node, point: Mapping[str, float]) -> complex:
    """The value to about ten digits. Raises UnsureError where that cannot be promised."""
    kind = node.kind
    if kind == "num":
        try:
            return float(node.number)
        except OverflowError as error:
            raise UnsureError from error
    if kind == "sym":
        value = point.get(node.text)
        if value is not None:
            return value
        if node.text in _CONSTANTS:
            return _CONSTANTS[node.text]
        raise UnsureError
    if kind == "add":
        total: complex = 0.0
        largest = 0.0
        for arg in node.args:
            term = quick_value(arg, point)
            total += term
            largest = max(largest, abs(term))
        if abs(total) < _CANCELLED * largest:
            raise UnsureError
        return total
    if kind == "mul":
        product: complex = 1.0
        for arg in node.args:
            product *= quick_value(arg, point)
        return product
    if kind == "pow":
        return _power(node, point)
    if kind == "call" and len(node.args) == 1:
        return _call(node, point)
    if kind == "percent":
        return quick_value(node.args[0], point) / 100
    if kind == "deg":
        return quick_value(node.args[0], point) * math.pi / 180
    raise UnsureError


def _power(node: Node, point: Mapping[str, float]) -> complex:
    base, exponent = quick_value(node.args[0], point), quick_value(node.args[1], point)
    if base == 0 or abs(exponent) > 60 or not 1e-9 < abs(base) < 1e9:
        raise UnsureError
    if isinstance(base, float) and base < 0 and exponent != int(exponent.real):
        raise UnsureError  # school's odd roots or the principal ones: the slow way knows
    try:
        return base**exponent
    except (ArithmeticError, ValueError) as error:
        raise UnsureError from error


def _call(node: Node, point: Mapping[str, float]) -> complex:
    argument = quick_value(node.args[0], point)
    function = _FUNCTIONS.get(node.text)
    if node.value == "factorial" and argument.imag == 0 and 0 <= argument.real <= 100:
        return math.gamma(argument.real + 1)
    if function is None or abs(argument) > 1e6:
        raise UnsureError
    try:
        value = function(argument)
    except (ArithmeticError, ValueError) as error:
        raise UnsureError from error
    return value.real if value.imag == 0 else value


def surely_different(a: Node, b: Node, names: list[str]) -> bool:
    """Whether two expressions differ at a point by more than ten thousand times what floats can be wrong by."""
    point = _point(names, 0.7391)
    try:
        first, second = quick_value(a, point), quick_value(b, point)
    except (UnsureError, OverflowError, ZeroDivisionError, RecursionError):
        return False
    size = max(abs(first), abs(second))
    return math.isfinite(size) and abs(first - second) > 1e-4 * size


def ratio_varies(a: Node, b: Node, names: list[str]) -> bool:
    """Whether a / b is surely not constant: it differs between two points."""
    try:
        first, second = (
            quick_value(a, point) / quick_value(b, point) for point in (_point(names, 0.7391), _point(names, 2.2318))
        )
    except (UnsureError, OverflowError, ZeroDivisionError, RecursionError):
        return False
    size = max(abs(first), abs(second))
    return math.isfinite(size) and abs(first - second) > 1e-4 * size


def _point(names: list[str], start: float) -> dict[str, float]:
    return {name: start + 0.6180339887 * start * index for index, name in enumerate(names)}
