"""When calls are the wanted ones, and what is said when they are not."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from rlvr.errors import ConfigError
from rlvr.verifiers.toolcall import check_call, match, parse, verify, write
from rlvr.verifiers.toolcall.policy import fold
from rlvr.verifiers.toolcall.schema import ToolSet

Calls = list[dict[str, Any]]


def number_tool(**properties: Any) -> Calls:
    return [{"name": "f", "parameters": {"type": "object", "properties": properties}}]


def ok(arguments: dict[str, Any], gold: dict[str, Any], tools: Calls, policy: str = "strict") -> bool:
    return match([{"name": "f", "arguments": arguments}], [{"name": "f", "arguments": gold}], tools, policy).ok


def test_the_wanted_call_is_right_and_any_other_value_is_wrong(tools: Calls, gold: Calls) -> None:
    assert match(gold, gold, tools).ok
    for key, value in (("city", "Bergen"), ("days", 4), ("tags", ["wind", "rain"]), ("place", {"lat": 59.5})):
        made = copy.deepcopy(gold)
        made[0]["arguments"][key] = value
        verdict = match(made, gold, tools)
        assert not verdict.ok
        assert f"$.{key}" in verdict.reason


def test_names_are_exact(tools: Calls, gold: Calls) -> None:
    for name in ("weather", "Geo.weather", "geo_weather", "geo.weather2"):
        assert not match([{**gold[0], "name": name}], gold, tools).ok


def test_a_truth_value_is_no_number_and_a_text_is_no_number() -> None:
    tools = number_tool(x={"type": "integer"}, y={"type": "number"}, z={"type": "boolean"})
    assert ok({"x": 1}, {"x": 1}, tools)
    assert not ok({"x": True}, {"x": 1}, tools)
    assert not ok({"z": 1}, {"z": True}, tools)
    assert not ok({"x": "1"}, {"x": 1}, tools)
    assert not ok({"x": [True]}, {"x": [1]}, [])


def test_an_integer_may_stand_for_a_number_but_no_float_for_an_integer() -> None:
    tools = number_tool(x={"type": "integer"}, y={"type": "number"}, n={"type": "array", "items": {"type": "integer"}})
    assert ok({"y": 2}, {"y": 2.0}, tools)
    assert ok({"y": 2.0}, {"y": 2}, tools)
    assert not ok({"x": 2.0}, {"x": 2}, tools)
    assert not ok({"n": [1, 2.0]}, {"n": [1, 2]}, tools)
    assert not ok({"x": None}, {}, tools)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("New York, NY", "new york NY"), ("St. Louis", "St Louis"), ("Hello.", "hello"), ("x**2 + 2", "x**2+2"),
        ("10,000 USD", "10000 usd"), ("April 1, 2024", "april 1,2024"), ("/home/u/", "/home/u"), ("x - 1", "x-1"),
        ("New York - NY", "New York NY"), ("it's", 'it"s'), ("a  b\n", "A B"),
    ],
)  # fmt: skip
def test_case_spacing_separators_and_closing_marks_fold(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-1.5", "1.5"), ("1.5", "15"), ("x**2", "x2"), ("192.168.11.33", "1921681133"), ("a.b@c.d", "ab@cd"),
        ("1, 5", "15"), ("1,5", "1.5"), ("New-York", "New York"), ("a_b", "ab"), ("x - 1", "x 1"), ("A-", "A"),
        ("/home", "home"), ("1/2", "12"), (".5", "5"), ("5, -3", "5-3"), ("3:15", "315"), ("2 + 2", "22"),
    ],
)  # fmt: skip
def test_signs_that_carry_meaning_do_not_fold(one: str, other: str) -> None:
    assert fold(one) != fold(other)


def test_a_folded_value_must_still_be_one_the_schema_allows(tools: Calls) -> None:
    gold = [{"name": "geo.weather", "arguments": {"city": "Oslo", "unit": "celsius"}}]
    assert match([{"name": "geo.weather", "arguments": {"city": "OSLO", "unit": "celsius"}}], gold, tools).ok
    verdict = match([{"name": "geo.weather", "arguments": {"city": "Oslo", "unit": "Celsius"}}], gold, tools)
    assert not verdict.ok
    assert verdict.reason == "geo.weather: $.unit is 'Celsius'; allowed: celsius, kelvin"


def test_gold_that_breaks_its_own_schema_still_matches(tools: Calls) -> None:
    gold = [{"name": "geo.weather", "arguments": {"city": None, "unit": "Rankine", "speed": 3}}]
    assert match(gold, gold, tools).ok
    assert match([{"name": "geo.weather", "arguments": {**gold[0]["arguments"], "unit": "rankine"}}], gold, tools).ok


def test_allowed_values_and_the_empty_text_that_marks_an_optional_argument() -> None:
    tools = number_tool(x={"type": "integer"}, unit={"type": "string"})
    gold = [{"f": {"x": [1, 2], "unit": ["", "m"]}}]
    for arguments, right in (
        ({"x": 1}, True), ({"x": 2, "unit": "m"}, True), ({"x": 3}, False), ({"unit": "m"}, False),
        ({"x": 1, "unit": ""}, False), ({"x": 1, "unit": None}, False), ({"x": 1, "y": 1}, False),
    ):  # fmt: skip
        assert match([{"name": "f", "arguments": arguments}], gold, tools).ok is right, arguments


def test_an_argument_whose_only_allowed_value_is_the_empty_text_may_be_given_or_left_out() -> None:
    gold = [{"f": {"note": [""]}}]
    assert match([{"name": "f", "arguments": {}}], gold).ok
    assert match([{"name": "f", "arguments": {"note": ""}}], gold).ok
    assert not match([{"name": "f", "arguments": {"note": "x"}}], gold).ok


def test_allowed_objects_hold_lists_of_allowed_values_at_every_level() -> None:
    gold = [{"f": {"where": [{"age": [5, 6], "name": ["Ann", ""]}], "rows": [[{"a": [1]}, {"a": [2]}]]}}]
    for where, rows, right in (
        ({"age": 6}, [{"a": 1}, {"a": 2}], True),
        ({"age": 5, "name": "ann"}, [{"a": 1}, {"a": 2}], True),
        ({"age": 7}, [{"a": 1}, {"a": 2}], False),
        ({"age": 5, "extra": 1}, [{"a": 1}, {"a": 2}], False),
        ({"age": 5}, [{"a": 2}, {"a": 1}], False),
        ({"age": [5, 6]}, [{"a": 1}, {"a": 2}], False),
    ):
        assert match([{"name": "f", "arguments": {"where": where, "rows": rows}}], gold).ok is right, (where, rows)


def test_parallel_calls_are_paired_as_well_as_they_can_be() -> None:
    gold = [{"f": {"x": [1, 2]}}, {"f": {"x": [1]}}]
    calls = [{"name": "f", "arguments": {"x": 1}}, {"name": "f", "arguments": {"x": 2}}]
    # The first call fits both; taking the first fit leaves x=2 without a place.
    assert match(calls, gold).ok
    assert match(calls[::-1], gold).ok
    assert not match([calls[1], calls[1]], gold).ok
    assert not match(calls, gold, number_tool(x={"type": "integer"}), policy="bfcl").ok


def test_an_extra_call_and_a_missing_call_are_wrong(tools: Calls, gold: Calls) -> None:
    extra = match([*gold, *gold], gold, tools)
    assert (extra.ok, [said.ok for said in extra.per_call]) == (False, [True, False])
    assert match([], gold, tools).reason == "a needed call is missing"
    assert match(gold, [*gold, *gold], tools).missing == 1


def test_no_call_wanted_means_no_call_and_no_broken_attempt(tools: Calls) -> None:
    for response, right in (
        ("I cannot.", True),
        ("", True),
        ("<tool_call>{</tool_call>", False),
        ("<tool_call>", False),
    ):
        assert verify(response, tools, []).correct is right
    call = write([{"name": "square_root", "arguments": {"x": 1}}])
    assert not verify(call, tools, []).correct
    assert verify(f"<think>{call}</think>No.", tools, []).correct


def test_a_broken_attempt_beside_the_right_call_is_wrong(tools: Calls, gold: Calls) -> None:
    assert not verify(write(gold) + "<tool_call>{}</tool_call>", tools, gold).correct


def test_the_exec_policy_reads_values_as_a_lax_tool_would() -> None:
    tools = number_tool(
        x={"type": "integer", "default": 7},
        y={"type": "number"},
        z={"type": "boolean"},
        s={"type": "string", "default": "m"},
    )
    for made, wanted in (
        ({"x": "5"}, {"x": 5}), ({"x": 5.0}, {"x": 5}), ({"x": True}, {"x": 1}), ({"y": "1e3"}, {"y": 1000.0}),
        ({"z": "yes"}, {"z": True}), ({"z": 0}, {"z": False}), ({}, {"x": 7}), ({"s": "m"}, {}),
    ):  # fmt: skip
        assert ok(made, wanted, tools, "exec"), (made, wanted)
        assert not ok(made, wanted, tools, "strict"), (made, wanted)
    for made, wanted in (
        ({"x": "5.5"}, {"x": 5}),
        ({"y": "inf"}, {"y": 1.0}),
        ({"x": "five"}, {"x": 5}),
        ({"s": "n"}, {}),
    ):
        assert not ok(made, wanted, tools, "exec"), (made, wanted)


def test_the_bfcl_policy_keeps_the_faults_of_its_model() -> None:
    tools = number_tool(s={"type": "string"}, x={"type": "integer"})
    assert ok({"s": "15"}, {"s": "-1.5"}, tools, "bfcl")
    assert ok({"s": "x2"}, {"s": "x**2"}, tools, "bfcl")
    assert not ok({"x": True}, {"x": 1}, tools, "bfcl")


def test_reasons_name_the_path_and_what_is_allowed_in_at_most_300_characters(tools: Calls) -> None:
    toolset = ToolSet(tools)
    for arguments, said in (
        ({}, "$.city is missing; must be string"),
        ({"city": "a", "days": "3"}, "$.days is '3' (string); must be integer"),
        ({"city": "a", "days": 3.0}, "$.days is 3.0 (number); must be integer without a fraction point"),
        ({"city": "a", "unit": "kelvins"}, "$.unit is 'kelvins'; allowed: celsius, kelvin"),
        (
            {"city": "a", "dais": 3},
            "$.dais is no argument. Did you mean 'days'? Allowed: city, days, unit, tags, place, hourly",
        ),
        ({"city": "a", "tags": ["x", 5]}, "$.tags[1] is 5 (integer); must be string"),
        ({"city": "a", "place": {"lat": "north"}}, "$.place.lat is 'north' (string); must be number"),
    ):
        call = parse({"tool_calls": [{"name": "geo.weather", "arguments": arguments}]}).calls[0]
        assert check_call(call, toolset) == f"geo.weather: {said}"
    unknown = parse({"tool_calls": [{"name": "geo.wether", "arguments": {}}]}).calls[0]
    assert "Did you mean 'geo.weather'?" in check_call(unknown, toolset)
    long = parse({"tool_calls": [{"name": "n" * 5000, "arguments": {"k" * 5000: "v" * 5000}}]}).calls[0]
    assert len(check_call(long, toolset)) <= 300


def test_no_reason_contains_the_gold_value(tools: Calls) -> None:
    gold = [
        {"name": "geo.weather", "arguments": {"city": "Xanadu-77", "days": 41, "tags": ["qq"], "place": {"lat": 12.25}}}
    ]
    for arguments in (
        {},
        {"city": "a"},
        {"city": "Xanadu-77"},
        {"city": "a", "days": 40},
        {"city": "a", "days": 41, "tags": []},
    ):
        score = verify(write([{"name": "geo.weather", "arguments": arguments}]), tools, gold)
        text = score.to_json()
        assert not any(secret in text for secret in ("Xanadu", "12.25", "qq")), text
        assert "41" not in score.reason or arguments.get("days") == 41


def test_a_schema_from_elsewhere_opens_no_connection() -> None:
    tools = [{"name": "f", "parameters": {"properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}}}]
    call = parse({"tool_calls": [{"name": "f", "arguments": {"x": 1}}]}).calls[0]
    assert check_call(call, ToolSet(tools)) == ""


def test_references_inside_a_schema_are_followed() -> None:
    tools = [
        {"name": "f", "parameters": {"properties": {"x": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}}
    ]
    assert not ok({"x": 2.0}, {"x": 2}, tools)
    assert ok({"x": 2}, {"x": 2}, tools)


def test_parts_never_rise_when_a_call_is_added(tools: Calls, gold: Calls) -> None:
    before = match(gold, gold, tools).parts
    after = match([*gold, gold[0]], gold, tools).parts
    assert before == {"format": 1.0, "name": 1.0, "arguments": 1.0}
    assert after == {"format": 1.0, "name": 0.5, "arguments": 0.5}


@pytest.mark.parametrize("bad", ["f", [5], [{"a": 1, "b": 2}], [{"name": "f", "arguments": "{"}], 5])
def test_malformed_gold_is_the_callers_mistake(bad: Any) -> None:
    with pytest.raises(ConfigError, match="gold"):
        match([], bad)


def test_unknown_policies_and_nameless_tools_are_the_callers_mistake() -> None:
    with pytest.raises(ConfigError, match="strict, exec, bfcl"):
        match([], [], policy="lenient")
    with pytest.raises(ConfigError, match="without a name"):
        match([], [], tools=[{"type": "function"}])


def test_gold_may_be_written_as_openai_tool_calls() -> None:
    gold = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]
    assert match([{"name": "f", "arguments": {"x": 1}}], gold).ok
    assert match([{"name": "f", "arguments": {}}], [{"name": "f", "arguments": {}}]).ok


def test_a_format_without_types_can_say_what_an_off_schema_gold_means() -> None:
    tools = number_tool(venue={"type": "string"})
    for gold, text, right in (
        (True, "True", True),
        (None, "null", True),
        (5, "5", True),
        ("5", "5", True),
        (True, "1", False),
    ):
        for format in ("qwen3_coder", "glm45"):
            response = write([{"name": "f", "arguments": {"venue": text}}], format)
            assert verify(response, tools, [{"name": "f", "arguments": {"venue": gold}}], format).correct is right
    assert not verify(write([{"name": "f", "arguments": {"venue": "5"}}]), tools, [{"f": {"venue": [5]}}]).correct
