"""BFCL's comparison of one call, as its `ast_checker` decides it, so that published numbers can be compared.

Written from the behaviour of bfcl-eval 2026.3.23 (gorilla @6ea5797), its faults included: ` ,./-_*^` vanish from strings,
nested values are checked one level deep, and schemas say nothing beyond types. Nothing here runs text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr.verifiers.toolcall.calls import ParsedCall
from rlvr.verifiers.toolcall.schema import ToolSet

_TYPES: dict[str, type] = {
    "string": str, "integer": int, "float": float, "number": float, "boolean": bool,
    "array": list, "tuple": list, "dict": dict, "object": dict, "any": str,
}  # fmt: skip
_vanishes = str.maketrans("", "", " ,./-_*^")


def bfcl_fold(text: str) -> str:
    """BFCL's standard form of a string."""
    return text.translate(_vanishes).lower().replace("'", '"')


def bfcl_accepts(call: ParsedCall, name: str, arguments: Mapping[str, Any], choices: bool, tools: ToolSet) -> bool:
    """Whether BFCL's simple checker accepts the call for one possible answer."""
    if call.name != name:
        return False
    allowed = arguments if choices else {key: [_as_choices(value)] for key, value in arguments.items()}
    root = tools.parameters(name)
    properties = root.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    if any(key not in call.arguments for key in root.get("required") or ()):
        return False
    for key, value in call.arguments.items():
        if key not in allowed or key not in properties:
            return False
        if not _accepts_value(value, allowed[key], properties[key]):
            return False
    return all(key in call.arguments or "" in options for key, options in allowed.items())


def _as_choices(value: Any) -> Any:
    """A plain value in the shape of a possible answer: objects hold lists."""
    if isinstance(value, Mapping):
        return {key: [inner] for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_choices(item) for item in value]
    return value


def _accepts_value(value: Any, options: Any, schema: Any) -> bool:
    declared = str(schema.get("type", "any")) if isinstance(schema, Mapping) else "any"
    kind = _TYPES.get(declared, str)
    items = schema.get("items") if isinstance(schema, Mapping) and kind is list else None
    inner = _TYPES.get(str(items.get("type", "any")), str) if isinstance(items, Mapping) else None
    if kind is float and type(value) is int:
        value = float(value)
    first = next((type(option) for option in options if option != ""), None)
    if type(value) is kind and (
        not isinstance(value, list) or inner is None or _inner_types_agree(value, options, inner)
    ):
        variable = first is not None and first is not kind
    elif first is not None and type(value) is first:
        variable = True
    else:
        return False
    if variable:
        return value in options
    if kind is dict:
        return any(_accepts_dict(value, option) for option in options if option != "")
    if kind is list and inner is dict:
        return any(
            isinstance(option, list)
            and len(option) == len(value)
            and all(_accepts_dict(item, want) for item, want in zip(value, option, strict=True))
            for option in options
        )
    if kind is str:
        return bfcl_fold(value) in [bfcl_fold(option) for option in options if isinstance(option, str)]
    if kind is list:
        return _folded(value) in [_folded(option) for option in options if isinstance(option, list | str)]
    return value in options


def _inner_types_agree(value: list[Any], options: Any, inner: type) -> bool:
    for option in options:
        if not isinstance(option, list):
            return True
        first = next((type(item) for item in option if item != ""), None)
        if all(type(item) is inner or (first is not None and type(item) is first) for item in value):
            return True
    return False


def _folded(value: Any) -> list[Any]:
    return [bfcl_fold(item) if isinstance(item, str) else item for item in value]


def _accepts_dict(value: Any, option: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(option, Mapping):
        return False
    for key, item in value.items():
        if key not in option:
            return False
        if (bfcl_fold(item) if isinstance(item, str) else item) not in _folded(option[key]):
            return False
    return all(key in value or "" in options for key, options in option.items())
