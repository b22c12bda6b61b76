"""Answers that deserve nothing, and answers that mean harm."""

from __future__ import annotations

import os
import secrets
import shutil
import string
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rlvr.spec import EnvSpec
from rlvr.task import Task

CONSTANTS = (
    "", " \n\t", "0", "1", "-1", "2", "3", "10", "42", "0.5", "nan", "inf", "-inf", "None", "null", "True", "False",
    "yes", "no", "A", "B", "x", "[]", "{}", "()", "''", "banana", "I do not know", "...", "?", "*",
)  # fmt: skip
FORMATS = (
    "<think></think><answer></answer>",
    "<think>Let me think about it.</think>\n<answer> </answer>",
    "\\boxed{}",
    "The answer is",
    "#### ",
    "```python\n```",
    "<tool_call>\n{}\n</tool_call>",
)


def worthless(spec: EnvSpec, tasks: list[Task]) -> Iterator[tuple[str, list[str]]]:
    """Named policies that know nothing of the task at hand: for each, what they answer to every one of `tasks`."""
    for text in (*CONSTANTS, *FORMATS):
        yield repr(text), [text] * len(tasks)
    yield "the prompt echoed", [task.text for task in tasks]
    golds = [str(task.answer) for task in tasks]
    if all(isinstance(task.answer, str | int | float) for task in tasks):
        others = [_another(golds, place) for place in range(len(golds))]
        yield "another task's gold", [other or "" for other in others]
        if spec.answer_is_program:
            return
        yield "all golds at once", ["\n".join(dict.fromkeys(golds))] * len(tasks)
        yield "all golds as a list", [", ".join(dict.fromkeys(golds))] * len(tasks)
        hedges = [f"{gold} or {other}" if other else "" for gold, other in zip(golds, others, strict=True)]
        if spec.chance < 0.2:  # between two choices a hedge says nothing, but it also can be told from neither
            yield "the gold hedged with another", hedges
            yield "a boxed hedge", [f"\\boxed{{{hedge}}}" for hedge in hedges]
            yield "an answer tag with a hedge", [f"<answer>{hedge}</answer>" for hedge in hedges]


def _another(golds: list[str], place: int) -> str | None:
    """The nearest later gold that differs, around the end."""
    for step in range(1, len(golds)):
        other = golds[(place + step) % len(golds)]
        if other != golds[place]:
            return other
    return None


def hostile(canary: Path) -> Iterator[tuple[str, str]]:
    """Named texts that try to hang, crash or take over the scorer. Those that run code would write `canary`."""
    write = f"open({str(canary)!r}, 'w').write('x')"
    yield "100,000 characters", "a" * 100_000
    yield "100,000 digits", "9" * 100_000
    yield "9**9**9", "9**9**9"
    yield "a boxed tower", "\\boxed{9^{9^{9^{9}}}}"
    yield "a factorial of a factorial", "<answer>((99!)!)!</answer>"
    yield "10,000 open brackets", "(" * 10_000
    yield "10,000 nested lists", "[" * 10_000 + "]" * 10_000
    yield "10,000 open tags", "<answer>" * 10_000
    yield "10,000 nested fractions", "\\boxed{" + "\\frac{1}{" * 10_000 + "1" + "}" * 10_000 + "}"
    yield "lone surrogates", "\ud800\udfff" * 10
    yield "a NUL byte", "1\x002"
    yield "right-to-left marks", "\u202e987654321\u202c"
    yield "an import", f"__import__('pathlib').Path({str(canary)!r}).touch()"
    yield "a file written", write
    yield "a file written, as an answer", f"<answer>{write}</answer>"
    yield "a file written, boxed", f"\\boxed{{{write}}}"
    yield "a format string", "{task.answer.__class__.__mro__}%s%n" * 20
    yield "a pickle", "cos\nsystem\n(S'true'\ntR."
    yield "a regular expression's nightmare", "a" * 5_000 + "!" + " " * 5_000


class Canary:
    """A path that nothing may write; a context manager that takes its folder away again."""

    def __enter__(self) -> Canary:
        # Letters only: a verifier that takes the last number of a sentence must not find one in the path by luck.
        name = "rlvr-audit-" + "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        self._folder = os.path.join(tempfile.gettempdir(), name)
        os.mkdir(self._folder, 0o700)
        self.path = Path(self._folder, "executed")
        return self

    def touched(self) -> bool:
        """Whether something was executed since the last look."""
        found = self.path.exists()
        self.path.unlink(missing_ok=True)
        return found

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
