"""Trees as JSON for the pipe to a worker: `[kind, value, digits, [children]]`, a fraction as two hexadecimal strings."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from rlvr.verifiers.math.tree import Node


def pack(node: Node) -> list[Any]:
    """The JSON value of a tree."""
    value: Any = node.value
    if isinstance(value, Fraction):
        value = [f"{value.numerator:x}", f"{value.denominator:x}"]
    return [node.kind, value, node.digits, [pack(arg) for arg in node.args]]


def unpack(packed: list[Any]) -> Node:
    """The tree that `pack` wrote."""
    kind, value, digits, children = packed
    if isinstance(value, list):
        value = Fraction(int(value[0], 16), int(value[1], 16))
    return Node(kind, tuple(unpack(child) for child in children), value, digits)
