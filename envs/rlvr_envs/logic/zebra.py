"""`logic/zebra-v0`: who lives where and has what, from clues."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import rlvr
from rlvr_envs.logic.answers import TAGS, answered, judged, names, require

KINDS = {
    "name": ("anna", "boris", "clara", "david", "emma"),
    "pet": ("cat", "dog", "fish", "horse", "zebra"),
    "drink": ("coffee", "juice", "milk", "tea", "water"),
    "job": ("baker", "doctor", "farmer", "pilot", "teacher"),
}
Clue = list[Any]
World = tuple[tuple[str, ...], ...]


def holds(clue: Clue, world: World) -> bool:
    """Whether a clue holds where `world[kind][house]` says what is where."""
    where = {value: house for values in world for house, value in enumerate(values)}
    kind, one, other = clue
    if kind == "at":
        return bool(where[one] == other)
    if kind == "same":
        return where[one] == where[other]
    if kind == "left":
        return where[one] < where[other]
    return bool(abs(where[one] - where[other]) == 1)


def said(clue: Clue) -> str:
    """A clue in words."""
    kind, one, other = clue
    if kind == "at":
        return f"{one}: in house {other + 1}."
    if kind == "same":
        return f"{one} and {other}: in the same house."
    if kind == "left":
        return f"{one}: in a house somewhere left of {other}."
    return f"{one} and {other}: in houses next to each other."


def worlds(houses: int, kinds: Sequence[str], clues: Sequence[Clue], limit: int) -> list[World]:
    """Up to `limit` worlds in which all clues hold: one kind after the other, clues checked as soon as they can be."""
    found: list[World] = []

    def extend(world: World) -> None:
        if len(found) >= limit:
            return
        if len(world) == len(kinds):
            found.append(world)
            return
        for values in itertools.permutations(KINDS[kinds[len(world)]][:houses]):
            larger = (*world, values)
            known = {value for line in larger for value in line}
            ready = [clue for clue in clues if clue[1] in known and (clue[0] == "at" or clue[2] in known)]
            if all(holds(clue, larger) for clue in ready):
                extend(larger)

    extend(())
    return found


@rlvr.register(
    "logic/zebra-v0",
    houses=3,
    kinds=3,
    levels=[{"houses": 3, "kinds": 2}, {"houses": 3, "kinds": 3}, {"houses": 4, "kinds": 3}, {"houses": 4, "kinds": 4}],
    chance=0.02,
)
def zebra(rng: random.Random, houses: int, kinds: int) -> rlvr.Task:
    """A row of houses, one name, pet, drink and job in each; clues that leave one possibility, none of them needless."""
    require(
        "logic/zebra-v0",
        2 <= houses <= 5 and 2 <= kinds <= 4,
        f"houses is {houses} (2 to 5), kinds is {kinds} (2 to 4)",
    )
    chosen = list(KINDS)[:kinds]
    world: World = tuple(tuple(rng.sample(KINDS[kind][:houses], houses)) for kind in chosen)
    clues = [clue for clue in _every_clue(world, houses) if holds(clue, world)]
    rng.shuffle(clues)
    clues.sort(key=lambda clue: clue[0] == "at")  # naming the house outright is the last resort
    kept = list(clues)
    while len(kept) > 6 * kinds and len(worlds(houses, chosen, kept[: len(kept) // 2], 2)) == 1:
        kept = kept[: len(kept) // 2]
    for clue in list(reversed(kept)):
        fewer = [other for other in kept if other is not clue]
        if len(worlds(houses, chosen, fewer, 2)) == 1:
            kept = fewer
    rng.shuffle(kept)
    values = "\n".join(f"- {kind}: {', '.join(KINDS[kind][:houses])}" for kind in chosen)
    prompt = (
        f"{houses} houses stand in a row, numbered 1 to {houses} from the left. Each has one of each of these:\n"
        f"{values}\nClues:\n"
        + "\n".join(f"{number}. {said(clue)}" for number, clue in enumerate(kept, 1))
        + f"\nWhat is in each house? {TAGS} Write a line for each house from 1 to {houses}, with its "
        f"{', '.join(chosen)}, separated by spaces."
    )
    answer = "\n".join(" ".join(line[house] for line in world) for house in range(houses))
    return rlvr.Task(prompt, answer=answer, data={"clues": kept})


def _every_clue(world: World, houses: int) -> list[Clue]:
    values = [value for line in world for value in line]
    clues: list[Clue] = [["at", value, house] for value in values for house in range(houses)]
    for one, other in itertools.permutations(values, 2):
        clues.append(["left", one, other])
        if one < other:
            clues += [["next", one, other], ["same", one, other]]
    return clues


@zebra.verifier
def everything_right(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if every house has what it must."""
    return judged(text, names, lambda given: given == task.answer.split())


@zebra.worked_solution
def solved(task: rlvr.Task) -> str:
    """The houses."""
    return answered(task.answer)
