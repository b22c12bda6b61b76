"""Public tool-call data sets as rows of one shape, and a check of their gold against their own tools.

A row is `{"id", "messages", "tools", "gold"}`: a chat that ends where the model is to act, OpenAI definitions, and what
`rlvr.verifiers.toolcall.match` takes as gold. `read(path, layout)` knows these layouts:

- `openai`: `messages` whose last one, the assistant's, holds `tool_calls` (or none), and `tools`. Also NeMo-Gym's
  `responses_create_params` with `expected_action`, and the columns `prompt, tools, answer` of TRL and verifiers.
- `xlam`: `query, tools, answers`, the last two often as JSON texts.
- `hermes`: ShareGPT turns in `conversations`, calls in `<tool_call>` blocks, `tools` as a JSON text.
- `toolrl`: `prompt` and a ground truth with `<tool_call>` lines that say `parameters`; the tools stand in the system prompt.
- `bfcl`: `question, function` and `ground_truth`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError
from rlvr.verifiers.toolcall import ToolSet, check_call, match, parse
from rlvr.verifiers.toolcall.calls import ParsedCall
from rlvr.verifiers.toolcall.schema import json_schema
from rlvr_envs.sources import read_file

Row = dict[str, Any]
_LISTED = re.compile(r"^\d+\. Name: (.+)\nDescription: ?(.*)\nParameters: (\{.*\})\s*$", re.MULTILINE)


@dataclass(frozen=True)
class GoldDefect:
    """A row whose gold does not pass its own check."""

    index: int
    id: str
    reason: str


def read(path: str | Path, layout: str) -> list[Row]:
    """The rows of a file (jsonl, json, parquet, also .gz). Raises ConfigError that names the row that does not fit."""
    if layout not in LAYOUTS:
        raise ConfigError(f"layout is {layout!r}; choose one of {', '.join(LAYOUTS)}")
    rows = []
    for number, source in enumerate(read_file(path, env_id="tools/rows-v0")):
        try:
            row = LAYOUTS[layout](dict(source))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as fault:
            raise ConfigError(
                f"{path}, row {number}: not of the layout {layout!r} ({type(fault).__name__}: {fault}); "
                f"it has the fields {', '.join(map(str, source))}"
            ) from fault
        rows.append({**row, "id": str(source.get("id", source.get("uuid", number)))})
    return rows


def check_gold(rows: list[Row]) -> list[GoldDefect]:
    """Rows whose gold names a tool or an argument that is not there, breaks its schema, or does not match itself."""
    defects = []
    for index, row in enumerate(rows):
        reason = _defect(row)
        if reason:
            defects.append(GoldDefect(index, str(row.get("id", index)), reason))
    return defects


def _defect(row: Row) -> str:
    tools = ToolSet(row["tools"])
    calls = [concrete_call(item) for item in row["gold"]]
    for call in calls:
        problem = check_call(call, tools)
        if problem:
            return problem
    return match(calls, row["gold"], tools).reason


def concrete_call(item: Mapping[str, Any]) -> ParsedCall:
    """A concrete call that the gold allows, with every argument that it has a value for."""
    if isinstance(item.get("name"), str):
        return ParsedCall(item["name"], dict(item.get("arguments") or {}))
    ((name, options),) = item.items()
    chosen = {}
    for key, allowed in options.items():
        values = [value for value in allowed if value != ""] if isinstance(allowed, list) else [allowed]
        if values:
            chosen[key] = _concrete(values[0])
    return ParsedCall(name, chosen)


def _concrete(value: Any) -> Any:
    if isinstance(value, dict) and value and all(isinstance(inner, list) for inner in value.values()):
        kept = {key: [one for one in inner if one != ""] for key, inner in value.items()}
        return {key: _concrete(inner[0]) for key, inner in kept.items() if inner}
    return [_concrete(item) for item in value] if isinstance(value, list) else value


def _loaded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _definition(tool: Mapping[str, Any]) -> dict[str, Any]:
    """An OpenAI definition of a tool in any of the usual forms."""
    function = dict(tool.get("function", tool))
    parameters = function.get("parameters") or {}
    if "properties" not in parameters and all(isinstance(inner, dict) for inner in parameters.values()):
        parameters = _described(parameters)
    kept = {
        "name": function["name"],
        "description": function.get("description", ""),
        "parameters": json_schema(parameters),
    }
    return {"type": "function", "function": kept}


def _described(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """xLAM's flat parameters, `{name: {"type": "List[int], optional", ...}}`, as a JSON Schema."""
    properties, required = {}, []
    for name, each in parameters.items():
        words = str(each.get("type", "")).split(",")
        kind = words[0].strip().lower()
        optional = "optional" in str(each.get("type", "")) or "default" in each or kind.startswith("optional")
        inner = re.search(r"\[(.*)\]", kind)
        outer = kind.split("[")[0]
        if outer == "optional" and inner:
            outer, inner = inner[1], None
        schema: dict[str, Any] = {}
        if outer in ("str", "string"):
            schema = {"type": "string"}
        elif outer in ("int", "integer", "float", "number", "bool", "boolean", "dict", "object"):
            schema = {"type": outer}
        elif outer in ("list", "array", "tuple", "set"):
            schema = {"type": "array"}
            if inner and inner[1] in ("str", "int", "float", "bool"):
                schema["items"] = {"type": inner[1]}
        if each.get("description"):
            schema["description"] = each["description"]
        properties[name] = schema
        if not optional:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def _calls(items: Any) -> list[dict[str, Any]]:
    """Calls in plain form from any list of call objects."""
    calls = []
    for item in items or ():
        function = item.get("function", item)
        arguments = _loaded(function.get("arguments", function.get("parameters", {})))
        calls.append({"name": function["name"], "arguments": arguments})
    return calls


