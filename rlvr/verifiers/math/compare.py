"""Whether two answers are the same, kind by kind. Every rule treats both sides alike, so swapping them changes nothing."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

from rlvr.verifiers.math.evaluate import UndecidedError
from rlvr.verifiers.math.expression_compare import ExpressionComparer, Prover, exact_value, is_expression
from rlvr.verifiers.math.fingerprint import fingerprint
from rlvr.verifiers.math.functions import FUNCTIONS
from rlvr.verifiers.math.matrices import simplify_matrix
from rlvr.verifiers.math.parser import Parsed
from rlvr.verifiers.math.policy import Policy
from rlvr.verifiers.math.realsets import real_set, same_sets
from rlvr.verifiers.math.tree import PI, Node, add, contains, divide, multiply, negate, number, rename, symbols
from rlvr.verifiers.math.words import AMBIGUOUS, SIZES, UNITS

MAX_COMPARISONS = 4_000
MAX_UNORDERED = 120
_PM = frozenset({"pm"})
_PI_KINDS = frozenset({"sym"})
_SET_KINDS = frozenset({"tuple", "union", "inter", "minus", "builder", "reals", "empty", "set"})
_COLLECTIONS = frozenset({"list", "set", "tuple"})


class Comparer:
    """Compares trees under a policy. After `same`, `stage` names the rule that decided."""

    def __init__(self, policy: Policy, prover: Prover | None = None) -> None:
        self.policy = policy
        self.expressions = ExpressionComparer(policy, prover)
        self.left = MAX_COMPARISONS
        self.structure = ""

    @property
    def stage(self) -> str:
        return self.structure or self.expressions.stage

    def answers(self, a: Parsed, b: Parsed) -> bool:
        """Whether two answers are the same, in their mathematics or word for word."""
        if self.same(a.node, b.node):
            return True
        alphabetic = a.source.isalpha() and b.source.isalpha() and (len(a.words) > 2 or a.words == "no")
        said = a.words == b.words and (alphabetic or "text" in (a.node.kind, b.node.kind))
        if a.words and (said or a.source == b.source) and not _has_division_by_zero(a.node):
            self.structure = "text"
            return True
        return False

    def same(self, a: Node, b: Node) -> bool:
        self.left -= 1
        if self.left < 0:
            self.expressions.undecided = True
            return False
        if a is b or a == b:
            return not _has_division_by_zero(a)
        a, b = self.plain(a), self.plain(b)
        kinds = {a.kind, b.kind}
        if "label" in kinds:
            return self.labels(a, b)
        if kinds & {"unit", "percent", "deg"} and not kinds & {"list", "set", "tuple", "rel", "union", "matrix"}:
            return self.quantities(a, b)
        if "rel" in kinds and not (kinds & {"list"} and self.lists_of_relations(a, b)):
            self.structure = "relation"
            return self.relations(a, b)
        if "choice" in kinds:
            return self.choices(a, b)
        if "text" in kinds:
            return a.kind == b.kind and a.value == b.value
        if "time" in kinds:
            return self.times(a, b)
        if "base" in kinds:
            return self.based(a, b)
        if "matrix" in kinds or (a.kind == b.kind == "mul" and contains(a, frozenset({"matrix"}))):
            self.structure = "matrix"
            return self.matrices(a, b)
        if kinds & _COLLECTIONS or kinds & _SET_KINDS:
            return self.collections(a, b)
        if "inf" in kinds:
            return _sign_of_infinity(a) == _sign_of_infinity(b) != 0
        if _sign_of_infinity(a) or _sign_of_infinity(b):
            return _sign_of_infinity(a) == _sign_of_infinity(b)
        if "ratio" in kinds:
            return self.ratios(a, b)
        if is_expression(a) and is_expression(b):
            return self.expressions.same(a, b)
        first, second = fingerprint(a), fingerprint(b)
        return first is not None and second is not None and first[0] == second[0]

    def plain(self, node: Node) -> Node:
        """Plus-minus written out, a set or list of one thing as that thing, matrices multiplied out."""
        if contains(node, _PM):
            node = expand_plus_minus(node)
        if node.kind == "list" and any(_declares(arg) for arg in node.args):
            kept = tuple(arg for arg in node.args if not _declares(arg))
            node = node._replace(args=kept) if kept else node
        if node.kind in ("set", "list") and len(node.args) == 1 and node.args[0].kind != "sym":
            return self.plain(node.args[0])
        if node.kind in ("mul", "add", "pow", "call") and contains(node, frozenset({"matrix"})):
            return simplify_matrix(node)
        return node

    # -- names, units, choices, times

    def labels(self, a: Node, b: Node) -> bool:
        if a.kind == b.kind:
            return a.value == b.value and self.same(a.args[0], b.args[0])
        return self.policy.named and self.same(_unlabel(a), _unlabel(b))

    def quantities(self, a: Node, b: Node) -> bool:
        if a.kind == b.kind and a.kind in ("percent", "deg"):
            return self.same(a.args[0], b.args[0])
        if (a.kind in ("unit", "rel", "text", "choice") and a.kind != "unit") or b.kind in ("rel", "text", "choice"):
            return False
        if a.kind == b.kind == "unit":
            return self.units(a, b)
        for one, other in ((a, b), (b, a)):
            if one.kind == "percent":
                if other.kind in ("unit", "deg"):
                    return False
                if self.same(percentage(one), other):
                    return True
                amount = exact_value(one.args[0])
                return self.policy.percent and amount is not None and abs(amount) > 1 and self.same(one.args[0], other)
            if one.kind == "deg":
                if other.kind == "unit":
                    return other.value == "rad" and self.same(radians(one), other.args[0])
                if _mentions_pi(other):
                    return self.same(radians(one), other)
                return self.policy.units and self.same(one.args[0], other)
            if one.kind == "unit" and one.value == "rad":
                return self.same(one.args[0], other)
            if one.kind == "unit" and other.kind == "mul" and _letter_unit(other) is not None:
                return self.units(one, _letter_unit(other) or other)
            if one.kind == "unit" and other.kind != "unit":
                return self.policy.units and self.same(one.args[0], other)
        return False

    def units(self, a: Node, b: Node) -> bool:
        if a.value == b.value:
            return self.same(a.args[0], b.args[0])
        first, second = _size(a.text), _size(b.text)
        if first is None or second is None or first[0] != second[0]:
            return False
        return self.same(_scaled(a.args[0], first[1]), _scaled(b.args[0], second[1]))

    def choices(self, a: Node, b: Node) -> bool:
        self.structure = "choice"
        if a.kind == b.kind:
            return a.value == b.value
        choice, other = (a, b) if a.kind == "choice" else (b, a)
        if other.kind == "sym":
            return other.text.upper() == choice.value
        return bool(choice.args) and self.same(choice.args[0], other)

    def times(self, a: Node, b: Node) -> bool:
        self.structure = "time"
        first, second = _minutes(a), _minutes(b)
        if first is None or second is None:
            return False
        if first == second:
            return True
        half_day = 720
        return (
            self.policy.units
            and (a.digits == 1) != (b.digits == 1)
            and first % half_day == second % half_day
            and min(first, second) < 780
        )

    def based(self, a: Node, b: Node) -> bool:
        self.structure = "base"
        if a.kind == b.kind:
            return a == b
        one, other = (a, b) if a.kind == "base" else (b, a)
        return self.policy.ignore_base and other.kind == "num" and str(other.number) == one.value

    def ratios(self, a: Node, b: Node) -> bool:
        self.structure = "ratio"
        if a.kind == b.kind:
            if len(a.args) != len(b.args):
                return False
            pairs = list(zip(a.args, b.args, strict=True))
            return all(
                self.same(multiply(pairs[0][0], right), multiply(pairs[0][1], left)) for left, right in pairs[1:]
            )
        one, other = (a, b) if a.kind == "ratio" else (b, a)
        return len(one.args) == 2 and self.same(divide(one.args[0], one.args[1]), other)

    # -- relations

    def relations(self, a: Node, b: Node) -> bool:
        if a.kind == b.kind:
            return self.two_relations(a, b)
        relation, other = (a, b) if a.kind == "rel" else (b, a)
        signs = relation.text.split()
        if other.kind == "list" and signs[0] == "=" and self.policy.named and is_name(relation.args[0]):
            value = relation.args[-1]
            return self.same(value, Node("list", tuple(_unname(arg) for arg in other.args), other.value))
        if signs == ["in"]:
            return self.policy.named and self.same(_as_collection(relation.args[1]), other)
        if self.policy.interval_relation and (other.kind in _SET_KINDS or other.kind == "list"):
            if not set(signs) <= {"="}:
                return self.as_sets(relation, other)
        if not self.policy.named:
            return False
        value = chain_value(relation)
        return value is not None and self.same(value, other)

    def two_relations(self, a: Node, b: Node) -> bool:
        first, second = a.text.split(), b.text.split()
        if (
            first == second
            and len(a.args) == len(b.args)
            and all(self.same(x, y) for x, y in zip(a.args, b.args, strict=True))
        ):
            return True
        if {a.text, b.text} == {"=", "in"} and (a.args[1].kind in ("list", "set") or b.args[1].kind in ("list", "set")):
            return self.same_names(a.args[0], b.args[0]) and self.same(a.args[1], b.args[1])
        if {"in"} == set(first) == set(second):
            return self.same_names(a.args[0], b.args[0]) and self.same(a.args[1], b.args[1])
        one, other = _equation(a), _equation(b)
        if one is not None and other is not None:
            return self.equations(one, other)
        if set(first + second) <= {"<", ">", "<=", ">=", "!=", "in", "notin", "="}:
            if (self.policy.interval_relation or (first != ["in"] and second != ["in"])) and self.as_sets(a, b):
                return _same_subject(a, b, self.policy)
        return self.inequalities(a, b)

    def inequalities(self, a: Node, b: Node) -> bool:
        """Chains turned to one direction: the same sides, or one side minus the other in a positive proportion."""
        a, b = _ascending(a), _ascending(b)
        if a.value != b.value or len(a.args) != len(b.args):
            return False
        if all(self.same(x, y) for x, y in zip(a.args, b.args, strict=True)):
            return True
        if len(a.args) != 2 or a.value not in ("<", "<=", "!="):
            return False
        if not all(is_expression(arg) for arg in a.args + b.args):
            return False
        left, right = add(a.args[0], negate(a.args[1])), add(b.args[0], negate(b.args[1]))
        return self.expressions.proportional(left, right, positive=a.value != "!=")

    def equations(self, a: tuple[Node, Node], b: tuple[Node, Node]) -> bool:
        if a[0].kind == b[0].kind:
            a, b = _canonical_function(a), _canonical_function(b)
        if self.same(a[0], b[0]) and self.same(a[1], b[1]):
            return True
        if self.same(a[0], b[1]) and self.same(a[1], b[0]):
            return True
        if is_name(a[0]) and is_name(b[0]) and self.same_names(a[0], b[0]) and not _is_equation(a, b):
            if self.same(a[1], b[1]):
                return True
        if is_name(a[0]) and is_name(b[0]) and (a[0].kind == "call" or b[0].kind == "call"):
            return False
        if not all(is_expression(side) for side in (*a, *b)):
            return False
        left, right = add(a[0], negate(a[1])), add(b[0], negate(b[1]))
        return self.expressions.proportional(left, right, positive=False)

    def same_names(self, a: Node, b: Node) -> bool:
        """`y` and `f(x)` both name a function's value; otherwise a name is itself."""
        if a == b:
            return True
        if not self.policy.rename:
            return False
        if a.kind == b.kind == "call":
            return a.value == b.value
        kinds = {a.kind, b.kind}
        if kinds == {"sym", "call"}:
            letter, function = (a, b) if a.kind == "sym" else (b, a)
            return letter.value == "y" and function.value not in FUNCTIONS.values()
        return False

    def as_sets(self, a: Node, b: Node) -> bool:
        try:
            left, right = real_set(a), real_set(b)
        except (UndecidedError, ArithmeticError, ValueError, TypeError):
            return self.symbolic_interval(a, b)
        self.structure = "set"
        return same_sets(left, right)

    def symbolic_interval(self, a: Node, b: Node) -> bool:
        """`a < x < b` and `(a, b)` with letters for ends."""
        one, other = _interval_of(a), _interval_of(b)
        if one is None or other is None or one.value != other.value:
            return False
        return all(self.same(x, y) for x, y in zip(one.args, other.args, strict=True))

    # -- collections

    def lists_of_relations(self, a: Node, b: Node) -> bool:
        return a.kind == b.kind == "list"

    def collections(self, a: Node, b: Node) -> bool:
        self.structure = "collection"
        if a.kind in ("union", "inter", "minus", "builder", "reals", "empty") or b.kind in (
            "union",
            "inter",
            "minus",
            "builder",
            "reals",
            "empty",
        ):
            return self.sets(a, b)
        if a.kind == "list" and b.kind in ("list", "tuple", "set") and _conditions(a) and self.policy.interval_relation:
            if self.as_sets(a, b):
                return True
        if b.kind == "list" and a.kind in ("tuple", "set") and _conditions(b) and self.policy.interval_relation:
            if self.as_sets(a, b):
                return True
        if a.kind not in _COLLECTIONS or b.kind not in _COLLECTIONS:
            return False
        if {a.kind, b.kind} == {"tuple", "set"}:
            return False
        if a.kind == b.kind == "tuple":
            return self.tuples(a, b)
        if "tuple" in (a.kind, b.kind):
            one, other = (a, b) if a.kind == "tuple" else (b, a)
            if one.value != "()" and len(one.args) < 3:
                return False
            items = _items(other)
            return len(items) == len(one.args) and all(
                self.same(x, _unname(y)) for x, y in zip(one.args, items, strict=True)
            )
        return self.unordered(a, b)

    def tuples(self, a: Node, b: Node) -> bool:
        if len(a.args) != len(b.args) or a.value != b.value:
            return False
        if all(self.same(x, y) for x, y in zip(a.args, b.args, strict=True)):
            return True
        ours, theirs = symbols(a) - symbols(b), symbols(b) - symbols(a)
        if not self.policy.rename or len(a.args) < 2 or len(ours) != 1 or len(theirs) != 1:
            return False
        first, second = ours.pop(), theirs.pop()
        if min(_uses(a, first), _uses(b, second)) < 2 and first.lower() != second.lower():
            return False
        renamed = rename(b, {second: first})
        return all(self.same(x, y) for x, y in zip(a.args, renamed.args, strict=True))

    def unordered(self, a: Node, b: Node) -> bool:
        left, right = _regrouped(_items(a)), _regrouped(_items(b))
        if len(left) != len(right) and max(len(left), len(right)) <= MAX_UNORDERED:
            left, right = _distinct(left), _distinct(right)
        if len(left) != len(right):
            return False
        named = [all(_named(item) for item in items) for items in (left, right)]
        if not all(named):
            if any(any(_named(item) for item in items) for items in (left, right)) and not self.policy.named:
                return False
            left, right = [_unname(item) for item in left], [_unname(item) for item in right]
        if not self.policy.unordered and a.kind == b.kind == "list":
            return all(self.same(x, y) for x, y in zip(left, right, strict=True))
        if len(left) > MAX_UNORDERED:
            first, second = fingerprint(a), fingerprint(b)
            return first is not None and second is not None and first[0] == second[0]
        rest = list(right)
        for item in left:
            for index, candidate in enumerate(rest):
                if self.same(item, candidate):
                    del rest[index]
                    break
            else:
                return False
        return True

    def sets(self, a: Node, b: Node) -> bool:
        first, second = fingerprint(a), fingerprint(b)
        if first is not None and second is not None and first[0] == second[0]:
            return True
        if a.kind == b.kind == "builder" and self.builders(a, b):
            return True
        if "sym" in (a.kind, b.kind) or "num" in (a.kind, b.kind):
            return False
        if not self.policy.interval_relation and {a.kind, b.kind} & {"list", "rel"}:
            return False
        if self.as_sets(a, b):
            return True
        if a.kind == b.kind == "union" and len(a.args) == len(b.args):
            rest = list(b.args)
            for item in a.args:
                found = next((candidate for candidate in rest if self.same(item, candidate)), None)
                if found is None:
                    return False
                rest.remove(found)
            return True
        return False

    def builders(self, a: Node, b: Node) -> bool:
        """Set builders with the letter renamed."""
        if not self.policy.rename:
            return False
        ours, theirs = sorted(symbols(a) - symbols(b)), sorted(symbols(b) - symbols(a))
        if len(ours) > 1 or len(ours) != len(theirs):
            return False
        renamed = rename(b, {theirs[0]: ours[0]}) if ours else b
        return self.same(a.args[0], renamed.args[0]) and self.same(a.args[1], renamed.args[1])

    def matrices(self, a: Node, b: Node) -> bool:
        if a.kind == b.kind == "matrix":
            if len(a.args) != len(b.args):
                return False
            return all(
                len(x.args) == len(y.args) and all(self.same(p, q) for p, q in zip(x.args, y.args, strict=True))
                for x, y in zip(a.args, b.args, strict=True)
            )
        matrix, other = (a, b) if a.kind == "matrix" else (b, a)
        if other.kind not in ("tuple", "list") or (other.kind == "tuple" and other.value not in ("()", "[]")):
            return False
        if len(matrix.args) == 1:
            entries = matrix.args[0].args
        elif all(len(row.args) == 1 for row in matrix.args):
            entries = tuple(row.args[0] for row in matrix.args)
        else:
            return False
        return len(entries) == len(other.args) and all(
            self.same(x, y) for x, y in zip(entries, other.args, strict=True)
        )


