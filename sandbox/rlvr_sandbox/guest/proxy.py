"""Stand-ins for the objects of a solution, as a test sees them.

The rule that closes the holes: an object of the solution is never shown a value of the test, neither by `==` nor by `<`,
`in` or arithmetic, unless the test itself built the object by naming its class. Otherwise an object that is equal to
everything, or one that reads what it is compared with, would pass any test.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from typing import Any

from rlvr_sandbox.guest import codec

_EXCEPTIONS = {
    name: value for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
}
# A solution that raises these could end a loop or a map() of the test early, and what was not compared cannot fail.
_CONTROL_FLOW = (StopIteration, StopAsyncIteration)


class SolutionError(Exception):
    """The solution raised what a test must not see as it is, or cannot be asked for this."""


class SolutionGone(BaseException):
    """The solution's process has ended; no `except Exception` of a test may take that for a raised error."""


class CompileFailed(BaseException):
    """The solution is no Python program."""


class Peer:
    """The solution's process, as the test process sees it."""

    def __init__(self, channel: codec.Channel) -> None:
        self.channel = channel
        self.callbacks: list[Callable[..., Any]] = []
        self.classes: dict[str, type[Remote]] = {}
        self.exceptions: dict[str, type[Exception]] = {}

    def load(self, code: str, names: list[str]) -> dict[str, dict[str, Any]]:
        """Runs the solution's module; what it has under these names."""
        reply = self.request({"op": "load", "code": code, "want": names})
        if "compile" in reply:
            raise CompileFailed(str(reply["compile"]))
        described: dict[str, dict[str, Any]] = reply["names"]
        return described

    def request(self, message: dict[str, Any]) -> dict[str, Any]:
        """One request and its reply; callbacks of the test are served meanwhile."""
        try:
            self.channel.send(message)
            while True:
                reply = self.channel.receive()
                if "cb" not in reply:
                    break
                self.channel.send(self._call_back(reply))
        except (EOFError, ConnectionError) as error:
            raise SolutionGone from error
        if "exc" in reply:
            self._raise(reply["exc"])
        if "large" in reply:
            raise SolutionError("the result is too large")
        checked: dict[str, Any] = reply
        return checked

    def call(self, target: dict[str, Any], arguments: Any, keywords: dict[str, Any], *, own: bool = False) -> Any:
        """Calls; arguments that the solution changed in place are changed here, too."""
        message = {
            **target,
            "op": "call",
            "a": [self.encode(value) for value in arguments],
            "k": {name: self.encode(value) for name, value in keywords.items()},
            "back": True,
        }
        reply = self.request(message)
        for place, data in reply.get("back", {}).items():
            _change_in_place(arguments[int(place)], self.decode(data))
        return self.decode(reply["v"], own)

    def ask(self, message: dict[str, Any], *, own: bool = False) -> Any:
        """One request for one value."""
        return self.decode(self.request(message)["v"], own)

    def encode(self, value: Any) -> Any:
        """A value of the test on its way to the solution."""
        return codec.encode(value, self._handle)

    def decode(self, data: Any, own: bool = False) -> Any:
        """A value of the solution; `own` marks objects that the test asked for by their class."""
        return codec.decode(data, lambda handle: self._make(handle, own))

    def _handle(self, value: Any) -> dict[str, Any]:
        if isinstance(value, Remote):
            return {"h": _handle_of(value)}
        if callable(value):
            self.callbacks.append(value)
            return {"cb": len(self.callbacks) - 1, "n": getattr(value, "__name__", "callback")}
        raise SolutionError(f"a {type(value).__name__} of the test cannot be given to the solution")

    def _make(self, data: dict[str, Any], own: bool) -> Remote:
        made: Remote = object.__new__(self.classes.get(str(data.get("c")), Remote))
        object.__setattr__(made, "_peer", self)
        object.__setattr__(made, "_handle", int(data["h"]))
        object.__setattr__(made, "_own", own)
        object.__setattr__(made, "_co", data.get("co") is True)
        return made

    def _call_back(self, call: dict[str, Any]) -> dict[str, Any]:
        try:
            arguments = [self.decode(value) for value in call["a"]]
            keywords = {str(name): self.decode(value) for name, value in call["k"].items()}
            return {"v": self.encode(self.callbacks[call["cb"]](*arguments, **keywords))}
        except Exception as error:
            base = next(kind.__name__ for kind in type(error).__mro__ if _EXCEPTIONS.get(kind.__name__) is kind)
            plain = [value for value in error.args if isinstance(value, str | int | float)]
            return {"exc": {"b": base, "a": plain}}

    def _raise(self, described: dict[str, Any]) -> None:
        own = self.exceptions.get(str(described["c"]))
        kind = own or _EXCEPTIONS.get(str(described["b"]))
        text = str(described.get("s", ""))
        if kind is None or issubclass(kind, _CONTROL_FLOW):
            raise SolutionError(f"{described['b']}: {text}")
        try:
            error = kind(*[self.decode(value) for value in described["a"]])
        except TypeError:
            raise SolutionError(f"{described['b']}: {text}") from None
        if own is not None:
            for name, data in described["d"].items():
                setattr(error, str(name), self.decode(data))
            own.__str__ = lambda self: text  # type: ignore[method-assign]
        raise error


def _change_in_place(value: Any, now: Any) -> None:
    if type(value) is not type(now):
        return
    if isinstance(value, list | bytearray):
        value[:] = now
    elif isinstance(value, dict | set):
        value.clear()
        value.update(now)


def _field(value: object, name: str) -> Any:
    return object.__getattribute__(value, name)


def _handle_of(value: Remote) -> int:
    handle: int = _field(value, "_handle")
    return handle


