"""Values as plain data: tagged JSON behind a length.

Python's built-in values become JSON where JSON has them, `{tag: payload}` where it has not. Whatever else turns up is
given to `handle`, which says what stands for it. `decode` makes built-in values only, so nothing that a hostile peer
sends carries behaviour across. Size and depth are capped on both sides.

    int beyond 2**1000 {"i": hex}     tuple {"t": [...]}     dict {"d": [[key, value], ...]}   set {"s": [...]}
    frozenset {"f": [...]}            bytes {"b": hex}       bytearray {"B": hex}              complex {"c": [re, im]}
    range {"r": [start, stop, step]}  deque {"q": [...]}     Decimal {"D": text}               Fraction {"F": [hex, hex]}
    date, time {"dt": [class, iso]}   timedelta {"td": [d, s, us]}   named tuple {"n": [class, fields, values]}
"""

from __future__ import annotations

import collections
import json
import os
import struct
from collections.abc import Callable
from typing import Any

MAX_MESSAGE_BYTES = 16 << 20
MAX_DEPTH = 150
_BIG = 1 << 1000
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_MOMENTS = ("datetime.date", "datetime.datetime", "datetime.time")


class TooDeep(ValueError):
    """A value is nested too deeply, or contains itself."""


class TooLarge(ValueError):
    """A message is larger than MAX_MESSAGE_BYTES."""


def encode(value: Any, handle: Callable[[Any], Any], *, reduce: bool = False, depth: int = 0) -> Any:
    """The JSON that stands for `value`.

    `handle` is asked about values that are not plain. `reduce` also turns instances of container subclasses and
    iterators into their plain contents; without it they are objects. Raises TooDeep.
    """
    kind = type(value)
    if value is None or kind is bool or kind is float or kind is str:
        return value
    if kind is int:
        return value if -_BIG < value < _BIG else {"i": hex(value)}
    if depth > MAX_DEPTH:
        raise TooDeep(f"nested deeper than {MAX_DEPTH}")

    def each(items: Any) -> list[Any]:
        return [encode(item, handle, reduce=reduce, depth=depth + 1) for item in items]

    def pairs(items: Any) -> list[Any]:
        return [each(pair) for pair in items]

    if kind is list:
        return each(value)
    if kind is tuple:
        return {"t": each(value)}
    if kind is dict:
        return {"d": pairs(value.items())}
    if kind is set:
        return {"s": each(value)}
    if kind is frozenset:
        return {"f": each(value)}
    if kind is bytes:
        return {"b": value.hex()}
    if kind is bytearray:
        return {"B": value.hex()}
    if kind is complex:
        return {"c": [value.real, value.imag]}
    if kind is range:
        return {"r": [encode(n, handle) for n in (value.start, value.stop, value.step)]}
    # By name: few programs need these modules, and every fork would pay for them.
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name == "decimal.Decimal":
        return {"D": str(value)}
    if name == "fractions.Fraction":
        return {"F": [hex(value.numerator), hex(value.denominator)]}
    if name in _MOMENTS:
        return {"dt": [kind.__name__, value.isoformat()]}
    if name == "datetime.timedelta":
        return {"td": [value.days, value.seconds, value.microseconds]}
    if kind is collections.deque:
        return {"q": each(value)}
    if kind in (collections.defaultdict, collections.OrderedDict, collections.Counter):
        return {"d": pairs(dict.items(value))}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return {"n": [kind.__name__, [str(name) for name in kind._fields], each(tuple.__iter__(value))]}
    # Subclasses of numbers and text travel as their base value; what they would do stays behind.
    if isinstance(value, bool | int):
        return encode(int.__int__(value), handle)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return "".join(str.__iter__(value))
    base = next((base for base in (list, dict, set, frozenset, tuple) if isinstance(value, base)), None)
    if base is not None and (reduce or not any(callable(member) for member in vars(kind).values())):
        if base is dict:
            return {"d": pairs(dict.items(value))}
        items = each(base.__iter__(value))
        return items if base is list else {{set: "s", frozenset: "f", tuple: "t"}[base]: items}
    if kind in _VIEWS and reduce:
        return each(value)
    if reduce and hasattr(kind, "__next__") and hasattr(kind, "__iter__"):
        return each(value)
    return handle(value)


def decode(data: Any, make: Callable[[dict[str, Any]], Any], depth: int = 0) -> Any:
    """The value that `encode` was given; `make` answers for objects with the keys "h" or "cb".

    Raises ValueError, TypeError or KeyError if the data is not what `encode` writes.
    """
    kind = type(data)
    if data is None or kind in (bool, int, float, str):
        return data
    if depth > MAX_DEPTH + 50:
        raise ValueError("nested too deeply")

    def each(items: Any) -> list[Any]:
        return [decode(item, make, depth + 1) for item in items]

    if kind is list:
        return each(data)
    if kind is not dict:
        raise ValueError("not a value")
    if "h" in data or "cb" in data:
        return make(data)
    if len(data) != 1:
        raise ValueError("not a value")
    ((tag, payload),) = data.items()
    match tag:
        case "t":
            return tuple(each(payload))
        case "d":
            return dict(map(each, payload))
        case "s":
            return set(each(payload))
        case "f":
            return frozenset(each(payload))
        case "i":
            return int(payload, 16)
        case "b":
            return bytes.fromhex(payload)
        case "B":
            return bytearray.fromhex(payload)
        case "c":
            return complex(float(payload[0]), float(payload[1]))
        case "r":
            return range(*each(payload))
        case "D":
            import decimal

            return decimal.Decimal(str(payload))
        case "F":
            import fractions

            return fractions.Fraction(int(payload[0], 16), int(payload[1], 16))
        case "dt":
            import datetime

            if f"datetime.{payload[0]}" not in _MOMENTS:
                raise ValueError("no such kind of moment")
            return getattr(datetime, payload[0]).fromisoformat(payload[1])
        case "td":
            import datetime

            return datetime.timedelta(*[int(part) for part in payload])
        case "q":
            return collections.deque(each(payload))
        case "n":
            made = collections.namedtuple(str(payload[0]), [str(name) for name in payload[1]])  # type: ignore[misc]
            return made(*each(payload[2]))
    raise ValueError(f"unknown tag {str(tag)[:20]!r}")


def pack(message: Any) -> bytes:
    """One message as bytes on the wire. Raises TooLarge."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_MESSAGE_BYTES:
        raise TooLarge(f"a message of {len(body)} bytes; at most {MAX_MESSAGE_BYTES} pass")
    return struct.pack("<I", len(body)) + body


def unpack_size(head: bytes) -> int:
    """The length a four-byte head announces. Raises TooLarge."""
    size: int = struct.unpack("<I", head)[0]
    if size > MAX_MESSAGE_BYTES:
        raise TooLarge(f"a message of {size} bytes; at most {MAX_MESSAGE_BYTES} pass")
    return size


class Channel:
    """Messages on a blocking stream descriptor, as the far side uses it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def send(self, message: Any) -> None:
        """Raises TooLarge; nothing is sent then."""
        view = memoryview(pack(message))
        while view:
            view = view[os.write(self.fd, view) :]

    def receive(self) -> Any:
        """The next message; EOFError where the peer has gone."""
        return json.loads(self._read(unpack_size(self._read(4))))

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = os.read(self.fd, min(size - len(data), 1 << 20))
            if not chunk:
                raise EOFError("the other side has gone")
            data += chunk
        return bytes(data)
