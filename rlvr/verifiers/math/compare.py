"""Whether two answers are the same, kind by kind. Every rule treats both sides alike, so swapping them changes nothing."""

from __future__ import annotations

from rlvr.verifiers.math.answers import Parsed
from rlvr.verifiers.math.evaluate import UndecidedError
from rlvr.verifiers.math.expression_compare import ExpressionComparer, Prover, exact_value, is_expression
from rlvr.verifiers.math.fingerprint import fingerprint
from rlvr.verifiers.math.forms import (
    FAMILY_CONSTANTS,
    PARAMETERS,
    PLUS_MINUS,
    all_conditions,
    as_equation,
    ascending,
    canonical_function,
    chain_value,
    count_uses,
    declared_letters,
    declares,
    distinct,
    expand_plus_minus,
    has_division_by_zero,
    interval_of,
    is_equation,
    is_name,
    is_named,
    items_of,
    letter_unit,
    letters_in_a_row,
    mentions_pi,
    minutes_of,
    percentage,
    radians,
    regrouped,
    same_subject,
    scaled,
    sign_of_infinity,
    unit_size,
    unlabel,
    unname,
)
from rlvr.verifiers.math.functions import FUNCTIONS
from rlvr.verifiers.math.matrices import simplify_matrix
from rlvr.verifiers.math.policy import Policy
from rlvr.verifiers.math.realsets import real_set, same_sets
from rlvr.verifiers.math.tree import Node, add, contains, divide, multiply, negate, rename, symbols

