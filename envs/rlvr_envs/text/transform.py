"""Small exact jobs on texts: reverse, sort, count."""

from __future__ import annotations

import random

import rlvr
from rlvr.answers import final_answer
from rlvr.errors import ConfigError
from rlvr_envs.text.vocabulary import WORDS

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TAGS = "Give the final answer inside <answer></answer>."


def solved(reasoning: str, answer: str) -> str:
    """An ideal completion."""
    return f"<think>{reasoning}</think><answer>{answer}</answer>"


@rlvr.register("text/reverse-v0", length=12, levels=[{"length": 6}, {"length": 12}, {"length": 20}, {"length": 32}])
def reverse(rng: random.Random, length: int) -> rlvr.Task:
    """Write a string of letters backwards."""
    if not 2 <= length <= 1000:
        raise ConfigError(f"text/reverse-v0: length is {length}; it must be from 2 to 1000")
    word = "".join(rng.choices(LETTERS, k=length))
    wording = rng.choice(
        ["Write this backwards", "Reverse this string", "Spell this from its last letter to its first"]
    )
    return rlvr.Task(f"{wording}: {word}\n{TAGS}", answer=word[::-1])


@reverse.worked_solution
def reverse_step_by_step(task: rlvr.Task) -> str:
    """Number the letters, then read them from the end."""
    word = str(task.answer)[::-1]
    return solved(" ".join(f"{number}{letter}" for number, letter in enumerate(word, 1)), str(task.answer))


@rlvr.register(
    "text/sort-v0",
    count=6,
    kind="any",
    levels=[{"count": 4}, {"count": 6}, {"count": 10}, {"count": 16}],
)
def sort(rng: random.Random, count: int, kind: str) -> rlvr.Task:
    """Sort words or numbers. `kind`: alphabetical, reverse, length, ascending, descending, or any of them."""
    kinds = ("alphabetical", "reverse", "length", "ascending", "descending")
    if kind != "any" and kind not in kinds:
        raise ConfigError(f"text/sort-v0: kind is {kind!r}; it must be one of any, {', '.join(kinds)}")
    if not 2 <= count <= 60:
        raise ConfigError(f"text/sort-v0: count is {count}; it must be from 2 to 60")
    chosen = rng.choice(kinds) if kind == "any" else kind
    if chosen in ("ascending", "descending"):
        numbers = rng.sample(range(-999, 1000), count)
        items = [str(number) for number in numbers]
        ordered = [str(number) for number in sorted(numbers, reverse=chosen == "descending")]
        asked = f"Sort these numbers in {chosen} order"
    else:
        items = rng.sample(WORDS, count)
        ordered = sorted(items, reverse=chosen == "reverse")
        asked = f"Sort these words in {'reverse ' if chosen == 'reverse' else ''}alphabetical order"
        if chosen == "length":
            ordered = sorted(items, key=lambda word: (len(word), word))
            asked = "Sort these words from short to long, words of equal length in alphabetical order"
    if items == ordered:
        items = items[::-1]
    return rlvr.Task(f"{asked}: {', '.join(items)}\nSeparate them by commas. {TAGS}", answer=", ".join(ordered))


@sort.verifier
def same_list(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the final answer lists the right items in the right order; spaces around commas do not matter."""
    given = final_answer(text)
    if given is None or len(given) > 10 * len(task.answer) + 100:
        return rlvr.Score(0.0, reason="no_answer")
    right = [part.strip() for part in given.split(",")] == task.answer.split(", ")
    return rlvr.Score(float(right), reason="correct" if right else "wrong")


@sort.worked_solution
def sort_by_inserting(task: rlvr.Task) -> str:
    """Insert one item after the other into a sorted list."""
    ordered = str(task.answer).split(", ")
    items = task.text.split(": ", 1)[1].split("\n")[0].split(", ")
    place = {item: number for number, item in enumerate(ordered)}
    steps: list[str] = []
    for end in range(1, len(items) + 1):
        steps.append(", ".join(sorted(items[:end], key=lambda item: place[item])))
    return solved("; ".join(steps), str(task.answer))


@rlvr.register(
    "text/count-v0", length=40, levels=[{"length": 15}, {"length": 40}, {"length": 80}, {"length": 150}], chance=0.2
)
def count(rng: random.Random, length: int) -> rlvr.Task:
    """Count how often a letter stands in a string, or a word in a list. Small counts are common, so guessing earns some."""
    if not 5 <= length <= 1000:
        raise ConfigError(f"text/count-v0: length is {length}; it must be from 5 to 1000")
    if rng.random() < 0.5:
        letters = rng.sample(LETTERS, 4)
        text = "".join(rng.choices(letters, k=length))
        wanted = rng.choice(letters)
        return rlvr.Task(
            f"How many times does the letter {wanted} occur in {text}?\n{TAGS}", answer=str(text.count(wanted))
        )
    some = rng.sample(WORDS, 4)
    words = rng.choices(some, k=max(4, length // 3))
    wanted = rng.choice(some)
    asked = f"How many times does the word {wanted} occur in this list: {' '.join(words)}?"
    return rlvr.Task(f"{asked}\n{TAGS}", answer=str(words.count(wanted)))


@count.worked_solution
def count_aloud(task: rlvr.Task) -> str:
    """Go through it and count each find."""
    words = task.text.split("?")[0].split()
    wanted = words[6]
    items = words[words.index("list:") + 1 :] if "list:" in words else list(words[-1])
    found, steps = 0, []
    for item in items:
        found += item == wanted
        steps.append(f"{item} {found}")
    return solved(", ".join(steps), str(found))