class ClassProxy(type):
    """The type of a class proxy: calling it builds an object in the solution's process."""

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        return _class_peer(cls).call({"n": cls.__name__}, arguments, keywords, own=True)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _class_peer(cls).ask({"op": "get", "n": cls.__name__, "attr": name}, own=True)


def _class_peer(cls: type) -> Peer:
    peer = cls.__dict__.get("_class_peer")
    if not isinstance(peer, Peer):
        raise TypeError("not a class of the solution")
    return peer


def class_proxy(peer: Peer, name: str) -> type[Remote]:
    """A class of the solution that the test names."""
    made = ClassProxy(name, (Remote,), {"_class_peer": peer})
    peer.classes[name] = made  # type: ignore[assignment]
    return made  # type: ignore[return-value]


class Remote(metaclass=ClassProxy):
    """An object that lives in the solution's process."""

    def _ask(self, message: dict[str, Any], own: bool = False) -> Any:
        peer: Peer = _field(self, "_peer")
        return peer.ask({**message, "h": _handle_of(self)}, own=own)

    def _plain(self, what: str, kind: type) -> Any:
        value = _field(self, "_ask")({"op": "plain", "f": what})
        if type(value) is not kind:
            raise SolutionError(f"{what}() gave a {type(value).__name__}")
        return value

    def _encoded(self, value: Any) -> Any:
        peer: Peer = _field(self, "_peer")
        return peer.encode(value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _field(self, "_ask")({"op": "get", "attr": name})

    def __setattr__(self, name: str, value: Any) -> None:
        _field(self, "_ask")({"op": "set", "attr": name, "v": _field(self, "_encoded")(value)})

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        peer: Peer = _field(self, "_peer")
        value = peer.call({"h": _handle_of(self)}, arguments, keywords)
        return _awaitable(value) if _field(self, "_co") else value

    def __iter__(self) -> Iterator[Any]:
        iterator: Iterator[Any] = _field(self, "_ask")({"op": "iter"})
        return iterator

    def __next__(self) -> Any:
        peer: Peer = _field(self, "_peer")
        reply = peer.request({"op": "next", "h": _handle_of(self)})
        if "stop" in reply:
            raise StopIteration
        return peer.decode(reply["v"])

    def __len__(self) -> int:
        size: int = _field(self, "_plain")("len", int)
        return size

    def __bool__(self) -> bool:
        truth: bool = _field(self, "_plain")("bool", bool)
        return truth

    def __str__(self) -> str:
        text: str = _field(self, "_plain")("str", str)
        return text

    def __repr__(self) -> str:
        text: str = _field(self, "_plain")("repr", str)
        return text

    def __format__(self, spec: str) -> str:
        return str(_field(self, "_ask")({"op": "format", "f": spec}))

    def __hash__(self) -> int:
        value: int = _field(self, "_plain")("hash", int)
        return value

    def __getitem__(self, key: Any) -> Any:
        return _field(self, "_ask")({"op": "item", "key": _field(self, "_encoded")(key)})

    def __setitem__(self, key: Any, value: Any) -> None:
        encoded = _field(self, "_encoded")
        _field(self, "_ask")({"op": "setitem", "key": encoded(key), "v": encoded(value)})

    def __delitem__(self, key: Any) -> None:
        _field(self, "_ask")({"op": "delitem", "key": _field(self, "_encoded")(key)})

    def __contains__(self, item: Any) -> bool:
        if not (_field(self, "_own") or isinstance(item, Remote)):
            raise SolutionError("the test looks for its value in an object that the solution made up")
        found = _field(self, "_ask")({"op": "binary", "f": "contains", "v": _field(self, "_encoded")(item)})
        return found is True

    def __enter__(self) -> Any:
        return _field(self, "_ask")({"op": "get", "attr": "__enter__"}, own=_field(self, "_own"))()

    def __exit__(self, *error: Any) -> bool:
        # The exception itself stays here; the solution is told only that there was none or some.
        return _field(self, "_ask")({"op": "get", "attr": "__exit__"})(None, None, None) is True


def _awaitable(value: Any) -> Any:
    async def result() -> Any:
        return value

    return result()


def _binary(name: str, *, swap: bool = False, shows_plain: bool = True) -> Callable[[Remote, Any], Any]:
    def operation(self: Remote, other: Any) -> Any:
        own = _field(self, "_own")
        if not (isinstance(other, Remote) or (own and shows_plain)):
            return NotImplemented
        message = {"op": "binary", "f": name, "v": _field(self, "_encoded")(other), "swap": swap}
        return _field(self, "_ask")(message, own=own)

    return operation


def _unary(name: str) -> Callable[..., Any]:
    def operation(self: Remote) -> Any:
        if not _field(self, "_own"):
            raise TypeError("an object that the solution made up in arithmetic of the test")
        return _field(self, "_ask")({"op": "unary", "f": name}, own=True)

    return operation


def _not_equal(self: Remote, other: Any) -> bool:
    return not self == other  # noqa: SIM201  this is what != means here


for _name in ("lt", "le", "gt", "ge"):
    setattr(Remote, f"__{_name}__", _binary(_name))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor", "matmul"):
    setattr(Remote, f"__{_name.rstrip('_')}__", _binary(_name))
    setattr(Remote, f"__r{_name.rstrip('_')}__", _binary(_name, swap=True))
for _name in ("int", "float", "round", "abs", "neg", "index"):
    setattr(Remote, f"__{_name}__", _unary(_name))
# Even an object that the test built is not shown what it should be equal to.
Remote.__eq__ = _binary("eq", shows_plain=False)  # type: ignore[method-assign, assignment]
Remote.__ne__ = _not_equal  # type: ignore[method-assign, assignment]
