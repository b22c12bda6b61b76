"""The text environments: rules by hand, and examples that comply."""

import json

import pytest

import rlvr
from rlvr_envs.text.constraints import BY_NAME, broken
from rlvr_envs.text.rules import RULES

CASES = [  # rule, parameters, a text that follows it, one that does not
    ("include-word", {"words": ["cabin"]}, "A Cabin.", "Cabins."),
    ("include-words", {"words": ["cabin", "river", "owl"]}, "owl river cabin", "owl river"),
    ("repeat-word", {"words": ["cabin"], "n": 2}, "Cabin cabin.", "cabin cabin cabin"),
    ("words-in-order", {"words": ["cabin", "river"]}, "cabin, then river", "river, then cabin"),
    ("forbid-word", {"words": ["the"]}, "then", "The end"),
    ("forbid-letter", {"letter": "z"}, "lion", "Zebra"),
    ("min-words", {"n": 3}, "one two three", "one two"),
    ("max-words", {"n": 12}, "w " * 12, "w " * 13),
    ("exact-words", {"n": 3}, "it's one two", "one two"),
    ("sentences", {"n": 2}, "One. Two.", "One. Two. Three."),
    ("letters", {"n": 1}, "forest", "trees"),
    ("lower-case", {}, "lower", "Lower"),
    ("upper-case", {}, "UPPER 1", "Upper"),
    ("shouted", {"n": 2}, "I AM HERE now", "I AM here"),
    ("no-commas", {}, "one two", "one, two"),
    ("commas", {"n": 2}, "a, b, c", "a, b"),
    ("question", {}, "Is it?", "Is it? Is it?"),
    ("no-full-stops", {}, "Yes!", "Yes! No."),
    ("bullets", {"n": 2}, "so:\n* a\n* b", "* a\n- b"),
    ("numbered", {"n": 2}, "1) a\n2) b", "1) a\n3) b"),
    ("paragraphs", {"n": 2}, "a\n\nb", "a\nb"),
    ("lines", {"n": 2}, "a\nb", "a\n\nb"),
    ("title", {}, "<<T>> text", "T: text"),
    ("first-word", {"words": ["cabin"]}, "Cabin, then", "A cabin"),
    ("last-word", {"words": ["cabin"]}, "the cabin", "the cabin."),
    ("postscript", {}, "text\nP.S. more", "text\nP.S."),
    ("quoted", {}, '"text"', '"te"xt"'),
    ("placeholders", {"n": 1}, "to [name]", "to [name] [place]"),
    ("highlight", {"n": 1}, "_so_", "_so_ _so_"),
    ("digits", {"n": 3}, "a 12 b 3", "a 12"),
]


@pytest.mark.parametrize(("name", "parameters", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_each_rule_by_hand(name, parameters, good, bad):
    assert BY_NAME[name].check(parameters, good)
    assert not BY_NAME[name].check(parameters, bad)


def test_every_rule_has_a_case_and_there_are_at_least_25():
    assert {case[0] for case in CASES} == {rule.name for rule in RULES}
    assert len(RULES) >= 25


def test_examples_follow_all_rules_at_the_hardest_level_and_lose_without_one_word():
    spec = rlvr.spec("text/constraints-v0")
    for task in rlvr.tasks(spec.id, n=50, level=3):
        assert spec.judge(task, spec.solution(task)).correct
        assert not spec.judge(task, "It was a good time.").correct
        assert 0 <= spec.judge(task, "x").parts["followed"] < 1


def test_the_reason_names_the_rules_that_were_not_followed():
    assert broken([("commas", {"n": 1}), ("lower-case", {})], "A") == ["commas", "lower-case"]


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ('{"b": [1, 2], "a": true}', True),
        ('```json\n{"a": true, "b": [1, 2.0]}\n```', True),
        ('{"a": 1, "b": [1, 2]}', False),
        ('{"a": true, "b": [2, 1]}', False),
        ('{"a": true, "a": true, "b": [1, 2]}', False),
        ('{"a": true, "b": [1, 2], "c": 0}', False),
        ("{'a': True, 'b': [1, 2]}", False),
        ('{"a": NaN}', False),
        ("[" * 100_000, False),
    ],
)
def test_json_is_compared_by_value(answer, right):
    task = rlvr.Task("x", answer=json.dumps({"a": True, "b": [1, 2]}))
    assert rlvr.spec("text/json-v0").judge(task, answer).correct is right
    assert rlvr.spec("text/json-v0").judge(task, answer).error is None


def test_the_gold_json_fits_its_schema():
    import jsonschema

    for task in rlvr.tasks("text/json-v0", n=50, level=3):
        jsonschema.validate(json.loads(task.answer), task.data["schema"])


def test_counts_and_orders_by_hand():
    sort = rlvr.spec("text/sort-v0")
    task = rlvr.Task("x", answer="-3, 2, 10")
    assert sort.judge(task, "<answer>-3,2 ,10</answer>").correct
    assert not sort.judge(task, "<answer>-3, 10, 2</answer>").correct
    for task in rlvr.tasks("text/count-v0", n=30):
        assert rlvr.spec("text/count-v0").judge(task, task.answer).correct
