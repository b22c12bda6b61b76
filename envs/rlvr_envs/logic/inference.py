"""`logic/propositional-v0` and `logic/syllogism-v0`: what follows and what does not, several questions at a time.

A single yes or no can be guessed half the time, so each task bundles questions and only all of them right earn the reward.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rlvr
from rlvr_envs.logic.answers import TAGS, answered, judged, names, require

Formula = list[Any]
ATOMS = {
    "p": "it rains",
    "q": "the road is wet",
    "r": "the shop is open",
    "s": "the dog barks",
    "t": "the train is late",
}


def value(formula: Formula, world: Mapping[str, bool]) -> bool:
    """The truth of a formula in a world."""
    kind, *parts = formula
    if kind == "atom":
        return world[parts[0]]
    if kind == "not":
        return not value(parts[0], world)
    left, right = (value(part, world) for part in parts)
    return {"and": left and right, "or": left or right, "if": not left or right}[kind]


def said(formula: Formula) -> str:
    """A formula in words."""
    kind, *parts = formula
    if kind == "atom":
        return ATOMS[parts[0]]
    if kind == "not":
        return f"it is not true that {said(parts[0])}"
    if kind == "if":
        return f"if {said(parts[0])} then {said(parts[1])}"
    return f"{said(parts[0])} {kind} {said(parts[1])}"


def follows(premises: Sequence[Formula], conclusion: Formula, atoms: Sequence[str]) -> bool:
    """Whether the conclusion is true in every world in which all premises are (truth table)."""
    for values in itertools.product((False, True), repeat=len(atoms)):
        world = dict(zip(atoms, values, strict=True))
        if all(value(premise, world) for premise in premises) and not value(conclusion, world):
            return False
    return True


def _literal(rng: random.Random, atoms: Sequence[str]) -> Formula:
    atom: Formula = ["atom", rng.choice(atoms)]
    return atom if rng.random() < 0.6 else ["not", atom]


def _clause(rng: random.Random, atoms: Sequence[str]) -> Formula:
    one, two = rng.sample(list(atoms), 2)
    return [rng.choice(("if", "if", "or")), _literal(rng, [one]), _literal(rng, [two])]


def _yes_or_no(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if every question is answered rightly."""
    return judged(text, names, lambda given: given == task.answer.split())


def _both(answers: Sequence[bool]) -> bool:
    return 0 < sum(answers) < len(answers)


@rlvr.register(
    "logic/propositional-v0",
    atoms=3,
    premises=3,
    questions=6,
    chance=0.02,
    levels=[
        {"atoms": 3, "premises": 2},
        {"atoms": 3},
        {"atoms": 4, "premises": 4},
        {"atoms": 5, "premises": 6, "questions": 8},
    ],
)
def propositional(rng: random.Random, atoms: int, premises: int, questions: int) -> rlvr.Task:
    """Say for each of several statements whether it must be true, given consistent premises."""
    require(
        "logic/propositional-v0",
        2 <= atoms <= 5 and 1 <= premises <= 8 and 3 <= questions <= 12,
        f"atoms is {atoms} (2 to 5), premises is {premises} (1 to 8), questions is {questions} (3 to 12)",
    )
    used = list(ATOMS)[:atoms]
    while True:
        given = [_clause(rng, used) for _ in range(premises - 1)] + [_literal(rng, used)]
        asked = [_literal(rng, used) if rng.random() < 0.6 else _clause(rng, used) for _ in range(questions)]
        answers = [follows(given, question, used) for question in asked]
        contradictory = follows(given, ["and", ["atom", "p"], ["not", ["atom", "p"]]], used)
        if not contradictory and _both(answers) and len({said(question) for question in asked}) == questions:
            break
    rng.shuffle(given)
    prompt = (
        "Assume:\n"
        + "\n".join(f"- {said(premise)}." for premise in given)
        + "\nWhich of these must then be true?\n"
        + "\n".join(f"{number}. {said(question)}." for number, question in enumerate(asked, 1))
        + f"\n{TAGS} Write yes or no for each statement in order, separated by spaces."
    )
    return rlvr.Task(prompt, answer=" ".join("yes" if answer else "no" for answer in answers))


GROUPS = (
    "artists",
    "bakers",
    "climbers",
    "dancers",
    "engineers",
    "farmers",
    "gardeners",
    "hikers",
    "inventors",
    "jugglers",
)
FORMS: dict[str, Callable[[set[int], set[int]], bool]] = {
    "All {a} are {b}": lambda a, b: a <= b,
    "No {a} are {b}": lambda a, b: not a & b,
    "Some {a} are {b}": lambda a, b: bool(a & b),
    "Some {a} are not {b}": lambda a, b: bool(a - b),
}


@functools.cache
def valid(premises: tuple[tuple[str, int, int], ...], conclusion: tuple[str, int, int]) -> bool:
    """Whether the conclusion holds in every model of the premises over three groups that have members each.

    Only which of the seven overlaps of three groups are inhabited matters, so 127 models decide.
    """
    regions = range(1, 8)
    for inhabited in itertools.product((False, True), repeat=7):
        sets = [
            {region for region, there in zip(regions, inhabited, strict=True) if there and region >> group & 1}
            for group in range(3)
        ]
        if all(sets) and all(FORMS[form](sets[a], sets[b]) for form, a, b in premises):
            form, a, b = conclusion
            if not FORMS[form](sets[a], sets[b]):
                return False
    return True


@rlvr.register(
    "logic/syllogism-v0",
    questions=6,
    chance=0.02,
    levels=[{"questions": 4}, {"questions": 6}, {"questions": 8}, {"questions": 12}],
)
def syllogism(rng: random.Random, questions: int) -> rlvr.Task:
    """Say for each of several arguments whether its conclusion follows; every group has members."""
    require("logic/syllogism-v0", 3 <= questions <= 20, f"questions is {questions}; it must be from 3 to 20")
    lines: list[str] = []
    answers: list[bool] = []
    while not _both(answers):
        lines, answers = [], []
        for number in range(1, questions + 1):
            wanted = rng.random() < 0.5
            while True:
                ends = [(0, 1), (1, 2)]
                premises = tuple((rng.choice(list(FORMS)), *rng.choice((pair, pair[::-1]))) for pair in ends)
                conclusion = (rng.choice(list(FORMS)), *rng.choice(((0, 2), (2, 0))))
                if valid(premises, conclusion) is wanted:
                    break
            groups = rng.sample(GROUPS, 3)
            texts = [form.format(a=groups[a], b=groups[b]) for form, a, b in (*premises, conclusion)]
            lines.append(f"{number}. {texts[0]}. {texts[1]}. Therefore: {texts[2].lower()}.")
            answers.append(wanted)
    prompt = (
        "Which of these conclusions follow from their premises? Every group has at least one member.\n"
        + "\n".join(lines)
        + f"\n{TAGS} Write yes or no for each in order, separated by spaces."
    )
    return rlvr.Task(prompt, answer=" ".join("yes" if answer else "no" for answer in answers))


propositional.verifier(_yes_or_no)
syllogism.verifier(_yes_or_no)


@propositional.worked_solution
@syllogism.worked_solution
def judgements(task: rlvr.Task) -> str:
    """The judgements."""
    return answered(task.answer)
