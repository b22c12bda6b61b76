"""What the tool worlds cost and what they prove.

    python bench/worlds.py [--seeds 1000] [--tasks 10000] [--worlds files,bank]

Proofs over `--seeds` tasks a world, levels 0 to 2 in turn: gold 1; no-op 0; each plan minus one change 0; plan plus a stray
change 0; random calls. Then the time of `--tasks` tasks, and of reset and step with 1,000 rows. The peers for a
reset are what tau-bench does (load the state from JSON) and `copy.deepcopy`, on the same rows.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import random
import time
from collections.abc import Callable
from typing import Any

import rlvr
from rlvr.spec import SessionSpec
from rlvr.verifiers.toolcall import write
from rlvr_envs.tools.proof import play, prove, random_reward
from rlvr_envs.tools.session import WorldSession

WORLDS = ("files", "booking", "bank", "inventory", "sheet", "transit")
READS: dict[str, tuple[str, dict[str, Any]]] = {
    "files": ("ls", {"path": "/notes"}),
    "booking": ("search_rooms", {"day": 3, "start": "09:00", "end": "10:00"}),
    "bank": ("invoices", {"payee": "bakery"}),
    "inventory": ("query", {"sql": "SELECT supplier, COUNT(*) FROM products GROUP BY supplier"}),
    "sheet": ("get_range", {"area": "A2:E12"}),
    "transit": ("stops", {}),
}


def spec_of(world: str) -> SessionSpec:
    spec = rlvr.spec(f"tools/{world}-v0")
    assert isinstance(spec, SessionSpec)
    return spec


def proofs(world: str, seeds: int) -> str:
    """One line of the table of proofs."""
    spec = spec_of(world)
    failures: list[str] = []
    kinds: set[str] = set()
    noop = luck = 0.0
    start = time.process_time()
    for index in range(seeds):
        task = spec.task(index, seed="bench", knobs=spec.resolve_knobs(index % 3, {}))
        failures.extend(prove(spec, task, index))
        session: WorldSession = spec.open(task)
        kinds.add(session.scenario.request.kind)
        noop += play(session, ["Nothing to do."] * 4).reward
        luck += random_reward(spec, task, index)
    for failure in failures[:5]:
        print(failure)
    seconds = time.process_time() - start
    requests, shares = ", ".join(sorted(kinds)), f"{noop / seeds:.1%} | {luck / seeds:.2%}"
    return f"| {world} | {requests} | {seeds:,} | {len(failures)} | {shares} | {seconds:.0f} |"


def mean_ms(work: Callable[[], Any], count: int) -> float:
    """Mean processor time of one call in milliseconds."""
    start = time.process_time()
    for _ in range(count):
        work()
    return 1000 * (time.process_time() - start) / count


def speed(world: str, tasks: int) -> str:
    """One line of the table of times."""
    spec = spec_of(world)
    start = time.process_time()
    for index in range(tasks):
        spec.task(index, seed="speed")
    drawing = time.process_time() - start
    task = spec.task(0, seed="speed", knobs={**spec.knobs, "size": 1000})
    session: WorldSession = spec.open(task)
    rows = {table: list(session.store.table(table).values()) for table in session.store.tables}
    count = sum(map(len, rows.values()))
    state = session.scenario.snapshot
    reset = mean_ms(lambda: session.store.restore(state), 300)
    name, arguments = READS[world]
    read = write([{"name": name, "arguments": arguments}], session.format)
    session.max_calls = 10**9
    reading = mean_ms(lambda: session.turn(read), 300)
    rng = random.Random(0)
    changes = [write([session.world.stray(rng, session.store)], session.format) for _ in range(300)]
    places = iter(changes)
    writing = mean_ms(lambda: session.turn(next(places)), 300)
    session.store.restore(state)
    diffing = mean_ms(session.diff, 50)
    text = json.dumps(rows)
    return (
        f"| {world} | {tasks / drawing:,.0f} | {count:,} | {reset:.2f} | {reading:.2f} | {writing:.2f} | {diffing:.2f} | "
        f"{mean_ms(lambda: json.loads(text), 50):.2f} | {mean_ms(lambda: copy.deepcopy(rows), 20):.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--worlds", default=",".join(WORLDS))
    chosen = parser.parse_args()
    worlds = chosen.worlds.split(",")
    print(f"Python {platform.python_version()}, one core of {platform.machine()}, {time.strftime('%Y-%m-%d')}\n")
    print("| world | requests | tasks | failed proofs | no-op wins | random wins | s |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for world in worlds:
        print(proofs(world, chosen.seeds), flush=True)
    print(f"\nTasks a second over {chosen.tasks:,} tasks of the default knobs; the other times in ms, at size=1000.\n")
    print("| world | tasks/s | rows | reset | step, a read | step, a write | diff | json.loads | deepcopy |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for world in worlds:
        print(speed(world, chosen.tasks), flush=True)


if __name__ == "__main__":
    main()
