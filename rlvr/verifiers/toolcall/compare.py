"""Compare one argument's value with what gold allows. Values are JSON; schemas are read as they were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr.verifiers.toolcall.calls import TaggedText, Unreadable
from rlvr.verifiers.toolcall.jsontext import untagged
from rlvr.verifiers.toolcall.policy import Policy, fold
from rlvr.verifiers.toolcall.schema import is_object, resolve, types_of

_SCALARS = (str, int, float, bool)

MISSING = object()
"""Stands for an argument that is not there."""
_TRUE, _FALSE = ("true", "1", "yes", "on", "t", "y"), ("false", "0", "no", "off", "f", "n")


def plainly_allowed(arguments: Mapping[str, Any], wanted: Mapping[str, Any], choices: bool) -> bool:
    """True if every argument is a scalar that gold names literally, of the same type, and no other is there.

    Enough for most right answers, without schema, folding or paths; False says nothing.
    """
    absent = 0
    for key, options in wanted.items():
        value = arguments.get(key, MISSING)
        if not choices:
            if value != options or type(value) is not type(options) or type(value) not in _SCALARS:
                return False
            continue
        if type(options) is not list:
            return False
        if value is MISSING:
            if "" not in options:
                return False
            absent += 1
            continue
        kind = type(value) if type(value) is not TaggedText else str
        if kind not in _SCALARS or value == "" or not any(value == one and kind is type(one) for one in options):
            return False
    return len(arguments) == len(wanted) - absent


class Comparison:
    """One call against one wanted call; remembers the folds it relied on, so that the schema can confirm them."""

    __slots__ = ("folds", "path", "policy", "root")

    def __init__(self, policy: Policy, root: Mapping[str, Any]) -> None:
        self.policy = policy
        self.root = root
        self.folds: list[tuple[str, str, Any, str]] = []
        """(value, gold, schema, path) of every string that is equal only after folding."""
        self.path = ""
        """Where the first difference is."""

    def equal(self, value: Any, gold: Any, schema: Any, path: str) -> bool:
        """Whether `value` is what gold says. `schema` is its part of the tool's definition, None if unknown."""
        if self.policy.coerce:
            value = coerce(value, schema, self.root)
        if type(value) is TaggedText and not isinstance(gold, str):
            value = _said(value)
        if isinstance(gold, str):
            same = isinstance(value, str) and self._same_text(value, gold, schema, path)
        elif gold is None or isinstance(gold, bool):
            same = value is gold
        elif isinstance(gold, int | float):
            same = self._same_number(value, gold, schema)
        elif isinstance(gold, list | tuple):
            return self._same_list(value, gold, schema, path)
        elif is_object(gold):
            return self._same_object(value, gold, schema, path)
        else:
            same = False
        if not same:
            self.path = path
        return same

    def _same_text(self, value: str, gold: str, schema: Any, path: str) -> bool:
        if value == gold:
            return True
        first, wanted = value[:1], gold[:1]
        if first.isalnum() and wanted.isalnum() and first.casefold()[0] != wanted.casefold()[0]:
            return False  # folding drops no letter and no digit
        if fold(value) != fold(gold):
            return False
        part = resolve(schema, self.root)
        if is_object(part) and isinstance(part.get("enum"), list) and gold in part["enum"]:
            return False  # its members are exact: a genotype "aa" is not "AA"
        self.folds.append((value, gold, schema, path))
        return True

    def _same_number(self, value: Any, gold: int | float, schema: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != gold:
            return False
        if isinstance(value, float) and isinstance(gold, int):  # 5.0 is no integer, but may stand for the number 5
            allowed = types_of(schema, self.root)
            return "integer" not in allowed or "number" in allowed
        return True

    def _same_list(self, value: Any, gold: list[Any] | tuple[Any, ...], schema: Any, path: str) -> bool:
        if not isinstance(value, list) or len(value) != len(gold):
            self.path = path
            return False
        inner = _items(schema, self.root)
        pairs = enumerate(zip(value, gold, strict=True))
        return all(self.equal(item, want, inner, f"{path}[{i}]") for i, (item, want) in pairs)

    def _same_object(self, value: Any, gold: Mapping[str, Any], schema: Any, path: str) -> bool:
        if not isinstance(value, dict):
            self.path = path
            return False
        for key in (*gold, *(key for key in value if key not in gold)):
            inner = property_of(schema, key, self.root)
            item, want = value.get(key, MISSING), gold.get(key, MISSING)
            if self.policy.fill_defaults:
                item = default_of(inner, self.root) if item is MISSING else item
                want = default_of(inner, self.root) if want is MISSING else want
            if item is MISSING or want is MISSING:
                self.path = join(path, key)
                return False
            if not self.equal(item, want, inner, join(path, key)):
                return False
        return True

    def allowed(self, value: Any, options: Any, schema: Any, path: str) -> bool:
        """Whether one of BFCL's allowed values is there. `value` may be MISSING; `""` among them allows that."""
        if not isinstance(options, list | tuple):
            options = [options]
        if value is MISSING:
            if "" in options:
                return True
            if self.policy.fill_defaults and (default := default_of(schema, self.root)) is not MISSING:
                value = default
            else:
                self.path = path
                return False
        deepest = path
        for option in options:
            if option == "" and any(other != "" for other in options):
                continue  # the marker of an optional argument is no value
            folds = len(self.folds)
            if self._fits(value, option, schema, path):
                return True
            del self.folds[folds:]
            if len(self.path) > len(deepest) and self.path.startswith(path):
                deepest = self.path
        self.path = deepest
        return False

    def _fits(self, value: Any, option: Any, schema: Any, path: str) -> bool:
        """Whether `value` is one allowed value, in which objects hold lists of allowed values for each key."""
        if self.policy.coerce:
            value = coerce(value, schema, self.root)
        if is_object(option) and option and all(isinstance(inner, list) for inner in option.values()):
            if not isinstance(value, dict):
                self.path = path
                return False
            for key in (*option, *(key for key in value if key not in option)):
                here = join(path, key)
                if key not in option:
                    self.path = here
                    return False
                inner = property_of(schema, key, self.root)
                choices = option[key]
                if _plain_list(choices, inner, self.root):
                    choices = [choices]
                if not self.allowed(value.get(key, MISSING), choices, inner, here):
                    return False
            return True
        if isinstance(option, list) and any(isinstance(item, Mapping) for item in option):
            if not isinstance(value, list) or len(value) != len(option):
                self.path = path
                return False
            inner = _items(schema, self.root)
            pairs = enumerate(zip(value, option, strict=True))
            return all(self._fits(item, want, inner, f"{path}[{i}]") for i, (item, want) in pairs)
        return self.equal(value, option, schema, path)


def _plain_list(choices: list[Any], schema: Any, root: Mapping[str, Any]) -> bool:
    """True if a list inside an allowed object is itself the value: the schema wants an array, and no choice is one."""
    return types_of(schema, root) == {"array"} and not any(
        isinstance(choice, list) or choice == "" for choice in choices
    )


def join(path: str, key: str) -> str:
    """The JSON path of `key` below `path`."""
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{key[:60]!r}]"


