"""Responses with a known verdict, made from BFCL's data by changing one thing at a time, in every format.

`cases(folder)` yields them. A kind of change says for itself what the right verdict is; `dispute` says why where other
checkers, or reasonable people, decide otherwise. Used by `bench/toolcalls.py` and by the tests.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr.verifiers.toolcall import write
from rlvr.verifiers.toolcall.schema import json_schema
from rlvr.verifiers.toolcall.writing import writable

WHOLE_MESSAGE = ("llama3_json", "pythonic", "python", "xlam", "openai")
PYTHON = ("pythonic", "python")
TAGGED = ("qwen3_coder", "glm45")
JSON_TEXT = ("hermes", "llama3_json", "mistral", "mistral_v11", "xlam", "deepseek_v3", "deepseek_v31", "kimi_k2")


@dataclass(frozen=True)
class Case:
    """One response, its gold, and whether it is right."""

    kind: str
    row: str
    format: str
    response: str
    tools: list[dict[str, Any]]
    gold: list[Any]
    expected: bool
    dispute: str = ""
    calls: list[dict[str, Any]] | None = None
    """The calls written into the response where they can be read; what a checker without a parser gets."""


@dataclass(frozen=True)
class Row:
    """One BFCL entry with the calls that its first allowed values make."""

    id: str
    tools: list[dict[str, Any]]
    functions: list[dict[str, Any]]
    gold: list[dict[str, Any]]
    calls: list[dict[str, Any]]


def load_rows(folder: Path) -> list[Row]:
    """Every entry with an answer, tools in OpenAI's form."""
    rows = []
    for part in ("simple", "multiple", "parallel"):
        answers = {}
        for line in (folder / "possible_answer" / f"{part}.jsonl").read_text(encoding="utf-8").splitlines():
            answer = json.loads(line)
            answers[answer["id"]] = answer["ground_truth"]
        for line in (folder / f"{part}.jsonl").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            gold = answers[entry["id"]]
            tools = [{"type": "function", "function": json_schema(function)} for function in entry["function"]]
            rows.append(Row(entry["id"], tools, entry["function"], gold, [_first(item) for item in gold]))
    return rows


def _first(item: dict[str, Any], place: int = 0) -> dict[str, Any]:
    ((name, arguments),) = item.items()
    chosen = {}
    for key, options in arguments.items():
        values = [option for option in options if option != ""]
        if values and ("" not in options or place):
            chosen[key] = _plain(values[-1 if place else 0])
        elif not values and "" not in options:
            chosen[key] = ""
    return {"name": name, "arguments": chosen}


def _plain(value: Any) -> Any:
    """A concrete value from an allowed one, in which objects hold lists of allowed values."""
    if isinstance(value, dict):
        picked = {key: [one for one in inner if one != ""] for key, inner in value.items() if isinstance(inner, list)}
        return {key: _plain(inner[0]) for key, inner in picked.items() if inner} if len(picked) == len(value) else value
    if isinstance(value, list):
        return [_plain(item) if isinstance(item, dict) else item for item in value]
    return value


Change = tuple[str, list[dict[str, Any]], bool, str]


def call_changes(row: Row) -> Iterator[Change]:
    """(kind, calls, right?, dispute): changes of the calls themselves."""

    def changed(place: int, key: str, value: Any) -> list[dict[str, Any]]:
        calls = copy.deepcopy(row.calls)
        calls[place]["arguments"][key] = value
        return calls

    def left_out(place: int, key: str) -> list[dict[str, Any]]:
        calls = copy.deepcopy(row.calls)
        del calls[place]["arguments"][key]
        return calls

    yield "gold", row.calls, True, ""
    yield "other allowed values", [_first(item, -1) for item in row.gold], True, ""
    yield (
        "keys in another order",
        [{**call, "arguments": dict(reversed(call["arguments"].items()))} for call in row.calls],
        True,
        "",
    )
    yield "calls in another order", row.calls[::-1], True, ""
    yield "no call", [], False, ""
    yield "one call more, the same", [*row.calls, row.calls[0]], False, ""
    yield "one call more, another", [*row.calls, {"name": row.calls[0]["name"], "arguments": {}}], False, ""
    yield "one call less", row.calls[1:], False, ""
    name = row.calls[0]["name"]
    for kind, other in (
        ("name with a suffix", name + "_v2"),
        ("name in capitals", name.upper()),
        ("name cut", name[1:]),
    ):
        if other != name and re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", other):
            yield kind, [{**row.calls[0], "name": other}, *row.calls[1:]], False, ""
    for place, call in enumerate(row.calls[:1]):
        schema = next(f for f in row.functions if f["name"] == call["name"])["parameters"]["properties"]
        allowed = row.gold[place][call["name"]]
        yield "argument nobody knows", changed(place, "verbose_output_", 1), False, ""
        for key, options in allowed.items():
            if "" in options and key not in call["arguments"] and len(options) > 1:
                yield "optional argument as null", changed(place, key, None), False, "null is a value, not an absence"
                yield "optional argument as empty text", changed(place, key, ""), False, "BFCL's marker is no value"
        for key, value in call["arguments"].items():
            if key not in schema or len(row.calls) > 1:
                continue
            yield "argument left out", left_out(place, key), False, ""
            yield "argument as null", changed(place, key, None), None in allowed[key], ""
            yield from _value_changes(key, value, schema[key], allowed[key], changed, place)