def _openai(row: Row) -> Row:
    if "responses_create_params" in row:
        request = row["responses_create_params"]
        messages = request["input"]
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        wanted = _loaded(row["expected_action"] if "expected_action" in row else row["ground_truth"])
        wanted = wanted if isinstance(wanted, list) else [wanted]
        gold = _calls([item for item in wanted if item.get("type", "function_call") == "function_call"])
        return {"messages": messages, "tools": [_definition(tool) for tool in request["tools"]], "gold": gold}
    tools = [_definition(tool) for tool in _loaded(row["tools"])]
    if "answer" in row:
        prompt = row["prompt"]
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        return {"messages": messages, "tools": tools, "gold": _calls(_loaded(row["answer"]))}
    messages = list(_loaded(row["messages"]))
    last = messages.pop()
    if last["role"] != "assistant":
        raise ValueError("the last message is not the assistant's")
    return {"messages": messages, "tools": tools, "gold": _calls(last.get("tool_calls"))}


def _xlam(row: Row) -> Row:
    tools = [_definition(tool) for tool in _loaded(row["tools"])]
    return {
        "messages": [{"role": "user", "content": row["query"]}],
        "tools": tools,
        "gold": _calls(_loaded(row["answers"])),
    }


def _hermes(row: Row) -> Row:
    roles = {"system": "system", "human": "user", "user": "user", "gpt": "assistant", "tool": "tool"}
    messages: list[dict[str, Any]] = []
    for turn in row["conversations"]:
        if turn["from"] == "gpt":
            parsed = parse(turn["value"], "hermes")
            if parsed.broken:
                raise ValueError(f"the answer's call cannot be read: {parsed.broken[0].problem}")
            gold = [{"name": call.name, "arguments": call.arguments} for call in parsed.calls]
            return {"messages": messages, "tools": [_definition(tool) for tool in _loaded(row["tools"])], "gold": gold}
        messages.append({"role": roles[turn["from"]], "content": turn["value"]})
    raise ValueError("no turn of the model")


def _toolrl(row: Row) -> Row:
    messages = list(_loaded(row["prompt"]))
    truth = row.get("ground_truth") or row["reward_model"]["ground_truth"]
    gold: list[dict[str, Any]] = []
    block = re.search(r"<tool_call>(.*?)</tool_call>", truth, re.DOTALL)
    for line in block[1].strip().splitlines() if block else ():
        gold.extend(_calls([json.loads(line)]))
    tools = []
    for name, description, parameters in _LISTED.findall(str(messages[0]["content"])):
        tools.append(_definition({"name": name, "description": description, "parameters": json.loads(parameters)}))
    return {"messages": messages, "tools": tools, "gold": gold}


def _bfcl(row: Row) -> Row:
    messages = [message for turn in row["question"] for message in (turn if isinstance(turn, list) else [turn])]
    tools = [_definition(function) for function in row["function"]]
    return {"messages": messages, "tools": tools, "gold": row.get("ground_truth", [])}


LAYOUTS: dict[str, Callable[[Row], Row]] = {
    "openai": _openai,
    "xlam": _xlam,
    "hermes": _hermes,
    "toolrl": _toolrl,
    "bfcl": _bfcl,
}


def read_bfcl(folder: str | Path, category: str) -> list[Row]:
    """BFCL's entries of one category, or of `all`, joined with their possible answers."""
    parts = ("simple", "multiple", "parallel", "irrelevance")
    if category not in ("all", *parts):
        raise ConfigError(f"tools/bfcl-v0: category is {category!r}; choose all, {', '.join(parts)}")
    rows = []
    for part in parts if category == "all" else (category,):
        file = Path(folder) / f"{part}.jsonl"
        answers: dict[str, Any] = {}
        if part != "irrelevance":
            for answer in read_file(Path(folder) / "possible_answer" / file.name, env_id="tools/bfcl-v0"):
                answers[answer["id"]] = answer["ground_truth"]
        for entry in read_file(file, env_id="tools/bfcl-v0"):
            row = _bfcl({**entry, "ground_truth": answers.get(entry["id"], [])})
            rows.append({**row, "id": entry["id"], "category": part})
    return rows
