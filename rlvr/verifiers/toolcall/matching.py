"""`match`: are these the calls that were wanted?

Every wanted call must be there once, in any order, and nothing else. The pairing is a maximum bipartite matching: taking
the first fit, as BFCL does, refuses right answers when one call fits two wanted ones (its `parallel_96` is such a case).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr.errors import ConfigError
from rlvr.verifiers.toolcall.bfcl import bfcl_accepts
from rlvr.verifiers.toolcall.calls import ParsedCall, ParsedResponse
from rlvr.verifiers.toolcall.checking import check_call, clip, valid_as
from rlvr.verifiers.toolcall.compare import MISSING, Comparison, join, plainly_allowed, property_of
from rlvr.verifiers.toolcall.policy import Policy, find_policy
from rlvr.verifiers.toolcall.schema import ToolSet, is_object, nearest, types_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """One call of the gold answer."""

    name: str
    arguments: Mapping[str, Any]
    choices: bool = False
    """True if each argument holds a list of allowed values (BFCL's possible answers) instead of the one value."""


@dataclass(frozen=True, slots=True)
class CallVerdict:
    """What is said of one call."""

    ok: bool
    reason: str = ""
    """Empty if `ok`; else what is wrong, where, and what the tool allows. Never the gold."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of all calls together."""

    ok: bool
    reason: str = ""
    """Why not, at most 300 characters; empty if `ok`."""
    per_call: list[CallVerdict] = field(default_factory=list)
    """One for each call, in order."""
    missing: int = 0
    """Wanted calls that nothing stands for."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """`format`: share of attempts that could be read; `name`: names that agree; `arguments`: calls that agree. The last
    two are divided by the larger of the calls made and wanted, so that an extra call never raises them."""


def read_gold(gold: Any) -> list[Wanted]:
    """The wanted calls. Takes `{"name", "arguments"}`, OpenAI's tool calls, BFCL's possible answers, or a list of these.

    Raises ConfigError for anything else.
    """
    if gold is None:
        return []
    if is_object(gold):
        gold = [gold]
    if not isinstance(gold, list | tuple):
        raise ConfigError(f"gold is {type(gold).__name__}; it must be a list of calls, empty if none is wanted")
    return [_read_wanted(item) for item in gold]


def _read_wanted(item: Any) -> Wanted:
    if isinstance(item, ParsedCall):
        return Wanted(item.name, item.arguments)
    if is_object(item):
        function = item.get("function")
        call = function if function is not None and is_object(function) and "name" in function else item
        name = call.get("name")
        if isinstance(name, str) and (len(call) > 1 or "name" not in item):
            arguments = call.get("arguments", call.get("parameters", call.get("args", {})))
            if isinstance(arguments, str):
                try:
                    arguments = json.loads(arguments)
                except ValueError:
                    raise ConfigError(f"gold arguments of {name!r} are no JSON: {arguments[:80]!r}") from None
            if is_object(arguments):
                return Wanted(name, arguments)
        elif len(item) == 1:
            ((name, choices),) = item.items()
            if isinstance(name, str) and is_object(choices):
                return Wanted(name, choices, choices=True)
    raise ConfigError(
        f"a gold call must be {{'name', 'arguments'}} or BFCL's {{name: {{argument: [allowed, ...]}}}}, not {str(item)[:80]}"
    )


def read_calls(calls: Any) -> list[ParsedCall]:
    """The calls to judge: a ParsedResponse, ParsedCalls, or plain `{"name", "arguments"}` objects."""
    if isinstance(calls, ParsedResponse):
        return calls.calls
    if isinstance(calls, Mapping | ParsedCall):
        calls = [calls]
    result: list[ParsedCall] = []
    for call in calls or ():
        if isinstance(call, ParsedCall):
            result.append(call)
            continue
        function = call.get("function", call) if isinstance(call, Mapping) else {}
        name = function.get("name") if isinstance(function, Mapping) else None
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not name:
            result.append(ParsedCall("", {}, "missing_name", problem="the call has no name"))
        elif not isinstance(arguments, dict):
            result.append(ParsedCall("", {}, "args_not_object", problem="'arguments' must be an object"))
        else:
            result.append(ParsedCall(name, arguments))
    return result


def match(
    calls: ParsedResponse | Iterable[ParsedCall | Mapping[str, Any]],
    gold: Any,
    tools: Sequence[Mapping[str, Any]] | ToolSet | None = None,
    policy: str | Policy = "strict",
) -> Verdict:
    """Judge calls against gold.

    `gold=[]` wants no call and no attempt at one. A broken attempt is never right. A value that equals gold is right
    even if the tool's schema forbids it; one that is equal only after folding (see `policy.fold`) must be allowed by
    the schema too, unless gold itself is not. Raises ConfigError if gold, tools or policy are malformed.
    """
    rules = find_policy(policy)
    toolset = tools if isinstance(tools, ToolSet) else ToolSet(tools)
    made, wanted = read_calls(calls), read_gold(gold)
    finished = calls.finished if isinstance(calls, ParsedResponse) else True
    if rules.bfcl:
        fits = [[call.ok and _bfcl_fits(call, want, toolset) for want in wanted] for call in made]
        pairs = _first_fit(fits, len(wanted))
    else:
        fits = [[call.status == "ok" and _fits(call, want, toolset, rules) for want in wanted] for call in made]
        pairs = _maximum_matching(fits)
    taken = set(pairs.values())
    missing = len(wanted) - len(taken)
    ok = finished and len(pairs) == len(made) and missing == 0
    verdicts = [_RIGHT] * len(made)
    reason = ""
    if not ok:
        left = [want for index, want in enumerate(wanted) if index not in taken]
        verdicts = [
            _RIGHT if index in pairs else CallVerdict(False, _why_not(call, left or wanted, toolset, rules, bool(left)))
            for index, call in enumerate(made)
        ]
        reason = _summary(verdicts, missing, finished, len(made))
    return Verdict(ok, reason, verdicts, missing, _parts(made, wanted, len(pairs)))


_RIGHT = CallVerdict(True)


def _fits(call: ParsedCall, want: Wanted, tools: ToolSet, rules: Policy) -> bool:
    return call.name == want.name and (
        plainly_allowed(call.arguments, want.arguments, want.choices) or _difference(call, want, tools, rules) is None
    )


def _bfcl_fits(call: ParsedCall, want: Wanted, tools: ToolSet) -> bool:
    return bfcl_accepts(call, want.name, want.arguments, want.choices, tools)


def _difference(call: ParsedCall, want: Wanted, tools: ToolSet, rules: Policy) -> str | None:
    """The JSON path of the first argument that is not as wanted, None if all are."""
    root = tools.parameters(want.name)
    comparison = Comparison(rules, root)
    if want.choices:
        properties = root.get("properties") or {}
        for key, options in want.arguments.items():
            value = call.arguments.get(key, MISSING)
            if not comparison.allowed(value, options, properties.get(key), join("$", key)):
                return comparison.path
        for key in call.arguments:
            if key not in want.arguments:
                if rules.fill_defaults and _is_default(call.arguments[key], key, comparison, root):
                    continue
                return join("$", key)
    elif not comparison.equal(call.arguments, want.arguments, root, "$"):
        return comparison.path
    for value, gold, schema, path in comparison.folds:
        if _restricts(schema) and not valid_as(value, schema, root) and valid_as(gold, schema, root):
            return path
    return None


def _is_default(value: Any, key: str, comparison: Comparison, root: Mapping[str, Any]) -> bool:
    schema = property_of(root, key, root)
    return (
        isinstance(schema, Mapping) and "default" in schema and comparison.equal(value, schema["default"], schema, "$")
    )


def _restricts(schema: Any) -> bool:
    return isinstance(schema, Mapping) and not schema.keys() <= {"type", "description", "title", "default", "examples"}


def _maximum_matching(fits: list[list[bool]]) -> dict[int, int]:
    """Call index -> wanted index, as many as possible: augmenting paths (Kuhn 1955, in Berge's form)."""
    if len(fits) == 1:
        return {0: fits[0].index(True)} if True in fits[0] else {}
    holder: dict[int, int] = {}

    def place(call: int, tried: set[int]) -> bool:
        for want, fit in enumerate(fits[call]):
            if fit and want not in tried:
                tried.add(want)
                if want not in holder or place(holder[want], tried):
                    holder[want] = call
                    return True
        return False

    for call in range(len(fits)):
        place(call, set())
    return {call: want for want, call in holder.items()}


def _first_fit(fits: list[list[bool]], num_wanted: int) -> dict[int, int]:
    """BFCL's pairing: each wanted call takes the first call that fits."""
    pairs: dict[int, int] = {}
    for want in range(num_wanted):
        for call, row in enumerate(fits):
            if row[want] and call not in pairs:
                pairs[call] = want
                break
    return pairs


def _why_not(call: ParsedCall, wanted: list[Wanted], tools: ToolSet, rules: Policy, is_left: bool) -> str:
    problem = check_call(call, tools) if not call.ok or len(tools) else ""
    if problem:
        return problem
    name = call.name[:60]
    same_name = [want for want in wanted if want.name == call.name]
    if not same_name:
        return clip(f"{name}: no call of this tool is needed here")
    if not is_left:
        return clip(f"{name}: one call more than needed")
    paths = [path for want in same_name if (path := _difference(call, want, tools, rules)) is not None]
    if not paths:
        return clip(f"{name}: one call more than needed")
    path = max(paths, key=len)
    key = path.removeprefix("$.").split(".")[0].split("[")[0]
    schema = tools.property(call.name, key)
    allowed = types_of(schema, tools.parameters(call.name))
    hint = f"; allowed is {' or '.join(sorted(allowed))}" if allowed else ""
    if isinstance(schema, Mapping) and isinstance(schema.get("enum"), list):
        hint = clip(f"; allowed: {', '.join(map(str, schema['enum']))}", 120)
    if key and key not in call.arguments:
        return clip(f"{name}: {path} is missing, though the request settles it{hint}")
    if schema is None and key:
        names = list(map(str, (tools.parameters(call.name).get("properties") or {})))
        return clip(f"{name}: {path} is not wanted here.{nearest(key, names)}")
    return clip(f"{name}: {path} is not what the request asks for{hint}")


def _summary(verdicts: list[CallVerdict], missing: int, finished: bool, made: int) -> str:
    if not finished:
        return "the reasoning was never closed, so there is no answer"
    wrong = [(index, verdict) for index, verdict in enumerate(verdicts) if not verdict.ok]
    if wrong:
        index, verdict = wrong[0]
        return clip(f"call {index + 1} of {made}: {verdict.reason}" if made > 1 else verdict.reason)
    return "a needed call is missing" if missing else ""


def _parts(made: list[ParsedCall], wanted: list[Wanted], agreed: int) -> dict[str, float]:
    larger = max(len(made), len(wanted))
    if agreed == len(made) == len(wanted):
        return {"format": 1.0, "name": 1.0, "arguments": 1.0}
    names = [want.name for want in wanted]
    hits = 0
    for call in made:
        if call.name in names:
            names.remove(call.name)
            hits += 1
    readable = sum(call.ok for call in made) / len(made) if made else 1.0
    return {"format": readable, "name": hits / larger, "arguments": agreed / larger}
