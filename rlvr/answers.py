"""The part of a completion that is the answer."""

from __future__ import annotations

_THINK_OPEN, _THINK_CLOSE = "<think>", "</think>"
_ANSWER_OPEN, _ANSWER_CLOSE = "<answer>", "</answer>"


def after_thinking(text: str) -> str | None:
    """What follows the reasoning, or None if a thought was opened and never closed.

    Chat templates often open the thought in the prompt, so a `</think>` without its opening counts as a close.
    """
    close = text.rfind(_THINK_CLOSE)
    rest = text if close < 0 else text[close + len(_THINK_CLOSE) :]
    return None if _THINK_OPEN in rest else rest


def final_answer(text: str) -> str | None:
    """The last `<answer>...</answer>` after the reasoning, else all that follows the reasoning, stripped.

    None if there is no answer: an unfinished thought, or an answer tag that was opened and not closed.
    Linear in the length of the text.
    """
    rest = after_thinking(text)
    if rest is None:
        return None
    start = rest.rfind(_ANSWER_OPEN)
    if start < 0:
        return rest.strip()
    end = rest.find(_ANSWER_CLOSE, start)
    if end < 0:
        return None
    return rest[start + len(_ANSWER_OPEN) : end].strip()
