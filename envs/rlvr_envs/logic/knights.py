"""`logic/knights-knaves-v0`: who always tells the truth, and who always lies."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import rlvr
from rlvr_envs.logic.answers import TAGS, answered, judged, names, require

PEOPLE = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana")
Statement = list[Any]


def true_in(statement: Statement, world: Sequence[bool]) -> bool:
    """Whether a statement holds where `world` says who is a knight."""
    kind, *arguments = statement
    if kind == "is":
        return world[arguments[0]] is bool(arguments[1])
    if kind == "same":
        return world[arguments[0]] == world[arguments[1]]
    if kind == "and":
        return all(true_in(part, world) for part in arguments)
    if kind == "or":
        return any(true_in(part, world) for part in arguments)
    if kind == "if":
        return not true_in(arguments[0], world) or true_in(arguments[1], world)
    return bool(sum(world) == arguments[0])


def said(statement: Statement) -> str:
    """A statement in words."""
    kind, *arguments = statement
    if kind == "is":
        return f"{PEOPLE[arguments[0]]} is a {'knight' if arguments[1] else 'knave'}"
    if kind == "same":
        return f"{PEOPLE[arguments[0]]} and {PEOPLE[arguments[1]]} are of the same kind"
    if kind == "count":
        return f"exactly {arguments[0]} of us {'is a knight' if arguments[0] == 1 else 'are knights'}"
    if kind == "if":
        return f"if {said(arguments[0])}, then {said(arguments[1])}"
    return f" {kind} ".join(map(said, arguments))


def worlds(statements: Sequence[Statement]) -> list[tuple[bool, ...]]:
    """All ways to be knights and knaves in which knights say what is true and knaves what is false."""
    everyone = itertools.product((False, True), repeat=len(statements))
    return [
        world
        for world in everyone
        if all(true_in(said, world) is knight for said, knight in zip(statements, world, strict=True))
    ]


@rlvr.register(
    "logic/knights-knaves-v0",
    people=3,
    chance=0.12,
    levels=[{"people": 3}, {"people": 4}, {"people": 5}, {"people": 7}],
)
def knights_knaves(rng: random.Random, people: int) -> rlvr.Task:
    """Find out who is a knight from what each says; exactly one answer fits. Guessing is right once in 2^people."""
    require("logic/knights-knaves-v0", 2 <= people <= 8, f"people is {people}; it must be from 2 to 8")
    while True:
        statements = [_statement(rng, person, people) for person in range(people)]
        found = worlds(statements)
        if len(found) == 1:
            break
    lines = "\n".join(f'{PEOPLE[person]} says: "{said(statement)}."' for person, statement in enumerate(statements))
    prompt = (
        "On an island, knights only say what is true and knaves only what is false. Everyone here is one or the other.\n"
        f"{lines}\nWho is a knight? {TAGS} Write 'knight' or 'knave' for {', '.join(PEOPLE[:people])}, "
        "in this order, separated by commas."
    )
    answer = ", ".join("knight" if knight else "knave" for knight in found[0])
    return rlvr.Task(prompt, answer=answer, data={"statements": statements})


def _statement(rng: random.Random, speaker: int, people: int) -> Statement:
    others = [person for person in range(people) if person != speaker]

    def simple() -> Statement:
        return ["is", rng.choice(others), rng.random() < 0.5]

    makers: list[Callable[[], Statement]] = [
        simple,
        lambda: ["same", speaker, rng.choice(others)],
        lambda: [rng.choice(("and", "or")), simple(), ["is", speaker, rng.random() < 0.5]],
        lambda: ["if", simple(), simple()],
        lambda: ["count", rng.randint(0, people)],
    ]
    return rng.choice(makers)()


@knights_knaves.verifier
def fits(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the list names the one possible world."""
    return judged(text, names, lambda given: given == task.answer.split(", "))


@knights_knaves.worked_solution
def try_all(task: rlvr.Task) -> str:
    """Try each possibility until one fits."""
    kinds = task.answer.split(", ")
    return answered(task.answer, "; ".join(f"{PEOPLE[person]} is a {kind}" for person, kind in enumerate(kinds)))