# -- helpers on trees


def expand_plus_minus(node: Node) -> Node:
    """`1 ± 2` as the list 3, -1. Signs in one tuple or expression are independent; minus-plus follows the first of them."""
    if node.kind in ("list", "set", "union") and len(node.args) > 1:
        items: list[Node] = []
        for arg in node.args:
            if contains(arg, _PM):
                expanded = expand_plus_minus(arg)
                items.extend(expanded.args if expanded.kind == "list" else (expanded,))
            else:
                items.append(arg)
        return node._replace(args=tuple(items))
    if node.kind in ("list", "set"):
        return node._replace(args=tuple(expand_plus_minus(arg) for arg in node.args))
    if node.kind == "rel" and node.value == "=" and contains(node.args[1], _PM):
        return node._replace(args=(node.args[0], expand_plus_minus(node.args[1])))
    count = _count_plus_minus(node)
    linked = contains_minus_plus(node)
    choices = [(sign,) * count for sign in (1, -1)] if linked else list(product((1, -1), repeat=min(count, 5)))
    if count > 5 and not linked:
        return node
    return Node("list", tuple(_choose(node, list(choice)) for choice in choices), ",")


def _count_plus_minus(node: Node) -> int:
    return (node.kind == "pm") + sum(_count_plus_minus(arg) for arg in node.args)


