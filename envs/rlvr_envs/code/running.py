"""What generated programs give, found by running them in the sandbox."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rlvr.errors import EnvironmentFault

_DRIVER = """
import json, sys
for source, inputs in json.loads(sys.stdin.read()):
    names = {}
    exec(source, names)
    outputs = []
    for arguments in inputs:
        try:
            outputs.append([names["f"](*arguments)])
        except Exception as error:
            outputs.append({"raised": type(error).__name__})
    print(json.dumps(outputs))
"""

FAILED = object()
"""In place of an output: the program raised."""


def outputs_of(source: str, inputs: Sequence[Sequence[Any]]) -> list[Any]:
    """What the function `f` of a program of ours returns for each list of arguments; FAILED where it raises."""
    return outputs_of_all([(source, inputs)])[0]


def outputs_of_all(programs: Sequence[tuple[str, Sequence[Sequence[Any]]]]) -> list[list[Any]]:
    """The same for several programs in one run.

    Raises EnvironmentFault if the program does not come to its end, SandboxUnavailableError if it could not be run.
    """
    from rlvr_sandbox import Limits, run

    outcome = run(_DRIVER, stdin=json.dumps(programs), limits=Limits(5.0))
    lines = outcome.stdout.splitlines()
    if not outcome.ok or len(lines) != len(programs):
        raise EnvironmentFault(
            f"a generated program did not come to its end: {outcome.verdict}, {outcome.stderr[-300:]}"
        )
    return [[value[0] if isinstance(value, list) else FAILED for value in json.loads(line)] for line in lines]


def function_tests(inputs: Sequence[Sequence[Any]], outputs: Sequence[Any]) -> dict[str, Any]:
    """Tests of a function `f` with these arguments and results."""
    cases = [{"args": list(given), "expected": wanted} for given, wanted in zip(inputs, outputs, strict=True)]
    return {"kind": "function", "entry": "f", "cases": cases}


def shown(inputs: Sequence[Sequence[Any]], outputs: Sequence[Any]) -> str:
    """Examples as calls and their results, one a line."""
    return "\n".join(
        f"f({', '.join(map(repr, given))}) == {wanted!r}" for given, wanted in zip(inputs, outputs, strict=True)
    )
