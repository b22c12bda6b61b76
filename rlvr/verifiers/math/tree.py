"""The tree an answer is parsed into: plain data, bounded in size, the same for golds and responses."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple


class Node(NamedTuple):
    """One node. `kind` says what it is and what `args`, `value` and `digits` hold.

    Numbers and names
        num       value: Fraction (exact); digits: decimals shown, or -1 if it was not written as a decimal
        sym       value: the name (`x`, `theta`, `x_1`, `pi`, `e`, `i`)
        inf       positive infinity
        text      value: normalised words
        choice    value: a letter A-J; args: nothing
        time      value: Fraction of minutes after midnight; digits: 1 if a.m. or p.m. was said
        base      value: the digits as written, lower case; args: (num of the base,)
    Expressions
        add mul   args: the terms or factors
        pow       args: (base, exponent)
        call      value: function name; args: arguments (known functions, and unknown ones such as f)
        pm        args: (left, right); value: `+` for plus-minus, `-` for minus-plus
        percent   args: (amount,)
        deg       args: (amount,) in degrees
        unit      args: (amount,); value: the unit's canonical name
        big       value: `sum`, `prod`, `int` or `lim`; args: see expressions.py
    Structures
        list      args: items without brackets; value: `,`, `and` or `or`
        set       args: items in braces
        tuple     args: items in order; value: opening and closing bracket
        rel       args: the sides of a chain; value: its operators joined by a blank
        union inter minus    args: sets
        builder   args: (element, condition)
        matrix    args: rows, each a tuple
        ratio     args: its terms
        label     value: the name before a colon; args: (what it names,)
        empty reals          the empty set, the real line
    """

    kind: str
    args: tuple[Node, ...] = ()
    value: str | Fraction | None = None
    digits: int = -1

    @property
    def text(self) -> str:
        """The payload as a string."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def number(self) -> Fraction:
        """The payload as a number; 0 where there is none."""
        return self.value if isinstance(self.value, Fraction) else Fraction(0)


def number(value: int | Fraction, digits: int = -1) -> Node:
    """An exact number."""
    return Node("num", (), value if type(value) is Fraction else Fraction(value), digits)


def symbol(name: str) -> Node:
    """A letter, Greek or not, with its subscript."""
    return Node("sym", (), name)


def add(*terms: Node) -> Node:
    """A sum, flattened."""
    flat: list[Node] = []
    for term in terms:
        flat.extend(term.args if term.kind == "add" else (term,))
    return flat[0] if len(flat) == 1 else Node("add", tuple(flat))


def multiply(*factors: Node) -> Node:
    """A product, flattened."""
    flat: list[Node] = []
    for factor in factors:
        flat.extend(factor.args if factor.kind == "mul" else (factor,))
    return flat[0] if len(flat) == 1 else Node("mul", tuple(flat))


def power(base: Node, exponent: Node) -> Node:
    """A power."""
    return Node("pow", (base, exponent))


def divide(numerator: Node, denominator: Node) -> Node:
    """A quotient; of two plain integers it is a number at once."""
    if (
        numerator.kind == "num" == denominator.kind
        and denominator.value
        and max(numerator.digits, denominator.digits) < 0
    ):
        return number(numerator.number / denominator.number)
    return multiply(numerator, power(denominator, MINUS_ONE))


def negate(node: Node) -> Node:
    """The negative; of a number it is a number at once."""
    if node.kind == "num":
        return Node("num", (), -node.number, node.digits)
    if node.kind in ("unit", "percent", "deg"):
        return node._replace(args=(negate(node.args[0]),))
    return multiply(MINUS_ONE, node)


def call(name: str, *args: Node) -> Node:
    """A function of some arguments."""
    return Node("call", args, name)


MINUS_ONE = number(-1)
ZERO = number(0)
ONE = number(1)
PI = symbol("pi")
INFINITY = Node("inf")
EMPTY = Node("empty")
REALS = Node("reals")


def symbols(node: Node) -> set[str]:
    """The names of the free letters below a node, constants such as pi left out."""
    found: set[str] = set()
    stack = [node]
    while stack:
        current = stack.pop()
        if current.kind == "sym" and current.value not in CONSTANTS:
            found.add(current.text)
        if current.kind == "big" and current.value != "lim" and len(current.args) > 1:
            found |= symbols(current.args[0]) - {current.args[1].text}
            stack.extend(current.args[2:])
            continue
        stack.extend(current.args)
    return found


def contains(node: Node, kinds: frozenset[str]) -> bool:
    """Whether a node of one of these kinds stands in the tree."""
    stack = [node]
    while stack:
        current = stack.pop()
        if current.kind in kinds:
            return True
        stack.extend(current.args)
    return False


def rename(node: Node, names: dict[str, str]) -> Node:
    """The tree with letters renamed."""
    if node.kind == "sym":
        return node._replace(value=names.get(node.text, node.text))
    if not node.args:
        return node
    return node._replace(args=tuple(rename(arg, names) for arg in node.args))


CONSTANTS = frozenset({"pi", "e", "i"})