def contains_minus_plus(node: Node) -> bool:
    """Whether a minus-plus sign stands in the tree."""
    return (node.kind == "pm" and node.value == "-") or any(contains_minus_plus(arg) for arg in node.args)


def _choose(node: Node, signs: list[int]) -> Node:
    if node.kind == "pm":
        left = _choose(node.args[0], signs)
        sign = signs.pop(0) * (1 if node.value == "+" else -1)
        right = _choose(node.args[1], signs)
        right = right if sign > 0 else negate(right)
        return right if left == number(0) else add(left, right)
    if not node.args:
        return node
    return node._replace(args=tuple(_choose(arg, signs) for arg in node.args))


def percentage(node: Node) -> Node:
    """The number that a percentage is; a decimal keeps the digits it shows."""
    amount = node.args[0]
    if amount.kind == "num":
        return Node("num", (), amount.number / 100, amount.digits + 2 if amount.digits >= 1 else -1)
    return divide(amount, number(100))


def radians(node: Node) -> Node:
    """The number that an angle in degrees is."""
    return multiply(node.args[0], PI, number(Fraction(1, 180)))


def _letter_unit(node: Node) -> Node | None:
    """`5 m` where the other side names a unit: the letter is one too."""
    letter = node.args[-1]
    if len(node.args) != 2 or letter.kind != "sym" or letter.text not in AMBIGUOUS:
        return None
    return Node("unit", (node.args[0],), UNITS.get(letter.text, letter.text))


