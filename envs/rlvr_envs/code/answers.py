"""The code in a completion, and its Score."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rlvr import Score, Task
from rlvr.answers import after_thinking

MAX_CODE = 100_000
"""Characters beyond which an answer is no program."""

_FENCE = re.compile(r"^[ \t]*```[ \t]*([\w+#.-]*)[ \t]*\r?$", re.MULTILINE)


def code_in(text: str) -> str | None:
    """The program of a completion: its last fenced block after the reasoning, else all that follows the reasoning.

    None if there is none: an unfinished thought or block, or a text that is too long. Linear in the length of the text.
    """
    rest = after_thinking(text)
    if rest is None:
        return None
    fences = list(_FENCE.finditer(rest))
    if len(fences) % 2:
        return None
    code = rest[fences[-2].end() + 1 : fences[-1].start()] if fences else rest
    code = code.removeprefix("<answer>").removesuffix("</answer>") if not fences else code
    return code if code.strip() and len(code) <= MAX_CODE else None


def fenced(code: str, language: str = "python") -> str:
    """`code` as a fenced block."""
    return f"```{language}\n{code.rstrip()}\n```"


def judge_code(code: str | None, tests: Mapping[str, Any], *, timeout_s: float = 1.0, memory_mb: int = 512) -> Score:
    """The sandbox's Score of a program. Raises SandboxUnavailableError if it could not be run: that is no verdict."""
    if code is None:
        return Score(0.0, reason="no_code")
    from rlvr_sandbox import judge

    return judge(code, tests, timeout_s=timeout_s, memory_mb=memory_mb)


def verify_code(task: Task, text: str) -> Score:
    """The code of an answer against the tests that the task holds."""
    data = task.data or {}
    return judge_code(code_in(text), data["tests"], timeout_s=data.get("timeout_s", 1.0))
