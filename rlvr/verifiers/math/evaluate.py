"""The value of an expression at a point, to 60 digits, with the numbers' sizes under a budget.

mpmath's floats have integer exponents, so 10^(10^10) is a number here and costs little; what grows beyond 2^(2^60) raises
TooLargeError and is left to comparison by logarithms. Every sum remembers its largest term, so that a comparison knows how
much was lost to cancellation, and whether a term was too small to be seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from rlvr.verifiers.math.fingerprint import UndefinedError, small_integer
from rlvr.verifiers.math.tree import Node, contains

BITS = 220
GUARD_BITS = 60
_MAX_EXPONENT_BITS = 60
_MAX_TERMS = 1_000
_MAX_STEPS = 60_000
_UNEVALUABLE = frozenset({"list", "set", "tuple", "rel", "union", "inter", "minus", "builder", "matrix", "text", "choice", "time",
                          "empty", "reals", "inf", "label", "pm"})  # fmt: skip


class UndecidedError(Exception):
    """The expression has no value that can be computed here within the budget."""


class TooLargeError(UndecidedError):
    """A number is too large or too small for its exponent to be stored."""


class Evaluator:
    """Evaluates trees at one point. `log_base_ten` reads a `log` without base as decimal instead of natural."""

    def __init__(self, point: Mapping[str, Any], *, log_base_ten: bool = False, integers: bool = False) -> None:
        self.mp = context()
        self.point = point
        self.log_base_ten = log_base_ten
        self.scale = self.mp.mpf(0)
        self.absorbed = False
        self.steps = 0

    def of(self, node: Node) -> Any:
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise UndecidedError("too many steps")
        kind, mp = node.kind, self.mp
        if kind == "num":
            value = node.number
            if value.denominator == 1:
                return mp.mpf(value.numerator)
            return mp.mpf(value.numerator) / value.denominator
        if kind == "sym":
            return self.letter(node.text)
        if kind == "add":
            return self.sum(node.args)
        if kind == "mul":
            product = mp.mpf(1)
            for arg in node.args:
                product = product * self.of(arg)
            return product
        if kind == "pow":
            return self.power(node)
        if kind == "deg":
            return self.of(node.args[0]) * mp.pi / 180
        if kind == "percent":
            return self.of(node.args[0]) / 100
        if kind == "base":
            return mp.mpf(int(node.text, int(node.args[0].number)))
        if kind == "ratio" and len(node.args) == 2:
            below = self.of(node.args[1])
            if below == 0:
                raise UndefinedError
            return self.of(node.args[0]) / below
        if kind == "call":
            return self.function(node)
        if kind == "big" and node.value in ("sum", "prod") and len(node.args) == 4:
            return self.finite_sum(node)
        raise UndecidedError(kind)

    def letter(self, name: str) -> Any:
        value = self.point.get(name)
        if value is not None:
            return value
        if name == "pi":
            return +self.mp.pi
        if name == "e":
            return +self.mp.e
        if name in ("i", "I"):
            return self.mp.mpc(0, 1)
        raise UndecidedError(f"no value for {name}")

    def sum(self, terms: tuple[Node, ...]) -> Any:
        mp = self.mp
        values = [self.of(term) for term in terms]
        total = mp.mpf(0)
        for value in values:
            total = total + value
        sizes = [abs(value) for value in values]
        largest = max(sizes)
        if largest > self.scale:
            self.scale = largest
        smallest = min((size for size in sizes if size), default=largest)
        if smallest and largest and mp.mag(largest) - mp.mag(smallest) > BITS - GUARD_BITS - 20:
            self.absorbed = True
        return total

    def power(self, node: Node) -> Any:
        mp = self.mp
        base, exponent = self.of(node.args[0]), self.of(node.args[1])
        if base == 0:
            if mp.re(exponent) < 0:
                raise UndefinedError
            if exponent == 0:
                return mp.mpf(1)
            return mp.mpf(0)
        magnitude = abs(mp.mag(base)) + 1 if mp.mag(base) != 1 else 1
        size = abs(exponent)
        if size and mp.mag(size) + mp.mag(mp.mpf(magnitude)) > _MAX_EXPONENT_BITS and abs(base) != 1:
            raise TooLargeError("a power")
        if node.args[1].kind == "num" and node.args[1].number.denominator == 1:
            whole = node.args[1].number.numerator
            return base**whole
        if node.args[1].kind == "num" and mp.im(base) == 0 and mp.re(base) < 0 and node.args[1].number.denominator % 2:
            # An odd root of a negative number is read as the real one, as school does.
            value = node.args[1].number
            real = -((-mp.re(base)) ** (mp.mpf(1) / value.denominator))
            return real**value.numerator
        whole_exponent = small_integer(node.args[1], 1 << 40)
        if whole_exponent is not None:
            return base**whole_exponent
        return mp.power(base, exponent)

    def finite_sum(self, node: Node) -> Any:
        body, variable, lower, upper = node.args
        low, high = small_integer(lower, 10**15), small_integer(upper, 10**15)
        if low is None or high is None:
            raise UndecidedError("bounds")
        if high - low > _MAX_TERMS:
            raise UndecidedError("too many terms")
        mp = self.mp
        total = mp.mpf(0 if node.value == "sum" else 1)
        outer = self.point
        for index in range(low, high + 1):
            self.point = {**outer, variable.text: mp.mpf(index)}
            value = self.of(body)
            total = total + value if node.value == "sum" else total * value
        self.point = outer
        return total

    def function(self, node: Node) -> Any:
        mp, name = self.mp, node.text
        if contains(node, _UNEVALUABLE):
            raise UndecidedError("no expression")
        if name == "binom":
            return self.binomial(node)
        values = [self.of(arg) for arg in node.args]
        first = values[0]
        if name in ("max", "min", "gcd", "lcm"):
            return self.several(name, values)
        if len(values) != 1:
            raise UndecidedError("several arguments")
        if name in ("factorial", "factorial2"):
            return self.factorial(first, name)
        if name in ("abs", "norm"):
            return abs(first)
        if name in ("floor", "ceil"):
            return self.rounded(first, name)
        if name == "sgn":
            return mp.sign(first)
        if name in ("re", "im", "arg"):
            return {"re": mp.re, "im": mp.im, "arg": mp.arg}[name](first)
        if name in ("overline", "bar") and node.args[0].kind != "sym":
            return mp.conj(first)
        if name in ("ln", "log"):
            if first == 0:
                raise UndefinedError
            value = mp.log(first)
            return value / mp.log(10) if name == "log" and self.log_base_ten else value
        function = _function(mp, name)
        if function is None:
            raise UndecidedError(f"unknown function {name}")
        if mp.mag(first) > 120:
            raise UndecidedError("an argument too large for its period")
        try:
            return function(first)
        except (ZeroDivisionError, ValueError, OverflowError) as error:
            raise UndefinedError from error

    def several(self, name: str, values: list[Any]) -> Any:
        mp = self.mp
        if any(mp.im(value) != 0 for value in values):
            raise UndecidedError("an order of complex numbers")
        if name in ("max", "min"):
            return max(values) if name == "max" else min(values)
        if any(mp.mag(value) > 200 or value != mp.floor(value) for value in values if value):
            raise UndecidedError("a divisor of no integers")
        import math

        whole = [int(mp.re(value)) for value in values]
        return mp.mpf(math.gcd(*whole) if name == "gcd" else math.lcm(*whole))

    def factorial(self, value: Any, name: str) -> Any:
        mp = self.mp
        if mp.im(value) != 0 or mp.mag(value) > 60:
            raise TooLargeError("a factorial") if mp.im(value) == 0 else UndecidedError("a complex factorial")
        value = mp.re(value)
        if value < 0 and value == mp.floor(value):
            raise UndefinedError
        if name == "factorial2":
            if value > 5000 or value != mp.floor(value):
                raise UndecidedError("a double factorial")
            product = mp.mpf(1)
            for factor in range(int(value), 0, -2):
                product = product * factor
            return product
        if value > 10**6:
            # Stirling's series at this size is exact to the working precision.
            return mp.exp(mp.loggamma(value + 1))
        return mp.gamma(value + 1)

    def binomial(self, node: Node) -> Any:
        mp = self.mp
        upper, lower = self.of(node.args[0]), self.of(node.args[1])
        if mp.im(upper) != 0 or mp.im(lower) != 0 or max(mp.mag(upper), mp.mag(lower)) > 50:
            raise UndecidedError("a binomial")
        upper, lower = mp.re(upper), mp.re(lower)
        if upper > 10**6:
            return mp.exp(mp.loggamma(upper + 1) - mp.loggamma(lower + 1) - mp.loggamma(upper - lower + 1))
        return mp.binomial(upper, lower)

    def rounded(self, value: Any, name: str) -> Any:
        mp = self.mp
        if mp.im(value) != 0 or mp.mag(value) > BITS - GUARD_BITS:
            raise UndecidedError("digits before the point that are not known")
        value = mp.re(value)
        nearest = mp.nint(value)
        if abs(value - nearest) < mp.mpf(2) ** (-BITS + GUARD_BITS + 20):
            return nearest
        return mp.floor(value) if name == "floor" else mp.ceil(value)


def _function(mp: Any, name: str) -> Callable[[Any], Any] | None:
    if name in _DIRECT:
        return getattr(mp, name)  # type: ignore[no-any-return]
    return None


_DIRECT = frozenset(
    str.split("sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh coth sech csch asinh acosh atanh")
)
_local = threading.local()


def context() -> Any:
    """This thread's own mpmath context: the global one's precision is shared by all threads."""
    found = getattr(_local, "context", None)
    if found is None:
        from mpmath.ctx_mp import MPContext

        found = MPContext()
        found.prec = BITS
        _local.context = found
    return found


def close(left: Evaluator, a: Any, right: Evaluator, b: Any) -> bool | None:
    """Whether two computed values are one number: False if not, None if too much was lost to tell."""
    mp = left.mp
    if not (mp.isfinite(a) and mp.isfinite(b)):
        raise UndecidedError("not finite")
    difference = abs(a - b)
    size = max(abs(a), abs(b))
    if difference == 0 or mp.mag(difference) < mp.mag(size) - (BITS - GUARD_BITS):
        return None if left.absorbed or right.absorbed else True
    scale = max(left.scale, right.scale, size)
    if mp.mag(difference) < mp.mag(scale) - (BITS - GUARD_BITS):
        return None if left.absorbed or right.absorbed or mp.mag(scale) - mp.mag(size) < 100 else True
    return False


def logarithm(node: Node) -> Any:
    """ln of a positive number that is itself too large to compute: products of powers, factorials and quotients of them."""
    mp = context()
    if node.kind == "mul":
        return sum((logarithm(arg) for arg in node.args), mp.mpf(0))
    if node.kind == "pow":
        base = logarithm(node.args[0])
        if base == 0:
            return mp.mpf(0)
        return base * Evaluator({}).of(node.args[1])
    if node.kind == "call" and node.value == "factorial":
        return mp.loggamma(Evaluator({}).of(node.args[0]) + 1)
    value = Evaluator({}).of(node)
    if mp.im(value) != 0 or mp.re(value) <= 0:
        raise UndecidedError("no logarithm")
    return mp.log(value)
