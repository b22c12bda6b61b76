"""Check a call against the tool's own schema, and say in one sentence what is wrong with it.

The sentence goes to the model as it is. It names the JSON path and what the schema allows; a tool's definition is public.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rlvr.verifiers.toolcall.calls import ParsedCall
from rlvr.verifiers.toolcall.compare import join
from rlvr.verifiers.toolcall.schema import MAX_CHECKED_CHARS, ToolSet, json_schema, nearest, type_of, types_of

MAX_REASON_CHARS = 300


def clip(text: str, limit: int = MAX_REASON_CHARS) -> str:
    """The text without lone surrogates, cut to `limit` characters."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def check_call(call: ParsedCall, tools: ToolSet) -> str:
    """Why this call cannot be carried out, empty if it can. At most 300 characters."""
    if not call.ok:
        return clip(f"{call.status}: {call.problem}")
    if call.name not in tools:
        names = ", ".join(tools.names[:12])
        known = f" Available: {names}." if names else " There are no tools."
        return clip(f"unknown tool {call.name[:60]!r}.{nearest(call.name, tools.names)}{known}")
    found = check_arguments(call.arguments, tools, call.name)
    return clip(f"{call.name[:60]}: {found}") if found else ""


def check_arguments(arguments: Mapping[str, Any], tools: ToolSet, name: str) -> str:
    """What the schema of tool `name` has against these arguments, empty if nothing."""
    root = tools.parameters(name)
    properties = root.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = root.get("required")
    for key in required if isinstance(required, list) else ():
        if isinstance(key, str) and key not in arguments:
            return f"{join('$', key)} is missing; {_wanted(properties.get(key), root)}"
    if not root.get("additionalProperties") and "patternProperties" not in root and "$ref" not in root:
        for key in arguments:
            if key not in properties:
                names = [str(each) for each in properties]
                return f"{join('$', key)} is no argument.{nearest(key, names)} Allowed: {', '.join(names) or 'none'}"
    for key, value in arguments.items():
        allowed = types_of(properties.get(key), root)
        kind = type_of(value)
        if allowed and kind not in allowed and not (kind == "integer" and "number" in allowed):
            whole = kind == "number" and "integer" in allowed and isinstance(value, float)
            hint = " without a fraction point" if whole else ""
            return f"{join('$', key)} is {_shown(value)} ({kind}); {_wanted(properties.get(key), root)}{hint}"
    if _plain(properties.values()):
        return ""
    if _long(arguments):
        return ""
    return _first_error(arguments, tools.schema(name))


def _plain(schemas: Iterable[Any]) -> bool:
    """True if the checks above say all that these schemas say."""
    silent = {"type", "description", "title", "default", "examples"}
    scalars = ("string", "integer", "number", "boolean")
    return all(isinstance(one, Mapping) and one.keys() <= silent and one.get("type") in scalars for one in schemas)


def _long(arguments: Mapping[str, Any]) -> bool:
    try:
        return len(json.dumps(arguments)) > MAX_CHECKED_CHARS
    except (TypeError, ValueError, RecursionError):
        return True


def _first_error(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    error = first_schema_error(arguments, schema)
    if error is None:
        return ""
    path, validator, wanted, value = error
    if validator == "enum":
        return f"{path} is {_shown(value)}; allowed: {_listed(wanted)}"
    if validator == "type":
        types = wanted if isinstance(wanted, list) else [wanted]
        return f"{path} is {_shown(value)} ({type_of(value)}); must be {_listed(types)}"
    if validator == "required" and isinstance(wanted, list) and isinstance(value, Mapping):
        absent = [key for key in wanted if key not in value]
        return f"{join(path, absent[0])} is missing" if absent else f"{path} lacks a key"
    if validator == "additionalProperties":
        return f"{path} has a key that the schema does not have"
    return f"{path} is {_shown(value)}; it must satisfy {validator} {_shown(wanted)}"


def first_schema_error(value: Any, schema: Mapping[str, Any]) -> tuple[str, str, Any, Any] | None:
    """(JSON path, keyword, the keyword's value, the offending value) of the first violation, None if there is none.

    References are resolved inside the schema only: a definition from elsewhere never opens a connection. A schema that
    is itself malformed forbids nothing. Uses jsonschema-rs if it is installed (extra `jsonschema-rs`), else jsonschema.
    """
    try:
        import jsonschema_rs
    except ImportError:
        return _first_error_python(value, schema)
    try:
        error = next(iter(_fast_validator(jsonschema_rs, schema).iter_errors(value)), None)
    except Exception:  # a malformed schema or a value it cannot hold (a lone surrogate): the reference decides
        return _first_error_python(value, schema)
    if error is None:
        return None
    kind = error.schema_path[-1] if error.schema_path else ""
    wanted = _at(schema, error.schema_path)
    return _path(error.instance_path), str(kind), wanted, error.instance


_validators: dict[str, Any] = {}


def _fast_validator(library: Any, schema: Mapping[str, Any]) -> Any:
    text = json.dumps(schema, sort_keys=True)
    found = _validators.get(text)
    if found is None:
        if len(_validators) >= 512:
            _validators.clear()
        found = _validators[text] = library.validator_for(schema, retriever=_no_retrieval)
    return found


def _no_retrieval(uri: str) -> Any:
    raise LookupError(f"the schema refers to {uri}, which is not fetched")


def _first_error_python(value: Any, schema: Mapping[str, Any]) -> tuple[str, str, Any, Any] | None:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    try:
        validator = Draft202012Validator(schema, registry=Registry())
        error = next(iter(validator.iter_errors(value)), None)
    except Exception:  # a malformed schema is the author's fault, not the model's: it forbids nothing
        return None
    if error is None:
        return None
    return _path(error.absolute_path), str(error.validator), error.validator_value, error.instance


def _at(schema: Any, path: Iterable[Any]) -> Any:
    for step in path:
        try:
            schema = schema[step]
        except (KeyError, IndexError, TypeError):
            return None
    return schema


def _path(steps: Iterable[Any]) -> str:
    path = "$"
    for step in steps:
        path = f"{path}[{step}]" if isinstance(step, int) else join(path, str(step))
    return path


def _wanted(schema: Any, root: Mapping[str, Any]) -> str:
    if isinstance(schema, Mapping) and isinstance(schema.get("enum"), list):
        return f"allowed: {_listed(schema['enum'])}"
    allowed = types_of(schema, root)
    return f"must be {_listed(sorted(allowed))}" if allowed else "any value is allowed"


def _listed(values: Iterable[Any]) -> str:
    return clip(", ".join(value if isinstance(value, str) else json.dumps(value) for value in values), 120)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(value[:40]) + ("…" if len(value) > 40 else "")
    if isinstance(value, list | dict):
        return f"a {'list' if isinstance(value, list) else 'object'} of {len(value)}"
    return clip(json.dumps(value), 40)


def valid_as(value: Any, schema: Any, root: Mapping[str, Any]) -> bool:
    """Whether a value satisfies one part of a tool's schema."""
    if not isinstance(schema, Mapping):
        return True
    given = json_schema(schema)
    definitions = {key: json_schema(root[key]) for key in ("$defs", "definitions") if key in root}
    return first_schema_error(value, {**given, **definitions}) is None
