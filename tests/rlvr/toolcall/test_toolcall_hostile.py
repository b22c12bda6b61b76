"""Text that is meant to hurt: it gets a Score, soon, and none of it runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rlvr.verifiers.toolcall import formats, verify, write

TOOLS = [
    {
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": {
                "x": {"type": "integer"},
                "rows": {"type": "array", "uniqueItems": True, "items": {"type": "object"}},
            },
            "required": ["x"],
        },
    }
]
GOLD = [{"name": "f", "arguments": {"x": 1}}]
MANY = 100_000
PAYLOADS = {
    "deep lists": "[" * MANY, "deep closed lists": "[" * MANY + "]" * MANY, "deep objects": '{"a":' * MANY,
    "deep parentheses": "(" * MANY, "a power": "9**9**8", "minus signs": "-" * MANY + "1", "nots": "not " * MANY,
    "attributes": "a." * MANY, "sums": "1+" * MANY + "1", "quotes": '"' * MANY, "escaped quotes": '\\"' * MANY,
    "surrogates": "\ud800" * 1000, "digits": "9" * MANY, "an exponent": "1e" + "9" * 1000, "braces": "{" * MANY,
    "a megabyte of text": '"' + "x" * 1_000_000 + '"', "a megabyte of numbers": "[" + "1," * 500_000 + "1]",
    "objects": "[" + '{"a":1},' * 15_000 + "1]", "strings": "[" + '"b",' * 30_000 + "1]", "spaces": " " * 1_000_000,
}  # fmt: skip
TAGS = ("<tool_call>", "[TOOL_CALLS]", "<think>", "</think>", "<think></think>", "<function=f>", "<｜tool▁calls▁begin｜>",
        "<|tool_call_begin|>", "<tool_call>{", "```", "[f(", "f(x=1);", '{"name":"f","parameters":{}};')  # fmt: skip


def hostile_texts(format: str) -> list[str]:
    frame = write([{"name": "f", "arguments": {"x": 1, "rows": 987654321}}], format)
    inside = [frame.replace("987654321", payload) for payload in PAYLOADS.values()]
    return [*inside, *PAYLOADS.values(), *(tag * 50_000 for tag in TAGS)]


@pytest.mark.parametrize("format", [name for name in formats() if not name.startswith("acme")])
def test_hostile_text_gets_a_score_and_never_the_reward(format: str) -> None:
    for text in hostile_texts(format):
        score = verify(text, TOOLS, GOLD, format)
        assert score.reward == 0.0
        assert len(score.reason) <= 300
        score.to_json()
        score.reason.encode()


def test_the_work_grows_no_faster_than_the_text() -> None:
    # 16 times the text may cost 16 times the work and some noise, not 256 times: a square would show.
    for tag in TAGS:
        times = []
        for size in (8_000, 128_000):
            start = time.process_time()
            for _ in range(3):
                verify(tag * (size // len(tag)), TOOLS, GOLD, "hermes")
                verify(tag * (size // len(tag)), TOOLS, GOLD, "python")
            times.append(time.process_time() - start)
        assert times[1] < 100 * max(times[0], 0.001), tag


def test_nothing_in_a_response_runs(tmp_path: Path) -> None:
    flag = tmp_path / "ran"
    for format in ("python", "pythonic", "hermes", "xlam"):
        for code in (f"open({str(flag)!r}, 'w')", f"__import__('pathlib').Path({str(flag)!r}).touch()"):
            for text in (
                f"f(x={code})",
                f"[f(x={code})]",
                f"[f(x={code} + 1)]",
                code,
                f"<tool_call>{code}</tool_call>",
            ):
                assert not verify(text, TOOLS, GOLD, format).correct
    assert not flag.exists()


def test_lone_surrogates_in_names_and_values_are_printable_in_the_score() -> None:
    for call in ('{"name": "\\ud800", "arguments": {}}', '{"name": "f", "arguments": {"\\udfff": 1}}'):
        score = verify(f"<tool_call>{call}</tool_call>", TOOLS, GOLD)
        assert score.reward == 0.0
        score.reason.encode()
        score.to_json().encode()
