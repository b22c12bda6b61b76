"""Sets of real numbers as sorted disjoint intervals, so that intervals, inequalities and unions can be compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from rlvr.verifiers.math.evaluate import Evaluator, UndecidedError, context
from rlvr.verifiers.math.fingerprint import UndefinedError
from rlvr.verifiers.math.tree import Node, add, negate, symbols

MAX_PIECES = 64


class Interval(NamedTuple):
    """A piece from low to high; `None` is the infinity on that side. A point has both ends closed and equal."""

    low: Any
    high: Any
    low_closed: bool
    high_closed: bool


Pieces = list[Interval]
LINE = Interval(None, None, False, False)


def real_set(node: Node) -> Pieces:
    """The set that a node denotes. Raises UndecidedError if it denotes none with known ends."""
    kind = node.kind
    if kind == "reals":
        return [LINE]
    if kind == "empty":
        return []
    if kind == "tuple" and len(node.args) == 2:
        return _interval(node)
    if kind == "set":
        return unite([Interval(value, value, True, True) for value in (_real(arg) for arg in node.args)])
    if kind == "union":
        return unite([piece for arg in node.args for piece in real_set(arg)])
    if kind == "inter":
        pieces = real_set(node.args[0])
        for arg in node.args[1:]:
            pieces = intersect(pieces, real_set(arg))
        return pieces
    if kind == "minus":
        return intersect(real_set(node.args[0]), complement(real_set(node.args[1])))
    if kind == "builder":
        return _builder(node)
    if kind == "rel":
        return solve(node)
    if kind == "list" and node.args and all(arg.kind in ("rel", "tuple", "union", "reals") for arg in node.args):
        return _listed(node)
    raise UndecidedError(kind)


def _builder(node: Node) -> Pieces:
    element, condition = node.args
    if element.kind == "rel" and element.value == "in" and element.args[1].kind == "reals":
        element = element.args[0]
    if element.kind != "sym":
        raise UndecidedError("a set of expressions")
    if condition.kind == "list":
        kept = tuple(
            part
            for part in condition.args
            if not (part.kind == "rel" and part.value == "in" and part.args[1].kind == "reals")
        )
        condition = Node("list", kept, condition.value if condition.value == "or" else "and")
    if symbols(condition) != {element.text}:
        raise UndecidedError("a condition on other letters")
    return real_set(condition)


def _listed(node: Node) -> Pieces:
    """Conditions on one letter: all hold after `and` and commas, one after `or`."""
    relations = [arg for arg in node.args if arg.kind == "rel"]
    if len(relations) not in (0, len(node.args)):
        raise UndecidedError("sets among conditions")
    sets = [real_set(arg) for arg in node.args]
    either = node.value == "or" or not relations
    if relations and len({frozenset(symbols(arg)) for arg in relations}) != 1:
        raise UndecidedError("conditions on several letters")
    if (
        not either
        and relations
        and not all("<" in arg.text or ">" in arg.text or "!=" in arg.text for arg in relations)
    ):
        raise UndecidedError("a list of values")
    if not either and node.value == ",":
        both = sets[0]
        for pieces in sets[1:]:
            both = intersect(both, pieces)
        # "x < 1, x > 3" can only mean either; "x > 1, x != 2" means both.
        either = not both
    if either:
        return unite([piece for pieces in sets for piece in pieces])
    pieces = sets[0]
    for more in sets[1:]:
        pieces = intersect(pieces, more)
    if not pieces:
        return unite([piece for more in sets for piece in more])
    return pieces


def _interval(node: Node) -> Pieces:
    low, high = _end(node.args[0]), _end(node.args[1])
    brackets = node.text or "()"
    piece = Interval(
        None if low == "-inf" else low,
        None if high == "inf" else high,
        brackets[0] == "[" and low != "-inf",
        brackets[1] == "]" and high != "inf",
    )
    if low == "inf" or high == "-inf":
        raise UndecidedError("an interval from infinity")
    if piece.low is not None and piece.high is not None and not piece.low < piece.high:
        if piece.low == piece.high and piece.low_closed and piece.high_closed:
            return [piece]
        raise UndecidedError("an empty interval")
    return [piece]


def _end(node: Node) -> Any:
    if node.kind == "inf":
        return "inf"
    if node.kind == "mul" and len(node.args) == 2 and node.args[1].kind == "inf" and node.args[0].number < 0:
        return "-inf"
    return _real(node)


def _real(node: Node) -> Any:
    mp = context()
    try:
        value = Evaluator({}).of(node)
    except UndefinedError as error:
        raise UndecidedError("undefined") from error
    if mp.im(value) != 0:
        raise UndecidedError("a complex end")
    return mp.re(value)


# -- solving one inequality or chain of them


def solve(node: Node) -> Pieces:
    """The values of one letter that a chain of linear inequalities, or |x|'s, admits."""
    signs = node.text.split()
    if node.value == "in":
        return real_set(node.args[1])
    if node.value == "notin":
        return complement(real_set(node.args[1]))
    if not all(sign in ("<", ">", "<=", ">=", "!=", "=") for sign in signs):
        raise UndecidedError("a relation of another kind")
    pieces = [LINE]
    subject = _subject(node)
    for left, sign, right in zip(node.args, signs, node.args[1:], strict=False):
        pieces = intersect(pieces, _solve_one(left, sign, right, subject))
    return pieces


