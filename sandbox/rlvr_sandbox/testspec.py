"""Tests as a task gives them: plain data, checked once before anything runs.

    {"kind": "stdio", "cases": [{"stdin": "1 2\\n", "stdout": "3\\n"}]}
    {"kind": "function", "entry": "f", "cases": [{"args": [1, 2], "expected": 3}]}
    {"kind": "assert", "code": "assert f(1, 2) == 3"}

More that a row may hold. `checker` (stdio, function): how an answer is compared, see `Checker`. `any_of` instead of
`stdout` or `expected`: a list of right outputs. `kwargs` beside `args`. `entry` may be `Class.method`. `prelude` (assert):
code of the task, whose names win over the solution's. `names` (assert): names that the task itself gives to what is to be
written; only these may shadow a builtin.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rlvr.errors import ConfigError

_NOTHING_RUN = "No program was run."
_MAX_TEST_CHARACTERS = 2_000_000


@dataclass(frozen=True, slots=True)
class Checker:
    """How an answer is compared with the expected one."""

    kind: Literal["exact", "float", "unordered", "code"] = "exact"
    """exact      text line by line without trailing blanks; values by Python's == (see `compare.py`)
    float      numbers within the tolerances, everything else exactly; text token by token
    unordered  lines of text, or elements of a list, in any order
    code       a function `check(given, answer, expected) -> bool` of the task; `given` is stdin or the list of args"""
    rel_tol: float = 1e-6
    abs_tol: float = 1e-6
    code: str = ""


@dataclass(frozen=True, slots=True)
class StdioCase:
    """One run of the program."""

    stdin: str
    stdouts: Sequence[str]
    """Any of these is right."""


@dataclass(frozen=True, slots=True)
class StdioTests:
    """The program reads standard input and writes standard output."""

    cases: Sequence[StdioCase]
    checker: Checker = field(default_factory=Checker)


@dataclass(frozen=True, slots=True)
class FunctionCase:
    """One call."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    expected: Sequence[Any]
    """Any of these is right."""


@dataclass(frozen=True, slots=True)
class FunctionTests:
    """A function of the solution is called."""

    entry: str
    cases: Sequence[FunctionCase]
    checker: Checker = field(default_factory=Checker)


@dataclass(frozen=True, slots=True)
class AssertTests:
    """Test code that uses names of the solution and fails by an exception."""

    code: str
    prelude: str = ""
    names: tuple[str, ...] = ()


Tests = StdioTests | FunctionTests | AssertTests


def parse_tests(tests: Mapping[str, Any]) -> Tests:
    """Checked tests. Raises ConfigError naming what is wrong: tests come from a task, never from a model."""
    if not isinstance(tests, Mapping):
        raise ConfigError(f"tests are {type(tests).__name__}; they must be an object with a `kind`. {_NOTHING_RUN}")
    kind = tests.get("kind")
    if kind == "stdio":
        return StdioTests([_stdio_case(case) for case in _cases(tests)], _checker(tests))
    if kind == "function":
        entry = tests.get("entry")
        if not isinstance(entry, str) or not all(part.isidentifier() for part in entry.split(".")):
            raise ConfigError(f"function tests have entry {entry!r}; it must be a name such as 'f'. {_NOTHING_RUN}")
        return FunctionTests(entry, [_function_case(case) for case in _cases(tests)], _checker(tests))
    if kind == "assert":
        return _assert_tests(tests)
    raise ConfigError(f"tests have kind {kind!r}; it must be 'stdio', 'function' or 'assert'. {_NOTHING_RUN}")


def _cases(tests: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    cases = tests.get("cases")
    if not isinstance(cases, list | tuple) or not cases or not all(isinstance(case, Mapping) for case in cases):
        raise ConfigError(
            f"{tests['kind']} tests have cases {str(cases)[:60]!r}; without a case every program would pass. {_NOTHING_RUN}"
        )
    return cases


def _stdio_case(case: Mapping[str, Any]) -> StdioCase:
    stdouts: Any = case["any_of"] if "any_of" in case else [case.get("stdout")]
    stdin = case.get("stdin", "")
    if not isinstance(stdin, str) or not stdouts or not all(isinstance(text, str) for text in stdouts):
        raise ConfigError(f"a stdio case is {str(case)[:80]!r}; it needs texts `stdin` and `stdout`. {_NOTHING_RUN}")
    return StdioCase(stdin, list(stdouts))


def _function_case(case: Mapping[str, Any]) -> FunctionCase:
    args, kwargs = case.get("args", []), case.get("kwargs", {})
    if not isinstance(args, list | tuple) or not isinstance(kwargs, Mapping):
        raise ConfigError(f"a function case has args {str(args)[:60]!r}; it must be a list. {_NOTHING_RUN}")
    if "expected" not in case and not case.get("any_of"):
        raise ConfigError(f"a function case is {str(case)[:80]!r}; it has nothing `expected`. {_NOTHING_RUN}")
    return FunctionCase(list(args), dict(kwargs), list(case["any_of"]) if "any_of" in case else [case["expected"]])


def _assert_tests(tests: Mapping[str, Any]) -> AssertTests:
    code, prelude, names = tests.get("code"), tests.get("prelude", ""), tests.get("names", ())
    if not isinstance(code, str) or not isinstance(prelude, str) or not code.strip():
        raise ConfigError(f"assert tests have code {str(code)[:60]!r}; it must be Python code. {_NOTHING_RUN}")
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"assert tests have names {names!r}; they must be a list of names. {_NOTHING_RUN}")
    for what, text in (("code", code), ("prelude", prelude)):
        if len(text) > _MAX_TEST_CHARACTERS:
            raise ConfigError(f"assert tests have {what} of {len(text)} characters; at most {_MAX_TEST_CHARACTERS}.")
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ConfigError(
                f"the {what} of assert tests is no Python ({error}); every program would fail."
            ) from error
    return AssertTests(code, prelude, tuple(names))


def _checker(tests: Mapping[str, Any]) -> Checker:
    given = tests.get("checker", "exact")
    values = {"kind": given} if isinstance(given, str) else given
    known = {"kind", "rel_tol", "abs_tol", "code"}
    if not isinstance(values, Mapping) or not set(values) <= known:
        raise ConfigError(f"tests have checker {given!r}; its fields are {', '.join(sorted(known))}. {_NOTHING_RUN}")
    checker = Checker(**values)
    if checker.kind not in ("exact", "float", "unordered", "code") or (checker.kind == "code") != bool(checker.code):
        raise ConfigError(
            f"tests have checker {given!r}; its kind is 'exact', 'float', 'unordered', or 'code' with `code`. {_NOTHING_RUN}"
        )
    return checker
