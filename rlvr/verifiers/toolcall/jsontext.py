"""JSON from a model: standard JSON only, and never more of it than a verdict may cost.

Unlike `json.loads` this refuses a key that stands twice, NaN and infinities (also 1e999), more than `MAX_DEPTH` levels,
`MAX_CONTAINERS` containers or `MAX_CALL_CHARS` characters; the depth is counted before the recursive decoder starts.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from rlvr.verifiers.toolcall.calls import MAX_CALL_CHARS, MAX_CONTAINERS, MAX_DEPTH, Unreadable

_PYTHON_WORDS = {"True": "true", "False": "false", "None": "null"}
_space = re.compile(r"[ \t\r\n]*+")
# Up to the next bracket outside a string. An unclosed string runs to the end, so that no character is scanned twice.
_to_bracket = re.compile(r'(?:[^"\[\]{}]|"(?:[^"\\]|\\.)*+"?)*+([\[\]{}])', re.DOTALL)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Unreadable("duplicate_key", f"the key {key[:40]!r} stands twice in one object")
            seen.add(key)
    return value


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise Unreadable("bad_json", f"the number {text[:40]} is too large")
    return value


def _no_constant(text: str) -> NoReturn:
    raise Unreadable("bad_json", f"{text} is no JSON value")


_decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates, parse_float=_finite, parse_constant=_no_constant)


def skip_space(text: str, start: int) -> int:
    """The first position at or after `start` that holds no JSON white space."""
    found = _space.match(text, start)
    return found.end() if found else start


def check_nesting(text: str, start: int) -> None:
    """Raise Unreadable if the JSON value at `start` is nested or populated past the limits."""
    depth = containers = 0
    while found := _to_bracket.match(text, start):
        start = found.end()
        if found.group(1) in "[{":
            depth += 1
            containers += 1
            if depth > MAX_DEPTH:
                raise Unreadable("too_large", f"more than {MAX_DEPTH} levels of nesting", start)
            if containers > MAX_CONTAINERS:
                raise Unreadable("too_large", f"more than {MAX_CONTAINERS:,} lists and objects", start)
        else:
            depth -= 1
            if depth <= 0:
                return


def decode_json(text: str, start: int) -> tuple[Any, int]:
    """The list or object that begins at `start` and the position after it. Raises Unreadable."""
    if text[start : start + 1] not in ("{", "["):
        raise Unreadable("bad_json", "a JSON object or list must stand here", start)
    cut = len(text) - start > MAX_CALL_CHARS
    window, first = (text[start : start + MAX_CALL_CHARS], 0) if cut else (text, start)
    # Counting brackets is the cheaper check on a short text, walking up to the value's end on a long one.
    if len(window) - first > 4096 or window.count("[", first) + window.count("{", first) > MAX_DEPTH:
        check_nesting(window, first)
    try:
        value, end = _decoder.raw_decode(window, first)
    except json.JSONDecodeError as error:
        position = error.pos + start - first
        if cut and (error.pos >= MAX_CALL_CHARS - 1 or error.msg.startswith("Unterminated")):
            raise Unreadable("too_large", f"longer than {MAX_CALL_CHARS:,} characters", position) from None
        if error.pos >= len(window.rstrip()) or (error.msg.startswith("Unterminated") and not cut):
            raise Unreadable("unclosed", "the JSON ends before it is complete", position) from None
        raise Unreadable("bad_json", f"{error.msg} after {position - start} characters of JSON", position) from None
    except (ValueError, RecursionError):  # an integer past Python's digit limit; a caller deep in its own stack
        raise Unreadable("too_large", "a number or a nesting is too large", start) from None
    return value, end + start - first


def decode_whole(text: str) -> Any:
    """The list or object that `text` is, white space around it aside. Raises Unreadable."""
    value, end = decode_json(text, skip_space(text, 0))
    if skip_space(text, end) != len(text):
        raise Unreadable("bad_json", "text follows the JSON value", end)
    return value


def untagged(text: str) -> Any:
    """The JSON value that a text says (True, False and None too, which templates print); the text if it says none.

    Raises Unreadable, `too_large` or `duplicate_key`.
    """
    words = text.strip()
    words = _PYTHON_WORDS.get(words, words)
    try:
        items, end = decode_json("[" + words + "]", 0)
    except Unreadable as fault:
        if fault.status in ("too_large", "duplicate_key"):
            raise
        return text
    return items[0] if end == len(words) + 2 and len(items) == 1 else text
