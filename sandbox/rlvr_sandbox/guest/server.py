"""Runs beside a solution and does what it is asked: call this, get that. Nothing here is trusted.

It answers only "this call gave this value". Expected values and test code never come here, so a solution that takes
this process over can do no more than give answers, right or wrong.
"""

from __future__ import annotations

import builtins
import operator
import os
import sys
import types
from typing import Any

from rlvr_sandbox.guest import codec
from rlvr_sandbox.guest.program import COMPILE_ERRORS, compile_program

EXCEPTIONS: dict[str, type[BaseException]] = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}
_UNARY: dict[str, Any] = {
    "int": int,
    "float": float,
    "round": round,
    "abs": abs,
    "neg": operator.neg,
    "index": operator.index,
}


class Server:
    """One solution and the objects of it that the other side holds handles to."""

    def __init__(self, channel: codec.Channel) -> None:
        self.channel = channel
        self.objects: list[Any] = []
        self.names: dict[str, Any] = {}

    def serve(self) -> None:
        """Answers requests until the other side hangs up. Never returns."""
        while True:
            try:
                request = self.channel.receive()
            except EOFError:
                os._exit(0)
            try:
                reply = self._do(request)
            except BaseException as error:
                reply = self._exception(error)
            try:
                self.channel.send(reply)
            except codec.TooLarge:
                self.channel.send({"large": True})

    def _do(self, request: dict[str, Any]) -> dict[str, Any]:
        do = getattr(self, "_op_" + request["op"])
        result: dict[str, Any] = do(request)
        return result

    def _op_load(self, request: dict[str, Any]) -> dict[str, Any]:
        source = request["code"]
        module = types.ModuleType("solution")
        module.__dict__["__file__"] = "solution.py"
        sys.modules["solution"] = module  # dataclasses and pickle look their module up
        try:
            code = compile_program(source, "solution.py")
        except COMPILE_ERRORS as error:
            return {"compile": f"{type(error).__name__}: {error}"[:500]}
        exec(code, module.__dict__)  # noqa: S102  this process exists to run it
        self.names = module.__dict__
        return {"names": {name: self._describe(self.names[name]) for name in request["want"] if name in self.names}}

    def _op_call(self, request: dict[str, Any]) -> dict[str, Any]:
        function = self._target(request)
        arguments = [self._decode(value) for value in request["a"]]
        keywords = {name: self._decode(value) for name, value in request["k"].items()}
        value = function(*arguments, **keywords)
        if type(value) is types.CoroutineType:
            import asyncio

            value = asyncio.run(value)
        reply = {"v": self._encode(value, reduce=request.get("reduce", False))}
        if request.get("back"):
            changed = {}
            for place, (argument, sent) in enumerate(zip(arguments, request["a"], strict=True)):
                if type(argument) in (list, dict, set, bytearray):
                    now = self._encode(argument)
                    if now != sent:
                        changed[place] = now
            reply["back"] = changed
        return reply

    def _op_get(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"v": self._encode(getattr(self._target(request), request["attr"]))}

    def _op_set(self, request: dict[str, Any]) -> dict[str, Any]:
        setattr(self._target(request), request["attr"], self._decode(request["v"]))
        return {"v": None}

    def _op_iter(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"v": self._handle(iter(self._target(request)))}

    def _op_next(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"v": self._encode(next(self._target(request)))}
        except StopIteration:
            return {"stop": True}

    def _op_item(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"v": self._encode(self._target(request)[self._decode(request["key"])])}

    def _op_setitem(self, request: dict[str, Any]) -> dict[str, Any]:
        self._target(request)[self._decode(request["key"])] = self._decode(request["v"])
        return {"v": None}

    def _op_delitem(self, request: dict[str, Any]) -> dict[str, Any]:
        del self._target(request)[self._decode(request["key"])]
        return {"v": None}

    def _op_plain(self, request: dict[str, Any]) -> dict[str, Any]:
        make: Any = {"len": len, "bool": bool, "str": str, "repr": repr, "hash": hash}[request["f"]]
        return {"v": self._encode(make(self._target(request)))}

    def _op_format(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"v": format(self._target(request), str(request["f"]))}

    def _op_unary(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"v": self._encode(_UNARY[request["f"]](self._target(request)))}

    def _op_binary(self, request: dict[str, Any]) -> dict[str, Any]:
        left, right = self._target(request), self._decode(request["v"])
        if request.get("swap"):
            left, right = right, left
        return {"v": self._encode(getattr(operator, request["f"])(left, right))}

    def _target(self, request: dict[str, Any]) -> Any:
        if "h" in request:
            return self.objects[request["h"]]
        name, *path = request["n"].split(".")
        if name in self.names:
            target = self.names[name]
        elif request.get("reduce") and not path and hasattr(self.names.get("Solution"), name):
            target = getattr(self.names["Solution"](), name)  # how LeetCode-style problems hold their function
        else:
            raise NameError(f"name {name!r} is not defined")
        for part in path:
            target = getattr(target() if isinstance(target, type) else target, part)
        return target

    def _handle(self, value: Any) -> dict[str, Any]:
        self.objects.append(value)
        kind = type(value)
        function = callable(value) and not isinstance(value, type) and not hasattr(value, "__next__")
        return {
            "h": len(self.objects) - 1,
            "c": kind.__name__,
            "k": "f" if function else "o",
            "co": function and _is_coroutine_function(value),
        }

    def _encode(self, value: Any, reduce: bool = False) -> Any:
        try:
            return codec.encode(value, self._handle, reduce=reduce)
        except (codec.TooDeep, RecursionError):
            return self._handle(value)

    def _decode(self, data: Any) -> Any:
        return codec.decode(data, self._make)

    def _make(self, data: dict[str, Any]) -> Any:
        if "h" in data:
            return self.objects[data["h"]]
        number = data["cb"]

        def callback(*arguments: Any, **keywords: Any) -> Any:
            call = {
                "cb": number,
                "a": [self._encode(value) for value in arguments],
                "k": {name: self._encode(value) for name, value in keywords.items()},
            }
            self.channel.send(call)
            reply = self.channel.receive()
            if "exc" in reply:
                error = reply["exc"]
                raise EXCEPTIONS.get(error["b"], Exception)(*[self._decode(value) for value in error["a"]])
            return self._decode(reply["v"])

        callback.__name__ = str(data.get("n", "callback"))
        return callback

    def _describe(self, value: Any) -> dict[str, Any]:
        if isinstance(value, type):
            if issubclass(value, BaseException):
                return {"k": "exc", "b": _builtin_base(value)}
            return {"k": "class"}
        if isinstance(value, types.ModuleType):
            return {"k": "mod", "n": value.__name__}
        if callable(value):
            return {"k": "func", "co": _is_coroutine_function(value)}
        return {"k": "val", "v": self._encode(value)}

    def _exception(self, error: BaseException) -> dict[str, Any]:
        described: dict[str, Any] = {
            "b": _builtin_base(type(error)),
            "c": type(error).__name__,
            "a": [],
            "d": {},
            "s": "",
        }
        try:
            described["s"] = str(error)[:2000]
            described["a"] = [self._encode(value) for value in BaseException.__getattribute__(error, "args")]
            described["d"] = {str(name): self._encode(value) for name, value in vars(error).items()}
        except BaseException:
            pass  # its own methods misbehaved; the class is what counts
        return {"exc": described}


def _is_coroutine_function(value: Any) -> bool:
    code = getattr(value, "__code__", None)
    return isinstance(code, types.CodeType) and bool(code.co_flags & 0x80)  # inspect.CO_COROUTINE, without inspect


def _builtin_base(kind: type) -> str:
    return next((base.__name__ for base in kind.__mro__ if EXCEPTIONS.get(base.__name__) is base), "Exception")
