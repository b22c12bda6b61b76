"""`logic/word-ladder-v0`: from one word to another, one letter at a time."""

# ruff: noqa: B023 (the functions made in the loop are called before its next round)

from __future__ import annotations

import importlib.resources
import itertools
import random
from collections.abc import Iterable, Sequence

import rlvr
from rlvr_envs.logic.answers import TAGS, answered, judged, names, require
from rlvr_envs.logic.search import shortest

# Four-letter words of our own choosing; prompts list those that may be used, so that nobody argues about dictionaries.
WORDS = importlib.resources.files(__package__).joinpath("four_letters.txt").read_text("utf-8").split()


def _near(words: Sequence[str], word: str) -> Iterable[tuple[str, str]]:
    for other in words:
        if sum(a != b for a, b in zip(word, other, strict=True)) == 1:
            yield other, other


@rlvr.register(
    "logic/word-ladder-v0",
    steps=3,
    offered=16,
    levels=[{"steps": 2, "offered": 12}, {"steps": 3}, {"steps": 5, "offered": 24}, {"steps": 7, "offered": 36}],
)
def word_ladder(rng: random.Random, steps: int, offered: int) -> rlvr.Task:
    """Change one word into another by one letter at a time, using words of a given list; any ladder counts."""
    require(
        "logic/word-ladder-v0",
        2 <= steps <= 9 and steps < offered <= 80,
        f"steps is {steps} (2 to 9), offered is {offered} (steps + 1 to 80)",
    )
    while True:
        ladder = [rng.choice(WORDS)]
        while len(ladder) <= steps:
            ways = [word for word, _ in _near(WORDS, ladder[-1]) if word not in ladder]
            if not ways:
                break
            ladder.append(rng.choice(ways))
        if len(ladder) <= steps:
            continue
        inner = ladder[1:-1]
        others = [word for word in rng.sample(WORDS, offered) if word not in ladder][: offered - len(inner)]
        words = sorted(inner + others)
        found = shortest(ladder[0], lambda word: word == ladder[-1], lambda word: _near([*words, ladder[-1]], word))
        if (
            found is not None
            and len(found) >= min(steps, 3)
            and sum(a != b for a, b in zip(ladder[0], ladder[-1], strict=True)) > 1
        ):
            break
    prompt = (
        f"Change {ladder[0]} into {ladder[-1]} by changing one letter at a time, keeping the order of the letters. Every "
        f"word on the way must be one of these: {', '.join(words)}. {TAGS} Write all words in order, the first and the last "
        "included, separated by spaces."
    )
    return rlvr.Task(
        prompt, answer=" ".join([ladder[0], *found]), data={"first": ladder[0], "last": ladder[-1], "words": words}
    )


@word_ladder.verifier
def is_ladder(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the ladder has the right ends, changes one letter a step, and uses allowed words only."""
    allowed = {*task.data["words"], task.data["first"], task.data["last"]}

    def right(ladder: list[str]) -> bool:
        ends = len(ladder) <= 100 and ladder[0] == task.data["first"] and ladder[-1] == task.data["last"]
        if not ends or not set(ladder) <= allowed:
            return False
        return all(sum(a != b for a, b in zip(one, two, strict=True)) == 1 for one, two in itertools.pairwise(ladder))

    return judged(text, names, right)


@word_ladder.worked_solution
def ladder(task: rlvr.Task) -> str:
    """A shortest ladder."""
    return answered(task.answer)
