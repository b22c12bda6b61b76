"""What holds for every input, tried on many."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.verifiers.toolcall import match, parse, verify, write
from rlvr.verifiers.toolcall.calls import Unreadable
from rlvr.verifiers.toolcall.pythontext import PythonReader
from rlvr.verifiers.toolcall.writing import writable

NAMES = st.sampled_from(["f", "go.to", "Write_file2"])
KEYS = st.sampled_from(["a", "b", "key_3", "content"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CALLS = st.lists(
    st.builds(
        lambda name, arguments: {"name": name, "arguments": arguments}, NAMES, st.dictionaries(KEYS, VALUES, max_size=3)
    ),
    min_size=1,
    max_size=3,
)
TYPED = ("qwen3_coder", "glm45")  # they carry no types, so only texts come back without a schema


@settings(max_examples=150, deadline=None)
@given(calls=CALLS)
def test_what_is_written_is_read_back(calls: list[dict[str, Any]]) -> None:
    for format in writable():
        if format in TYPED:
            continue
        parsed = parse(write(calls, format), format)
        assert [{"name": call.name, "arguments": call.arguments} for call in parsed.calls] == calls, format


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200) | st.text(alphabet="<>[]{}()\"'\\:,=tool_cal/ think1.", max_size=200))
def test_any_text_has_a_score_in_every_format(text: str) -> None:
    for format in writable():
        for wanted in ([], [{"name": "f", "arguments": {"a": 1}}]):
            assert verify(text, [{"name": "f"}], wanted, format).error is None


@settings(max_examples=100, deadline=None)
@given(calls=CALLS, extra=CALLS, place=st.integers(0, 3))
def test_adding_calls_to_a_right_answer_never_raises_the_reward(
    calls: list[dict[str, Any]], extra: list[dict[str, Any]], place: int
) -> None:
    before = match(calls, calls)
    after = match([*calls[:place], *extra, *calls[place:]], calls)
    assert before.ok
    assert not after.ok
    assert all(after.parts[key] <= before.parts[key] for key in before.parts)


@settings(max_examples=100, deadline=None)
@given(made=CALLS, wanted=CALLS, extra=CALLS)
def test_adding_calls_to_a_wrong_answer_never_makes_it_right_by_more_than_they_are_worth(
    made: list[dict[str, Any]], wanted: list[dict[str, Any]], extra: list[dict[str, Any]]
) -> None:
    # With at least as many calls as wanted, further ones can only lower the shares.
    if len(made) >= len(wanted):
        assert not match([*made, *extra], wanted).ok


@settings(max_examples=150, deadline=None)
@given(calls=CALLS, order=st.randoms(use_true_random=False))
def test_the_order_of_calls_does_not_matter(calls: list[dict[str, Any]], order: Any) -> None:
    shuffled = list(calls)
    order.shuffle(shuffled)
    assert match(shuffled, calls).ok


@settings(max_examples=300, deadline=None)
@given(value=VALUES)
def test_the_reader_of_python_literals_agrees_with_python(value: Any) -> None:
    text = repr(value)
    assert PythonReader(text, 0, len(text)).value(1) == value


@settings(max_examples=300, deadline=None)
@given(source=st.text(alphabet="[](){}'\"\\nx0123456789.,:-+eE_ rTrueNoneFalse", max_size=30))
def test_the_reader_of_python_literals_accepts_nothing_that_python_does_not(source: str) -> None:
    import ast
    import warnings

    reader = PythonReader(source, 0, len(source))
    try:
        value = reader.value(1)
        reader.space()
    except Unreadable:
        return
    if reader.position == len(source) and "\n" not in source:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert ast.literal_eval(source.strip()) == value


@pytest.mark.parametrize("format", writable())
def test_a_verdict_is_the_same_every_time(format: str) -> None:
    calls = [{"name": "f", "arguments": {"a": i}} for i in range(5)]
    text = write(calls, format)
    tools = [{"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}}}]
    assert len({verify(text, tools, calls[::-1], format).to_json() for _ in range(5)}) == 1
