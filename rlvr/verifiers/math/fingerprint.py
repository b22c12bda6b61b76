"""A number that equal expressions share: every letter becomes a random residue modulo a large prime.

Two rational expressions in the same letters that are different agree with probability at most their degree over 2^127
(Schwartz 1980, Zippel 1979), so equal fingerprints prove equality and, where no other function occurs, different ones
disprove it, at the cost of a few multiplications. A power as large as x^800 or 10^1000000 costs no more. Roots, functions
and constants become residues that depend on the function and on the fingerprint of its argument: equal is still proof there,
different is not.
"""

from __future__ import annotations

from fractions import Fraction
from hashlib import blake2b

from rlvr.verifiers.math.tree import Node, symbol

PRIME = 2**127 - 1
_UNORDERED = frozenset({"list", "set", "union", "inter"})
_MAX_FACTORIAL = 20_000


class UndefinedError(Exception):
    """The expression divides by zero."""


class Fingerprint:
    """Computes fingerprints; `rational` turns False once something beyond rational arithmetic occurred."""

    def __init__(self) -> None:
        self.rational = True

    def of(self, node: Node) -> int:
        kind = node.kind
        if kind == "num":
            return _residue(node.number)
        if kind == "sym":
            if node.value in ("pi", "e", "i"):
                self.rational = False
                return _hash("const", node.text)
            return _letter(node.text)
        if kind == "add":
            return sum(self.of(arg) for arg in node.args) % PRIME
        if kind == "mul":
            product = 1
            for arg in node.args:
                product = product * self.of(arg) % PRIME
            return product
        if kind == "pow":
            return self.power(node.args[0], node.args[1])
        if kind == "call":
            return self.call(node)
        self.rational = False
        if kind == "big":
            return self.big(node)
        parts = [self.of(arg) for arg in node.args]
        if kind in _UNORDERED:
            parts.sort()
            return _hash("set" if kind in ("set", "list") else kind, *parts)
        return _hash(kind, node.value, *parts)

    def power(self, base: Node, exponent: Node) -> int:
        if base.kind == "matrix":
            self.rational = False
            return _hash("matrixpow", self.of(base), self.of(exponent))
        if exponent.kind == "num":
            return self.number_power(base, exponent.number)
        whole = small_integer(exponent)
        if whole is not None:
            return self.number_power(base, Fraction(whole))
        self.rational = False
        root = self.of(base)
        if exponent.kind == "add":  # b^(x+2) = b^x b^2
            product = 1
            for term in exponent.args:
                product = product * self.power(base, term) % PRIME
            return product
        if exponent.kind == "mul" and exponent.args[0].kind == "num":
            rest = exponent.args[1:]
            inner = self.power(base, rest[0] if len(rest) == 1 else Node("mul", rest))
            coefficient = exponent.args[0].number
            if coefficient.denominator == 1:
                return _power(inner, coefficient.numerator)
        return _hash("pow", root, self.of(exponent))

    def number_power(self, base: Node, exponent: Fraction) -> int:
        if exponent.denominator == 1:
            return _power(self.of(base), exponent.numerator)
        self.rational = False
        outside = 1
        degree = exponent.denominator
        value = self.of(base)
        if base.kind == "num" and degree in (2, 3) and base.number > 0:
            outside_fraction, inside = _extract(base.number, degree)
            if inside == 1:
                return _power(_residue(outside_fraction), exponent.numerator)
            outside, value = _residue(outside_fraction), _residue(inside)
        elif base.kind == "pow" and base.args[1].kind == "num" and base.args[1].number.denominator != 1:
            inner = base.args[1].number * exponent  # roots of roots
            return self.number_power(base.args[0], inner)
        root = outside * _hash("root", value, degree) % PRIME
        return _power(root, exponent.numerator)

    def call(self, node: Node) -> int:
        if node.value == "factorial":
            value = small_integer(node.args[0])
            if value is not None and 0 <= value <= _MAX_FACTORIAL:
                product = 1
                for factor in range(2, value + 1):
                    product = product * factor % PRIME
                return product
        elif node.value == "binom":
            upper, lower = small_integer(node.args[0]), small_integer(node.args[1])
            if upper is not None and lower is not None and 0 <= lower <= upper <= _MAX_FACTORIAL:
                top = bottom = 1
                for step in range(min(lower, upper - lower)):
                    top, bottom = top * (upper - step) % PRIME, bottom * (step + 1) % PRIME
                return top * pow(bottom, -1, PRIME) % PRIME
        self.rational = False
        parts = [self.of(arg) for arg in node.args]
        if node.value in ("max", "min", "gcd", "lcm"):
            parts.sort()
        if node.value == "abs":
            parts = [min(parts[0], PRIME - parts[0])]
        return _hash("call", node.value, *parts)

    def big(self, node: Node) -> int:
        """The letter that a sum or an integral runs over has no name of its own."""
        bound = node.args[1].text
        body = rename_bound(node.args[0], bound)
        return _hash("big", node.value, self.of(body), *(self.of(arg) for arg in node.args[2:]))


