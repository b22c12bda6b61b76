"""Writing a function from words and examples, mending a broken one, and filling a gap in one."""

from __future__ import annotations

import ast
import copy
import json
import random
from typing import Any

import rlvr
from rlvr import Score, Task
from rlvr.errors import ConfigError
from rlvr_envs.code.answers import code_in, fenced, judge_code, verify_code
from rlvr_envs.code.pipeline import Pipeline, draw_lists, write_pipeline
from rlvr_envs.code.running import FAILED, function_tests, outputs_of, shown

_LEVELS = [{"steps": 1}, {"steps": 2}, {"steps": 3}, {"steps": 5}, {"steps": 8}]
_HOLE = "___"


def draw_problem(rng: random.Random, env_id: str, steps: int) -> tuple[Pipeline, list[list[Any]], list[Any]]:
    """A program, arguments and outputs; no constant and no copy of the argument passes for it."""
    if not 1 <= steps <= 20:
        raise ConfigError(f"{env_id}: steps={steps} makes no task; choose it from 1 to 20")
    while True:
        made = write_pipeline(rng, steps)
        inputs = draw_lists(rng, 14)
        outputs = outputs_of(made.source, inputs)
        distinct = {json.dumps(output) for output in outputs}
        if FAILED not in outputs and len(distinct) >= 6 and max(map(len, distinct)) < 400:
            # The empty list is an example, so that what is wanted of it is known.
            order = sorted(range(len(inputs)), key=lambda place: inputs[place] != [[]])
            return made, [inputs[place] for place in order], [outputs[place] for place in order]


def _asked(words: str, inputs: list[list[Any]], outputs: list[Any]) -> str:
    return f"It takes a list of whole numbers. It must: {words}.\n\nExamples:\n{shown(inputs[:4], outputs[:4])}"


@rlvr.register("code/synthesis-v0", steps=3, levels=_LEVELS, answer_is_program=True)
def synthesis(rng: random.Random, steps: int) -> Task:
    """A function from its description and examples; hidden tests decide."""
    made, inputs, outputs = draw_problem(rng, "code/synthesis-v0", steps)
    question = (
        f"Write a Python function `f(xs)`. {_asked(made.words, inputs, outputs)}\n\n"
        "Give the whole function as one ```python block."
    )
    return Task(question, answer=made.source, data={"tests": function_tests(inputs, outputs)})


synthesis.verifier(verify_code)


@rlvr.register("code/bug-fix-v0", steps=3, levels=_LEVELS, answer_is_program=True)
def bug_fix(rng: random.Random, steps: int) -> Task:
    """A function with one fault, put there by changing its syntax tree, and what it should do; hidden tests decide."""
    while True:
        made, inputs, outputs = draw_problem(rng, "code/bug-fix-v0", steps)
        broken = mutate(rng, made.source)
        if broken is None:
            continue
        faulty = outputs_of(broken, inputs)
        # The fault shows in an example and in a hidden test, and does not break everything.
        wrong = [place for place in range(len(inputs)) if faulty[place] != outputs[place]]
        if 2 <= len(wrong) < len(inputs):
            break
    shown_first = wrong[0]
    for values in (inputs, outputs):
        values.insert(0, values.pop(shown_first))
    question = (
        f"This function has a fault.\n\n{fenced(broken)}\n\n{_asked(made.words, inputs, outputs)}\n\n"
        "Give the whole mended function as one ```python block."
    )
    return Task(question, answer=made.source, data={"tests": function_tests(inputs, outputs), "broken": broken})


bug_fix.verifier(verify_code)


@rlvr.register("code/fill-v0", steps=3, levels=_LEVELS, answer_is_program=True)
def fill(rng: random.Random, steps: int) -> Task:
    """A function with a gap where an expression stood; what is put there must make the hidden tests pass."""
    while True:
        made, inputs, outputs = draw_problem(rng, "code/fill-v0", steps)
        gap = _cut(rng, made.source)
        if gap is not None:
            break
    source, expression = gap
    question = (
        f"One expression of this function was replaced by {_HOLE}.\n\n{fenced(source)}\n\n"
        f"{_asked(made.words, inputs, outputs)}\n\nGive only the missing expression, as one ```python block."
    )
    return Task(question, answer=expression, data={"tests": function_tests(inputs, outputs), "source": source})


@fill.verifier
def _fits(task: Task, text: str) -> Score:
    data = task.data or {}
    code = code_in(text)
    if code is None or len(code) > 500:
        return Score(0.0, reason="no_code")
    expression = code.strip().strip("`").strip()
    if "\n" in expression or "#" in expression:
        return Score(0.0, reason="not one expression")
    return judge_code(data["source"].replace(_HOLE, f"({expression})"), data["tests"])


@synthesis.worked_solution
@bug_fix.worked_solution
@fill.worked_solution
def _(task: Task) -> str:
    return fenced(str(task.answer))


_SWAPS: dict[type[ast.AST], tuple[Any, ...]] = {
    ast.Gt: (ast.GtE, ast.Lt),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add,),
    ast.Mod: (ast.FloorDiv,),
}


def mutate(rng: random.Random, source: str) -> str | None:
    """The program with one operator or number changed; None if there is nothing to change."""
    tree = ast.parse(source)
    places: list[tuple[ast.AST, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS:
            places.append((node, "compare"))
        elif isinstance(node, ast.BinOp) and type(node.op) in _SWAPS:
            places.append((node, "operator"))
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            places.append((node, "number"))
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            places.append((node, "truth"))
    if not places:
        return None
    node, what = rng.choice(places)
    if what == "compare" and isinstance(node, ast.Compare):
        node.ops[0] = rng.choice(_SWAPS[type(node.ops[0])])()
    elif what == "operator" and isinstance(node, ast.BinOp):
        node.op = rng.choice(_SWAPS[type(node.op)])()
    elif isinstance(node, ast.Constant):
        node.value = not node.value if what == "truth" else int(str(node.value)) + rng.choice((-1, 1))
    changed = ast.unparse(tree) + "\n"
    return changed if changed != ast.unparse(ast.parse(source)) + "\n" else None


def _cut(rng: random.Random, source: str) -> tuple[str, str] | None:
    """(the program with a gap, the expression that stood there)."""
    tree = ast.parse(source)
    places = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare | ast.BinOp | ast.Call | ast.ListComp | ast.Subscript)
        and len(ast.unparse(node)) > 4
    ]
    if not places:
        return None
    chosen = rng.choice(places)
    expression = ast.unparse(copy.deepcopy(chosen))

    class _Cutter(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return ast.Name(_HOLE) if node is chosen else self.generic_visit(node)

    return ast.unparse(_Cutter().visit(tree)) + "\n", expression
