"""Did the model see the items? Overlap between what a run trained on and what an evaluation asks.

Two looks. Exact: the same content key. 13-gram: thirteen words in a row that also stand in a training prompt, the measure
that GPT-3's report and most later ones use (Brown et al. 2020, arXiv:2005.14165, appendix C).

Wording that is shared by design is no evidence. Tasks of one generator are worded alike, and its splits share no content, so
between them only exact overlap counts. Elsewhere a 13-gram counts if at most `RARE` evaluation items and `RARE` training
prompts have it: what stands in more is an instruction that a prompt template puts around every question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import rlvr
from rlvr.errors import RlvrError
from rlvr.task import Task

GRAM = 13
RARE = 2
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Overlap:
    """Evaluation items that training has seen, whole or in part."""

    items: int
    training_prompts: int
    exact: list[str]
    """Items whose very prompt was trained on."""
    partial: list[str]
    """Items that share thirteen rare words in a row with a training prompt."""

    @property
    def clean(self) -> bool:
        """True if nothing was found."""
        return not self.exact and not self.partial

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "items": self.items,
            "training_prompts": self.training_prompts,
            "exact": self.exact,
            "partial": self.partial,
            "clean": self.clean,
        }

    def __str__(self) -> str:
        seen = f"of {self.items} items and {self.training_prompts} training prompts"
        return f"{len(self.exact)} the same, {len(self.partial)} share {GRAM} rare words in a row, {seen}"


def overlap(evaluation: Iterable[Task], training: Iterable[Task]) -> Overlap:
    """Compare the prompts of two sets of tasks. Memory follows the evaluation's size; training prompts only stream by."""
    items = {task.id: task for task in evaluation}
    keys = {task.key: name for name, task in items.items()}
    holders: dict[int, set[str]] = {}
    for name, task in items.items():
        for gram in set(_grams(task.text)):
            holders.setdefault(gram, set()).add(name)
    rare = {gram: names for gram, names in holders.items() if len(names) <= RARE}
    exact: set[str] = set()
    seen: dict[int, list[str]] = {}
    count = 0
    for task in training:
        count += 1
        if task.key in keys:
            exact.add(keys[task.key])
        for gram in set(_grams(task.text)) & rare.keys():
            seen.setdefault(gram, []).append(task.env_id)
    generated = {env_id for env_id in {task.env_id for task in items.values()} if _is_generated(env_id)}
    partial = {
        name
        for gram, sources in seen.items()
        if len(sources) <= RARE
        for name in rare[gram]
        if (env_id := items[name].env_id) not in generated or any(source != env_id for source in sources)
    }
    return Overlap(len(items), count, sorted(exact), sorted(partial - exact))


def _is_generated(env_id: str) -> bool:
    """True for the tasks of a generator; False for rows, and for what is not installed here and cannot be told."""
    try:
        return rlvr.spec(env_id).kind != "rows"
    except RlvrError:
        return False


def _grams(text: str) -> Iterator[int]:
    words = [hash(word) for word in _WORD.findall(text.lower())]
    for start in range(len(words) - GRAM + 1):
        yield hash(tuple(words[start : start + GRAM]))