def rename_bound(node: Node, name: str) -> Node:
    """The tree with one letter replaced by a mark that no text can hold."""
    if node.kind == "sym":
        return symbol("§") if node.value == name else node
    if not node.args:
        return node
    return node._replace(args=tuple(rename_bound(arg, name) for arg in node.args))


def fingerprint(node: Node) -> tuple[int, bool] | None:
    """(fingerprint, whether it is of rational arithmetic alone); None if the expression divides by zero."""
    run = Fingerprint()
    try:
        value = run.of(node)
    except UndefinedError:
        return None
    return value, run.rational


def small_integer(node: Node, limit: int = 10**18) -> int | None:
    """The value of an integer expression whose value and steps stay below a limit; None if it is not one."""
    kind = node.kind
    if kind == "num":
        value = node.number
        return value.numerator if value.denominator == 1 and abs(value.numerator) <= limit else None
    if kind in ("add", "mul"):
        total = 0 if kind == "add" else 1
        for arg in node.args:
            part = small_integer(arg, limit)
            if part is None:
                return None
            total = total + part if kind == "add" else total * part
            if abs(total) > limit:
                return None
        return total
    if kind == "pow":
        base, exponent = small_integer(node.args[0], limit), small_integer(node.args[1], limit)
        if base is None or exponent is None or not 0 <= exponent <= 64 or abs(base) ** exponent > limit:
            return None
        return int(base**exponent)
    return None


def _residue(value: Fraction) -> int:
    if value.denominator == 1:
        return int(value.numerator % PRIME)
    if value.denominator % PRIME == 0:
        raise UndefinedError
    return value.numerator * pow(value.denominator, -1, PRIME) % PRIME


def _power(base: int, exponent: int) -> int:
    if exponent >= 0:
        return pow(base, exponent, PRIME)
    if base == 0:
        raise UndefinedError
    return pow(base, exponent, PRIME)


def _hash(*parts: object) -> int:
    return int.from_bytes(blake2b(repr(parts).encode("utf-8", "replace"), digest_size=16).digest(), "big") % PRIME


_letters: dict[str, int] = {}


def _letter(name: str) -> int:
    value = _letters.get(name)
    if value is None:
        value = _hash("letter", name)
        if len(_letters) < 5000:
            _letters[name] = value
    return value


def _extract(value: Fraction, degree: int) -> tuple[Fraction, Fraction]:
    """value ** (1/degree) as outside * inside ** (1/degree), the inside an integer without small powers."""
    top, bottom = value.numerator, value.denominator
    inside = top * bottom ** (degree - 1)
    if inside.bit_length() > 200:
        return Fraction(1), value
    outside = Fraction(1, bottom)
    for prime in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97):
        step = prime**degree
        while inside % step == 0:
            inside //= step
            outside *= prime
    root = round(inside ** (1.0 / degree))
    if root > 0 and root**degree == inside:
        return outside * root, Fraction(1)
    return outside, Fraction(inside)