def _scaled(amount: Node, factor: Fraction) -> Node:
    if amount.kind == "num":
        return number(amount.number * factor)
    return multiply(amount, number(factor))


def _size(unit: str) -> tuple[str, Fraction] | None:
    stem, _, exponent = unit.partition("^")
    size = SIZES.get(stem)
    if size is None or (exponent and not exponent.isdigit()):
        return None
    return size[0] + exponent, size[1] ** int(exponent or 1)


def _minutes(node: Node) -> Fraction | None:
    if node.kind == "time":
        return node.number
    if node.kind != "ratio" or not 2 <= len(node.args) <= 3 or any(exact_value(arg) is None for arg in node.args):
        return None
    hours, minutes, *seconds = (arg.number for arg in node.args)
    if hours > 24 or minutes > 59:
        return None
    return 60 * hours + minutes + (seconds[0] / 60 if seconds else 0)


def _mentions_pi(node: Node) -> bool:
    return node == PI or any(_mentions_pi(arg) for arg in node.args)


def _sign_of_infinity(node: Node) -> int:
    if node.kind == "inf":
        return 1
    if node.kind == "mul" and any(arg.kind == "inf" for arg in node.args):
        return -1 if sum(arg.kind == "num" and arg.number < 0 for arg in node.args) % 2 else 1
    return 0


