"""What `parse` reads, what it refuses, and where it says things are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rlvr.errors import ConfigError
from rlvr.verifiers.toolcall import ParsedCall, formats, parse, register_format, write
from rlvr.verifiers.toolcall.schema import ToolSet
from rlvr.verifiers.toolcall.writing import writable

Tools = list[dict[str, Any]]
CALL = '{"name": "square_root", "arguments": {"x": 2.5}}'
HERMES = f"<tool_call>\n{CALL}\n</tool_call>"


def statuses(text: str, format: str, tools: Tools | None = None) -> list[str]:
    return [call.status for call in parse(text, format, tools or []).calls]


@pytest.mark.parametrize("format", writable())
def test_every_format_reads_back_what_it_writes(format: str, tools: Tools, gold: list[dict[str, Any]]) -> None:
    calls = [
        *gold,
        {"name": "square_root", "arguments": {"x": -0.5}},
        {"name": "geo.weather", "arguments": {"city": ""}},
    ]
    parsed = parse(write(calls, format), format, tools)
    assert parsed.ok
    assert [{"name": call.name, "arguments": call.arguments} for call in parsed.calls] == calls


@pytest.mark.parametrize("format", writable())
def test_a_span_covers_the_text_of_its_call(format: str, tools: Tools, gold: list[dict[str, Any]]) -> None:
    text = f"<think>hm</think>\n{write(gold, format)}\n"
    (call,) = parse(text, format, tools).calls
    assert text[call.span[0] : call.span[1]] == call.raw
    assert "Oslo" in call.raw
    assert "think" not in call.raw


def test_the_formats_of_the_field_are_all_there() -> None:
    assert len(writable()) == 13
    for alias in (
        "qwen",
        "Qwen3-Coder",
        "qwen3_xml",
        "llama3.1",
        "json",
        "DeepSeek-V3.1",
        "kimi-k2",
        "glm-4.5",
        "OpenAI",
    ):
        parse("", alias)


def test_an_unknown_format_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'hermes'"):
        parse("", "hermees")


def test_a_format_can_be_registered_from_outside_and_not_twice() -> None:
    @register_format("acme_arrow", openers=("=>",))
    def read_arrow(text: str, start: int, tools: ToolSet) -> tuple[list[ParsedCall], int]:
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        return [ParsedCall(text[start + 2 : end].strip(), {}, "ok", (start, end), text[start:end])], end

    assert [call.name for call in parse("so\n=> go\n=> stop", "acme_arrow").calls] == ["go", "stop"]
    assert "acme_arrow" in formats()
    with pytest.raises(ConfigError, match="registered already"):
        register_format("Acme-Arrow")(lambda text, start, end, tools: [])


def test_text_around_delimited_calls_is_content() -> None:
    parsed = parse(f"Let me see. {HERMES} One moment.", "hermes")
    assert parsed.content == "Let me see.  One moment."
    assert [call.arguments for call in parsed.calls] == [{"x": 2.5}]


def test_calls_in_the_reasoning_are_no_calls() -> None:
    parsed = parse(f"<think>maybe {HERMES}</think>Done.", "hermes")
    assert (parsed.calls, parsed.content, parsed.reasoning) == ([], "Done.", f"maybe {HERMES}")


def test_reasoning_that_the_prompt_opened_ends_at_its_closing_tag() -> None:
    parsed = parse(f"maybe {HERMES} or not</think>{HERMES}", "hermes")
    assert len(parsed.calls) == 1
    assert parsed.calls[0].span[0] > len(HERMES)


def test_a_closing_tag_inside_an_argument_ends_no_reasoning() -> None:
    text = write([{"name": "say", "arguments": {"text": "a</think>b"}}], "hermes")
    assert parse(text, "hermes").calls[0].arguments == {"text": "a</think>b"}


def test_reasoning_between_two_calls_is_cut_and_drafts_in_it_do_not_count() -> None:
    parsed = parse(f"{HERMES}<think>again? {HERMES}</think>{HERMES}", "hermes")
    assert [call.ok for call in parsed.calls] == [True, True]


def test_reasoning_that_never_closes_leaves_no_answer() -> None:
    for format in ("hermes", "python"):
        parsed = parse("<think>square_root(x=1)", format)
        assert not parsed.finished
        assert not parsed.ok


def test_a_string_may_hold_the_closing_delimiter() -> None:
    for format in writable():
        calls = [
            {
                "name": "say",
                "arguments": {"text": "</tool_call> [TOOL_CALLS] <｜tool▁call▁end｜> ``` <|tool_call_end|>"},
            }
        ]
        tools = [{"name": "say", "parameters": {"properties": {"text": {"type": "string"}}}}]
        assert parse(write(calls, format), format, tools).calls[0].arguments == calls[0]["arguments"], format


@pytest.mark.parametrize(
    ("payload", "status"),
    [
        ('{"name": "f", "arguments": {"x": 1,}}', "bad_json"),
        ("{'name': 'f', 'arguments': {}}", "bad_json"),
        ('{"name": "f", "arguments": {"x": NaN}}', "bad_json"),
        ('{"name": "f", "arguments": {"x": 1e999}}', "bad_json"),
        ('{"name": "f", "arguments": {}} {"name": "g", "arguments": {}}', "bad_json"),
        ('{"name": "f", "arguments": {}}}', "bad_json"),
        ('{"name": "f", "arguments": {"x": 1, "x": 1}}', "duplicate_key"),
        ('{"name": "f", "name": "g", "arguments": {}}', "duplicate_key"),
        ('{"arguments": {}}', "missing_name"),
        ('{"name": 5, "arguments": {}}', "missing_name"),
        ('{"name": "f", "arguments": "{}"}', "args_not_object"),
        ('{"name": "f", "arguments": [1]}', "args_not_object"),
        ('{"name": "f"}', "args_not_object"),
        ('[{"name": "f", "arguments": {}}]', "bad_syntax"),
        ("tool", "bad_json"),
        ('{"name": "f", "arguments": {"x": ' + "[" * 65 + "]" * 65 + "}}", "too_large"),
        ('{"name": "f", "arguments": {"x": "' + "y" * 200_000 + '"}}', "too_large"),
    ],
)
def test_what_is_wrong_inside_the_delimiters_has_a_status(payload: str, status: str) -> None:
    assert statuses(f"<tool_call>{payload}</tool_call>", "hermes") == [status]


def test_one_broken_block_does_not_hide_the_others() -> None:
    text = f"{HERMES}<tool_call>{{oops}}</tool_call>{HERMES}<tool_call>{HERMES}"
    assert statuses(text, "hermes") == ["ok", "bad_json", "ok", "unclosed", "ok"]


def test_a_stop_string_may_have_taken_the_last_closing_tag_but_nothing_of_the_payload() -> None:
    assert statuses(HERMES.removesuffix("\n</tool_call>"), "hermes") == ["ok"]
    assert statuses(HERMES.removesuffix("</tool_call>") + "<|im_end|>", "hermes") == ["ok"]
    assert statuses(f"<tool_call>{CALL} and more", "hermes") == ["bad_json"]
    assert statuses(f"<tool_call>{CALL[:-1]}", "hermes") == ["unclosed"]


@pytest.mark.parametrize("format", ["llama3_json", "xlam", "pythonic", "python"])
def test_a_call_quoted_in_prose_is_an_attempt_and_no_call(format: str, tools: Tools) -> None:
    text = write([{"name": "square_root", "arguments": {"x": 2.0}}], format)
    (call,) = parse(f"I could write {text} here.", format, tools).calls
    assert call.status == "bad_syntax"


@pytest.mark.parametrize("format", ["llama3_json", "xlam", "pythonic", "python", "openai"])
def test_prose_with_brackets_is_no_attempt(format: str, tools: Tools) -> None:
    for text in ("", "See [1] and f(x).", "{x} is a set", "I have none.", "[1, 2]", "[]"):
        if format in ("llama3_json", "openai") and text.startswith("{"):
            continue
        assert parse(text, format, tools).calls == [], text


def test_an_answer_that_is_itself_json_is_no_call() -> None:
    assert parse('{"total": 5}', "llama3_json").calls == []
    assert parse("[1, 2]", "xlam").calls == []
    assert parse('{"total": 5}', "openai").calls == []


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("f(x=true)", "bad_syntax"),
        ("f(x=(1, 2))", "bad_syntax"),
        ("f(1)", "bad_syntax"),
        ("f(x=1 + 1)", "bad_syntax"),
        ("f(x=9**9**8)", "bad_syntax"),
        ("f(x=open('a').write('b'))", "bad_syntax"),
        ("f(x=g(y=1))", "bad_syntax"),
        ("f(x=f'{1}')", "bad_syntax"),
        ("f(x=b'a')", "bad_syntax"),
        ("f(x={1, 2})", "bad_syntax"),
        ("f(x={1: 2})", "bad_syntax"),
        ("f(**{'x': 1})", "bad_syntax"),
        ("f(x=1e999)", "bad_syntax"),
        ("f(x=007)", "bad_syntax"),
        ("f(x=1j)", "bad_syntax"),
        ("f(x=1, x=1)", "duplicate_key"),
        ("f(x={'a': 1, 'a': 1})", "duplicate_key"),
        ("f(x='a", "unclosed"),
        ("f(x=1) and more", "bad_syntax"),
        ("f(x=" + "[" * 70 + "]" * 70 + ")", "too_large"),
    ],
)
def test_python_text_takes_literals_by_name_and_nothing_else(text: str, status: str) -> None:
    tools = [{"name": "f"}]
    assert statuses(text, "python", tools)[-1] == status
    assert statuses(f"[{text}]", "pythonic", tools)[-1] == status


def test_python_literals_mean_what_they_mean_in_python() -> None:
    source = r"""m.f(a='it\'s', b="\u00e9\x41\n\101", c=r"\d", d='''x
'y' ''', e='a' "b", f=-0x1F, g=1_000, h=.5e-3, i=[1, (2)], j={'k': None,}, l=True, m='\N{BULLET}\q', )"""
    (call,) = parse(source, "python", [{"name": "m.f"}]).calls
    assert call.status == "ok", call.problem
    assert call.arguments == {
        "a": "it's", "b": "\u00e9A\nA", "c": "\\d", "d": "x\n'y' ", "e": "ab", "f": -31, "g": 1000, "h": 0.0005,
        "i": [1, 2], "j": {"k": None}, "l": True, "m": "\u2022\\q",
    }  # fmt: skip


def test_a_tuple_is_a_list_only_where_the_schema_says_tuple() -> None:
    tools = [
        {"name": "f", "parameters": {"type": "dict", "properties": {"p": {"type": "tuple"}, "q": {"type": "array"}}}}
    ]
    assert parse("[f(p=(1, 2))]", "pythonic", tools).calls[0].arguments == {"p": [1, 2]}
    assert statuses("[f(q=(1, 2))]", "pythonic", tools) == ["bad_syntax"]


def test_tagged_formats_take_their_types_from_the_schema(tools: Tools) -> None:
    text = (
        "<tool_call>\n<function=geo.weather>\n<parameter=city>\n5\n</parameter>\n<parameter=days>\n5\n</parameter>\n"
        '<parameter=hourly>\nTrue\n</parameter>\n<parameter=tags>\n["5"]\n</parameter>\n</function>\n</tool_call>'
    )
    assert parse(text, "qwen3_coder", tools).calls[0].arguments == {
        "city": "5",
        "days": 5,
        "hourly": True,
        "tags": ["5"],
    }
    assert parse(text, "qwen3_coder").calls[0].arguments["city"] == 5


def test_a_parameter_without_its_closing_tag_is_refused(tools: Tools) -> None:
    text = "<tool_call><function=square_root><parameter=x>1</function></tool_call>"
    assert statuses(text, "qwen3_coder", tools) == ["bad_syntax"]


def test_openai_messages_are_read_whatever_the_format_says() -> None:
    item = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    for message in (
        {"role": "assistant", "content": None, "tool_calls": [item]},
        {"choices": [{"message": {"tool_calls": [item]}}]},
        {"function_call": {"name": "f", "arguments": '{"x": 1}'}},
        {"output": [{"type": "message"}, {"type": "function_call", "name": "f", "arguments": '{"x": 1}'}]},
    ):
        assert [(call.name, call.arguments) for call in parse(message, "hermes").calls] == [("f", {"x": 1})]
    assert parse({"role": "assistant", "content": HERMES}, "hermes").calls[0].arguments == {"x": 2.5}


@pytest.mark.parametrize(
    "odd",
    [
        {"tool_calls": "x"},
        {"tool_calls": [None]},
        {"tool_calls": [{"function": 3}]},
        {"tool_calls": {"a": 1}},
        {"tool_calls": [{"function": {"name": "f", "arguments": 5}}]},
    ],
)
def test_a_malformed_message_is_a_broken_call_and_no_exception(odd: dict[str, Any]) -> None:
    assert parse(odd).broken


def test_a_response_of_another_type_is_the_callers_mistake() -> None:
    with pytest.raises(ConfigError, match="int"):
        parse(5)  # type: ignore[arg-type]


def test_content_parts_of_a_message_are_joined() -> None:
    message = {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    assert parse(message).content == "ab"


def test_json_of_a_call_survives_the_round_trip_exactly() -> None:
    arguments = {"x": [1, 1.5, "é\u2028", None, {"": []}], "y": -(10**20)}
    assert (
        parse(f"<tool_call>{json.dumps({'name': 'f', 'arguments': arguments})}</tool_call>").calls[0].arguments
        == arguments
    )