def _subject(node: Node) -> Node:
    found: set[Node] = set()
    for arg in node.args:
        names = symbols(arg)
        if not names:
            continue
        if arg.kind == "call" and arg.value not in ("abs",) and len(node.args) > 1:
            found.add(arg)
        elif len(names) == 1:
            found.add(Node("sym", (), next(iter(names))))
        else:
            raise UndecidedError("several letters")
    if len(found) != 1:
        raise UndecidedError("several letters")
    return found.pop()


def _solve_one(left: Node, sign: str, right: Node, subject: Node) -> Pieces:
    if sign in (">", ">="):
        return _solve_one(right, "<" + sign[1:], left, subject)
    inner = (
        left
        if left.kind == "call" and left.value == "abs"
        else right
        if right.kind == "call" and right.value == "abs"
        else None
    )
    if inner is not None and left is not right:
        return _solve_absolute(left, sign, right, subject, inner)
    difference = add(left, negate(right))
    if subject.kind == "call":
        difference = _replace(difference, subject, Node("sym", (), "§"))
        name = "§"
    else:
        name = subject.text
    slope, offset = _linear(difference, name)
    root = -offset / slope
    if sign == "=":
        return [Interval(root, root, True, True)]
    if sign == "!=":
        return [Interval(None, root, False, False), Interval(root, None, False, False)]
    closed = sign == "<="
    return [Interval(None, root, False, closed)] if slope > 0 else [Interval(root, None, closed, False)]


def _solve_absolute(left: Node, sign: str, right: Node, subject: Node, absolute: Node) -> Pieces:
    """|u| < c is -c < u < c; c < |u| is u < -c or u > c."""
    bound = right if absolute is left else left
    if symbols(bound):
        raise UndecidedError("a bound that varies")
    inner, below = absolute.args[0], negate(bound)
    if sign == "=":
        return unite(_solve_one(inner, "=", bound, subject) + _solve_one(inner, "=", below, subject))
    if sign == "!=":
        return intersect(_solve_one(inner, "!=", bound, subject), _solve_one(inner, "!=", below, subject))
    if absolute is left:
        return intersect(_solve_one(inner, sign, bound, subject), _solve_one(below, sign, inner, subject))
    return unite(_solve_one(bound, sign, inner, subject) + _solve_one(inner, sign, below, subject))


def _replace(node: Node, old: Node, new: Node) -> Node:
    if node == old:
        return new
    return node._replace(args=tuple(_replace(arg, old, new) for arg in node.args)) if node.args else node


