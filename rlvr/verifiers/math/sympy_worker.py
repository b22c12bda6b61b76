"""The process that sympy runs in: reads one job a line from standard input, writes one verdict a line, and never lives longer
than its parent. Run as `python -m rlvr.verifiers.math.sympy_worker`.

Expressions are built from our own trees, node by node; no string reaches sympy's parsers.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from rlvr.verifiers.math.tree import Node
from rlvr.verifiers.math.wire import unpack

MEMORY_BYTES = 1 << 30
CPU_SECONDS_A_JOB = 20
_PR_SET_PDEATHSIG = 1


class UntranslatableError(Exception):
    """A node that has no sympy object."""


def to_sympy(node: Node) -> Any:
    """The sympy object of an expression's tree. Raises UntranslatableError for anything but expressions."""
    import sympy

    kind = node.kind
    if kind == "num":
        return sympy.Rational(node.number.numerator, node.number.denominator)
    if kind == "sym":
        constants = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}
        return constants.get(node.text) or sympy.Symbol(node.text, positive=True)
    if kind == "inf":
        return sympy.oo
    args = [to_sympy(arg) for arg in node.args]
    if kind == "add":
        return sympy.Add(*args)
    if kind == "mul":
        return sympy.Mul(*args)
    if kind == "pow":
        return sympy.Pow(*args)
    if kind == "percent":
        return args[0] / 100
    if kind == "deg":
        return args[0] * sympy.pi / 180
    if kind == "big":
        return _big(node, args)
    if kind == "call":
        function = _functions().get(node.text)
        return function(*args) if function is not None else sympy.Function(node.text)(*args)
    raise UntranslatableError(kind)


def _functions() -> dict[str, Callable[..., Any]]:
    import sympy

    direct = str.split(
        "sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh coth sech csch asinh acosh atanh factorial"
    )
    table: dict[str, Callable[..., Any]] = {name: getattr(sympy, name) for name in direct}
    table.update(
        {
            "ln": sympy.log, "log": sympy.log, "abs": sympy.Abs, "norm": sympy.Abs, "floor": sympy.floor, "ceil": sympy.ceiling,
            "binom": sympy.binomial, "gcd": sympy.gcd, "lcm": sympy.lcm, "max": sympy.Max, "min": sympy.Min, "sgn": sympy.sign,
            "re": sympy.re, "im": sympy.im, "arg": sympy.arg, "factorial2": sympy.factorial2,
        }
    )  # fmt: skip
    return table


def _big(node: Node, args: list[Any]) -> Any:
    import sympy

    if len(args) == 4:
        limits = (args[1], args[2], args[3])
        if node.value == "int":
            return sympy.Integral(args[0], limits)
        # The letter of a sum runs over integers, possibly negative: it must not be assumed positive.
        index = sympy.Dummy("k", integer=True)
        body = args[0].subs(args[1], index)
        return (sympy.Sum if node.value == "sum" else sympy.Product)(body, (index, args[2], args[3]))
    if node.value == "lim":
        letter = sympy.Dummy("x", real=True)
        return sympy.Limit(args[0].subs(args[1], letter), letter, args[2])
    if node.value == "int":
        return sympy.Integral(args[0], args[1])
    raise UntranslatableError("a sum without limits")


def decide(first: Node, second: Node) -> bool | None:
    """Whether sympy proves two expressions equal (True), unequal (False), or neither."""
    import sympy

    a, b = to_sympy(first), to_sympy(second)
    unevaluated = (sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit)
    difference = (a.doit() - b.doit()) if (a - b).has(*unevaluated) else a - b
    if difference == 0:
        return True
    if difference.has(sympy.nan, sympy.zoo) or difference in (sympy.oo, -sympy.oo):
        return None if difference.has(sympy.nan, sympy.zoo) else False
    if not difference.free_symbols:
        value = sympy.N(difference, 40)
        size = max(abs(sympy.N(a, 20)), abs(sympy.N(b, 20)), sympy.Float("1e-300"))
        if value.is_number and value.is_finite and size.is_finite:
            if abs(value) > size * sympy.Float("1e-20"):
                return False
            if abs(value) < size * sympy.Float("1e-30") or value == 0:
                return True
    simplified = sympy.simplify(difference)
    if simplified == 0:
        return True
    verdict = simplified.equals(0)
    return None if verdict is None else bool(verdict)


def math_verify(gold: str, answer: str) -> bool | None:
    """What Math-Verify says of two answers' texts; None if it is not installed."""
    try:
        from math_verify import LatexExtractionConfig, parse, verify
    except ImportError:
        return None
    # Only its LaTeX reader: the other one hands text to sympy's parse_expr.
    reader = (LatexExtractionConfig(),)
    read = [parse(f"\\boxed{{{text}}}", reader, parsing_timeout=None) for text in (gold, answer)]
    return bool(verify(read[0], read[1], timeout_seconds=None)) if all(read) else None


def _limit_resources() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _allow_cpu_for_one_job() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + CPU_SECONDS_A_JOB
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, hard))


def _answer(line: str) -> bool | None:
    job = json.loads(line)
    if "texts" in job:
        return math_verify(*job["texts"])
    return decide(unpack(job["trees"][0]), unpack(job["trees"][1]))


def main() -> None:
    """Serve until the pipe closes. A job that fails is answered `null`: undecided."""
    _limit_resources()
    import sympy  # noqa: F401  # before the first job, so that its seconds are not the job's

    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like a verdict
    jobs: list[str] = []
    arrived = threading.Condition()

    def read_jobs() -> None:
        for line in sys.stdin:
            with arrived:
                jobs.append(line)
                arrived.notify()
        os._exit(0)  # the parent closed the pipe or died; whatever is being computed has no reader

    threading.Thread(target=read_jobs, daemon=True).start()
    replies.write("ready\n")
    replies.flush()
    while True:
        with arrived:
            while not jobs:
                arrived.wait()
            line = jobs.pop(0)
        _allow_cpu_for_one_job()
        try:
            verdict = _answer(line)
        except Exception:  # the boundary: sympy raises anything on odd input, and that is no verdict
            verdict = None
        replies.write(json.dumps(verdict) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
