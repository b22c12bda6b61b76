"""Programming with a machine at hand: run code, see what it prints, hand in when it works."""

from __future__ import annotations

import random
import re

import rlvr
from rlvr import Score
from rlvr_envs.code.answers import MAX_CODE, fenced, judge_code
from rlvr_envs.code.running import function_tests, shown
from rlvr_envs.code.synthesis import draw_problem

_BLOCK = re.compile(r"^[ \t]*```[ \t]*(python|submit)[ \t]*\r?\n", re.MULTILINE)
_MAX_SHOWN = 2000


class RunAndSubmit:
    """A function from examples alone: try programs, see their output, and hand one in."""

    def start(self, rng: random.Random, steps: int) -> str:
        made, inputs, outputs = draw_problem(rng, "code/run-and-submit-v0", steps)
        self.tests = function_tests(inputs, outputs)
        self.source = made.source
        return (
            f"Find the Python function `f(xs)` of a list of whole numbers behind these examples. It must: {made.words}.\n\n"
            f"Examples:\n{shown(inputs[:5], outputs[:5])}\n\n"
            "A ```python block in your message is run, and you are told what it printed. When you are sure, give the "
            "whole function in a ```submit block; that ends the task, and hidden tests decide."
        )

    def turn(self, text: str) -> str | Score:
        found = _last_block(text)
        if found is None:
            return "There is no code in that. Write a ```python block to run it, or a ```submit block to hand it in."
        kind, code = found
        if kind == "submit":
            return judge_code(code, self.tests)
        from rlvr_sandbox import Limits, run

        outcome = run(code, limits=Limits(timeout_s=2.0))
        said = outcome.stdout[:_MAX_SHOWN] + outcome.stderr[-_MAX_SHOWN:]
        end = "" if outcome.ok else f"\n[{outcome.verdict}]"
        return f"{said.rstrip() or '(no output)'}{end}"


def _last_block(text: str) -> tuple[str, str] | None:
    from rlvr.answers import after_thinking

    rest = after_thinking(text)
    opened = list(_BLOCK.finditer(rest)) if rest is not None else []
    if rest is None or not opened:
        return None
    start = opened[-1].end()
    end = rest.find("```", start)
    code = rest[start : end if end >= 0 else None]
    return (opened[-1][1], code) if end >= 0 and code.strip() and len(code) <= MAX_CODE else None


RUN_AND_SUBMIT = rlvr.register(
    "code/run-and-submit-v0",
    max_turns=6,
    steps=3,
    levels=[{"steps": 1}, {"steps": 2}, {"steps": 3}, {"steps": 5}],
)(RunAndSubmit)


@RUN_AND_SUBMIT.worked_solution
def _(task: rlvr.Task) -> list[str]:
    session = RUN_AND_SUBMIT.open(task)
    return [fenced(session.source + "print(f([3, 1, 2]))"), fenced(session.source, "submit")]
