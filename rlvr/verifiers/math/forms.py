"""What an answer's tree says: names and values, lists, intervals, units, plus-minus written out."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

from rlvr.verifiers.math.expression_compare import exact_value, is_expression
from rlvr.verifiers.math.fingerprint import fingerprint
from rlvr.verifiers.math.functions import FUNCTIONS
from rlvr.verifiers.math.policy import Policy
from rlvr.verifiers.math.tree import PI, Node, add, contains, divide, multiply, negate, number, rename, symbols
from rlvr.verifiers.math.words import AMBIGUOUS, SIZES, UNITS

PLUS_MINUS = frozenset({"pm"})
FAMILY_CONSTANTS = frozenset({"a", "c", "k", "C", "K"})
PARAMETERS = frozenset({"k", "l", "m", "n", "t", "N", "K"})
"""Letters that a family of solutions may run over without saying so."""


def expand_plus_minus(node: Node) -> Node:
    """`1 ± 2` as the list 3, -1. Signs in one tuple or expression are independent; minus-plus follows the first of them."""
    if node.kind in ("list", "set", "union") and len(node.args) > 1:
        items: list[Node] = []
        for arg in node.args:
            if contains(arg, PLUS_MINUS):
                expanded = expand_plus_minus(arg)
                items.extend(expanded.args if expanded.kind == "list" else (expanded,))
            else:
                items.append(arg)
        return node._replace(args=tuple(items))
    if node.kind in ("list", "set"):
        return node._replace(args=tuple(expand_plus_minus(arg) for arg in node.args))
    if node.kind == "rel" and node.value == "=" and contains(node.args[1], PLUS_MINUS):
        return node._replace(args=(node.args[0], expand_plus_minus(node.args[1])))
    count = count_plus_minus(node)
    linked = contains_minus_plus(node)
    choices = [(sign,) * count for sign in (1, -1)] if linked else list(product((1, -1), repeat=min(count, 5)))
    if count > 5 and not linked:
        return node
    return Node("list", tuple(with_signs(node, list(choice)) for choice in choices), ",")


def count_plus_minus(node: Node) -> int:
    return (node.kind == "pm") + sum(count_plus_minus(arg) for arg in node.args)


def contains_minus_plus(node: Node) -> bool:
    """Whether a minus-plus sign stands in the tree."""
    return (node.kind == "pm" and node.value == "-") or any(contains_minus_plus(arg) for arg in node.args)


def with_signs(node: Node, signs: list[int]) -> Node:
    if node.kind == "pm":
        left = with_signs(node.args[0], signs)
        sign = signs.pop(0) * (1 if node.value == "+" else -1)
        right = with_signs(node.args[1], signs)
        right = right if sign > 0 else negate(right)
        return right if left == number(0) else add(left, right)
    if not node.args:
        return node
    return node._replace(args=tuple(with_signs(arg, signs) for arg in node.args))


def percentage(node: Node) -> Node:
    """The number that a percentage is; a decimal keeps the digits it shows."""
    amount = node.args[0]
    if amount.kind == "num":
        return Node("num", (), amount.number / 100, amount.digits + 2 if amount.digits >= 1 else -1)
    return divide(amount, number(100))


def radians(node: Node) -> Node:
    """The number that an angle in degrees is."""
    return multiply(node.args[0], PI, number(Fraction(1, 180)))


def letter_unit(node: Node) -> Node | None:
    """`5 m` where the other side names a unit: the letter is one too."""
    letter = node.args[-1]
    if len(node.args) != 2 or letter.kind != "sym" or letter.text not in AMBIGUOUS:
        return None
    return Node("unit", (node.args[0],), UNITS.get(letter.text, letter.text))


def scaled(amount: Node, factor: Fraction) -> Node:
    if amount.kind == "num":
        return number(amount.number * factor)
    return multiply(amount, number(factor))


def unit_size(unit: str) -> tuple[str, Fraction] | None:
    stem, _, exponent = unit.partition("^")
    size = SIZES.get(stem)
    if size is None or (exponent and not exponent.isdigit()):
        return None
    return size[0] + exponent, size[1] ** int(exponent or 1)


def minutes_of(node: Node) -> Fraction | None:
    if node.kind == "time":
        return node.number
    if node.kind != "ratio" or not 2 <= len(node.args) <= 3 or any(exact_value(arg) is None for arg in node.args):
        return None
    hours, minutes, *seconds = (arg.number for arg in node.args)
    if hours > 24 or minutes > 59:
        return None
    return 60 * hours + minutes + (seconds[0] / 60 if seconds else 0)


def mentions_pi(node: Node) -> bool:
    """Whether a value can only be meant as an angle in radians."""
    if node.kind == "call" and node.value in ("asin", "acos", "atan", "acot", "asec", "acsc", "arg"):
        return True
    return node == PI or any(mentions_pi(arg) for arg in node.args)


def sign_of_infinity(node: Node) -> int:
    if node.kind == "inf":
        return 1
    if node.kind == "mul" and any(arg.kind == "inf" for arg in node.args):
        return -1 if sum(arg.kind == "num" and arg.number < 0 for arg in node.args) % 2 else 1
    return 0


def has_division_by_zero(node: Node) -> bool:
    return is_expression(node) and fingerprint(node) is None


def unlabel(node: Node) -> Node:
    return node.args[0] if node.kind == "label" else node


def is_name(node: Node) -> bool:
    """Whether the left side of an equation only says what the right side is the value of."""
    if node.kind == "sym":
        return True
    if node.kind == "call":
        return True
    if node.kind == "ratio":
        return all(is_name(arg) for arg in node.args)
    if node.kind == "tuple":
        return all(is_name(arg) for arg in node.args)
    if node.kind == "mul":
        return all(arg.kind == "sym" and arg.text[:1].isupper() for arg in node.args)
    if node.kind == "add":
        return all(arg.kind == "sym" and arg.text not in ("x", "y", "z") for arg in node.args)
    return False


def chain_value(node: Node) -> Node | None:
    """What `x = 1 + 1 = 2` or `x = 2/3 ~ 0.67` says the value is: the last exact side. None if nothing is named."""
    signs = node.text.split()
    exact = [node.args[0]]
    for sign, side in zip(signs, node.args[1:], strict=True):
        if sign == "~" and (len(exact) > 1 or not is_name(exact[0]) or not symbols(exact[0])):
            break
        if sign not in ("=", "~", "=="):
            return None
        exact.append(side)
    if len(exact) == 1:
        return exact[0]
    first, last = exact[0], exact[-1]
    if len(exact) == 2 and not symbols(first) and is_name(last) and symbols(last):
        return first
    if is_name(first) or not symbols(first):
        return last
    return last if len(exact) > 2 or (not symbols(last) and first.kind == "big") else None


def as_equation(node: Node) -> tuple[Node, Node] | None:
    """(name or left side, value) of a chain of equations."""
    signs = node.text.split()
    if not set(signs) <= {"=", "~"}:
        return None
    if len(node.args) == 2:
        return node.args[0], node.args[1]
    value = chain_value(node)
    return None if value is None else (node.args[0], value)


def is_equation(a: tuple[Node, Node], b: tuple[Node, Node]) -> bool:
    """Whether the named letter occurs on both sides, so that nothing is named."""
    return any(side[0].kind == "sym" and side[0].text in symbols(side[1]) for side in (a, b))


def canonical_function(equation: tuple[Node, Node]) -> tuple[Node, Node]:
    """f(t) = t + 1 with its own letter as a bound one."""
    name, value = equation
    if name.kind != "call" or name.value in FUNCTIONS.values() or not all(arg.kind == "sym" for arg in name.args):
        return equation
    letters = {arg.text: f"§{index}" for index, arg in enumerate(name.args)}
    if not letters.keys() & symbols(value):
        return (rename(name, letters), value)
    return rename(name, letters), rename(value, letters)


def ascending(node: Node) -> Node:
    signs = node.text.split()
    if signs and all(sign in (">", ">=", "!=") for sign in signs) and any(sign != "!=" for sign in signs):
        flipped = [sign.replace(">", "<") for sign in reversed(signs)]
        return Node("rel", tuple(reversed(node.args)), " ".join(flipped))
    return node


def same_subject(a: Node, b: Node, policy: Policy) -> bool:
    """Two inequalities speak of the same letter, unless one says only to which set its letter belongs."""
    return (policy.rename and (a.value == "in" or b.value == "in")) or symbols(a) == symbols(b)


def interval_of(node: Node) -> Node | None:
    if node.kind == "tuple" and len(node.args) == 2:
        return node
    if node.kind != "rel":
        return None
    if node.value == "in":
        return interval_of(node.args[1])
    node = ascending(node)
    signs = node.text.split()
    if len(signs) == 2 and set(signs) <= {"<", "<="}:
        return Node(
            "tuple",
            (node.args[0], node.args[2]),
            ("[" if signs[0] == "<=" else "(") + ("]" if signs[1] == "<=" else ")"),
        )
    if len(signs) == 1 and signs[0] in ("<", "<="):
        infinity = Node("inf")
        left, right = node.args
        if is_name(left) and symbols(left):
            return Node("tuple", (negate(infinity), right), "(" + ("]" if signs[0] == "<=" else ")"))
        if is_name(right) and symbols(right):
            return Node("tuple", (left, infinity), ("[" if signs[0] == "<=" else "(") + ")")
    return None


def all_conditions(node: Node) -> bool:
    return all(
        (arg.kind == "rel" and any(sign in arg.text for sign in "<>!"))
        or (arg.kind in ("tuple", "union") and arg.kind == "union")
        or (arg.kind == "tuple" and len(arg.args) == 2 and arg.value != "()")
        for arg in node.args
    )


def declares(node: Node) -> bool:
    """Whether an item only says what a letter is, as `k in Z` does."""
    return (
        node.kind == "rel"
        and node.value == "in"
        and node.args[0].kind == "sym"
        and node.args[1].kind in ("sym", "reals")
    )


def letters_in_a_row(node: Node) -> str:
    """`ABD` and `A, B, D`, where several choices are right; empty for anything else."""
    if node.kind not in ("mul", "list") or not 2 <= len(node.args) <= 6:
        return ""
    letters = "".join(arg.text for arg in node.args if arg.kind in ("sym", "choice"))
    return letters if len(letters) == len(node.args) and letters.isupper() and sorted(letters) == list(letters) else ""


def declared_letters(node: Node) -> set[str]:
    """The letters that an answer declares to run over a set."""
    if node.kind != "list":
        return set()
    return {arg.args[0].text for arg in node.args if declares(arg)}


def is_named(node: Node) -> bool:
    if node.kind == "label":
        return True
    return node.kind == "rel" and node.text.split()[0] == "=" and is_name(node.args[0])


def unname(node: Node) -> Node:
    if node.kind == "label":
        return node.args[0]
    if is_named(node):
        value = chain_value(node)
        return node if value is None else value
    if node.kind == "list":
        return node._replace(args=tuple(unname(arg) for arg in node.args))
    return node


def items_of(node: Node) -> list[Node]:
    """A collection's items with inner plus-minus lists laid flat."""
    items: list[Node] = []
    for arg in node.args:
        if contains(arg, PLUS_MINUS):
            expanded = expand_plus_minus(arg)
            items.extend(expanded.args if expanded.kind == "list" else (expanded,))
        elif arg.kind == "rel" and arg.value == "=" and arg.args[1].kind == "list" and node.value != ";":
            items.extend(arg.args[1].args)
        elif arg.kind == "sym" and arg.value == "dots":
            items.append(arg)
        else:
            items.append(arg)
    return items


