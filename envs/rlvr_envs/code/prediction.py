"""What a program gives, and what it must have been given."""

from __future__ import annotations

import json
import random
from typing import Any

import rlvr
from rlvr import Score, Task
from rlvr.answers import final_answer
from rlvr.errors import ConfigError
from rlvr_envs.code.answers import fenced, judge_code
from rlvr_envs.code.grammar import draw_arguments, write_program
from rlvr_envs.code.running import FAILED, function_tests, outputs_of_all

_MAX_ANSWER = 2000
_LEVELS = [
    {"statements": 1, "depth": 1},
    {"statements": 2, "depth": 1},
    {"statements": 3, "depth": 2},
    {"statements": 5, "depth": 2},
    {"statements": 8, "depth": 3},
]


def _draw(rng: random.Random, env_id: str, statements: int, depth: int) -> tuple[str, list[Any], Any]:
    """A program, arguments, and the output, which other arguments change."""
    if not (1 <= statements <= 30 and 1 <= depth <= 6):
        raise ConfigError(
            f"{env_id}: statements={statements} and depth={depth}; choose them from 1 to 30 and from 1 to 6"
        )
    while True:
        # Several at a time, because most of what is drawn is too dull to ask about, and a run costs more than a program.
        programs = []
        for _ in range(8):
            source, kinds = write_program(rng, statements=statements, depth=depth)
            programs.append((source, [draw_arguments(rng, kinds) for _ in range(6)]))
        for (source, inputs), outputs in zip(programs, outputs_of_all(programs), strict=True):
            place = _worth_asking(inputs, outputs)
            if place is not None:
                return source, inputs[place], outputs[place]


def _worth_asking(inputs: list[list[Any]], outputs: list[Any]) -> int | None:
    """The example to ask about: the output depends on the arguments, is no usual guess, and does not stand in them."""
    distinct = {json.dumps(output) for output in outputs if output is not FAILED}
    if FAILED in outputs or len(distinct) < 3 or max(map(len, distinct)) > 120:
        return None
    usual: tuple[Any, ...] = (0, 1, "", [])
    return next((i for i, output in enumerate(outputs) if output not in usual and output not in inputs[i]), None)


@rlvr.register("code/output-prediction-v0", statements=3, depth=2, levels=_LEVELS, chance=0.01)
def output_prediction(rng: random.Random, statements: int, depth: int) -> Task:
    """What a generated program returns for given arguments; the gold comes from running it."""
    source, arguments, output = _draw(rng, "code/output-prediction-v0", statements, depth)
    call = f"f({', '.join(map(repr, arguments))})"
    form = "Give the value as Python writes it, as <answer>...</answer>."
    question = f"What does this call return?\n\n{fenced(source)}\n\n{call}\n\n{form}"
    return Task(question, answer=repr(output), data={"source": source, "arguments": arguments})


@output_prediction.verifier
def _same_value(task: Task, text: str) -> Score:
    answer = final_answer(text)
    if not answer or len(answer) > _MAX_ANSWER:
        return Score(0.0, reason="no_answer")
    right = _plain(answer) == _plain(str(task.answer))
    return Score(float(right), reason="correct" if right else "wrong")


def _plain(text: str) -> str:
    """A literal with one kind of quotes and, outside of them, no blanks."""
    text = text.strip().strip("`").strip()
    out, inside = [], False
    for character in text.replace('"', "'"):
        inside ^= character == "'"
        if inside or not character.isspace():
            out.append(character)
    return "".join(out)


@output_prediction.worked_solution
def _(task: Task) -> str:
    return f"<answer>{task.answer}</answer>"


@rlvr.register("code/input-prediction-v0", statements=2, depth=1, levels=_LEVELS, chance=0.02)
def input_prediction(rng: random.Random, statements: int, depth: int) -> Task:
    """Arguments for which a generated program returns a given value: any that do are right, found by running it."""
    source, arguments, output = _draw(rng, "code/input-prediction-v0", statements, depth)
    question = (
        f"Find arguments for which this function returns {output!r}.\n\n{fenced(source)}\n\n"
        'Give the list of its arguments as JSON, such as [3, "ab"], as <answer>...</answer>.'
    )
    return Task(question, data={"source": source, "output": output, "arguments": arguments})


@input_prediction.verifier
def _leads_there(task: Task, text: str) -> Score:
    data = task.data or {}
    answer = final_answer(text)
    if not answer or len(answer) > _MAX_ANSWER:
        return Score(0.0, reason="no_answer")
    try:
        arguments = json.loads(answer.strip().strip("`"))
    except (ValueError, RecursionError):
        return Score(0.0, reason="unreadable")
    wanted = [type(argument) for argument in data["arguments"]]
    if not isinstance(arguments, list) or [type(argument) for argument in arguments] != wanted:
        return Score(0.0, reason="wrong kinds of arguments")
    items = [item for argument in arguments if isinstance(argument, list) for item in argument]
    if not all(type(item) is int for item in items):
        return Score(0.0, reason="wrong kinds of arguments")
    return judge_code(data["source"], function_tests([arguments], [data["output"]]))


@input_prediction.worked_solution
def _(task: Task) -> str:
    return f"<answer>{json.dumps((task.data or {})['arguments'])}</answer>"