def _said(text: str) -> Any:
    try:
        return untagged(text)
    except Unreadable:
        return text


def property_of(schema: Any, key: str, root: Mapping[str, Any]) -> Any:
    """The schema of an object's property, None if it does not say."""
    schema = resolve(schema, root)
    properties = schema.get("properties") if is_object(schema) else None
    return properties.get(key) if is_object(properties) else None


def _items(schema: Any, root: Mapping[str, Any]) -> Any:
    schema = resolve(schema, root)
    return schema.get("items") if isinstance(schema, Mapping) else None


def default_of(schema: Any, root: Mapping[str, Any]) -> Any:
    """The declared default, MISSING if there is none."""
    schema = resolve(schema, root)
    return schema.get("default", MISSING) if isinstance(schema, Mapping) else MISSING


def coerce(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    """What a tool with lax typing makes of a scalar: pydantic's lax conversions, towards the declared type only.

    Source: pydantic 2's conversion table (JSON, lax mode). A value that does not convert is given back unchanged.
    """
    allowed = types_of(schema, root)
    if len(allowed) != 1 or not isinstance(value, str | int | float):
        return value
    (kind,) = allowed
    if kind == "integer":
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
    if kind == "number" and isinstance(value, bool):
        return float(value)
    if kind in ("integer", "number") and isinstance(value, str) and len(value) <= 400:
        text = value.strip().replace("_", "")
        try:
            number = float(text) if kind == "number" else int(text.removesuffix(".0"))
        except ValueError:
            return value
        return number if abs(number) != float("inf") and number == number else value
    if kind == "boolean" and not isinstance(value, bool):
        word = str(value).lower() if isinstance(value, str) else str(int(value)) if value in (0, 1) else ""
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
    return value