def regrouped(items: list[Node]) -> list[Node]:
    """`p=5, q=2 and p=7, q=2` as two groups: the names begin again. `x=1, x=2` stays a list of values."""
    if len(items) < 4 or not all(is_named(item) and item.kind == "rel" for item in items):
        return [
            Node("tuple", tuple(unname(part) for part in item.args), "()") if named_group(item) else item
            for item in items
        ]
    names = [item.args[0] for item in items]
    period = next((index for index in range(1, len(names)) if names[index] == names[0]), len(names))
    if (
        not 1 < period < len(names)
        or len(names) % period
        or any(names[index] != names[index % period] for index in range(len(names)))
    ):
        return items
    return [
        Node("tuple", tuple(unname(part) for part in items[start : start + period]), "()")
        for start in range(0, len(items), period)
    ]


def distinct(items: list[Node]) -> list[Node]:
    """Without what is there twice: a set says nothing new by saying it again."""
    seen: set[int] = set()
    kept = []
    for item in items:
        mark = fingerprint(item)
        if mark is None or mark[0] not in seen:
            kept.append(item)
        if mark is not None:
            seen.add(mark[0])
    return kept


def named_group(node: Node) -> bool:
    return node.kind == "list" and all(is_named(part) for part in node.args)


def count_uses(node: Node, name: str) -> int:
    return sum(name in symbols(arg) for arg in node.args)
