"""What every task of a world must survive, tried out on the task itself.

The gold plan earns 1. Doing nothing earns 0, with and without submit. The plan without any one of its changes earns 0, and so
does the plan with a change that nobody asked for. Random calls earn nothing. That the two solvers of a world agree is
proved whenever a task is drawn (`session.draw`).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from rlvr.score import Score
from rlvr.spec import SessionSpec
from rlvr.task import Task
from rlvr.verifiers.toolcall import write
from rlvr_envs.tools.session import WorldSession
from rlvr_envs.tools.store import Store
from rlvr_envs.tools.world import Call

RANDOM_CALLS = 25


def prove(spec: SessionSpec, task: Task, seed: int = 0) -> list[str]:
    """The obligations that a task fails, in words; empty if it survives all. Random play is `random_reward`."""
    session: WorldSession = spec.open(task)
    failures: list[str] = []

    def demand(what: str, score: Score, reward: float) -> None:
        if score.error is not None or score.reward != reward:
            failures.append(
                f"{task.id} {session.scenario.request.kind}: {what} earns {score.reward} ({score.error or score.reason})"
            )

    demand("the gold plan", play(spec.open(task), session.gold_turns()), 1.0)
    demand("a turn that does nothing", play(spec.open(task), ["I am done."] * 4), 0.0)
    for status in ("done", "refused"):
        submit = [{"name": "submit", "arguments": {"status": status}}]
        demand(f"submit {status} alone", play(spec.open(task), [write(submit, session.format)]), 0.0)
    plan = session.scenario.plan
    for index, call in enumerate(plan[:-1]):
        if session.disguise.tools[call["name"]].writes:
            shorter = [*plan[:index], *plan[index + 1 :]]
            demand(f"the plan without its call {index + 1}", run(spec.open(task), shorter), 0.0)
    stray = session.world.stray(random.Random(seed), session.store)
    if stray["name"] in session.disguise.tools:
        for place in (0, len(plan) - 1):
            longer = [*plan[:place], stray, *plan[place:]]
            demand(f"the plan with a stray {stray['name']} at {place}", run(spec.open(task), longer), 0.0)
    return failures


def play(session: WorldSession, turns: Sequence[str]) -> Score:
    """The Score after these turns; 0 with reason `unfinished` if none ends the episode."""
    for text in turns:
        reply = session.turn(text)
        if isinstance(reply, Score):
            return reply
    return Score(0.0, reason="unfinished")


def run(session: WorldSession, calls: Sequence[Call]) -> Score:
    """The Score after these calls in own names, one a turn; a call that fails for no reason is made again."""
    for call in calls:
        text = write([session.disguise.cover(call)], session.format)
        for _ in range(20):
            reply = session.turn(text)
            if isinstance(reply, Score):
                return reply
            if not (isinstance(reply, list) and "temporarily unavailable" in str(reply[0]["content"])):
                break
    return Score(0.0, reason="unfinished")


def random_reward(spec: SessionSpec, task: Task, seed: int) -> float:
    """What `RANDOM_CALLS` valid calls with values drawn from the world's own data earn, `submit` the last."""
    rng = random.Random(seed)
    session: WorldSession = spec.open(task)
    pool = _values(session.store)
    names = [tool["function"]["name"] for tool in session.disguise.definitions]
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in session.disguise.definitions}
    for number in range(RANDOM_CALLS):
        name = "submit" if number == RANDOM_CALLS - 1 else rng.choice([name for name in names if name != "submit"])
        arguments = {
            key: _draw(rng, schema, pool)
            for key, schema in schemas[name]["properties"].items()
            if key in schemas[name]["required"] or rng.random() < 0.5
        }
        reply = session.turn(write([{"name": name, "arguments": arguments}], session.format))
        if isinstance(reply, Score):
            return reply.reward
    return 0.0


def _values(store: Store) -> dict[str, list[Any]]:
    pool: dict[str, list[Any]] = defaultdict(list)
    for table in store.tables:
        for row in store.table(table).values():
            for value in row.values():
                pool["string" if isinstance(value, str) else "integer"].append(value)
    return pool


def _draw(rng: random.Random, schema: dict[str, Any], pool: dict[str, list[Any]]) -> Any:
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if schema["type"] == "array":
        return [_draw(rng, schema["items"], pool) for _ in range(rng.randrange(1, 4))]
    if schema["type"] == "boolean":
        return rng.random() < 0.5
    values = [value for value in pool[schema["type"]] if value is not None] or [rng.randrange(100)]
    return rng.choice(values)