def _has_division_by_zero(node: Node) -> bool:
    return is_expression(node) and fingerprint(node) is None


def _unlabel(node: Node) -> Node:
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


def _equation(node: Node) -> tuple[Node, Node] | None:
    """(name or left side, value) of a chain of equations."""
    signs = node.text.split()
    if not set(signs) <= {"=", "~"}:
        return None
    if len(node.args) == 2:
        return node.args[0], node.args[1]
    value = chain_value(node)
    return None if value is None else (node.args[0], value)


def _is_equation(a: tuple[Node, Node], b: tuple[Node, Node]) -> bool:
    """Whether the named letter occurs on both sides, so that nothing is named."""
    return any(side[0].kind == "sym" and side[0].text in symbols(side[1]) for side in (a, b))


def _canonical_function(equation: tuple[Node, Node]) -> tuple[Node, Node]:
    """f(t) = t + 1 with its own letter as a bound one."""
    name, value = equation
    if name.kind != "call" or name.value in FUNCTIONS.values() or not all(arg.kind == "sym" for arg in name.args):
        return equation
    letters = {arg.text: f"§{index}" for index, arg in enumerate(name.args)}
    if not letters.keys() & symbols(value):
        return (rename(name, letters), value)
    return rename(name, letters), rename(value, letters)


