"""Polynomials in one variable as lists of whole numbers, constant first: [6, -5, 1] is x^2 - 5x + 6."""

from __future__ import annotations

from fractions import Fraction
from math import gcd, isqrt

Polynomial = list[int]


def trimmed(p: Polynomial) -> Polynomial:
    """Without leading zeros; the zero polynomial is [0]."""
    end = len(p)
    while end > 1 and not p[end - 1]:
        end -= 1
    return p[:end]


def plus(a: Polynomial, b: Polynomial) -> Polynomial:
    """a + b."""
    length = max(len(a), len(b))
    return trimmed([(a[n] if n < len(a) else 0) + (b[n] if n < len(b) else 0) for n in range(length)])


def times(a: Polynomial, b: Polynomial) -> Polynomial:
    """a * b."""
    product = [0] * (len(a) + len(b) - 1)
    for n, x in enumerate(a):
        for m, y in enumerate(b):
            product[n + m] += x * y
    return trimmed(product)


def product_of(factors: list[Polynomial]) -> Polynomial:
    """Their product; [1] of none."""
    total = [1]
    for factor in factors:
        total = times(total, factor)
    return total


def value(p: Polynomial, x: Fraction | int) -> Fraction | int:
    """p(x), by Horner's scheme."""
    total: Fraction | int = 0
    for c in reversed(p):
        total = total * x + c
    return total


def derivative(p: Polynomial) -> Polynomial:
    """p'."""
    return [n * c for n, c in enumerate(p)][1:] or [0]


def content(p: Polynomial) -> int:
    """The greatest common divisor of the coefficients, with the sign of the leading one."""
    divisor = gcd(*p)
    return -divisor if p[-1] < 0 else divisor


def divided(p: Polynomial, q: Polynomial) -> Polynomial | None:
    """p / q if that is a polynomial with whole coefficients, else None."""
    rest = list(p)
    quotient = [0] * max(len(p) - len(q) + 1, 1)
    for n in range(len(p) - len(q), -1, -1):
        factor, left = divmod(rest[n + len(q) - 1], q[-1])
        if left:
            return None
        quotient[n] = factor
        for m, c in enumerate(q):
            rest[n + m] -= factor * c
    return None if any(rest) else quotient


def divisors(number: int) -> list[int]:
    """The positive divisors of a number other than 0."""
    number = abs(number)
    small = [d for d in range(1, isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def rational_roots(p: Polynomial) -> list[Fraction]:
    """The distinct rational roots, ascending, by the rational root theorem."""
    p = trimmed(p)
    roots: set[Fraction] = set()
    while len(p) > 1 and p[0] == 0:
        roots.add(Fraction(0))
        p = p[1:]
    if len(p) > 1:
        for up in divisors(p[0]):
            for down in divisors(p[-1]):
                if gcd(up, down) == 1:
                    for sign in (1, -1):
                        # p(up/down) * down^degree, in whole numbers.
                        total, scale = 0, 1
                        for c in reversed(p):
                            total = total * sign * up + c * scale
                            scale *= down
                        if total == 0:
                            roots.add(Fraction(sign * up, down))
    return sorted(roots)


def factored(p: Polynomial) -> tuple[int, list[Polynomial]]:
    """The content and the irreducible factors over the whole numbers, with repetition. For degrees up to 5.

    Linear factors come from the rational roots; what is left of degree 4 or 5 is searched for a quadratic factor
    a x^2 + b x + c with a | leading and c | constant coefficient (Kronecker's method for two values).
    """
    unit = content(p)
    rest = [c // unit for c in trimmed(p)]
    factors: list[Polynomial] = []
    for root in rational_roots(rest):
        linear = [-root.numerator, root.denominator]
        while (quotient := divided(rest, linear)) is not None and len(rest) > 1:
            factors.append(linear)
            rest = quotient
    while len(rest) > 4 and (quadratic := _quadratic_factor(rest)) is not None:
        factors.append(quadratic)
        rest = divided(rest, quadratic) or [1]
    if len(rest) > 1:
        factors.append(rest)
    elif rest[0] < 0:
        unit = -unit
    return unit, sorted(factors, key=lambda factor: (len(factor), factor[::-1]))


def _quadratic_factor(p: Polynomial) -> Polynomial | None:
    at_one = value(p, 1)
    for a in divisors(p[-1]):
        for c in divisors(p[0]):
            for signed_c in (c, -c):
                for d in divisors(int(at_one)):  # a + b + c divides p(1), which has no root left at 1
                    for total in (d, -d):
                        quadratic = [signed_c, total - a - signed_c, a]
                        if divided(p, quadratic) is not None:
                            return quadratic
    return None


def text(p: Polynomial | list[Fraction], variable: str = "x") -> str:
    """The polynomial as people write it, highest power first: `2x^2 - x + 5`; fractions as `3/4x`."""
    parts: list[str] = []
    for n in range(len(p) - 1, -1, -1):
        c = p[n]
        if not c:
            continue
        size = abs(c)
        number = "" if size == 1 and n else str(size)
        if n and "/" in number:
            number = f"({number})"
        letter = "" if n == 0 else variable if n == 1 else f"{variable}^{n}"
        sign = ("- " if c < 0 else "+ ") if parts else ("-" if c < 0 else "")
        parts.append(f"{sign}{number}{letter}")
    return " ".join(parts) or "0"


def product_text(unit: int, factors: list[Polynomial], variable: str = "x") -> str:
    """A product as people write it: `3(x - 2)^2(2x + 1)`."""
    parts: list[str] = []
    counted: list[tuple[Polynomial, int]] = []
    for factor in factors:
        if counted and counted[-1][0] == factor:
            counted[-1] = (factor, counted[-1][1] + 1)
        else:
            counted.append((factor, 1))
    for factor, power in counted:
        body = variable if factor == [0, 1] else f"({text(factor, variable)})"
        parts.append(body + (f"^{power}" if power > 1 else ""))
    parts.sort(key=lambda part: part.startswith("("))
    front = "" if unit == 1 else "-" if unit == -1 else str(unit)
    return front + "".join(parts)
