from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.errors import EngineError
from rlvr.generation.engine import Completion
from rlvr.tokens import Span, TokenBuffer

tokens = st.lists(st.integers(0, 1000), min_size=1, max_size=8)


def test_a_buffer_marks_sampled_tokens_and_keeps_their_logprobs() -> None:
    buffer = TokenBuffer()
    buffer.append_prompt([5, 6])
    buffer.append_sampled(Completion([7, 1], [-0.5, -0.25], "stop", 3))
    buffer.append_prompt([8])
    assert buffer.ids == [5, 6, 7, 1, 8]
    assert buffer.mask == [False, False, True, True, False]
    assert buffer.logprobs == [0.0, 0.0, -0.5, -0.25, 0.0]
    assert buffer.spans == [Span(3, 2, 4)]


def test_weights_that_changed_in_the_middle_of_a_turn_have_spans_of_their_own() -> None:
    buffer = TokenBuffer()
    buffer.append_prompt([9, 9])
    buffer.append_sampled(Completion([1, 2, 3], [-1.0] * 3, "stop", 4, version_starts=((4, 0), (5, 1))))
    assert buffer.spans == [Span(4, 2, 3), Span(5, 3, 5)]
    assert buffer.weight_version == 4


def test_a_buffer_names_the_oldest_weights_that_sampled_any_of_it() -> None:
    buffer = TokenBuffer()
    assert buffer.weight_version == 0
    buffer.append_sampled(Completion([1], [-1.0], "stop", 8))
    buffer.append_sampled(Completion([1], [-1.0], "stop", 7))
    assert buffer.weight_version == 7


@pytest.mark.parametrize(("ids", "logprobs"), [([], []), ([1, 2], [-0.1]), ([1], [-0.1, -0.2])])
def test_a_damaged_completion_is_refused_and_changes_nothing(ids: list[int], logprobs: list[float]) -> None:
    buffer = TokenBuffer()
    buffer.append_prompt([9])
    with pytest.raises(EngineError, match="log-probabilities"):
        buffer.append_sampled(Completion(ids, logprobs, "stop", 0))
    assert (buffer.ids, buffer.mask, buffer.logprobs, buffer.spans) == ([9], [False], [0.0], [])


@given(st.lists(st.tuples(st.booleans(), tokens), max_size=12))
def test_a_buffer_only_ever_grows_at_its_end(steps: list[tuple[bool, list[int]]]) -> None:
    buffer = TokenBuffer()
    sampled = 0
    for is_sampled, ids in steps:
        before = (list(buffer.ids), list(buffer.mask), list(buffer.logprobs))
        if is_sampled:
            buffer.append_sampled(Completion(ids, [-1.0] * len(ids), "stop", 0))
            sampled += len(ids)
        else:
            buffer.append_prompt(ids)
        now = (buffer.ids, buffer.mask, buffer.logprobs)
        assert tuple(column[: len(before[0])] for column in now) == before
        assert buffer.ids[len(before[0]) :] == ids
        assert len(buffer.ids) == len(buffer.mask) == len(buffer.logprobs) == len(buffer)
    assert sum(buffer.mask) == sampled
    assert [place for span in buffer.spans for place in range(span.start, span.end)] == [
        place for place, was_sampled in enumerate(buffer.mask) if was_sampled
    ]