def _value_changes(
    key: str, value: Any, schema: dict[str, Any], options: list[Any], changed: Any, place: int
) -> Iterator[Change]:
    others = [option for option in options if option != value]
    if isinstance(value, bool):
        yield "other truth value", changed(place, key, not value), (not value) in options, ""
        yield "number for a truth value", changed(place, key, int(value)), False, ""
    elif isinstance(value, int | float):
        yield "other number", changed(place, key, value + 1), value + 1 in options, ""
        yield "number with the other sign", changed(place, key, -value - 1), -value - 1 in options, ""
        yield "number in a list", changed(place, key, [value]), False, ""
        if isinstance(value, int) and schema["type"] == "integer":
            yield (
                "float for an integer",
                changed(place, key, float(value)),
                False,
                "5.0 is a float; an int-typed tool refuses it",
            )
            if value in (0, 1):
                yield "truth value for a number", changed(place, key, bool(value)), False, ""
        if isinstance(value, float) and value.is_integer():
            yield "integer for a number", changed(place, key, int(value)), True, ""
        yield "number as text", changed(place, key, str(value)), False, ""
    elif isinstance(value, str) and value and schema["type"] == "string":
        free = "enum" not in schema
        yield "other text", changed(place, key, value + " or not"), False, ""
        yield "text in a list", changed(place, key, [value]), False, ""
        yield "text with spaces around", changed(place, key, f" {value} "), free, "" if free else "an enum is exact"
        if value.swapcase() != value and value.swapcase() not in others:
            yield (
                "text in the other case",
                changed(place, key, value.swapcase()),
                free,
                "" if free else "an enum is exact",
            )
        if ", " in value and free:
            yield "text without its comma", changed(place, key, value.replace(",", "")), True, ""
        if " " in value and free:
            yield "text with wider spaces", changed(place, key, value.replace(" ", "  ")), True, ""
        for kind, pattern in (("inner points dropped", r"(?<=\w)\.(?=\w)"), ("inner hyphens dropped", r"(?<=\w)-(?=\w)"),
                              ("inner slashes dropped", r"(?<=\w)/(?=\w)"), ("inner operators dropped", r"(?<=\w)[*^_]+(?=\w)"),
                              ("sign dropped", r"^-(?=\d)")):  # fmt: skip
            other = re.sub(pattern, "", value)
            if other != value and other not in others:
                yield f"text, {kind}", changed(place, key, other), False, "the sign carries meaning; BFCL deletes it"
    elif isinstance(value, list) and value:
        yield "list, one element less", changed(place, key, value[:-1]), value[:-1] in options, ""
        yield "list, one element twice", changed(place, key, [*value, value[-1]]), False, ""
        if value[::-1] != value and value[::-1] not in options:
            yield "list in reverse", changed(place, key, value[::-1]), False, ""
    elif isinstance(value, dict) and value:
        inner = next(iter(value))
        yield "object, one key more", changed(place, key, {**value, "extra_key_": 1}), False, ""
        yield "object, one key less", changed(place, key, {k: v for k, v in value.items() if k != inner}), False, ""
        yield "object, other value", changed(place, key, {**value, inner: "something else"}), False, ""


