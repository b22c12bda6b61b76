"""`tools/call-v0`: one turn in which the right calls are to be made, or none."""

from __future__ import annotations

import random
import re
from typing import Any

import rlvr
from rlvr.errors import ConfigError
from rlvr.verifiers.toolcall import ToolSet, parse, verify, write
from rlvr_envs.tools.call_schemas import ACTIONS, DrawnTool, draw_tools

KINDS = ("single", "parallel", "none", "ask")
MAX_QUESTION_CHARS = 600
_SYSTEM = (
    "Use the tools where they serve the request, with one call for each thing asked for, all in one message. "
    "If a value that a tool requires was not given, make no call and ask for it, and for nothing else. "
    "If no tool is needed, make no call and answer in a few words."
)

LEVELS: tuple[dict[str, Any], ...] = (
    {"tools": 1, "arguments": 2, "calls": 1, "no_call": 0.0},
    {"tools": 3, "arguments": 3, "calls": 1},
    {"tools": 5, "arguments": 3, "calls": 3},
    {"tools": 8, "arguments": 4, "calls": 3, "enum_traps": True},
    {"tools": 12, "arguments": 5, "calls": 4, "enum_traps": True, "nesting": True},
    {"tools": 20, "arguments": 6, "calls": 6, "enum_traps": True, "nesting": True},
)


@rlvr.register(
    "tools/call-v0",
    levels=LEVELS,
    tools=3,
    arguments=3,
    calls=2,
    nesting=False,
    enum_traps=False,
    no_call=0.3,
    format="hermes",
)
def call(
    rng: random.Random,
    tools: int,
    arguments: int,
    calls: int,
    nesting: bool,
    enum_traps: bool,
    no_call: float,
    format: str,
) -> rlvr.Task:
    """Make the calls that a request asks for; ask if a value is missing, answer plainly if no tool is needed.

    `tools`: tools on offer. `arguments`: parameters of each. `calls`: most calls in one task. `nesting`: parameters that
    are objects or lists of objects. `enum_traps`: codes and date formats that differ from the words of the request.
    `no_call`: share of tasks in which no call is right. `format`: how the model writes calls.
    """
    for name, value, low, high in (("tools", tools, 1, 40), ("arguments", arguments, 1, 8), ("calls", calls, 1, 8)):
        if not low <= value <= high:
            raise ConfigError(f"tools/call-v0: {name} is {value}; it must be from {low} to {high}")
    if not 0 <= no_call <= 1:
        raise ConfigError(f"tools/call-v0: no_call is {no_call}; it is a share, from 0 to 1")
    offered = draw_tools(rng, tools, arguments, nesting, enum_traps)
    if rng.random() < no_call:
        kind = rng.choice(("none", "ask"))
    else:
        kind = "parallel" if calls > 1 and rng.random() < 0.5 else "single"
    gold: list[dict[str, Any]] = []
    data: dict[str, Any] = {"kind": kind, "format": format}
    if kind == "none":
        text, data["reply"] = _small_question(rng)
    elif kind == "ask":
        text, data["missing"], data["given"] = _incomplete(rng, rng.choice(offered))
    else:
        count = 1 if kind == "single" else rng.randrange(2, calls + 1)
        sentences = []
        for _ in range(count):
            sentence, wanted = _instruct(rng, rng.choice(offered))
            if wanted not in gold:
                sentences.append(sentence)
                gold.append(wanted)
        text = " ".join(sentences)
    prompt = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": text}]
    return rlvr.Task(prompt, answer=gold, data=data, tools=[tool.definition() for tool in offered])


def _instruct(rng: random.Random, tool: DrawnTool) -> tuple[str, dict[str, Any]]:
    """A sentence that asks for a call of the tool, and the call."""
    phrases, values = [], {}
    for argument in tool.arguments:
        if argument.name in tool.optional and rng.random() < 0.5:
            continue
        drawn = argument.draw(rng)
        phrases.append(drawn.words)
        values[argument.name] = drawn.value
    rng.shuffle(phrases)
    return f"{ACTIONS[tool.action]} {tool.article} {tool.thing}: {'; '.join(phrases)}.", {
        "name": tool.name,
        "arguments": values,
    }


def _incomplete(rng: random.Random, tool: DrawnTool) -> tuple[str, str, list[str]]:
    """A sentence that leaves out a required argument, its label, and the labels of what was given."""
    missing = rng.choice([argument for argument in tool.arguments if argument.name not in tool.optional])
    given = [argument for argument in tool.arguments if argument is not missing]
    phrases = [argument.draw(rng).words for argument in given]
    sentence = f"{ACTIONS[tool.action]} {tool.article} {tool.thing}" + (f": {'; '.join(phrases)}." if phrases else ".")
    return sentence, missing.label, [argument.label for argument in given]


def _small_question(rng: random.Random) -> tuple[str, str]:
    """A question that needs no tool, and the text its answer must hold."""
    if rng.random() < 0.5:
        a, b = rng.randrange(12, 90), rng.randrange(12, 90)
        return f"Before we begin, a little sum: what is {a} plus {b}?", str(a + b)
    word = "".join(rng.sample("abcdefghijklmnoprstuvw", 6))
    return (
        f"No need for a tool here: which letter comes third in the word '{word}'? Put it in double quotes.",
        f'"{word[2]}"',
    )


@call.verifier
def check(task: rlvr.Task, text: str) -> rlvr.Score:
    """Exactly the wanted calls; or none, with the right question or answer."""
    data = task.data or {}
    tools = ToolSet(list(task.tools or ()))
    score = verify(text, tools, task.answer, data["format"])
    if task.answer or not score.correct:
        return score
    content = parse(text, data["format"], tools).content
    if data["kind"] == "none":
        right = _holds(content, data["reply"]) and len(content) <= MAX_QUESTION_CHARS
        reason = "the answer is not in the message"
    else:
        right = "?" in content and len(content) <= MAX_QUESTION_CHARS and _holds(content, data["missing"])
        # Who asks for everything has not noticed what is missing.
        others = [label for label in data["given"] if data["missing"] not in label and label not in data["missing"]]
        right = right and not any(_holds(content, label) for label in others)
        reason = "the message does not ask for the missing value, and for it alone"
    return rlvr.Score(float(right), score.parts, "correct" if right else reason, detail=score.detail)


def _holds(content: str, words: str) -> bool:
    """Whether the words stand in the text on their own, whatever the case; a number not inside another one."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", content, re.IGNORECASE) is not None


@call.worked_solution
def solve(task: rlvr.Task) -> str:
    """The calls, the question, or the answer."""
    data = task.data or {}
    if task.answer:
        return write(task.answer, data["format"])
    return f"It is {data['reply']}." if data["kind"] == "none" else f"What is the {data['missing']}?"
