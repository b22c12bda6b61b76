"""`tools/transit-v0`: book the best way through a timetable."""

from __future__ import annotations

import heapq
import random
from collections import defaultdict
from typing import Any

import rlvr
from rlvr_envs.tools.session import KNOBS, LEVELS, WorldSession, worked_turns
from rlvr_envs.tools.store import Diff, Row, Store
from rlvr_envs.tools.tool import ToolError, tool
from rlvr_envs.tools.world import Call, Expected, Request, Slot, Unsuitable, World

DDL = """
CREATE TABLE stops (name TEXT PRIMARY KEY, zone INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE departures (id TEXT PRIMARY KEY, line TEXT NOT NULL, origin TEXT NOT NULL, destination TEXT NOT NULL,
  leaves INTEGER NOT NULL, arrives INTEGER NOT NULL, fare INTEGER NOT NULL, seats INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX by_origin ON departures (origin, leaves);
CREATE TABLE bookings (id INTEGER PRIMARY KEY, departure TEXT NOT NULL, passenger TEXT NOT NULL);
"""
SYLLABLES = (
    "ar",
    "bel",
    "cor",
    "dun",
    "esk",
    "fal",
    "gar",
    "hol",
    "ith",
    "kel",
    "lor",
    "mar",
    "nor",
    "ost",
    "pen",
    "ros",
)
NAMES = ("Abel", "Berta", "Chen", "Dora", "Emil", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Keiko", "Lena")
STAFF_LINE = "N"
CHANGE = 5
"""Minutes that a change takes at least."""


@tool("All stops with their zones.")
def stops(store: Store) -> Any:
    return store.all("SELECT * FROM stops ORDER BY name")


@tool(
    "Departures from a stop in the order of time; times are minutes after midnight, fares in cents. At most 25.",
    stop="string: name of the stop",
    after="integer?: leave at this time or later",
    to="string?: only to this stop",
)
def departures(store: Store, stop: str, after: int = 0, to: str | None = None) -> Any:
    sql = (
        "SELECT * FROM departures WHERE origin = ?1 AND leaves >= ?2 AND (?3 IS NULL OR destination = "
        "?3) ORDER BY leaves, id LIMIT 25"
    )
    return store.all(sql, stop, after, to)


@tool("One departure by its id.", departure="string: id of the departure")
def show_departure(store: Store, departure: str) -> Any:
    found = store.one("SELECT * FROM departures WHERE id = ?", departure)
    if found is None:
        raise ToolError(f"there is no departure {departure[:40]!r}")
    return found


@tool(
    "Book one seat for a passenger on a departure.",
    writes=True,
    departure="string: id of the departure",
    passenger="string: name",
)
def book_leg(store: Store, departure: str, passenger: str) -> Any:
    if show_departure.run(store, departure)["seats"] < 1:
        raise ToolError(f"{departure} is full")
    if store.one("SELECT 1 FROM bookings WHERE departure = ? AND passenger = ?", departure, passenger):
        raise ToolError(f"{passenger[:40]!r} is booked on {departure} already")
    store.run("UPDATE departures SET seats = seats - 1 WHERE id = ?", departure)
    store.run("INSERT INTO bookings (departure, passenger) VALUES (?, ?)", departure, passenger[:80])
    return "booked"


@tool("The bookings of a passenger.", passenger="string: name")
def bookings(store: Store, passenger: str) -> Any:
    return store.all("SELECT * FROM bookings WHERE passenger = ? ORDER BY id LIMIT 50", passenger)


def shortest(rows: list[Row], origin: str, destination: str, after: int, by_fare: bool) -> tuple[int, list[Row]] | None:
    """Dijkstra over (stop, time) events: the smallest arrival or fare, and its legs. None if there is no way."""
    at: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        at[row["origin"]].append(row)
    queue: list[tuple[int, int, int, str, list[Row]]] = [(0, after - CHANGE, 0, origin, [])]
    done: dict[str, list[tuple[int, int]]] = defaultdict(list)
    count = 0
    while queue:
        cost, time, _, stop, legs = heapq.heappop(queue)
        if stop == destination:
            return (cost if by_fare else time), legs
        # A label is of no use if another one at this stop is as cheap and as early.
        if any(other_cost <= cost and other_time <= time for other_cost, other_time in done[stop]):
            continue
        done[stop].append((cost, time))
        for row in at[stop]:
            if row["leaves"] >= time + CHANGE:
                count += 1
                price = cost + row["fare"] if by_fare else row["arrives"]
                heapq.heappush(queue, (price, row["arrives"], count, row["destination"], [*legs, row]))
    return None


def best_value(store: Store, origin: str, destination: str, after: int, by_fare: bool) -> int | None:
    """The same optimum by one sweep over the departures in the order of time (connection scan), without paths."""
    rows = store.db.execute(
        "SELECT origin, destination, leaves, arrives, fare FROM departures WHERE line <> ? AND seats > 0 "
        "AND leaves >= ? ORDER BY leaves, arrives",
        (STAFF_LINE, after),
    )
    reached: dict[str, list[tuple[int, int]]] = defaultdict(list)
    reached[origin].append((after - CHANGE, 0))
    for start, end, leaves, arrives, fare in rows:
        costs = [cost for time, cost in reached[start] if time + CHANGE <= leaves]
        if costs:
            reached[end].append((arrives, min(costs) + fare))
    values = [cost if by_fare else time for time, cost in reached[destination]]
    return min(values) if values else None


class TransitWorld(World):
    """Earliest arrival and lowest fare, for one passenger or several."""

    def populate(self, rng: random.Random, size: int) -> dict[str, list[tuple[Any, ...]]]:
        count = max(6, min(60, size // 8))
        names: list[str] = []
        while len(names) < count:
            name = "".join(rng.sample(SYLLABLES, 2)).capitalize()
            if name not in names:
                names.append(name)
        # A ring, so that most stops can be reached, and chords.
        rows = []
        for number in range(max(size, 2 * count)):
            here = rng.randrange(count)
            there = (here + rng.choice((1, 1, 1, 2, 3))) % count
            leaves = rng.randrange(300, 1_200)
            line = STAFF_LINE if rng.random() < 0.1 else rng.choice("ABCDEF")
            fare = rng.randrange(20, 400)
            rows.append(
                (
                    f"T{number:04d}",
                    line,
                    names[here],
                    names[there],
                    leaves,
                    leaves + rng.randrange(4, 40),
                    fare,
                    rng.randrange(12, 60),
                )
            )
        return {"stops": [(name, rng.randrange(1, 6)) for name in names], "departures": rows}

    def request(self, rng: random.Random, store: Store, writes: int) -> Request:
        rows = store.all("SELECT * FROM departures WHERE line <> ? AND seats > 0 ORDER BY id", STAFF_LINE)
        names = [row["name"] for row in stops.run(store)]
        origin, destination = rng.sample(names, 2)
        after = rng.randrange(300, 700)
        by_fare = rng.random() < 0.5
        found = shortest(rows, origin, destination, after, by_fare)
        if found is None or not 1 <= len(found[1]) <= writes + 1:
            raise Unsuitable
        passengers = rng.sample(NAMES, max(1, min(8, round(writes / len(found[1])))))
        who = " and ".join(passengers) if len(passengers) < 3 else ", ".join(passengers[:-1]) + f" and {passengers[-1]}"
        best = "that costs least in all" if by_fare else "that arrives first"
        text = (
            f"Book for {who} a way from {origin} to {destination} {best}, leaving at minute {after} or later. A change takes at "
            f"least {CHANGE} minutes. Book every leg for every passenger."
        )
        values = {
            "origin": origin,
            "destination": destination,
            "after": after,
            "by_fare": by_fare,
            "passengers": passengers,
        }
        slots = (
            Slot(("from", "origin", "start"), f"We start at {origin}."),
            Slot(("when", "time", "leave", "early", "minute"), f"We can leave at minute {after} or later."),
        )
        left = text.replace(f" from {origin}", "").replace(
            f", leaving at minute {after} or later", ", not leaving too early"
        )
        return Request("fare" if by_fare else "arrival", text, values, "", left, slots)

    def plan(self, store: Store, request: Request) -> tuple[list[Call], Any]:
        values = request.params
        rows = store.all("SELECT * FROM departures WHERE line <> ? AND seats > 0 ORDER BY id", STAFF_LINE)
        found = shortest(rows, values["origin"], values["destination"], values["after"], values["by_fare"])
        assert found is not None
        return [
            {"name": "book_leg", "arguments": {"departure": leg["id"], "passenger": passenger}}
            for passenger in values["passengers"]
            for leg in found[1]
        ], None

    def expect(self, store: Store, request: Request) -> Expected:
        values = request.params
        best = best_value(store, values["origin"], values["destination"], values["after"], values["by_fare"])

        def check(before: Store, after: Store, difference: Diff) -> str:
            added = difference["bookings"].added.values() if "bookings" in difference else []
            legs: dict[str, list[Row]] = defaultdict(list)
            taken: dict[str, int] = defaultdict(int)
            for booking in added:
                row = before.one("SELECT * FROM departures WHERE id = ?", booking["departure"])
                assert row is not None
                legs[booking["passenger"]].append(row)
                taken[row["id"]] += 1
            if set(legs) != set(values["passengers"]):
                return "not exactly the passengers who travel are booked"
            for passenger in values["passengers"]:
                way = sorted(legs[passenger], key=lambda row: (row["leaves"], row["arrives"]))
                place, time = values["origin"], values["after"] - CHANGE
                for leg in way:
                    if leg["origin"] != place or leg["leaves"] < time + CHANGE or leg["line"] == STAFF_LINE:
                        return "the legs of a passenger are no way that can be travelled"
                    place, time = leg["destination"], leg["arrives"]
                value = sum(leg["fare"] for leg in way) if values["by_fare"] else time
                if place != values["destination"] or value != best:
                    return "a passenger's way does not end at the destination, or there is a better one"
            changed = difference["departures"].changed if "departures" in difference else {}
            for (departure,), (old, new) in changed.items():
                if new != {**old, "seats": old["seats"] - taken[departure]}:
                    return "a departure was changed"
            touched = difference.get("bookings")
            if "stops" in difference or (touched and (touched.removed or touched.changed)):
                return "something else was changed"
            return ""

        return Expected(check=check)

    def stray(self, rng: random.Random, store: Store) -> Call:
        row = rng.choice(store.all("SELECT id FROM departures WHERE seats > 0 ORDER BY id"))
        return {"name": "book_leg", "arguments": {"departure": row["id"], "passenger": "Zoe"}}

    def forbidden(self, rng: random.Random, store: Store) -> tuple[str, int]:
        row = rng.choice(store.all("SELECT id FROM departures WHERE line <> ? ORDER BY id", STAFF_LINE))
        staff = store.all("SELECT id FROM departures WHERE line = ? ORDER BY id", STAFF_LINE)
        if staff and rng.random() < 0.5:
            return f"Book a seat for {rng.choice(NAMES)} on departure {rng.choice(staff)['id']}.", 1
        return f"Book seats on departure {row['id']} for these ten passengers: {', '.join(rng.sample(NAMES, 10))}.", 2


WORLD = TransitWorld(
    "transit",
    "You sell seats on buses. Times are minutes after midnight, fares are cents.",
    DDL,
    {"stops": ("name",), "departures": ("id",), "bookings": ("id",)},
    [stops, departures, show_departure, book_leg, bookings],
    [
        f"Line {STAFF_LINE} is for staff: no passenger is booked on it.",
        "At most eight passengers are booked at one request.",
    ],
)


@rlvr.register("tools/transit-v0", max_turns=100, levels=LEVELS, **KNOBS)
class Transit(WorldSession):
    """Book a fastest or cheapest way with tools; any optimal way earns the reward, and nothing else may change."""

    world = WORLD


rlvr.spec("tools/transit-v0").worked_solution(worked_turns)