def _linear(node: Node, name: str) -> tuple[Any, Any]:
    """(slope, offset) of an expression that is linear in one letter, found from three points."""
    mp = context()

    def at(x: int) -> Any:
        value = Evaluator({name: mp.mpf(x)}).of(node)
        if mp.im(value) != 0:
            raise UndecidedError("complex")
        return mp.re(value)

    try:
        one, two, seven, far = at(1), at(2), at(7), at(-31)
    except UndefinedError as error:
        raise UndecidedError("undefined") from error
    slope = two - one
    tolerance = mp.mpf(2) ** -120 * (1 + abs(one) + abs(slope))
    if abs(one + 6 * slope - seven) > tolerance or abs(one - 32 * slope - far) > tolerance or slope == 0:
        raise UndecidedError("not linear")
    return slope, one - slope


# -- set algebra


def _low_key(piece: Interval) -> tuple[int, Any, int]:
    return (0, 0, 0) if piece.low is None else (1, piece.low, 0 if piece.low_closed else 1)


def _near(a: Any, b: Any) -> bool:
    mp = context()
    difference = abs(a - b)
    return bool(difference == 0 or mp.mag(difference) < mp.mag(max(abs(a), abs(b))) - 150)


def unite(pieces: Pieces) -> Pieces:
    """The union, as sorted disjoint pieces."""
    if len(pieces) > MAX_PIECES:
        raise UndecidedError("too many pieces")
    merged: Pieces = []
    for piece in sorted(pieces, key=_low_key):
        if merged and _touches(merged[-1], piece):
            last = merged[-1]
            if last.high is None:
                continue
            if piece.high is None or (piece.high > last.high and not _near(piece.high, last.high)):
                merged[-1] = last._replace(high=piece.high, high_closed=piece.high_closed)
            elif _near(piece.high, last.high):
                merged[-1] = last._replace(high_closed=last.high_closed or piece.high_closed)
        else:
            merged.append(piece)
    return merged


def _touches(left: Interval, right: Interval) -> bool:
    if left.high is None or right.low is None:
        return True
    if _near(left.high, right.low):
        return left.high_closed or right.low_closed
    return bool(left.high > right.low)


def complement(pieces: Pieces) -> Pieces:
    """The real numbers outside."""
    result: Pieces = []
    low: Any = None
    low_closed = False
    for piece in unite(pieces):
        if piece.low is not None:
            result.append(Interval(low, piece.low, low_closed, not piece.low_closed))
        if piece.high is None:
            return [
                part
                for part in result
                if part.low is None or part.high is None or part.low < part.high or part.low_closed
            ]
        low, low_closed = piece.high, not piece.high_closed
    result.append(Interval(low, None, low_closed, False))
    return result


def intersect(left: Pieces, right: Pieces) -> Pieces:
    """What lies in both."""
    if len(left) * len(right) > MAX_PIECES**2:
        raise UndecidedError("too many pieces")
    result: Pieces = []
    for a in left:
        for b in right:
            low, low_closed = _bound(a.low, a.low_closed, b.low, b.low_closed, max)
            high, high_closed = _bound(a.high, a.high_closed, b.high, b.high_closed, min)
            if low is not None and high is not None:
                if _near(low, high):
                    if not (low_closed and high_closed):
                        continue
                elif low > high:
                    continue
            result.append(Interval(low, high, low_closed, high_closed))
    return unite(result)


def _bound(a: Any, a_closed: bool, b: Any, b_closed: bool, choose: Callable[[Any, Any], Any]) -> tuple[Any, bool]:
    if a is None:
        return b, b_closed
    if b is None:
        return a, a_closed
    if _near(a, b):
        return a, a_closed and b_closed
    chosen = choose(a, b)
    return chosen, a_closed if chosen is a or chosen == a else b_closed


def same_sets(left: Pieces, right: Pieces) -> bool:
    """Whether two sets have the same pieces."""
    left, right = unite(left), unite(right)
    if len(left) != len(right):
        return False
    for a, b in zip(left, right, strict=True):
        if (a.low is None) != (b.low is None) or (a.high is None) != (b.high is None):
            return False
        if a.low_closed != b.low_closed or a.high_closed != b.high_closed:
            return False
        if a.low is not None and not _near(a.low, b.low):
            return False
        if a.high is not None and not _near(a.high, b.high):
            return False
    return True
