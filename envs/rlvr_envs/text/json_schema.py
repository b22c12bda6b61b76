"""`text/json-v0`: write JSON that fits a schema and says what it should."""

from __future__ import annotations

import json
import random
from typing import Any

import rlvr
from rlvr.answers import final_answer
from rlvr.errors import ConfigError
from rlvr_envs.text.vocabulary import WORDS

MAX_LENGTH = 20_000
MAX_DEPTH = 12


@rlvr.register(
    "text/json-v0",
    fields=4,
    depth=1,
    levels=[{"fields": 2}, {"fields": 4}, {"fields": 6, "depth": 2}, {"fields": 8, "depth": 3}],
)
def json_object(rng: random.Random, fields: int, depth: int) -> rlvr.Task:
    """Write the JSON object that a description and a schema ask for. The facts stand in words, the types in the schema."""
    if not (1 <= fields <= 20 and 1 <= depth <= 4):
        raise ConfigError(f"text/json-v0: fields is {fields} (1 to 20) and depth is {depth} (1 to 4)")
    value, schema, facts = _draw(rng, fields, depth, "")
    rng.shuffle(facts)
    prompt = (
        f"Write one JSON object that fits this JSON schema:\n{json.dumps(schema)}\nIt must state these facts and nothing else:\n"
        + "\n".join(f"- {fact}" for fact in facts)
        + "\nGive only the JSON object inside <answer></answer>."
    )
    return rlvr.Task(prompt, answer=json.dumps(value), data={"schema": schema})


def _draw(rng: random.Random, fields: int, depth: int, path: str) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """An object, its schema, and its facts in words."""
    value: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    facts: list[str] = []
    for name in rng.sample(WORDS, fields):
        where = f"{path}{name}"
        kind = rng.choice(("integer", "number", "string", "boolean", "array", "enum"))
        if depth > 1 and not any(isinstance(part, dict) for part in value.values()):
            value[name], properties[name], inner = _draw(rng, max(1, fields // 2), depth - 1, f"{where} > ")
            facts += inner
        elif kind == "integer":
            value[name] = rng.randint(-500, 500)
            properties[name] = {"type": "integer"}
            facts.append(f"{where} is {value[name]}")
        elif kind == "number":
            value[name] = rng.randint(1, 9999) / 100
            properties[name] = {"type": "number", "minimum": 0}
            facts.append(f"{where} is {value[name]}")
        elif kind == "string":
            value[name] = " ".join(rng.sample(WORDS, 2))
            properties[name] = {"type": "string"}
            facts.append(f"{where} is the text {value[name]}")
        elif kind == "boolean":
            value[name] = rng.random() < 0.5
            properties[name] = {"type": "boolean"}
            facts.append(f"{where} is {'true' if value[name] else 'not true'}")
        elif kind == "array":
            value[name] = [rng.randint(0, 99) for _ in range(rng.randint(2, 4))]
            properties[name] = {"type": "array", "items": {"type": "integer"}}
            facts.append(f"{where} holds, in this order, {', '.join(map(str, value[name]))}")
        else:
            options = rng.sample(WORDS, 3)
            value[name] = rng.choice(options)
            properties[name] = {"enum": options}
            facts.append(f"{where} is neither {' nor '.join(option for option in options if option != value[name])}")
    return (
        value,
        {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False},
        facts,
    )


@json_object.verifier
def same_json(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the answer is JSON equal to the gold: key order does not matter, `1` is not `true` and not `1.5`; 1.0 equals 1."""
    given = final_answer(text)
    if given is None:
        return rlvr.Score(0.0, reason="no_answer")
    given = given.removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if len(given) > MAX_LENGTH or _nesting(given) > MAX_DEPTH:
        return rlvr.Score(0.0, reason="too_long")
    try:
        value = json.loads(given, object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
    except (ValueError, RecursionError):
        return rlvr.Score(0.0, reason="no_json")
    right = _same(value, json.loads(task.answer))
    return rlvr.Score(float(right), reason="correct" if right else "wrong")


@json_object.worked_solution
def write(task: rlvr.Task) -> str:
    """The object."""
    return f"<answer>{task.answer}</answer>"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _nesting(text: str) -> int:
    depth = deepest = 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        deepest = max(deepest, depth)
    return deepest


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a name stands twice")
    return value


def _no_constants(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
