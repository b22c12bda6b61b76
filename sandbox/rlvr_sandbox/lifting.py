"""Turns `assert f(x) == y` into a function test, where that means the same.

Most assert tests are a list of such lines, alone or in a function `check(candidate)`. Lifted they need one process
instead of two, and nothing of the test enters the sandbox but the arguments.
"""

from __future__ import annotations

import ast
import builtins
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

from rlvr_sandbox.calls import Call
from rlvr_sandbox.compare import Comparison, OpaqueAnswer, number_of
from rlvr_sandbox.testspec import AssertTests

_BUILTINS = frozenset(dir(builtins))
_CONTAINERS: Mapping[str, Callable[[Any], Any]] = {"set": set, "frozenset": frozenset, "tuple": tuple, "list": list}
_LESS = {ast.Lt: operator.lt, ast.LtE: operator.le}
_SAME = Comparison(strict=True).same

Accepts = Callable[[Any], bool]


class _NotLiftable(Exception):
    pass


@functools.lru_cache(maxsize=4096)
def lift(tests: AssertTests) -> tuple[Call, ...] | None:
    """The calls that say the same as the test code, or None if it has to be run as it is."""
    try:
        return tuple(_Lifter(tests).calls())
    except (_NotLiftable, ValueError, TypeError, RecursionError, MemoryError, OverflowError):
        return None


def shadowed_names(tests: AssertTests) -> tuple[str, ...]:
    """Builtins that the solution may define for this test.

    Those that the task names; and where the test uses no name but builtins, the one whose result it asserts: such a test
    (`assert sum(10, 15) == 6`) would otherwise not depend on the solution at all.
    """
    tree = ast.parse(tests.code)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if tests.names or used - _BUILTINS:
        return tuple(tests.names)
    called = set()
    for statement in tree.body:
        if isinstance(statement, ast.Assert):
            node = statement.test.left if isinstance(statement.test, ast.Compare) else statement.test
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                called.add(node.func.id)
    return tuple(called) if len(called) == 1 else ()


class _Lifter:
    def __init__(self, tests: AssertTests) -> None:
        self._body = ast.parse(tests.code).body
        self._shadowed = set(shadowed_names(tests))
        self._taken = {
            node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else node.id
            for node in ast.walk(ast.parse(tests.prelude))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Name)
        }

    def calls(self) -> list[Call]:
        found: list[Call] = []
        checks: dict[str, ast.FunctionDef] = {}
        for statement in self._body:
            if isinstance(statement, ast.Assert):
                found.append(self._call(statement.test, {}))
            elif isinstance(statement, ast.FunctionDef):
                checks[statement.name] = statement
            elif isinstance(statement, ast.Assign):
                self._metadata(statement)
            elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
                found += self._checked(statement.value, checks)
            elif not _does_nothing(statement):
                raise _NotLiftable
        if not found:
            raise _NotLiftable
        return found

    def _checked(self, call: ast.Call, checks: dict[str, ast.FunctionDef]) -> list[Call]:
        """`check(f)` with the asserts of `def check(candidate): ...`."""
        match call:
            case ast.Call(ast.Name(check), [ast.Name(entry)], []) if check in checks:
                function = checks[check]
            case _:
                raise _NotLiftable
        if (
            function.decorator_list
            or len(function.args.args) != 1
            or ast.unparse(function.args) != function.args.args[0].arg
        ):
            raise _NotLiftable
        found = []
        for statement in function.body:
            if isinstance(statement, ast.Assert):
                found.append(self._call(statement.test, {function.args.args[0].arg: entry}))
            elif not _does_nothing(statement):
                raise _NotLiftable
        return found

    def _metadata(self, statement: ast.Assign) -> None:
        """`METADATA = {...}`: a constant that nothing else reads."""
        match statement.targets:
            case [ast.Name(name)]:
                readers = [node for node in ast.walk(ast.Module(self._body, [])) if isinstance(node, ast.Name)]
                if sum(node.id == name for node in readers) != 1:
                    raise _NotLiftable
                ast.literal_eval(statement.value)
            case _:
                raise _NotLiftable

    def _call(self, test: ast.expr, alias: dict[str, str]) -> Call:
        match test:
            case ast.Compare(ast.Call() as call, [ast.Eq()], [right]) if self._is_entry(call, alias):
                return self._made(call, alias, functools.partial(_is_equal, _literal(right)))
            case ast.Compare(left, [ast.Eq()], [ast.Call() as call]) if self._is_entry(call, alias):
                return self._made(call, alias, functools.partial(_is_equal, _literal(left)))
            case ast.Compare(ast.Call() as call, [ast.NotEq()], [right]) if self._is_entry(call, alias):
                return self._made(call, alias, functools.partial(_is_unequal, _literal(right)))
            case ast.Compare(ast.Call() as call, [ast.Is()], [ast.Constant(None | True | False as value)]) if (
                self._is_entry(call, alias)
            ):
                return self._made(call, alias, functools.partial(_is_constant, value))
            case ast.Call() as call if self._is_entry(call, alias):
                return self._made(call, alias, functools.partial(_is_true, True))
            case ast.UnaryOp(ast.Not(), ast.Call() as call) if self._is_entry(call, alias):
                return self._made(call, alias, functools.partial(_is_true, False))
            case ast.Compare(
                ast.Call(ast.Name("abs"), [ast.BinOp(ast.Call() as call, ast.Sub(), middle)], []),
                [ast.Lt() | ast.LtE() as less],
                [bound],
            ) if self._is_entry(call, alias) and "abs" not in self._shadowed | self._taken:
                near = functools.partial(_is_near, _literal(middle), _literal(bound), _LESS[type(less)])
                return self._made(call, alias, near)
        raise _NotLiftable

    def _is_entry(self, call: ast.Call, alias: dict[str, str]) -> bool:
        if not isinstance(call.func, ast.Name):
            return False
        name = alias.get(call.func.id, call.func.id)
        return name not in self._taken and (name not in _BUILTINS or name in self._shadowed)

    def _made(self, call: ast.Call, alias: dict[str, str], accepts: Accepts) -> Call:
        assert isinstance(call.func, ast.Name)
        keywords = {}
        for keyword in call.keywords:
            if keyword.arg is None:
                raise _NotLiftable
            keywords[keyword.arg] = _literal(keyword.value)
        name = alias.get(call.func.id, call.func.id)
        return Call(name, [_literal(argument) for argument in call.args], keywords, accepts)


