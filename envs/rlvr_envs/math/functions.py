"""Exact arithmetic for elementary functions of one variable: sums of c x^a e^(P(x) + i Q(x)) ln(x)^n, and quotients.

a is rational, P and Q are polynomials with rational coefficients, c is a Gaussian rational; sin and cos are written with
e^(i Q). Such terms are linearly independent (Lindemann-Weierstrass for the constants e^c), so two functions are equal
if and only if their difference, brought over one denominator, has no term left: equality is decided exactly, with no
sampling. Derivatives stay inside the ring, which is what makes antiderivatives checkable by the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import NamedTuple

from rlvr_envs.math.expressions import Node, Unreadable

MAX_TERMS = 120
MAX_POWER = 24
MAX_BITS = 400
"""Sizes beyond which a formula counts as unreadable."""

Rational = tuple[Fraction, ...]


class Key(NamedTuple):
    """What a term multiplies: x^power * e^(real(x) + i imaginary(x)) * ln(x)^logs * named constants."""

    power: Fraction = Fraction(0)
    real: Rational = ()
    imaginary: Rational = ()
    logs: int = 0
    names: tuple[tuple[str, int], ...] = ()


Coefficient = tuple[Fraction, Fraction]
Terms = dict[Key, Coefficient]
ONE: Terms = {Key(): (Fraction(1), Fraction(0))}


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """top / bottom, each a sum of terms; `function_of` makes one from a formula."""

    top: Terms
    bottom: Terms

    def equals(self, other: Function) -> bool:
        """Whether they are the same function: exact."""
        return _times(self.top, other.bottom) == _times(other.top, self.bottom)

    def derivative(self) -> Function:
        """By x, with the quotient rule."""
        if len(self.bottom) == 1 and next(iter(self.bottom)) == Key():
            return Function(_derivative(self.top), self.bottom)
        top = _plus(
            _times(_derivative(self.top), self.bottom),
            _scaled(_times(self.top, _derivative(self.bottom)), Fraction(-1)),
        )
        return Function(top, _times(self.bottom, self.bottom))


def function_of(tree: Node, variable: str = "x", constants: str = "") -> Function:
    """The function that a formula stands for; the letters of `constants` are constants. Raises Unreadable outside the ring."""
    kind = tree.kind
    if kind == "number":
        return _constant(tree.value)
    if kind == "name":
        if tree.name == variable:
            return Function({Key(power=Fraction(1)): (Fraction(1), Fraction(0))}, ONE)
        if tree.name == "e":
            return Function({Key(real=(Fraction(1),)): (Fraction(1), Fraction(0))}, ONE)
        if tree.name != "pi" and tree.name not in constants:
            raise Unreadable(f"the letter {tree.name}")
        return Function({Key(names=((tree.name, 1),)): (Fraction(1), Fraction(0))}, ONE)
    if kind == "^":
        return _power(tree.parts[0], tree.parts[1], variable, constants)
    if kind == "absolute":
        raise Unreadable("an absolute value")
    if kind == "ln" and tree.parts[0].kind == "absolute":
        tree = tree.parts[0]  # ln|x| and ln x have the same derivative, and no task has both
    parts = [function_of(part, variable, constants) for part in tree.parts]
    if kind == "+":
        return _add(*parts)
    if kind == "negative":
        return Function(_scaled(parts[0].top, Fraction(-1)), parts[0].bottom)
    if kind == "*":
        return _multiply(*parts)
    if kind == "/":
        return _multiply(parts[0], _inverse(parts[1]))
    return _apply(kind, parts[0])


def polynomial_coefficients(function: Function) -> list[Fraction]:
    """Its coefficients, constant first. Raises Unreadable if the function is no polynomial with rational coefficients."""
    (divisor,) = function.bottom.values() if len(function.bottom) == 1 else [(Fraction(0), Fraction(1))]
    if set(function.bottom) != {Key()} or divisor[1]:
        raise Unreadable("a quotient")
    found: dict[int, Fraction] = {}
    for key, (real, imaginary) in function.top.items():
        plain = key == Key(power=key.power) and key.power.denominator == 1 and 0 <= key.power <= 4 * MAX_POWER
        if not plain or imaginary:
            raise Unreadable("no polynomial")
        found[int(key.power)] = real / divisor[0]
    return [found.get(n, Fraction(0)) for n in range(max(found, default=0) + 1)]


def _constant(value: Fraction) -> Function:
    return Function({Key(): (value, Fraction(0))} if value else {}, ONE)


def _plus(a: Terms, b: Terms) -> Terms:
    total = dict(a)
    for key, (real, imaginary) in b.items():
        old = total.get(key)
        new = (real, imaginary) if old is None else (old[0] + real, old[1] + imaginary)
        if new[0] or new[1]:
            total[key] = new
        else:
            del total[key]
    return total


def _scaled(a: Terms, factor: Fraction) -> Terms:
    return {key: (real * factor, imaginary * factor) for key, (real, imaginary) in a.items()} if factor else {}


def _times(a: Terms, b: Terms) -> Terms:
    if a is ONE:
        return b
    if b is ONE:
        return a
    if len(a) * len(b) > 4 * MAX_TERMS:
        raise Unreadable("too many terms")
    total: Terms = {}
    for key, (c, d) in a.items():
        for other, (e, f) in b.items():
            joined = _joined(key, other)
            old = total.get(joined, (Fraction(0), Fraction(0)))
            total[joined] = (old[0] + c * e - d * f, old[1] + c * f + d * e)
    total = {key: value for key, value in total.items() if value[0] or value[1]}
    if len(total) > MAX_TERMS or any(_bits(part) > MAX_BITS for value in total.values() for part in value):
        raise Unreadable("too large")
    return total


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def _joined(a: Key, b: Key) -> Key:
    names = a.names or b.names
    if a.names and b.names:
        powers = dict(a.names)
        for name, power in b.names:
            powers[name] = powers.get(name, 0) + power
        names = tuple(sorted((name, power) for name, power in powers.items() if power))
    return Key(
        a.power + b.power,
        _sum_of(a.real, b.real),
        _sum_of(a.imaginary, b.imaginary),
        a.logs + b.logs,
        names,
    )


def _sum_of(a: Rational, b: Rational) -> Rational:
    if not a:
        return b
    if not b:
        return a
    length = max(len(a), len(b))
    total = [Fraction(0)] * length
    for values in (a, b):
        for n, value in enumerate(values):
            total[n] += value
    while total and not total[-1]:
        total.pop()
    return tuple(total)


def _add(a: Function, b: Function) -> Function:
    if a.bottom == b.bottom:
        return Function(_plus(a.top, b.top), a.bottom)
    return Function(_plus(_times(a.top, b.bottom), _times(b.top, a.bottom)), _times(a.bottom, b.bottom))


def _multiply(a: Function, b: Function) -> Function:
    return Function(_times(a.top, b.top), _times(a.bottom, b.bottom))


def _inverse(a: Function) -> Function:
    if not a.top:
        raise Unreadable("a division by zero")
    if len(a.top) == 1:  # a single term has its inverse in the ring, which keeps denominators away
        ((key, (real, imaginary)),) = a.top.items()
        norm = real * real + imaginary * imaginary
        inverse = Key(
            -key.power,
            tuple(-c for c in key.real),
            tuple(-c for c in key.imaginary),
            -key.logs,
            tuple((name, -power) for name, power in key.names),
        )
        return Function(_times({inverse: (real / norm, -imaginary / norm)}, a.bottom), ONE)
    return Function(a.bottom, a.top)


def _power(base: Node, exponent: Node, variable: str, constants: str) -> Function:
    power = function_of(exponent, variable, constants)
    if base.kind == "name" and base.name == "e" and variable != "e":
        return _apply("exp", power)
    coefficients = polynomial_coefficients(power)
    if len(coefficients) != 1:
        raise Unreadable("a variable exponent")
    value = coefficients[0]
    inner = function_of(base, variable, constants)
    if value.denominator != 1:
        return _fractional(inner, value)
    if abs(value) > MAX_POWER:
        raise Unreadable("a high power")
    if value < 0:
        inner = _inverse(inner)
    return _whole_power(inner, abs(int(value)))


def _whole_power(base: Function, power: int) -> Function:
    result = _constant(Fraction(1))
    while power:
        if power & 1:
            result = _multiply(result, base)
        power >>= 1
        if power:
            base = _multiply(base, base)
    return result


def _fractional(inner: Function, power: Fraction) -> Function:
    """(c x^a)^power, where that is exact: power 1/2 of a square."""
    if len(inner.top) != 1 or inner.bottom != ONE or power.denominator != 2:
        raise Unreadable("a root")
    ((key, (real, imaginary)),) = inner.top.items()
    up, down = isqrt(abs(real.numerator)), isqrt(real.denominator)
    if imaginary or key != Key(power=key.power) or real <= 0 or Fraction(up * up, down * down) != real:
        raise Unreadable("a root")
    if abs(power.numerator) > MAX_POWER:
        raise Unreadable("a high power")
    root = Function({Key(power=key.power / 2): (Fraction(up, down), Fraction(0))}, ONE)
    result = _whole_power(root, abs(power.numerator))
    return result if power > 0 else _inverse(result)


def _apply(name: str, inner: Function) -> Function:
    if name == "sqrt":
        return _fractional(inner, Fraction(1, 2))
    if name == "ln":
        return _logarithm(inner)
    values = polynomial_coefficients(inner)
    while values and not values[-1]:
        values.pop()
    if len(values) > MAX_POWER:
        raise Unreadable("a high power")
    argument = tuple(values)
    if name == "exp":
        return Function({Key(real=argument): (Fraction(1), Fraction(0))}, ONE)
    if name in ("sin", "cos"):
        return _wave(name, argument)
    if name in ("tan", "sec"):
        top = _wave("sin", argument) if name == "tan" else _constant(Fraction(1))
        return _multiply(top, _inverse(_wave("cos", argument)))
    top = _wave("cos", argument) if name == "cot" else _constant(Fraction(1))
    return _multiply(top, _inverse(_wave("sin", argument)))


def _wave(name: str, argument: Rational) -> Function:
    """Euler: cos u = (e^iu + e^-iu) / 2, sin u = (e^iu - e^-iu) / 2i."""
    if not argument:
        return _constant(Fraction(name == "cos"))
    half = Fraction(1, 2)
    plus, minus = Key(imaginary=argument), Key(imaginary=tuple(-c for c in argument))
    zero = Fraction(0)
    if name == "cos":
        return Function({plus: (half, zero), minus: (half, zero)}, ONE)
    return Function({plus: (zero, -half), minus: (zero, half)}, ONE)


def _logarithm(inner: Function) -> Function:
    """ln(c x^n) = ln c + n ln x, the ln of a number other than 1 being a constant of its own."""
    if len(inner.top) != 1 or inner.bottom != ONE:
        raise Unreadable("a logarithm")
    ((key, (real, imaginary)),) = inner.top.items()
    if imaginary or real <= 0 or key != Key(power=key.power):
        raise Unreadable("a logarithm")
    total: Terms = {Key(logs=1): (key.power, Fraction(0))} if key.power else {}
    if real != 1:
        total = _plus(total, {Key(names=((f"ln {real}", 1),)): (Fraction(1), Fraction(0))})
    return Function(total, ONE)


def _derivative(terms: Terms) -> Terms:
    total: Terms = {}
    one = Fraction(1)
    for key, (real, imaginary) in terms.items():
        if key.power:
            total = _plus(total, {key._replace(power=key.power - 1): (real * key.power, imaginary * key.power)})
        if key.logs:
            lower = key._replace(power=key.power - 1, logs=key.logs - 1)
            total = _plus(total, {lower: (real * key.logs, imaginary * key.logs)})
        for n, c in enumerate(key.real[1:], 1):
            if c:
                total = _plus(total, {key._replace(power=key.power + n - 1): (real * c * n, imaginary * c * n)})
        for n, c in enumerate(key.imaginary[1:], 1):
            if c:
                total = _plus(total, {key._replace(power=key.power + n - 1): (-imaginary * c * n * one, real * c * n)})
    return total