def text_changes(row: Row, format: str) -> Iterator[tuple[str, str, bool, str]]:
    """(kind, response, right?, dispute): changes of the text around and inside right calls."""
    right = write(row.calls, format)
    draft = write([{"name": row.calls[0]["name"], "arguments": {}}], format)
    whole = format in WHOLE_MESSAGE
    yield "reasoning first", f"<think>\nThe tool is clear.\n</think>\n\n{right}", True, ""
    yield "reasoning opened by the prompt", f"The tool is clear.\n</think>\n\n{right}", True, ""
    yield "a draft in the reasoning", f"<think>{draft}</think>{right}", True, ""
    yield "only a draft in the reasoning", f"<think>{right}</think>Done.", False, ""
    yield "reasoning never closed", f"<think>{right}", False, ""
    yield "white space around", f"\n\n  {right}\n", True, ""
    yield (
        "prose in the same line",
        f"I could write {right} for this.",
        not whole,
        "" if not whole else "the message is quoted, not made",
    )
    if not whole:
        yield "prose before", f"Let me look that up.\n{right}", True, ""
        yield "prose after", f"{right}\nI will report back.", True, ""
        yield (
            "a broken second attempt",
            f"{right}\n{draft[: len(draft) // 2]}",
            False,
            "an attempt that fails is an error",
        )
    elif format != "openai":
        yield "a code fence around", f"```\n{right}\n```", True, ""
    if format in ("hermes", "llama3_json", "pythonic", "xlam"):
        yield "a turn token after", right + "<|im_end|>", True, ""
    for share in (3, 2):
        yield f"cut after 1/{share}", right[: len(right) // share], False, ""
    yield "last character cut", _cut_payload(right), False, ""
    if format in JSON_TEXT:
        named = format in ("hermes", "xlam", "llama3_json", "mistral")
        yield "a key twice", right.replace("{", '{"name": "other", ', 1) if named else _twice(right), False, ""
        yield "single quotes", right.replace('"', "'"), False, ""
        yield "a comma too much", right[::-1].replace("}", "},", 1)[::-1], False, ""
        yield "a brace too much", right[::-1].replace("}", "}}", 1)[::-1], False, ""
        yield "a brace missing", right[::-1].replace("}", "", 1)[::-1], False, ""
        yield "a comment", right[::-1].replace("}", "}//ko ", 1)[::-1].replace("// ", "//"), False, ""
    if format in ("hermes", "xlam", "mistral"):
        encoded = [{"name": call["name"], "arguments": json.dumps(call["arguments"])} for call in row.calls]
        yield "arguments as a text", right.replace(*_swap(row, encoded, format)), False, "double encoding is an error"
        yield "no name", re.sub(r'"name": "[^"]*", ', "", right, count=1), False, ""
        yield "another word for arguments", right.replace('"arguments"', '"args"', 1), False, ""
    if format in PYTHON and row.calls[0]["arguments"]:
        key = next(iter(row.calls[0]["arguments"]))
        yield (
            "argument by position",
            right.replace(f"{key}=", "", 1),
            False,
            "names bind, positions depend on the definition",
        )
        yield "an operator in a value", right.replace(f"{key}=", f"{key}=0 or ", 1), False, ""
        if _ends_in_number(row):
            yield "a sum in a value", right.replace(")", " + 0)", 1), False, ""
        yield "a call in a value", right.replace(f"{key}=", f"{key}=str(", 1).replace(")", "))", 1), False, ""
        yield "argument twice", right.replace(f"{key}=", f"{key}=0, {key}=", 1), False, ""
        if any(isinstance(value, bool) for value in row.calls[0]["arguments"].values()):
            yield "JSON words for truth values", right.replace("=True", "=true").replace("=False", "=false"), False, ""
    if format == "openai":
        yield (
            "arguments as an object",
            json.dumps({"tool_calls": [{"function": dict(call)} for call in row.calls]}),
            True,
            "",
        )


def _cut_payload(text: str) -> str:
    """The text without its last character that is no part of a closing delimiter a server may strip."""
    for tail in ("\n</tool_call>", "<｜tool▁calls▁end｜>", "<|tool_calls_section_end|>"):
        text = text.removesuffix(tail)
    return text[:-1]


def _twice(text: str) -> str:
    return (
        text.replace("{", '{"a": 1, "a": 1, ', 1) if not text.count("{}") else text.replace("{}", '{"a": 1, "a": 1}', 1)
    )


def _swap(row: Row, encoded: list[dict[str, Any]], format: str) -> tuple[str, str]:
    first = json.dumps(row.calls[0]["arguments"], ensure_ascii=False)
    return f'"arguments": {first}', f'"arguments": {json.dumps(first, ensure_ascii=False)}'


def _ends_in_number(row: Row) -> bool:
    last = next(reversed(row.calls[0]["arguments"].values()))
    return isinstance(last, int | float) and not isinstance(last, bool)


def no_call_cases(folder: Path) -> Iterator[Case]:
    """Requests that no tool fits: only prose is right."""
    for line in (folder / "irrelevance.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        tools = [{"type": "function", "function": json_schema(function)} for function in entry["function"]]
        call = [{"name": entry["function"][0]["name"], "arguments": {}}]
        for format in writable():
            made = write(call, format)
            for kind, response, right in (
                ("no tool fits: prose", "None of my tools can do that. Could you tell me more?", True),
                ("no tool fits: nothing", "", True),
                ("no tool fits: prose with brackets", "See [1] and {x}: f(x) = 2 is (not) a call.", True),
                ("no tool fits: a call", made, False),
                ("no tool fits: a broken call", made[: len(made) * 2 // 3], False),
                ("no tool fits: a draft in the reasoning", f"<think>{made}</think>No tool fits.", True),
            ):
                if kind.endswith("broken call") and format in WHOLE_MESSAGE and not made.startswith(("[", "{")):
                    continue
                yield Case(kind, entry["id"], format, response, tools, [], right)


def cases(folder: Path, every: int = 1) -> Iterator[Case]:
    """All cases from every `every`-th row. `folder` holds BFCL's files as jsonl."""
    for place, row in enumerate(load_rows(folder)):
        if place % every:
            continue
        for kind, calls, right, dispute in call_changes(row):
            for format in writable():
                if format in TAGGED and kind == "number as text":
                    continue  # these formats write 5 and "5" alike; the schema decides
                yield Case(kind, row.id, format, write(calls, format), row.tools, row.gold, right, dispute, calls)
        for format in writable():
            right_text = write(row.calls, format)
            for kind, response, right, dispute in text_changes(row, format):
                if response != right_text or right:
                    yield Case(kind, row.id, format, response, row.tools, row.gold, right, dispute)
    for place, case in enumerate(no_call_cases(folder)):
        if place // 80 % every == 0:
            yield case
