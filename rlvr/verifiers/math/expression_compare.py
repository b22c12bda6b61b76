"""Whether two expressions have the same value wherever both have one.

In order of cost: equal fingerprints prove it; different ones of rational functions disprove it; then values at seeded random
points to 60 digits disprove it or make it certain for practice; numbers too large to hold compare by logarithms; what has no
value here (limits, integrals, infinite sums) is asked of sympy in a worker.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from rlvr.verifiers.math.evaluate import Evaluator, TooLargeError, UndecidedError, close, context, logarithm
from rlvr.verifiers.math.fingerprint import UndefinedError, fingerprint
from rlvr.verifiers.math.policy import Policy
from rlvr.verifiers.math.quick_value import ratio_varies, surely_different
from rlvr.verifiers.math.tree import Node, contains, divide, multiply, number, power, symbols

_POINTS = 4
_INTEGER_LETTERS = frozenset({"n", "k", "m"})
_BIG = frozenset({"big"})
Prover = Callable[[Node, Node], bool | None]


def exact_value(node: Node) -> Fraction | None:
    """The rational number a node writes down, without computing anything large; None if it is another thing."""
    if node.kind == "num":
        return node.number
    if node.kind == "mul" and len(node.args) == 2 and all(arg.kind == "num" for arg in node.args):
        return node.args[0].number * node.args[1].number
    if node.kind == "ratio" and len(node.args) == 2:
        top, bottom = exact_value(node.args[0]), exact_value(node.args[1])
        return top / bottom if top is not None and bottom else None
    if node.kind == "mul" and len(node.args) == 2 and node.args[0].kind == "num" and node.args[1].kind == "pow":
        base, exponent = node.args[1].args
        if (
            (
                base.kind == "num"
                and exponent.kind == "num"
                and exponent.number.denominator == 1
                and abs(exponent.number) < 400
            )
            and base.number.numerator.bit_length() + base.number.denominator.bit_length() < 64
            and base.number
        ):
            return Fraction(node.args[0].number * base.number ** int(exponent.number))
    return None


def decimal_literal(node: Node) -> tuple[Fraction, int] | None:
    """(value, decimals shown) if the node is a written decimal, perhaps times a power of ten."""
    if node.kind == "num":
        return (node.number, node.digits) if node.digits >= 1 else None
    if node.kind == "mul" and len(node.args) == 2 and node.args[0].kind == "num":
        mantissa, scale = node.args
        value = exact_value(node)
        if value is not None and scale.kind == "pow" and scale.args[0] == number(10):
            return value, max(mantissa.digits, 0) - int(scale.args[1].number)
        if value is not None and mantissa.number == -1 and scale.digits >= 1:
            return value, scale.digits
    return None


class ExpressionComparer:
    """Compares expressions under a policy. `stage` names what decided last; `undecided` that something could not be."""

    def __init__(self, policy: Policy, prover: Prover | None) -> None:
        self.policy = policy
        self.prover = prover
        self.stage = "exact"
        self.undecided = False

    def same(self, a: Node, b: Node) -> bool:
        left, right = exact_value(a), exact_value(b)
        if left is not None and right is not None:
            return left == right or self.rounds(a, b)
        first, second = fingerprint(a), fingerprint(b)
        if first is None or second is None:
            return False
        if first[0] == second[0]:
            return True
        names = symbols(a) | symbols(b)
        if first[1] and second[1]:
            return (not names and self.rounds(a, b)) or self.integration_constant(a, b)
        if not names and self.rounds(a, b):
            return True
        self.stage = "numeric"
        verdict = self.at_points(a, b, names)
        if verdict is None:
            return self.prove(a, b)
        if verdict and self.policy.symbolic_proof:
            return self.prove(a, b, agreed=True)
        if not verdict and names:
            return self.integration_constant(a, b)
        return verdict

    def prove(self, a: Node, b: Node, *, agreed: bool = False) -> bool:
        """Asks sympy, if it could know more: of agreeing expressions, and of sums, integrals and limits."""
        self.stage = "symbolic"
        worthwhile = agreed or contains(a, _BIG) or contains(b, _BIG)
        verdict = self.prover(a, b) if self.prover is not None and worthwhile else None
        if verdict is None:
            self.undecided = True
        return bool(verdict)

    # -- decimals

    def rounds(self, a: Node, b: Node) -> bool:
        """Whether one is a decimal to which the other, an exact value of more digits, rounds."""
        if not self.policy.rounding:
            return False
        first, second = decimal_literal(a), decimal_literal(b)
        if (first is None) == (second is None):
            return False
        literal, other = (first, b) if first is not None else (second, a)
        assert literal is not None
        shown, digits = literal
        significant = len(str(abs(int(shown * Fraction(10) ** digits)))) if -40 < digits < 400 else 0
        if (significant < 3 and digits < 2) or (digits < 0 and significant < 3) or significant < 2:
            return False
        exact = exact_value(other)
        if exact is not None and _short(exact):
            return False
        unit = Fraction(10) ** -digits
        if exact is not None:
            difference = abs(exact - shown)
            return difference <= unit / 2 or (significant >= 5 and difference < unit and abs(shown) < abs(exact))
        try:
            run = Evaluator({})
            value = run.of(other)
        except (UndecidedError, UndefinedError):
            return False
        mp = run.mp
        if run.mp.im(value) != 0 or not mp.isfinite(value):
            return False
        value = mp.re(value)
        written = mp.mpf(shown.numerator) / shown.denominator
        size = mp.mpf(unit.numerator) / unit.denominator
        gap = abs(value - written)
        return bool(gap <= size / 2 or (significant >= 5 and gap < size and abs(written) < abs(value)))

    # -- sampling

    def at_points(self, a: Node, b: Node, names: set[str]) -> bool | None:
        """Agreement at random points: True, False, or None if no point could tell."""
        if (
            surely_different(a, b, sorted(names))
            and not _plain_log(a)
            and not _plain_log(b)
            and not names & _INTEGER_LETTERS
        ):
            return False
        for decimal_logarithm in (False, True) if _plain_log(a) or _plain_log(b) else (False,):
            verdict = self.sample(a, b, names, decimal_logarithm, integers=False)
            if verdict is not False:
                return verdict
        if names and names & _INTEGER_LETTERS and (_alternates(a) or _alternates(b)):
            return self.sample(a, b, names, False, integers=True)
        return False

    def sample(self, a: Node, b: Node, names: set[str], decimal_logarithm: bool, *, integers: bool) -> bool | None:
        mp = context()
        draw = random.Random(20_110_603)
        ordered = sorted(names)
        agreed = 0
        for attempt in range((_POINTS if ordered else 1) + 6):
            point: dict[str, Any] = {}
            for name in ordered:
                if integers and name in _INTEGER_LETTERS:
                    point[name] = mp.mpf(draw.randint(1, 40))
                else:
                    value = mp.mpf(draw.randint(10**6, 3 * 10**7)) / 10**7
                    # Positive first: that is where roots and logarithms are real. Then one negative point.
                    point[name] = -value if agreed == _POINTS - 1 else value
            negative = bool(ordered) and agreed == _POINTS - 1 and not integers
            left, right = (Evaluator(point, log_base_ten=decimal_logarithm) for _ in range(2))
            try:
                first, second = left.of(a), right.of(b)
                verdict = close(left, first, right, second)
            except TooLargeError:
                return self.by_logarithm(a, b) if not ordered else None
            except (UndecidedError, UndefinedError, ArithmeticError, ValueError, TypeError):
                if not ordered:
                    return None
                if negative:
                    return True
                if attempt >= _POINTS + 2 and not agreed:
                    return None
                continue
            if verdict is None:
                return None
            if not verdict:
                return bool(negative and (mp.im(first) != 0 or mp.im(second) != 0))
            agreed += 1
            if agreed >= (_POINTS if ordered else 1):
                return True
        return None if not agreed else agreed >= 2

    def by_logarithm(self, a: Node, b: Node) -> bool | None:
        try:
            left, right = logarithm(a), logarithm(b)
        except (UndecidedError, UndefinedError, ArithmeticError, ValueError):
            # A tower too large even for its logarithm: only the same tower is equal, and that was seen before.
            return False
        self.stage = "logarithm"
        mp = context()
        gap = abs(left - right)
        return bool(gap == 0 or mp.mag(gap) < mp.mag(max(abs(left), abs(right))) - 150)

    def integration_constant(self, a: Node, b: Node) -> bool:
        """`x^2 + C` and `x^2 + c`: a free constant added, under another name."""
        if not self.policy.rename or a.kind != "add" or b.kind != "add":
            return False
        ours, theirs = symbols(a) - symbols(b), symbols(b) - symbols(a)
        if len(ours) != 1 or len(theirs) != 1:
            return False
        first, second = ours.pop(), theirs.pop()
        if first[:1].lower() not in "ck" or second[:1].lower() not in "ck":
            return False
        mine, other = Node("sym", (), first), Node("sym", (), second)
        if a.args.count(mine) != 1 or b.args.count(other) != 1:
            return False
        rest_a = Node("add", tuple(arg for arg in a.args if arg != mine))
        rest_b = Node("add", tuple(arg for arg in b.args if arg != other))
        return self.same(_single(rest_a), _single(rest_b))

    # -- equations and inequalities

    def proportional(self, a: Node, b: Node, *, positive: bool) -> bool:
        """Whether a = c b for one constant c that is not 0 (and is above 0, if so asked)."""
        names = symbols(a) | symbols(b)
        if not names or symbols(a) != symbols(b):
            return False
        quotient = multiply(a, power(b, number(-1)))
        if ratio_varies(a, b, sorted(names)):
            return False
        mp = context()
        draw = random.Random(7_919)
        constant: Any = None
        for attempt in range(8):
            point = {name: mp.mpf(draw.randint(-3 * 10**7, 3 * 10**7)) / 10**7 for name in sorted(names)}
            if attempt >= 3:
                point = {name: abs(value) for name, value in point.items()}
            run = Evaluator(point)
            try:
                value = run.of(quotient)
            except (UndecidedError, UndefinedError, ArithmeticError, ValueError):
                continue
            if not mp.isfinite(value) or abs(mp.im(value)) > 0:
                continue
            value = mp.re(value)
            if value == 0 or (positive and value < 0):
                return False
            if constant is None:
                constant = value
                first_attempt = attempt
                continue
            if mp.mag(abs(value - constant) or mp.mpf(2) ** -1000) > mp.mag(constant) - 120:
                return False
            if attempt - first_attempt >= 3:
                return True
        return False


def _single(node: Node) -> Node:
    return node.args[0] if len(node.args) == 1 else node


def _short(value: Fraction) -> bool:
    """Whether a fraction ends after at most three decimals: then nothing is gained by rounding it."""
    return 1000 % value.denominator == 0


def _plain_log(node: Node) -> bool:
    stack = [node]
    while stack:
        current = stack.pop()
        if current.kind == "call" and current.value == "log":
            return True
        stack.extend(current.args)
    return False


def _alternates(node: Node) -> bool:
    """Whether a power of a negative number or a trigonometric function occurs: identities that hold for integers only."""
    stack = [node]
    while stack:
        current = stack.pop()
        if current.kind == "pow" and current.args[0].kind == "num" and current.args[0].number < 0:
            return True
        if current.kind == "call" and current.value in ("sin", "cos", "tan", "factorial", "binom", "floor"):
            return True
        stack.extend(current.args)
    return False


def is_expression(node: Node) -> bool:
    """Whether a tree is a number or formula all through."""
    return node.kind in ("num", "sym", "add", "mul", "pow", "call", "big") and not contains(
        node,
        frozenset(
            {"list", "set", "tuple", "rel", "union", "inter", "minus", "builder", "matrix", "text", "empty", "reals"}
        ),
    )


__all__ = ["ExpressionComparer", "Prover", "decimal_literal", "divide", "exact_value", "is_expression"]
