"""Tool sets drawn at random: an action on a thing, with arguments whose values an instruction can say in plain words."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ACTIONS = {
    "create": "Set up", "search": "Look for", "cancel": "Call off", "update": "Change", "price": "Get a quote for",
    "inspect": "Check up on", "share": "Share", "archive": "File away",
}  # fmt: skip
THINGS = (
    "flight", "parcel", "meeting", "playlist", "greenhouse", "loan", "recipe", "survey", "ticket", "lamp", "ferry", "lesson",
    "contract", "garden", "concert", "tournament", "charger", "warehouse", "exhibit", "podcast",
)  # fmt: skip
NAMES = ("Abel Okoro", "Berta Lund", "Chen Wei", "Dora Kiss", "Emil Roth", "Farid Haddad", "Greta Maes", "Ines Duarte")
CITIES = ("Bergen", "Porto", "Graz", "Lyon", "Kobe", "Quito", "Turku", "Leeds", "Cork", "Accra", "Natal", "Hobart")
STREETS = ("Elm Street", "Mill Lane", "Harbour Road", "Castle Hill", "Station Square")
COLOURS = ("red", "blue", "green", "amber", "white", "violet")
MONTHS = ("January", "March", "May", "July", "September", "November")


@dataclass(frozen=True)
class Value:
    """One argument's value and the words that say it."""

    value: Any
    words: str


@dataclass(frozen=True)
class Argument:
    """One parameter of a drawn tool."""

    name: str
    label: str
    """The words a question would ask for it with."""
    schema: dict[str, Any]
    draw: Callable[[random.Random], Value]


@dataclass(frozen=True)
class DrawnTool:
    """One tool of a drawn set."""

    action: str
    thing: str
    arguments: list[Argument]
    optional: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        """`create_flight`."""
        return f"{self.action}_{self.thing}"

    @property
    def article(self) -> str:
        """`a` or `an`."""
        return "an" if self.thing[0] in "aeiou" else "a"

    def definition(self) -> dict[str, Any]:
        """In OpenAI's format."""
        parameters = {
            "type": "object",
            "properties": {argument.name: argument.schema for argument in self.arguments},
            "required": [argument.name for argument in self.arguments if argument.name not in self.optional],
            "additionalProperties": False,
        }
        description = f"{ACTIONS[self.action]} {self.article} {self.thing}."
        return {
            "type": "function",
            "function": {"name": self.name, "description": description, "parameters": parameters},
        }


def _integer(name: str, label: str, low: int, high: int) -> Argument:
    def draw(rng: random.Random) -> Value:
        number = rng.randrange(low, high)
        return Value(number, f"{label} {number}")

    return Argument(name, label.split(" in ")[0], {"type": "integer", "description": f"The {label}"}, draw)


def _number(name: str, label: str) -> Argument:
    def draw(rng: random.Random) -> Value:
        number = rng.randrange(5, 4_000) / 4
        return Value(number, f"{label} {number:g}")

    return Argument(name, label.split(" in ")[0], {"type": "number", "description": f"The {label}"}, draw)


def _text(name: str, label: str, words: tuple[str, ...]) -> Argument:
    def draw(rng: random.Random) -> Value:
        word = rng.choice(words)
        return Value(word, f"{label} {word}")

    return Argument(name, label, {"type": "string", "description": f"The {label}"}, draw)


def _flag(name: str, label: str) -> Argument:
    def draw(rng: random.Random) -> Value:
        on = rng.random() < 0.5
        return Value(on, f"{'with' if on else 'without'} {label}")

    return Argument(name, label, {"type": "boolean", "description": f"Whether with {label}"}, draw)


def _choice(name: str, label: str, members: dict[str, str], described: bool) -> Argument:
    def draw(rng: random.Random) -> Value:
        member = rng.choice(sorted(members))
        return Value(member, f"{label} {members[member]}")

    legend = "; ".join(f"{member}: {word}" for member, word in members.items()) if described else f"The {label}"
    return Argument(name, label, {"type": "string", "enum": list(members), "description": legend}, draw)


