"""What a world is: tables, tools, tasks, and two ways to know what a task asks for.

`plan` solves a task the way a model would have to, and gives calls. `expect` works out from the first state and the request alone
what must have changed at the end, in another way. The reward compares with `expect`, so that a gold plan that earns 1 is two
independent solvers in agreement.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlvr_envs.tools.store import Diff, Row, Store
from rlvr_envs.tools.tool import Tool

Call = dict[str, Any]
"""`{"name": ..., "arguments": {...}}`."""


class Unsuitable(Exception):
    """Raised by `World.request` if the state that was drawn holds no such task; another one is drawn."""


@dataclass(frozen=True)
class Slot:
    """A fact that the instruction leaves out and the user tells when asked."""

    keywords: tuple[str, ...]
    """Any of these words in a question asks for it."""
    sentence: str
    """What the user says."""


@dataclass(frozen=True)
class Request:
    """One task in a state."""

    kind: str
    text: str
    """The instruction, complete."""
    params: dict[str, Any]
    """What the instruction says, as values for the two solvers."""
    answer: str = ""
    """The type of answer to submit, as a tool's parameter is described; empty if the task is done by acting alone."""
    open_text: str = ""
    """The instruction without what the slots hold; empty if nothing can be left out."""
    slots: tuple[Slot, ...] = ()


@dataclass(frozen=True)
class Expected:
    """What must be so at the end."""

    set_rows: dict[str, dict[tuple[Any, ...], Row | None]] = field(default_factory=dict)
    """table -> key -> the whole row, None if it must be gone. Everything else stays."""
    new_rows: dict[str, list[Row]] = field(default_factory=dict)
    """table -> rows that must have been added, under keys that the database chose; columns left out may hold anything."""
    check: Callable[[Store, Store, Diff], str] | None = None
    """Instead of rows, where several end states are right: `check(before, after, diff)` says what is wrong, or nothing. It must
    judge every difference: whatever it does not ask for is an unrequested change."""
    answer: Any = None
    """The answer that must be submitted, None if none is asked for."""


@dataclass
class World:
    """A kind of state with its tools and its tasks. Subclasses fill in the fields and the methods."""

    name: str
    about: str
    """One or two sentences for the system prompt."""
    ddl: str
    tables: dict[str, tuple[str, ...]]
    tools: list[Tool]
    rules: list[str]
    """What the tools permit but the house does not; a task may ask for it, and must be refused."""

    def populate(self, rng: random.Random, size: int) -> dict[str, list[tuple[Any, ...]]]:
        """Rows for every table; about `size` in the largest."""
        raise NotImplementedError

    def request(self, rng: random.Random, store: Store, writes: int) -> Request:
        """A task that takes about `writes` changes. Raises Unsuitable if there is none in this state."""
        raise NotImplementedError

    def plan(self, store: Store, request: Request) -> tuple[list[Call], Any]:
        """Calls that fulfil the request, and the answer to submit (None if none). `store` is a fork to work on."""
        raise NotImplementedError

    def expect(self, store: Store, request: Request) -> Expected:
        """What the request demands of the final state, worked out without `plan`."""
        raise NotImplementedError

    def stray(self, rng: random.Random, store: Store) -> Call:
        """A change that can be made in this state and that no task asks for; for the proofs."""
        raise NotImplementedError

    def forbidden(self, rng: random.Random, store: Store) -> tuple[str, int]:
        """An instruction that breaks a rule, and the number of the rule, counted from 1."""
        raise NotImplementedError


def judge(expected: Expected, before: Store, after: Store, difference: Diff) -> tuple[str, str]:
    """What is missing and what is too much in the final state; both empty if it is right. Neither names a value."""
    if expected.check is not None:
        problem = expected.check(before, after, difference)
        return (problem, "") if problem else ("", "")
    missing = 0
    surplus: list[str] = []
    for table in before.tables:
        wanted = expected.set_rows.get(table, {})
        found = difference.get(table)
        added = dict(found.added) if found else {}
        removed = set(found.removed) if found else set()
        changed = {key: new for key, (_, new) in found.changed.items()} if found else {}
        for key, row in wanted.items():
            if row is None:
                missing += key not in removed
                removed.discard(key)
            else:
                missing += (added.pop(key, None) or changed.pop(key, None)) != row
        for row in expected.new_rows.get(table, []):
            place = next((key for key, new in added.items() if _holds(new, row)), None)
            if place is None:
                missing += 1
            else:
                del added[place]
        count = len(added) + len(removed) + len(changed)
        if count:
            surplus.append(f"{count} in {table}")
    return (
        f"{missing} of the changes that were asked for {'is' if missing == 1 else 'are'} missing or different"
        if missing
        else "",
        f"changes that nobody asked for: {', '.join(surplus)}" if surplus else "",
    )


def _holds(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(row.get(column) == value for column, value in wanted.items())