MAX_COMPARISONS = 4_000
MAX_UNORDERED = 120
_PI_KINDS = frozenset({"sym"})
_SET_KINDS = frozenset({"tuple", "union", "inter", "minus", "builder", "reals", "empty", "set"})
_SET_EXPRESSIONS = frozenset({"union", "inter", "minus", "builder", "reals", "empty"})
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
        if self.same(*self.parameters_matched(a.node, b.node)):
            return True
        alphabetic = a.source.isalpha() and b.source.isalpha() and (len(a.words) > 2 or a.words == "no")
        said = a.words == b.words and (alphabetic or "text" in (a.node.kind, b.node.kind))
        if a.words and (said or a.source == b.source) and not has_division_by_zero(a.node):
            self.structure = "text"
            return True
        return False

    def parameters_matched(self, a: Node, b: Node) -> tuple[Node, Node]:
        """`k pi, k in Z` and `n pi, n in Z`: a letter that is declared to run over a set has no name of its own."""
        ours, theirs = declared_letters(a), declared_letters(b)
        if not self.policy.rename or not (ours or theirs):
            return a, b
        mine = ours if ours else (symbols(a) - symbols(b)) & PARAMETERS
        other = theirs if theirs else (symbols(b) - symbols(a)) & PARAMETERS
        if len(mine) != 1 or len(other) != 1:
            return a, b
        return rename(a, {next(iter(mine)): "§k"}), rename(b, {next(iter(other)): "§k"})

    def same(self, a: Node, b: Node) -> bool:
        self.left -= 1
        if self.left < 0:
            self.expressions.undecided = True
            return False
        if a is b or a == b:
            return not has_division_by_zero(a)
        a, b = self.plain(a), self.plain(b)
        kinds = {a.kind, b.kind}
        if "label" in kinds:
            return self.labels(a, b)
        if kinds & {"unit", "percent", "deg"} and not kinds & {"list", "set", "tuple", "rel", "union", "matrix"}:
            return self.quantities(a, b)
        if "rel" in kinds:
            self.structure = "relation"
            return self.relations(a, b)
        if "choice" in kinds:
            return self.choices(a, b)
        if kinds == {"mul", "list"} and letters_in_a_row(a) == letters_in_a_row(b) != "":
            return True
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
            return sign_of_infinity(a) == sign_of_infinity(b) != 0
        if sign_of_infinity(a) or sign_of_infinity(b):
            return sign_of_infinity(a) == sign_of_infinity(b)
        if "ratio" in kinds:
            return self.ratios(a, b)
        if is_expression(a) and is_expression(b):
            return self.expressions.same(a, b)
        first, second = fingerprint(a), fingerprint(b)
        return first is not None and second is not None and first[0] == second[0]

    def plain(self, node: Node) -> Node:
        """Plus-minus written out, a set or list of one thing as that thing, matrices multiplied out."""
        if contains(node, PLUS_MINUS):
            node = expand_plus_minus(node)
        if node.kind == "list" and any(declares(arg) for arg in node.args):
            kept = tuple(arg for arg in node.args if not declares(arg))
            node = node._replace(args=kept) if kept else node
        if node.kind == "list" and 1 < len(node.args) < 5:  # `1/2 or 0.5` is one answer
            kept = tuple(distinct(list(node.args)))
            node = kept[0] if len(kept) == 1 else node
        if node.kind in ("set", "list") and len(node.args) == 1 and node.args[0].kind != "sym":
            return self.plain(node.args[0])
        if node.kind in ("mul", "add", "pow", "call") and contains(node, frozenset({"matrix"})):
            return simplify_matrix(node)
        return node

    # -- names, units, choices, times

    def labels(self, a: Node, b: Node) -> bool:
        if a.kind == b.kind:
            return a.value == b.value and self.same(a.args[0], b.args[0])
        return self.policy.named and self.same(unlabel(a), unlabel(b))

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
                if mentions_pi(other):
                    return self.same(radians(one), other)
                return self.policy.units and self.same(one.args[0], other)
            if one.kind == "unit" and other.kind in ("percent", "deg") and one.value != "rad":
                return False
            if one.kind == "unit" and one.value == "rad":
                return self.same(one.args[0], other)
            if one.kind == "unit" and other.kind == "mul" and letter_unit(other) is not None:
                return self.units(one, letter_unit(other) or other)
            if one.kind == "unit" and other.kind != "unit":
                return self.policy.units and self.same(one.args[0], other)
        return False

    def units(self, a: Node, b: Node) -> bool:
        if a.value == b.value:
            return self.same(a.args[0], b.args[0])
        first, second = unit_size(a.text), unit_size(b.text)
        if first is None or second is None or first[0] != second[0]:
            return False
        return self.same(scaled(a.args[0], first[1]), scaled(b.args[0], second[1]))

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
        first, second = minutes_of(a), minutes_of(b)
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
            return self.same(value, Node("list", tuple(unname(arg) for arg in other.args), other.value))
        if signs == ["in"]:
            return self.policy.named and self.same(relation.args[1], other)
        collected = other.kind in _SET_KINDS or other.kind == "list"
        if self.policy.interval_relation and collected and not set(signs) <= {"="}:
            return self.as_sets(relation, other)
        if not self.policy.named:
            return False
        named = chain_value(relation)
        return named is not None and self.same(named, other)

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
        one, other = as_equation(a), as_equation(b)
        if one is not None and other is not None:
            return self.equations(one, other)
        solvable = set(first + second) <= {"<", ">", "<=", ">=", "!=", "in", "notin", "="}
        allowed = self.policy.interval_relation or (first != ["in"] and second != ["in"])
        if solvable and allowed and self.as_sets(a, b):
            return same_subject(a, b, self.policy)
        return self.inequalities(a, b)

    def inequalities(self, a: Node, b: Node) -> bool:
        """Chains turned to one direction: the same sides, or one side minus the other in a positive proportion."""
        a, b = ascending(a), ascending(b)
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
        if self.policy.rename and a[0].kind == b[0].kind:
            a, b = canonical_function(a), canonical_function(b)
        if self.same(a[0], b[0]) and self.same(a[1], b[1]):
            return True
        if self.same(a[0], b[1]) and self.same(a[1], b[0]):
            return True
        named = is_name(a[0]) and is_name(b[0])
        if named and self.same_names(a[0], b[0]) and not is_equation(a, b) and self.same(a[1], b[1]):
            return True
        if named and "call" in (a[0].kind, b[0].kind):
            return self.same_constant_of_family(a, b)
        if not all(is_expression(side) for side in (*a, *b)):
            return False
        left, right = add(a[0], negate(a[1])), add(b[0], negate(b[1]))
        return self.expressions.proportional(left, right, positive=False)

    def same_constant_of_family(self, a: tuple[Node, Node], b: tuple[Node, Node]) -> bool:
        """`f(x) = kx` and `f(x) = cx`: a function's free constant has no name of its own."""
        ours, theirs = symbols(a[1]) - symbols(b[1]), symbols(b[1]) - symbols(a[1])
        if not self.policy.rename or a[0].kind != "call" or len(ours) != 1 or len(theirs) != 1:
            return False
        first, second = ours.pop(), theirs.pop()
        if not {first, second} <= FAMILY_CONSTANTS:
            return False
        return a[0] == b[0] and self.same(a[1], rename(b[1], {second: first}))

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
        one, other = interval_of(a), interval_of(b)
        if one is None or other is None or one.value != other.value:
            return False
        return all(self.same(x, y) for x, y in zip(one.args, other.args, strict=True))

    # -- collections

    def collections(self, a: Node, b: Node) -> bool:
        self.structure = "collection"
        kinds = {a.kind, b.kind}
        if kinds & _SET_EXPRESSIONS:
            return self.sets(a, b)
        if any(self.may_be_conditions(x, y) for x, y in ((a, b), (b, a))) and self.as_sets(a, b):
            return True
        if not kinds <= _COLLECTIONS or kinds == {"tuple", "set"}:
            return False
        if kinds == {"tuple"}:
            return self.tuples(a, b)
        if "tuple" not in kinds:
            return self.unordered(a, b)
        one, other = (a, b) if a.kind == "tuple" else (b, a)
        if one.value != "()" and len(one.args) < 3:
            return False
        items = items_of(other)
        return len(items) == len(one.args) and all(
            self.same(x, unname(y)) for x, y in zip(one.args, items, strict=True)
        )

    def may_be_conditions(self, a: Node, b: Node) -> bool:
        return self.policy.interval_relation and a.kind == "list" and b.kind in _COLLECTIONS and all_conditions(a)

    def tuples(self, a: Node, b: Node) -> bool:
        if len(a.args) != len(b.args) or a.value != b.value:
            return False
        if all(self.same(x, y) for x, y in zip(a.args, b.args, strict=True)):
            return True
        ours, theirs = symbols(a) - symbols(b), symbols(b) - symbols(a)
        if not self.policy.rename or len(a.args) < 2 or len(ours) != 1 or len(theirs) != 1:
            return False
        first, second = ours.pop(), theirs.pop()
        if min(count_uses(a, first), count_uses(b, second)) < 2 and first.lower() != second.lower():
            return False
        renamed = rename(b, {second: first})
        return all(self.same(x, y) for x, y in zip(a.args, renamed.args, strict=True))

    def unordered(self, a: Node, b: Node) -> bool:
        left, right = regrouped(items_of(a)), regrouped(items_of(b))
        if len(left) != len(right) and max(len(left), len(right)) <= MAX_UNORDERED:
            left, right = distinct(left), distinct(right)
        if len(left) != len(right):
            return False
        named = [all(is_named(item) for item in items) for items in (left, right)]
        if not all(named):
            if any(any(is_named(item) for item in items) for items in (left, right)) and not self.policy.named:
                return False
            left, right = [unname(item) for item in left], [unname(item) for item in right]
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
