"""`tools/booking-v0`: rooms, events and people's calendars."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from typing import Any

import rlvr
from rlvr_envs.tools.session import KNOBS, LEVELS, WorldSession, worked_turns
from rlvr_envs.tools.store import Diff, Row, Store
from rlvr_envs.tools.tool import ToolError, pages, tool
from rlvr_envs.tools.world import Call, Expected, Request, Slot, Unsuitable, World

DDL = """
CREATE TABLE rooms (name TEXT PRIMARY KEY, seats INTEGER NOT NULL, projector INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events (id INTEGER PRIMARY KEY, room TEXT NOT NULL, day INTEGER NOT NULL, start INTEGER NOT NULL,
  end INTEGER NOT NULL,
  title TEXT NOT NULL, organiser TEXT NOT NULL);
CREATE INDEX by_day ON events (day, room);
CREATE TABLE attendees (event INTEGER NOT NULL, person TEXT NOT NULL, PRIMARY KEY (event, person)) WITHOUT ROWID;
CREATE INDEX by_person ON attendees (person);
"""
PEOPLE = ("Abel", "Berta", "Chen", "Dora", "Emil", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Keiko", "Lena")
TITLES = ("review", "planning", "interview", "workshop", "briefing", "standup", "retrospective", "training")
CITIES = (("Lagos", 0), ("Kyiv", 1), ("Nairobi", 2), ("Dubai", 3), ("Dhaka", 5), ("Tokyo", 8))
OPEN, CLOSE, GRID = 480, 1080, 30
"""The office's day in minutes, and the grid on which events begin."""
PAGE = 25
"""Events that one call shows; `skip` turns the page."""
_clock = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


def minutes(time: str) -> int:
    """Minutes after midnight of `HH:MM`."""
    found = _clock.fullmatch(time)
    if not found:
        raise ToolError(f"{time[:20]!r} is no time of the form HH:MM")
    return int(found[1]) * 60 + int(found[2])


def clock(minute: int) -> str:
    """`HH:MM` of minutes after midnight."""
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _shown(row: Row) -> Row:
    return {**row, "start": clock(row["start"]), "end": clock(row["end"])}


def _event(store: Store, event: int) -> Row:
    found = store.one("SELECT * FROM events WHERE id = ?", event)
    if found is None:
        raise ToolError(f"there is no event {event}")
    return found


def _check_place(store: Store, room: str, day: int, start: int, end: int, people: list[str], but: int = -1) -> None:
    place = store.one("SELECT * FROM rooms WHERE name = ?", room)
    if place is None:
        raise ToolError(f"there is no room {room[:40]!r}")
    if start >= end or not 1 <= day <= 60:
        raise ToolError("an event must end after it starts, on a day from 1 to 60")
    if place["seats"] < len(people):
        raise ToolError(f"{room} has {place['seats']} seats for {len(people)} people")
    clash = "SELECT id FROM events WHERE room = ? AND day = ? AND start < ? AND end > ? AND id <> ?"
    if store.one(clash, room, day, end, start, but):
        raise ToolError(f"{room} is taken then")


@tool(
    "Rooms that are free at a time, with seats and projector.",
    day="integer: day number",
    start="string: HH:MM",
    end="string: HH:MM",
    seats="integer?: seats it must have at least",
)
def search_rooms(store: Store, day: int, start: str, end: str, seats: int = 0) -> Any:
    sql = """SELECT * FROM rooms WHERE seats >= ?
             AND name NOT IN (SELECT room FROM events WHERE day = ? AND start < ? AND end > ?)
             ORDER BY name LIMIT 60"""
    return store.all(sql, seats, day, minutes(end), minutes(start))


@tool(
    f"Events in the order of day, start and id. At most {PAGE}.",
    day="integer?: only those of this day",
    room="string?: only those in this room",
    organiser="string?: only those that this person organises",
    skip="integer?: how many to pass over",
)
def list_events(
    store: Store, day: int | None = None, room: str | None = None, organiser: str | None = None, skip: int = 0
) -> Any:
    sql = f"""SELECT * FROM events WHERE (?1 IS NULL OR day = ?1) AND (?2 IS NULL OR room = ?2)
              AND (?3 IS NULL OR organiser = ?3) ORDER BY day, start, id LIMIT {PAGE} OFFSET ?4"""
    return [_shown(row) for row in store.all(sql, day, room, organiser, skip)]


@tool("The events that a person attends on a day.", person="string: name", day="integer: day number")
def calendar(store: Store, person: str, day: int) -> Any:
    sql = "SELECT e.* FROM events e JOIN attendees a ON a.event = e.id WHERE a.person = ? AND e.day = ? ORDER BY e.start, e.id"
    return [_shown(row) for row in store.all(sql, person, day)]


@tool("Who attends an event.", event="integer: id of the event")
def attendees(store: Store, event: int) -> Any:
    _event(store, event)
    return [row["person"] for row in store.all("SELECT person FROM attendees WHERE event = ? ORDER BY person", event)]


@tool(
    "Book a room for an event.",
    writes=True,
    room="string: name of the room",
    day="integer: day number",
    start="string: HH:MM",
    end="string: HH:MM",
    title="string: title",
    people="string[]: who attends; the first is the organiser",
)
def book(store: Store, room: str, day: int, start: str, end: str, title: str, people: list[str]) -> Any:
    if not people or len(set(people)) != len(people) or len(people) > 40:
        raise ToolError("an event needs people, each once, at most 40")
    _check_place(store, room, day, minutes(start), minutes(end), people)
    values = (room, day, minutes(start), minutes(end), title[:100], people[0])
    event = store.run(
        "INSERT INTO events (room, day, start, end, title, organiser) VALUES (?, ?, ?, ?, ?, ?)", *values
    ).lastrowid
    for person in people:
        store.run("INSERT INTO attendees VALUES (?, ?)", event, person[:60])
    return {"event": event}


@tool(
    "Move an event to another room or time.",
    writes=True,
    event="integer: id of the event",
    room="string: name of the room",
    day="integer: day number",
    start="string: HH:MM",
    end="string: HH:MM",
)
def move(store: Store, event: int, room: str, day: int, start: str, end: str) -> Any:
    _event(store, event)
    _check_place(store, room, day, minutes(start), minutes(end), attendees.run(store, event), but=event)
    store.run(
        "UPDATE events SET room = ?, day = ?, start = ?, end = ? WHERE id = ?",
        room,
        day,
        minutes(start),
        minutes(end),
        event,
    )
    return "moved"


@tool("Cancel an event.", writes=True, event="integer: id of the event")
def cancel(store: Store, event: int) -> Any:
    _event(store, event)
    store.run("DELETE FROM events WHERE id = ?", event)
    store.run("DELETE FROM attendees WHERE event = ?", event)
    return "cancelled"


class BookingWorld(World):
    """Book at the first common free time, clear a room, cancel by a time told in another zone."""

    def populate(self, rng: random.Random, size: int) -> dict[str, list[tuple[Any, ...]]]:
        count = max(5, size // 12)
        days = max(5, min(40, size // 16))
        rooms = [(f"R{number:02d}", rng.choice((3, 4, 6, 8, 12)), rng.randrange(2)) for number in range(count - 1)]
        rooms.append((f"R{count - 1:02d}", 20, 1))
        taken: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        events: list[tuple[Any, ...]] = []
        people: list[tuple[Any, ...]] = []
        for number in range(1, size + 1):
            name, seats, _ = rng.choice(rooms)
            day, start, length = (
                rng.randrange(1, days + 1),
                rng.randrange(OPEN, CLOSE - 120, GRID),
                GRID * rng.randrange(1, 5),
            )
            if any(start < end and begin < start + length for begin, end in taken[name, day]):
                continue
            taken[name, day].append((start, start + length))
            guests = rng.sample(PEOPLE, rng.randrange(1, min(seats, 4) + 1))
            events.append((number, name, day, start, start + length, rng.choice(TITLES), guests[0]))
            people.extend((number, person) for person in guests)
        return {"rooms": rooms, "events": events, "attendees": people}

    def request(self, rng: random.Random, store: Store, writes: int) -> Request:
        kind = rng.choice(("meet", "clear", "cancel"))
        last = store.all("SELECT MAX(day) AS day FROM events")[0]["day"]
        if kind == "meet":
            if writes > last:
                raise Unsuitable
            first = rng.randrange(1, last - writes + 2)
            people = rng.sample(PEOPLE, rng.randrange(2, 4))
            length, seats = GRID * rng.randrange(1, 4), rng.choice((4, 6, 8))
            title = f"{rng.choice(TITLES)} {rng.randrange(100, 1000)}"
            when = f"on day {first}" if writes == 1 else f"on each of the days {first} to {first + writes - 1}"
            text = (
                f"Book an event titled '{title}' of {length} minutes {when} for {', '.join(people)}; {people[0]} "
                "organises it. It "
                f"begins as early as all of them and a room with at least {seats} seats are free, on the full or "
                "half hour, within "
                f"{clock(OPEN)} and {clock(CLOSE)}. Which of the free rooms does not matter."
            )
            values = {
                "first": first,
                "days": writes,
                "people": people,
                "length": length,
                "seats": seats,
                "title": title,
            }
            if any(self._first_start(store, day, values) is None for day in range(first, first + writes)):
                raise Unsuitable
            slots = (
                Slot(("long", "length", "duration", "minutes"), f"It takes {length} minutes."),
                Slot(
                    ("title", "called", "name", "seats"), f"The title is '{title}', and we need at least {seats} seats."
                ),
            )
            left = text.replace(f" titled '{title}' of {length} minutes", "").replace(f"at least {seats}", "enough")
            return Request(kind, text, values, "", left, slots)
        if kind == "clear":
            counts = store.all("SELECT room, day, COUNT(*) AS n FROM events GROUP BY room, day ORDER BY room, day")
            by_room: dict[str, dict[int, int]] = defaultdict(dict)
            for row in counts:
                by_room[row["room"]][row["day"]] = row["n"]
            spans = [
                (room, first, end)
                for room, days in by_room.items()
                for first in days
                for end in range(first, min(first + 8, last + 1))
                if sum(days.get(day, 0) for day in range(first, end + 1)) == writes
            ]
            if not spans:
                raise Unsuitable
            room, first, end = rng.choice(spans)
            when = f"on day {first}" if first == end else f"from day {first} to day {end}"
            text = (
                f"Room {room} is closed {when}. Move each of its events of that time to another free room that has a seat for "
                "everybody who attends; day and time stay as they are."
            )
            values = {"room": room, "first": first, "last": end}
            if self._moves(store, values) is None:
                raise Unsuitable
            slot = Slot(("when", "day", "days", "long"), f"It is closed {when}.")
            return Request(kind, text, values, "", text.replace(f" {when}", " for some time"), (slot,))
        organisers = store.all("SELECT organiser, COUNT(*) AS n FROM events GROUP BY organiser ORDER BY organiser")
        person = rng.choice([row["organiser"] for row in organisers])
        starts = store.all("SELECT start FROM events WHERE organiser = ? ORDER BY start DESC", person)
        if len(starts) < writes:
            raise Unsuitable
        start = starts[writes - 1]["start"]
        city, hours = rng.choice(CITIES)
        there = clock(start + 60 * hours)
        if start + 60 * hours >= 24 * 60 or sum(row["start"] >= start for row in starts) > writes + 2:
            raise Unsuitable
        text = (
            f"Cancel every event that {person} organises and that starts at {there} or later in {city}, "
            "whatever the day. The clocks "
            f"there show {hours} hours more than in the office."
        )
        slot = Slot(("when", "time", "start", "late"), f"I mean those that start at {there} or later in {city}.")
        left = (
            f"Cancel the late events that {person} organises, whatever the day. I can tell you the time as it "
            f"is in {city}, where the "
            f"clocks show {hours} hours more than in the office."
        )
        return Request(kind, text, {"person": person, "time": there, "hours": hours}, "", left, (slot,))

    def _moves(self, store: Store, values: dict[str, Any]) -> list[Call] | None:
        """One free room after another for the events of a room; None if one finds none."""
        fork = store.fork()
        calls: list[Call] = []
        for day in range(values["first"], values["last"] + 1):
            for row in pages(list_events, fork.fork(), day=day, room=values["room"]):
                free = search_rooms.run(fork, day, row["start"], row["end"], len(attendees.run(fork, row["id"])))
                names = [room["name"] for room in free if room["name"] != values["room"]]
                if not names:
                    return None
                arguments = {"event": row["id"], "room": names[0], "day": day, "start": row["start"], "end": row["end"]}
                move.run(fork, **arguments)
                calls.append({"name": "move", "arguments": arguments})
        fork.close()
        return calls

    def plan(self, store: Store, request: Request) -> tuple[list[Call], Any]:
        values = request.params
        calls: list[Call] = []
        if request.kind == "clear":
            return self._moves(store, values) or [], None
        if request.kind == "cancel":
            limit = minutes(values["time"]) - 60 * values["hours"]
            for row in pages(list_events, store, organiser=values["person"]):
                if minutes(row["start"]) >= limit:
                    calls.append({"name": "cancel", "arguments": {"event": row["id"]}})
            return calls, None
        for day in range(values["first"], values["first"] + values["days"]):
            busy = [
                (minutes(row["start"]), minutes(row["end"]))
                for person in values["people"]
                for row in calendar.run(store, person, day)
            ]
            for start in range(OPEN, CLOSE - values["length"] + 1, GRID):
                end = start + values["length"]
                if any(begin < end and stop > start for begin, stop in busy):
                    continue
                rooms = search_rooms.run(store, day, clock(start), clock(end), values["seats"])
                if rooms:
                    arguments = {
                        "room": rooms[0]["name"],
                        "day": day,
                        "start": clock(start),
                        "end": clock(end),
                        "title": values["title"],
                        "people": values["people"],
                    }
                    calls.append({"name": "book", "arguments": arguments})
                    break
        return calls, None

    def expect(self, store: Store, request: Request) -> Expected:
        values = request.params
        if request.kind == "cancel":
            hour, minute = values["time"].split(":")
            limit = (int(hour) - values["hours"]) * 60 + int(minute)
            gone = store.all("SELECT id FROM events WHERE organiser = ? AND start >= ?", values["person"], limit)
            guests = store.all(
                "SELECT a.* FROM attendees a JOIN events e ON e.id = a.event WHERE e.organiser = ? AND e.start >= ?",
                values["person"],
                limit,
            )
            return Expected(
                {
                    "events": {(row["id"],): None for row in gone},
                    "attendees": {(row["event"], row["person"]): None for row in guests},
                }
            )
        if request.kind == "clear":
            sql = "SELECT id FROM events WHERE room = ? AND day BETWEEN ? AND ?"
            ids = {row["id"] for row in store.all(sql, values["room"], values["first"], values["last"])}
            return Expected(
                check=lambda before, after, difference: _check_cleared(after, difference, ids, values["room"])
            )
        starts = {
            day: self._first_start(store, day, values)
            for day in range(values["first"], values["first"] + values["days"])
        }
        return Expected(check=lambda before, after, difference: _check_met(before, difference, starts, values))

    def _first_start(self, store: Store, day: int, values: dict[str, Any]) -> int | None:
        """The first start on the grid at which nobody and not every large room is busy, found in one query."""
        marks = ", ".join("?" * len(values["people"]))
        sql = f"""WITH RECURSIVE grid(start) AS (
              SELECT {OPEN} UNION ALL SELECT start + {GRID} FROM grid WHERE start + {GRID} <= {CLOSE} - ?1)
            SELECT MIN(start) AS start FROM grid g WHERE NOT EXISTS (
              SELECT 1 FROM events e JOIN attendees a ON a.event = e.id
              WHERE e.day = ?2 AND e.start < g.start + ?1 AND e.end > g.start AND a.person IN ({marks}))
            AND EXISTS (SELECT 1 FROM rooms r WHERE r.seats >= ? AND NOT EXISTS (
              SELECT 1 FROM events e WHERE e.room = r.name AND e.day = ?2 AND e.start < g.start + ?1 AND e.end > g.start))"""
        row = store.one(sql, values["length"], day, *values["people"], values["seats"])
        return row["start"] if row else None

    def stray(self, rng: random.Random, store: Store) -> Call:
        room = rng.choice(store.all("SELECT name FROM rooms ORDER BY name"))["name"]
        when = {"day": 59, "start": "09:00", "end": "09:30"}
        return {"name": "book", "arguments": {"room": room, **when, "title": "stray", "people": ["Abel"]}}

    def forbidden(self, rng: random.Random, store: Store) -> tuple[str, int]:
        room = rng.choice(store.all("SELECT name FROM rooms ORDER BY name"))["name"]
        person, title = rng.choice(PEOPLE), f"{rng.choice(TITLES)} {rng.randrange(100, 1000)}"
        if rng.random() < 0.5:
            return (
                f"Book room {room} on day {rng.randrange(45, 60)} from 19:00 to 20:00 for {person}, titled '{title}'.",
                1,
            )
        return f"Book room {room} on day {rng.randrange(45, 60)} from 09:00 to 15:30 for {person}, titled '{title}'.", 2


def _check_cleared(after: Store, difference: Diff, ids: set[int], room: str) -> str:
    changed = difference["events"].changed if "events" in difference else {}
    if {key for (key,) in changed} != ids:
        return "not exactly the events of the closed room were moved"
    for (key,), (old, new) in changed.items():
        if new != {**old, "room": new["room"]} or new["room"] == room:
            return "an event has another time than before, or is still there"
        seats = after.one("SELECT seats FROM rooms WHERE name = ?", new["room"])
        guests = after.all("SELECT COUNT(*) AS n FROM attendees WHERE event = ?", key)[0]["n"]
        clash = "SELECT 1 FROM events WHERE room = ? AND day = ? AND start < ? AND end > ? AND id <> ?"
        if (
            seats is None
            or seats["seats"] < guests
            or after.one(clash, new["room"], new["day"], new["end"], new["start"], key)
        ):
            return "an event is in a room that is too small or taken"
    if difference.keys() != {"events"} or difference["events"].added or difference["events"].removed:
        return "something else was changed"
    return ""


def _check_met(before: Store, difference: Diff, starts: dict[int, int | None], values: dict[str, Any]) -> str:
    added = list(difference["events"].added.values()) if "events" in difference else []
    if sorted(row["day"] for row in added) != sorted(starts):
        return "there is not exactly one new event for each day"
    guests: set[tuple[Any, ...]] = set()
    for row in added:
        place = before.one("SELECT seats FROM rooms WHERE name = ?", row["room"])
        right = (starts[row["day"]], values["length"], values["title"], values["people"][0])
        if (row["start"], row["end"] - row["start"], row["title"], row["organiser"]) != right:
            return "a new event has another start, length, title or organiser than asked for"
        if place is None or place["seats"] < values["seats"]:
            return "a room is too small"
        guests |= {(row["id"], person) for person in values["people"]}
    invited = difference.get("attendees")
    if invited is None or set(invited.added) != guests or invited.removed:
        return "not exactly the people who were named are invited"
    events = difference["events"]
    if difference.keys() != {"events", "attendees"} or events.removed or events.changed:
        return "something else was changed"
    return ""


WORLD = BookingWorld(
    "booking",
    "You manage the rooms of an office. Days are numbers, times are HH:MM in the office, whose day "
    f"is {clock(OPEN)} to {clock(CLOSE)}.",
    DDL,
    {"rooms": ("name",), "events": ("id",), "attendees": ("event", "person")},
    [search_rooms, list_events, calendar, attendees, book, move, cancel],
    [f"No event ends after {clock(CLOSE)}.", "No event is longer than four hours."],
)


@rlvr.register("tools/booking-v0", max_turns=100, levels=LEVELS, **KNOBS)
class Booking(WorldSession):
    """Book, move and cancel events with tools; where several rooms would do, any of them earns the reward."""

    world = WORLD


rlvr.spec("tools/booking-v0").worked_solution(worked_turns)