def _ascending(node: Node) -> Node:
    signs = node.text.split()
    if signs and all(sign in (">", ">=", "!=") for sign in signs) and any(sign != "!=" for sign in signs):
        flipped = [sign.replace(">", "<") for sign in reversed(signs)]
        return Node("rel", tuple(reversed(node.args)), " ".join(flipped))
    return node


def _same_subject(a: Node, b: Node, policy: Policy) -> bool:
    """Two inequalities speak of the same letter, unless one says only to which set its letter belongs."""
    return (policy.rename and (a.value == "in" or b.value == "in")) or symbols(a) == symbols(b)


def _interval_of(node: Node) -> Node | None:
    if node.kind == "tuple" and len(node.args) == 2:
        return node
    if node.kind != "rel":
        return None
    if node.value == "in":
        return _interval_of(node.args[1])
    node = _ascending(node)
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


def _conditions(node: Node) -> bool:
    return all(
        (arg.kind == "rel" and any(sign in arg.text for sign in "<>!"))
        or (arg.kind in ("tuple", "union") and arg.kind == "union")
        or (arg.kind == "tuple" and len(arg.args) == 2 and arg.value != "()")
        for arg in node.args
    )


def _as_collection(node: Node) -> Node:
    return node


def _declares(node: Node) -> bool:
    """Whether an item only says what a letter is, as `k in Z` does."""
    return (
        node.kind == "rel"
        and node.value == "in"
        and node.args[0].kind == "sym"
        and node.args[1].kind in ("sym", "reals")
    )


def _named(node: Node) -> bool:
    if node.kind == "label":
        return True
    return node.kind == "rel" and node.text.split()[0] == "=" and is_name(node.args[0])


def _unname(node: Node) -> Node:
    if node.kind == "label":
        return node.args[0]
    if _named(node):
        value = chain_value(node)
        return node if value is None else value
    if node.kind == "list":
        return node._replace(args=tuple(_unname(arg) for arg in node.args))
    return node


def _items(node: Node) -> list[Node]:
    """A collection's items with inner plus-minus lists laid flat."""
    items: list[Node] = []
    for arg in node.args:
        if contains(arg, _PM):
            expanded = expand_plus_minus(arg)
            items.extend(expanded.args if expanded.kind == "list" else (expanded,))
        elif arg.kind == "rel" and arg.value == "=" and arg.args[1].kind == "list" and node.value != ";":
            items.extend(arg.args[1].args)
        elif arg.kind == "sym" and arg.value == "dots":
            items.append(arg)
        else:
            items.append(arg)
    return items


def _regrouped(items: list[Node]) -> list[Node]:
    """`p=5, q=2 and p=7, q=2` as two groups: the names begin again. `x=1, x=2` stays a list of values."""
    if len(items) < 4 or not all(_named(item) and item.kind == "rel" for item in items):
        return [
            Node("tuple", tuple(_unname(part) for part in item.args), "()") if _named_group(item) else item
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
        Node("tuple", tuple(_unname(part) for part in items[start : start + period]), "()")
        for start in range(0, len(items), period)
    ]


def _distinct(items: list[Node]) -> list[Node]:
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


def _named_group(node: Node) -> bool:
    return node.kind == "list" and all(_named(part) for part in node.args)


def _uses(node: Node, name: str) -> int:
    return sum(name in symbols(arg) for arg in node.args)