def _does_nothing(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant)
    # Imports only matter to what uses them, and that is not lifted.
    return isinstance(statement, ast.Pass | ast.Import | ast.ImportFrom)


def _literal(node: ast.expr) -> Any:
    """The value of a literal, with set(...), tuple(...) and such around one, or float("inf")."""
    match node:
        case ast.Call(ast.Name(name), [], []) if name in _CONTAINERS:
            return _CONTAINERS[name](())
        case ast.Call(ast.Name(name), [argument], []) if name in _CONTAINERS:
            return _CONTAINERS[name](_literal(argument))
        case ast.Call(ast.Name("float"), [ast.Constant(str() as text)], []):
            return float(text)
        case ast.UnaryOp(ast.USub(), ast.Call() as inner):
            return -_literal(inner)
        case ast.List(items):
            return [_literal(item) for item in items]
        case ast.Tuple(items):
            return tuple(_literal(item) for item in items)
        case ast.Dict(keys, values) if None not in keys:
            return {_literal(key): _literal(value) for key, value in zip(keys, values, strict=True) if key is not None}
    value = ast.literal_eval(node)
    if value is Ellipsis:
        raise _NotLiftable
    return value


def _is_equal(expected: Any, answer: Any) -> bool:
    return _SAME(answer, expected)


def _is_unequal(expected: Any, answer: Any) -> bool:
    return not _SAME(answer, expected)


def _is_constant(expected: Any, answer: Any) -> bool:
    _refuse_object(answer)
    return answer is expected


def _is_true(wanted: bool, answer: Any) -> bool:
    _refuse_object(answer)
    number = number_of(answer)
    if number is not None:
        return bool(number) is wanted
    payload = next(iter(answer.values())) if isinstance(answer, dict) else answer
    if isinstance(answer, dict) and set(answer) & {"dt", "td", "n", "r"}:
        raise OpaqueAnswer  # rare, and the tester knows
    return bool(payload) is wanted


def _is_near(middle: Any, bound: Any, less: Callable[[Any, Any], bool], answer: Any) -> bool:
    _refuse_object(answer)
    number = number_of(answer)
    if number is None:
        raise OpaqueAnswer
    return bool(less(abs(number - middle), bound))


def _refuse_object(answer: Any) -> None:
    if isinstance(answer, dict) and ("h" in answer or "cb" in answer):
        raise OpaqueAnswer
