"""The tools as the model sees them: with distractors among them, in any order, perhaps under names that say nothing."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlvr.errors import ConfigError
from rlvr_envs.tools.store import Store
from rlvr_envs.tools.tool import Tool, tool

SCRAMBLES = ("none", "names", "arguments", "descriptions")


def _constant(name: str, description: str, result: Any, **parameters: str) -> Tool:
    def run(store: Store, **arguments: Any) -> Any:
        return result

    run.__name__ = name
    return tool(description, writes=False, **parameters)(run)


DISTRACTORS = [
    _constant(
        "get_weather", "The weather in a city today.", {"sky": "cloudy", "celsius": 11}, city="string: name of the city"
    ),
    _constant(
        "translate", "Translate a text.", {"text": "?"}, text="string: the text", language="string: target language"
    ),
    _constant("get_time", "The time in a city.", {"time": "10:00"}, city="string: name of the city"),
    _constant("define_word", "What a word means.", {"meaning": "not in this dictionary"}, word="string: the word"),
    _constant("get_stock_price", "The latest price of a share.", {"price": 101.5}, symbol="string: ticker symbol"),
    _constant(
        "random_number",
        "A number between two bounds.",
        {"number": 4},
        low="integer: lower bound",
        high="integer: upper bound",
    ),
    _constant(
        "send_note",
        "Leave a note for a colleague.",
        {"sent": False, "why": "nobody is there"},
        to="string: name",
        text="string: the note",
    ),
    _constant(
        "convert_units", "Convert a quantity.", {"value": 1.0}, value="number: how much", unit="string: target unit"
    ),
    _constant("search_web", "Search public pages.", {"results": []}, query="string: what to look for"),
    _constant(
        "set_reminder",
        "Be reminded later.",
        {"set": False, "why": "reminders are off"},
        text="string: of what",
        minutes="integer: when",
    ),
]


@dataclass(frozen=True)
class Disguise:
    """What the model sees and how to get back from it."""

    definitions: list[dict[str, Any]]
    tools: dict[str, Tool]
    """By their own names."""
    shown: dict[str, str]
    """Own name -> shown name."""
    arguments: dict[str, dict[str, str]]
    """Own name of a tool -> own name of an argument -> shown name."""

    def cover(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """A call in own names, as the model has to write it."""
        names = self.arguments[call["name"]]
        return {
            "name": self.shown[call["name"]],
            "arguments": {names[key]: value for key, value in call["arguments"].items()},
        }

    def reveal(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """A checked call of the model in own names."""
        own = next(own for own, shown in self.shown.items() if shown == name)
        back = {shown: key for key, shown in self.arguments[own].items()}
        return own, {back[key]: value for key, value in arguments.items()}


def make(rng: random.Random, tools: Sequence[Tool], num_distractors: int, scramble: str) -> Disguise:
    """Mix `tools` with distractors and hide what `scramble` says. `submit` always keeps its name and its words."""
    if scramble not in SCRAMBLES:
        raise ConfigError(f"scramble is {scramble!r}; choose one of {', '.join(SCRAMBLES)}")
    if not 0 <= num_distractors <= len(DISTRACTORS):
        raise ConfigError(f"distractor_tools is {num_distractors}; there are {len(DISTRACTORS)} of them")
    mixed = [*tools, *rng.sample(DISTRACTORS, num_distractors)]
    rng.shuffle(mixed)
    level = SCRAMBLES.index(scramble)
    definitions, shown, arguments = [], {}, {}
    for number, each in enumerate(mixed, 1):
        hidden = 0 if each.name == "submit" else level
        shown[each.name] = f"tool_{number}" if hidden >= 1 else each.name
        names = {key: f"arg_{i}" if hidden >= 2 else key for i, key in enumerate(each.parameters["properties"], 1)}
        arguments[each.name] = names
        properties = {}
        for key, schema in each.parameters["properties"].items():
            bare = {field: value for field, value in schema.items() if field != "description"}
            properties[names[key]] = bare if hidden >= 3 else schema
        parameters = {
            **each.parameters,
            "properties": properties,
            "required": [names[key] for key in each.parameters["required"]],
        }
        function: dict[str, Any] = {"name": shown[each.name], "parameters": parameters}
        if hidden < 3:
            function["description"] = each.description
        definitions.append({"type": "function", "function": function})
    return Disguise(definitions, {each.name: each for each in mixed}, shown, arguments)
