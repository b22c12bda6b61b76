"""Settings from a TOML file and `key=value` words, checked against a frozen dataclass; and back to TOML.

A dataclass is the whole description: a nested dataclass is a table, a field's type says what its value may be. Every
mistake is a ConfigError that names the place, the value and the nearest right name.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rlvr.errors import ConfigError

ConfigT = TypeVar("ConfigT")


def load_config(path: str | Path | None, overrides: Sequence[str], cls: type[ConfigT]) -> ConfigT:
    """An instance of the dataclass `cls` from a TOML file (or none), with `section.key=value` words on top.

    Raises ConfigError if the file cannot be read, a key does not exist, or a value has the wrong type.
    """
    values = read_toml(path) if path is not None else {}
    for word in overrides:
        _override(values, word)
    return from_dict(cls, values, where=str(path) if path is not None else "the settings")


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError if it cannot be read or parsed."""
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as fault:
        raise ConfigError(f"cannot read {str(path)!r}: {fault.strerror}. Give the path of a TOML file.") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path} is no TOML: {fault}") from fault


def from_dict(cls: type[ConfigT], values: Mapping[str, Any], *, where: str) -> ConfigT:
    """An instance of the dataclass `cls`; see `load_config`. `where` opens the message of an error."""
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(fields)}"
            raise ConfigError(f"{where}: there is no setting {name!r}; {hint}")
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: {', '.join(missing)} must be set")
    return cls(**{name: convert(hints[name], value, where=f"{where}: {name}") for name, value in values.items()})


def convert(kind: Any, value: Any, *, where: str) -> Any:
    """`value` as the annotated type `kind`. Whole numbers serve as floats; lists become tuples where those are asked for."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is typing.Literal:
        if value in arguments:
            return value
        near = difflib.get_close_matches(str(value), map(str, arguments), 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{where} is {value!r}; it must be one of {', '.join(map(repr, arguments))}.{hint}")
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if isinstance(value, kind):
            return value
        _require(isinstance(value, Mapping), value, "a table", where)
        return from_dict(kind, value, where=where)
    if origin in (tuple, list, Sequence) or getattr(origin, "__name__", "") == "Sequence":
        _require(isinstance(value, list | tuple), value, "a list", where)
        if origin is tuple and arguments and arguments[-1] is not Ellipsis:
            _require(len(value) == len(arguments), value, f"a list of {len(arguments)}", where)
            return tuple(convert(k, v, where=where) for k, v in zip(arguments, value, strict=True))
        item = arguments[0] if arguments else Any
        made = [convert(item, part, where=f"{where}[{number}]") for number, part in enumerate(value)]
        return made if origin is list else tuple(made)
    if origin in (dict, Mapping) or getattr(origin, "__name__", "") == "Mapping":
        _require(isinstance(value, Mapping), value, "a table", where)
        item = arguments[1] if len(arguments) == 2 else Any
        return {str(name): convert(item, part, where=f"{where}.{name}") for name, part in value.items()}
    if kind is Path:
        _require(isinstance(value, str | Path), value, "a path", where)
        return Path(value)
    if kind is float:
        _require(isinstance(value, int | float) and not isinstance(value, bool), value, "a number", where)
        return float(value)
    names = {int: "a whole number", bool: "true or false", str: "a text"}
    if kind in names:
        _require(type(value) is kind, value, names[kind], where)
        return value
    if kind is types.NoneType:
        _require(value is None, value, "nothing", where)
        return None
    return value


def to_toml(config: Any) -> str:
    """The dataclass instance as TOML that `load_config` reads back to an equal one. None is left out: it is the default."""
    return "\n".join(_table(to_dict(config), ())) + "\n"


def to_dict(config: Any) -> dict[str, Any]:
    """The dataclass instance as nested dicts of plain values, None left out."""
    return {
        field.name: _plain(getattr(config, field.name))
        for field in dataclasses.fields(config)
        if getattr(config, field.name) is not None
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {name: value for name, value in values.items() if not _is_table(value)}
    lines = [f"{_key(name)} = {_value(value)}" for name, value in plain.items()]
    for name, value in values.items():
        if isinstance(value, Mapping):
            here = (*path, _key(name))
            lines += ["", f"[{'.'.join(here)}]", *_table(value, here)]
        elif _is_table(value):
            here = (*path, _key(name))
            for part in value:
                lines += ["", f"[[{'.'.join(here)}]]", *_table(part, here)]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and all(isinstance(part, Mapping) for part in value)
    )


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ("nan" if math.isnan(value) else "inf" if value > 0 else "-inf")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {_value(part)}" for name, part in value.items()) + "}"
    return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")


def parse_value(text: str) -> Any:
    """A TOML value; what is none is a plain text, so that `env=math/gsm8k-v0` needs no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def parse_words(words: Sequence[str]) -> dict[str, Any]:
    """`key=value` words as a dict, for knobs on a command line."""
    values: dict[str, Any] = {}
    for word in words:
        _override(values, word)
    return values


def _override(values: dict[str, Any], word: str) -> None:
    name, equals, text = word.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"{word!r} is no setting; write key=value, or section.key=value")
    *path, last = name.strip().split(".")
    table = values
    for part in path:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{word!r}: {part!r} is a value, not a table, so it has no settings inside")
    table[last] = parse_value(text)


def _convert_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    faults = []
    for kind in kinds:
        if kind is types.NoneType:
            continue
        if kind in (int, bool, str) and type(value) is not kind:
            continue  # exact types first: a float field next to an int field must not take the int
        try:
            return convert(kind, value, where=where)
        except ConfigError as fault:
            faults.append(fault)
    if len(faults) == 1:
        raise faults[0]
    names = ", ".join(getattr(kind, "__name__", str(kind)) for kind in kinds if kind is not types.NoneType)
    raise ConfigError(f"{where} is {value!r} ({type(value).__name__}); it must be one of: {names}")


def _require(condition: bool, value: Any, wanted: str, where: str) -> None:
    if not condition:
        raise ConfigError(f"{where} is {value!r} ({type(value).__name__}); it must be {wanted}")
