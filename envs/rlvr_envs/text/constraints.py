"""`text/constraints-v0`: write a text that follows several instructions about its form."""

from __future__ import annotations

import random

import rlvr
from rlvr.answers import after_thinking
from rlvr.errors import ConfigError
from rlvr_envs.text.rules import RULES, Parameters, Rule
from rlvr_envs.text.vocabulary import WORDS

BY_NAME = {rule.name: rule for rule in RULES}
MAX_LENGTH = 20_000
TOPICS = ("a walk in the rain", "an old market", "a train journey", "a letter to a friend", "the first day of a new job",
          "a forgotten recipe", "a night without power", "a village by the sea", "learning an instrument", "a lost key",
          "the view from a tower", "a day on a farm", "moving house", "a festival", "a broken bicycle")  # fmt: skip


@rlvr.register("text/constraints-v0", rules=3, levels=[{"rules": 2}, {"rules": 3}, {"rules": 5}, {"rules": 7}])
def constraints(rng: random.Random, rules: int) -> rlvr.Task:
    """Write a short text about a topic that follows all of several instructions about its form, out of 30 kinds.

    One of them always asks for given words, so no fixed text complies. A text that follows all of them is built with each
    task, which proves that they can be combined; the prompt itself never complies.
    """
    if not 1 <= rules <= 10:
        raise ConfigError(f"text/constraints-v0: rules is {rules}; it must be from 1 to 10")
    for _ in range(200):
        drawn = _draw(rng, rules)
        topic = rng.choice(TOPICS)
        text = _write(drawn)
        asked = "\n".join(f"- {rule.say(parameters)}" for rule, parameters in drawn)
        prompt = f"Write a short text about {topic}. Follow all of these instructions:\n{asked}\nGive the text only."
        named = [(rule.name, parameters) for rule, parameters in drawn]
        if not broken(named, text) and broken(named, prompt):
            return rlvr.Task(prompt, answer=None, data={"rules": named, "text": text})
    raise ConfigError(f"text/constraints-v0: found no {rules} rules that can be combined; ask for fewer")


def broken(rules: list[tuple[str, Parameters]], text: str) -> list[str]:
    """The names of the rules that a text does not follow."""
    return [name for name, parameters in rules if not BY_NAME[name].check(parameters, text)]


def _draw(rng: random.Random, count: int) -> list[tuple[Rule, Parameters]]:
    """Rules of different groups, the first of which asks for words."""
    include = [rule for rule in RULES if rule.group == "include"]
    chosen, groups = [rng.choice(include)], {"include"}
    others = [rule for rule in RULES if rule.group != "include"]
    rng.shuffle(others)
    for rule in others:
        if len(chosen) < count and rule.group not in groups:
            chosen.append(rule)
            groups.add(rule.group)
    return [(rule, rule.draw(rng)) for rule in chosen]


def _write(rules: list[tuple[Rule, Parameters]]) -> str:
    text = "It was a good time."
    for rule, parameters in sorted(rules, key=lambda pair: pair[0].stage):
        text = rule.follow(parameters, text)
    return text


@constraints.verifier
def all_followed(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if every instruction is followed; the share of those that are is the part `followed`."""
    given = after_thinking(text)
    if given is None or not given.strip():
        return rlvr.Score(0.0, {"followed": 0.0}, reason="no_answer")
    if len(given) > MAX_LENGTH:
        return rlvr.Score(0.0, {"followed": 0.0}, reason="too_long")
    rules = task.data["rules"]
    wrong = broken(rules, given.strip())
    parts = {"followed": 1 - len(wrong) / len(rules)}
    return rlvr.Score(float(not wrong), parts, reason="correct" if not wrong else f"not followed: {', '.join(wrong)}")


@constraints.worked_solution
def example(task: rlvr.Task) -> str:
    """The text that was built with the task."""
    return str(task.data["text"])


assert not set(WORDS) & {"the", "and", "is", "of", "a"}, "words to use and words to avoid must differ"
