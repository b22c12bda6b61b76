"""The two distributions behind the intervals, without scipy: Beta and Student's t, to about 1e-12."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from statistics import NormalDist

_TINY = 1e-300
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def normal_quantile(p: float) -> float:
    """z with P(Z <= z) = p for a standard normal Z."""
    return NormalDist().inv_cdf(p)


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(X <= x) for X ~ Beta(a, b): the regularised incomplete beta function I_x(a, b).

    The continued fraction of DLMF 8.17.22, evaluated by Lentz's method.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - beta_cdf(1.0 - x, b, a)
    return _power_term(x, a, b) * _fraction(x, a, b) / a


def beta_quantile(p: float, a: float, b: float) -> float:
    """x with P(X <= x) = p for X ~ Beta(a, b)."""
    return _invert(lambda x: beta_cdf(x, a, b), p, 0.0, 1.0)


def t_two_sided(t: float, df: float) -> float:
    """P(|T| >= |t|) for Student's T with `df` degrees of freedom (DLMF 8.17.22 with x = df / (df + t^2))."""
    if t == 0.0:
        return 1.0
    if math.isinf(t):
        return 0.0
    # Near t = 0 the argument is near 1, where 1 - x must not be computed by subtraction.
    small = t * t / (df + t * t)
    if small < 0.5:
        return 1.0 - beta_cdf(small, 0.5, df / 2)
    return beta_cdf(df / (df + t * t), df / 2, 0.5)


@functools.lru_cache(maxsize=4096)
def t_quantile(confidence: float, df: float) -> float:
    """t with P(|T| <= t) = confidence."""
    high = 1.0
    while t_two_sided(high, df) > 1.0 - confidence:
        high *= 2.0
    return _invert(lambda t: 1.0 - t_two_sided(t, df), confidence, 0.0, high)


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / _away_from_zero(1.0 + even * d)
        c = _away_from_zero(1.0 + even / c)
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 / _away_from_zero(1.0 + odd * d)
        c = _away_from_zero(1.0 + odd / c)
        step = d * c
        value *= step
        if abs(step - 1.0) < 1e-16:
            break
    return value


def _power_term(x: float, a: float, b: float) -> float:
    """x^a (1-x)^b / B(a, b). For large a and b by Stirling's series, since differences of lgamma lose their digits."""
    if min(a, b) < 10.0:
        log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
        return math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta)
    total = a + b
    shape = a * math.log(x * total / a) + b * math.log((1.0 - x) * total / b)
    correction = _stirling(total) - _stirling(a) - _stirling(b)
    return math.sqrt(a * b / (2 * math.pi * total)) * math.exp(shape + correction)


def _stirling(x: float) -> float:
    """lgamma(x) less its leading part (x - 1/2) log x - x + log(2 pi) / 2."""
    return sum(term / x ** (2 * n + 1) for n, term in enumerate(_STIRLING))


def _away_from_zero(value: float) -> float:
    return _TINY if abs(value) < _TINY else value


def _invert(cdf: Callable[[float], float], p: float, low: float, high: float) -> float:
    """The place where an increasing function reaches p: bisection, which cannot miss, down to the last digit."""
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if cdf(middle) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2