def _list(name: str, label: str, words: tuple[str, ...]) -> Argument:
    def draw(rng: random.Random) -> Value:
        chosen = rng.sample(words, rng.randrange(2, 4))
        return Value(chosen, f"{label} {', '.join(chosen[:-1])} and {chosen[-1]} (in this order)")

    schema = {"type": "array", "items": {"type": "string"}, "description": f"The {label}, in the order given"}
    return Argument(name, label, schema, draw)


def _date(name: str, label: str) -> Argument:
    def draw(rng: random.Random) -> Value:
        day, month, year = rng.randrange(1, 29), rng.choice(MONTHS), rng.randrange(2026, 2031)
        number = ("January", "", "March", "", "May", "", "July", "", "September", "", "November").index(month) + 1
        return Value(f"{year}-{number:02d}-{day:02d}", f"{label} {day} {month} {year}")

    return Argument(name, label, {"type": "string", "description": f"The {label} as YYYY-MM-DD"}, draw)


def _address(name: str, label: str) -> Argument:
    def draw(rng: random.Random) -> Value:
        street, number, city = rng.choice(STREETS), rng.randrange(1, 90), rng.choice(CITIES)
        return Value({"street": street, "number": number, "city": city}, f"{label} {street} {number} in {city}")

    properties = {"street": {"type": "string"}, "number": {"type": "integer"}, "city": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return Argument(name, label, {**schema, "description": f"The {label}"}, draw)


def _entries(name: str, label: str) -> Argument:
    def draw(rng: random.Random) -> Value:
        rows = [{"colour": colour, "pieces": rng.randrange(1, 20)} for colour in rng.sample(COLOURS, 2)]
        words = " and ".join(f"{row['pieces']} {row['colour']} ones" for row in rows)
        return Value(rows, f"{label} {words} (in this order)")

    properties = {"colour": {"type": "string"}, "pieces": {"type": "integer"}}
    item = {"type": "object", "properties": properties, "required": list(properties)}
    return Argument(
        name, label, {"type": "array", "items": item, "description": f"The {label}, in the order given"}, draw
    )


PLAIN = [
    _integer("quantity", "quantity", 2, 90),
    _integer("duration_minutes", "duration in minutes", 5, 240),
    _integer("floor", "floor", 1, 40),
    _number("budget", "budget"),
    _number("weight_kg", "weight in kilograms"),
    _text("owner", "owner", NAMES),
    _text("city", "city", CITIES),
    _flag("insured", "insurance"),
    _flag("urgent", "priority handling"),
    _list("tags", "tags", COLOURS),
    _choice("size", "size", {"small": "small", "medium": "medium", "large": "large"}, described=False),
]
_CABINS = {"economy": "economy", "economy_plus": "economy plus", "first": "first class"}
TRAPS = [
    _choice("grade", "grade", {"A1": "excellent", "B2": "good", "C3": "fair"}, described=True),
    _choice("channel", "channel", {"eml": "e-mail", "tel": "telephone", "pst": "post"}, described=True),
    _choice("cabin", "cabin", _CABINS, described=False),
    _date("date", "date"),
    _date("deadline", "deadline"),
]
NESTED = [
    _address("delivery_address", "delivery address"),
    _address("billing_address", "billing address"),
    _entries("items", "items"),
]


def draw_tools(rng: random.Random, count: int, arguments: int, nesting: bool, traps: bool) -> list[DrawnTool]:
    """`count` tools with different names, about half of them on the same things, so that names alone do not tell them apart."""
    pool = PLAIN + (TRAPS if traps else []) + (NESTED if nesting else [])
    things = rng.sample(THINGS, max(1, (count + 1) // 2))
    names = [(action, thing) for thing in things for action in ACTIONS]
    tools = []
    for action, thing in rng.sample(names, count):
        chosen = rng.sample(pool, arguments)
        if nesting and not any(argument in NESTED for argument in chosen):
            chosen[0] = rng.choice([argument for argument in NESTED if argument not in chosen])
        if traps and arguments > 1 and not any(argument in TRAPS for argument in chosen):
            chosen[1] = rng.choice([argument for argument in TRAPS if argument not in chosen])
        optional = {argument.name for argument in chosen[1:] if rng.random() < 0.3}
        tools.append(DrawnTool(action, thing, chosen, optional))
    return tools
