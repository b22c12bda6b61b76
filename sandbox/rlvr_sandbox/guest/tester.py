"""Runs the test code of a task in a process of its own, away from the solution it tests.

What the test takes from the solution is a proxy (`proxy.py`): a call goes to the solution's process, a plain value comes
back, and every comparison happens here. Helpers that the task gives come from the task. Only an AssertionError-free end
is a pass; whatever the solution raises arrives as an ordinary exception, never as an exit.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from rlvr_sandbox.guest import codec
from rlvr_sandbox.guest.proxy import CompileFailed, Peer, SolutionGone, class_proxy

_BUILTINS = frozenset(dir(builtins))
_EXCEPTIONS = {
    name: value for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
}


def wanted_names(test: str, shadowing: list[str]) -> list[str]:
    """The names that the test may take from the solution: its own names, and builtins only where the task says so."""
    names = {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
    return sorted(names - (_BUILTINS - set(shadowing)))


def main(solution: codec.Channel, verdict: codec.Channel, job: dict[str, Any]) -> NoReturn:
    """Judges and reports {"cases": a verdict per top-level assert, "total", "error", "gone"} on `verdict`."""
    report: dict[str, Any] = {"cases": [], "total": 1, "error": "", "gone": False}
    try:
        _judge(Peer(solution), job, report)
    except BaseException as error:
        _note(error, report)
    verdict.send(report)
    os._exit(0)


def _note(error: BaseException, report: dict[str, Any]) -> None:
    if isinstance(error, CompileFailed):
        verdict, text = "CE", str(error)
    elif isinstance(error, SolutionGone):
        verdict, text = "RE", "the solution's process ended during the test"
    else:
        kinds: dict[type, str] = {AssertionError: "WA", MemoryError: "MLE"}
        verdict, text = kinds.get(type(error), "RE"), _text(error)
    report["cases"].append(verdict)
    report["gone"] = isinstance(error, SolutionGone)
    report["error"] = report["error"] or text


def _judge(peer: Peer, job: dict[str, Any], report: dict[str, Any]) -> None:
    prelude, test = job["prelude"], job["test"]
    names = wanted_names(prelude + "\n" + test, job["names"])
    described = peer.load(job["code"], names)
    namespace: dict[str, Any] = {"__name__": "__test__"}
    for name in names:
        if name in described:
            made = _from_solution(peer, name, described[name])
            if made is not None:
                namespace[name] = made[0]
    # What the task brings wins over what the solution calls by the same name.
    exec(compile(prelude, "prelude.py", "exec", dont_inherit=True), namespace)  # noqa: S102  the task's own code
    statements = ast.parse(test).body
    report["total"] = max(1, sum(isinstance(statement, ast.Assert) for statement in statements))
    for statement in statements:
        code = compile(ast.Module([statement], []), "test.py", "exec", dont_inherit=True)
        if not isinstance(statement, ast.Assert):
            exec(code, namespace)  # noqa: S102  the task's own code
            continue
        try:
            exec(code, namespace)  # noqa: S102  the task's own code
        except Exception as error:
            _note(error, report)  # the other asserts still say how much of it works
        else:
            report["cases"].append("AC")
    if not report["cases"]:
        report["cases"].append("AC")  # test code without an assert of its own came to its end


def _from_solution(peer: Peer, name: str, described: dict[str, Any]) -> tuple[Any] | None:
    kind = described["k"]
    if kind == "func":
        return (_function(peer, name, described.get("co") is True),)
    if kind == "class":
        return (class_proxy(peer, name),)
    if kind == "exc":
        base = _EXCEPTIONS.get(described["b"], Exception)
        peer.exceptions[name] = made = type(name, (base,), {})
        return (made,)
    if kind == "mod":
        module = str(described["n"])
        # A module that the solution imported: the real one, and only from the standard library.
        return (__import__(module, fromlist=["_"]),) if module.split(".")[0] in sys.stdlib_module_names else None
    return (peer.decode(described["v"]),)


def _function(peer: Peer, name: str, is_coroutine: bool) -> Callable[..., Any]:
    def plain(*arguments: Any, **keywords: Any) -> Any:
        return peer.call({"n": name}, arguments, keywords)

    async def coroutine(*arguments: Any, **keywords: Any) -> Any:
        return peer.call({"n": name}, arguments, keywords)

    proxy: Callable[..., Any] = coroutine if is_coroutine else plain
    proxy.__name__ = proxy.__qualname__ = name
    return proxy


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:500]
    except Exception:
        return type(error).__name__
