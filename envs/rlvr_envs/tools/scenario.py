"""A task in a world: a state, a request, and what is right at the end, drawn and proved together."""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from typing import Any

from rlvr.errors import EnvironmentFault
from rlvr_envs.tools.store import Contents, Store, contents, diff
from rlvr_envs.tools.world import Call, Expected, Request, Unsuitable, World, judge

MAX_DRAWS = 100
"""States that are drawn before a request of the size asked for is said to be impossible."""


@dataclass(frozen=True)
class Scenario:
    """All that a start works out: enough to play the episode and to judge it."""

    snapshot: bytes
    digest: str
    """sha256 of the rows, in hexadecimal digits."""
    contents: Contents
    """The rows of the first state."""
    request: Request
    expected: Expected
    plan: tuple[Call, ...]
    """Gold calls in the world's own names, `submit` the last."""
    refusal: str = ""
    """What a refusal must name: `rule 2` or a tool's name. Empty if the task can be done."""
    removed_tool: str = ""
    failing_calls: frozenset[int] = frozenset()
    """Numbers of the calls, counted from 0, that fail; made again, they have another number."""


def draw(
    world: World, rng: random.Random, size: int, writes: int, failures: float, refuse: float, kinds: str = ""
) -> Scenario:
    """A state with a request whose gold plan earns the reward while doing nothing does not.

    `kinds` names the kinds of request to keep, separated by commas; empty keeps all. Raises EnvironmentFault if there is
    no such request, or if the world's two solvers disagree, which is a bug of the world.
    """
    refused = rng.random() < refuse
    kept = {kind.strip() for kind in kinds.split(",") if kind.strip()}
    seen: set[str] = set()
    for _ in range(MAX_DRAWS):
        store = Store(world.ddl, world.tables)
        drawn = world.populate(rng, size)
        for table, rows in drawn.items():
            store.insert(table, rows)
        request = _suitable(world, rng, store, writes)
        if request is None:
            continue
        seen.add(request.kind)
        if kept and request.kind not in kept:
            continue
        calls, answer = world.plan(store.fork(), request)
        digest = hashlib.sha256(json.dumps(drawn).encode()).hexdigest()
        if refused:
            return _refused(world, rng, store, digest, request, calls)
        expected = world.expect(store, request)
        last: Call = {"name": "submit", "arguments": {"status": "done"}}
        if answer is not None:
            last["arguments"]["answer"] = answer
        failing = frozenset(i for i in range(400) if rng.random() < failures) if failures else frozenset()
        scenario = Scenario(
            store.snapshot(), digest, contents(store), request, expected, (*calls, last), failing_calls=failing
        )
        _prove(world, store, scenario, answer)
        return scenario
    raise EnvironmentFault(
        f"tools/{world.name}-v0: no task with writes={writes}, kinds={kinds!r} in {MAX_DRAWS} states of size={size}; "
        + (f"it has the kinds {', '.join(sorted(seen))}" if kept and not kept & seen else "raise size")
    )


def _suitable(world: World, rng: random.Random, store: Store, writes: int) -> Request | None:
    """A request that this state holds, None if several draws found none: another state is cheaper then."""
    for _ in range(6):
        try:
            return world.request(rng, store, writes)
        except Unsuitable:
            pass
    return None


def _refused(
    world: World, rng: random.Random, store: Store, digest: str, request: Request, calls: list[Call]
) -> Scenario:
    writing = sorted({call["name"] for call in calls if next(t for t in world.tools if t.name == call["name"]).writes})
    if writing and rng.random() < 0.5:
        removed = rng.choice(writing)
        refusal, text, slots = removed, request.text, request.slots
        open_text, answer = request.open_text, request.answer
    else:
        text, number = world.forbidden(rng, store)
        removed, refusal, slots, open_text, answer = "", f"rule {number}", (), "", ""
    last: Call = {"name": "submit", "arguments": {"status": "refused", "detail": refusal}}
    asked = Request(request.kind, text, request.params, answer, open_text, slots)
    return Scenario(store.snapshot(), digest, contents(store), asked, Expected(), (last,), refusal, removed)


def _prove(world: World, store: Store, scenario: Scenario, answer: Any) -> None:
    """Gold earns the reward and doing nothing does not; the other obligations are in `proof.py`."""
    after = store.fork()
    by_name = {tool.name: tool for tool in world.tools}
    for call in scenario.plan[:-1]:
        by_name[call["name"]].run(after, **call["arguments"])
    missing, surplus = judge(scenario.expected, store, after, diff(scenario.contents, after))
    if missing or surplus or not same_answer(answer, scenario.expected.answer):
        raise EnvironmentFault(
            f"tools/{world.name}, {scenario.request.kind}: the two solvers disagree: {missing or surplus or 'answers differ'}"
        )
    if scenario.expected.answer is None and not judge(scenario.expected, store, store, {})[0]:
        raise EnvironmentFault(f"tools/{world.name}, {scenario.request.kind}: nothing needs to be done")
    after.close()


def same_answer(given: Any, wanted: Any) -> bool:
    """Whether a submitted answer is the expected one: same type; numbers equal, texts without regard to case and outer space."""
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return isinstance(given, str) and given.strip().casefold() == wanted.strip().casefold()
    if isinstance(wanted, bool) or isinstance(given, bool):
        return given is wanted
    if isinstance(wanted, int | float):
        return isinstance(given, int | float) and given == wanted
    return bool(given == wanted)
