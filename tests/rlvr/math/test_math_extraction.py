"""Which part of a response is its answer."""

from __future__ import annotations

import pytest

from rlvr.verifiers.math import Policy, extract, verify

FOUND = [
    (r"So \boxed{5} and later \boxed{7}", "7", "box"),
    (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}", "box"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}", "box"),
    (r"\fbox{3}", "3", "box"),
    (r"It is \boxed 9.", "9", "box"),
    (r"It is \boxed{20}\% of it", r"20\%", "box"),
    (r"$\boxed{1}$, $\boxed{2}$ and $\boxed{3}$", "1, 2, 3", "boxes"),
    (r"<think>\boxed{4}</think> \boxed{5}", "5", "box"),
    ("<answer>12</answer>", "12", "answer tag"),
    ("<answer>1</answer> no: <answer>2</answer>", "2", "answer tag"),
    (r"<answer>It is \boxed{8}.</answer>", "8", "box"),
    ("<answer>The result is 8.</answer>", "8", "answer tag"),
    ("3 + 4 = 7\n#### 7", "7", "####"),
    ("The final answer is 12,000,023. I hope it is correct.", "12,000,023", "answer line"),
    ("**Answer:** 15", "15", "answer line"),
    ("Final Answer\n\n$$ x = 3 $$", "x = 3", "answer line"),
    (r"The answer is \(\frac{1}{2}\).", r"\frac{1}{2}", "answer line"),
    (r"First \boxed{5}. Wait. The answer is 7.", "7", "answer line"),
    (r"\boxed{42} Note that this answer is in dollars, as the question asks.", "42", "box"),
    ("x = 4", "x = 4", "bare"),
    ("We see that they walk **73** miles.", "73", "bold"),
    ("There are therefore $12$ of these.", "12", "last math"),
    ("In total she has 1,234 of them.", "1,234", "last number"),
]


@pytest.mark.parametrize(("response", "answer", "rule"), FOUND)
def test_the_answer_is_found_where_the_response_gives_it(response: str, answer: str, rule: str) -> None:
    found = extract(response)
    assert found is not None
    assert (found.text.strip(" $"), found.rule) == (answer, rule)


@pytest.mark.parametrize(
    "response",
    [
        "",
        "   \n",
        "<think> I believe it is \\boxed{5}",
        "x</think> <think> \\boxed{5}",
        r"\boxed{5} and then \boxed{6",
        r"\boxed{}",
        "<answer>5",
        "<answer></answer>",
    ],
)
def test_an_unfinished_or_empty_answer_is_none(response: str) -> None:
    assert verify("5", response).reason == "no_answer"


def test_the_span_holds_the_answer() -> None:
    response = "Some words. The answer is 42."
    begin, end = verify("42", response).detail["span"]
    assert response[begin:end] == "42"
    boxed = r"So $\boxed{42}$."
    begin, end = verify("42", boxed).detail["span"]
    assert boxed[begin:end] == r"\boxed{42}"


def test_the_detail_says_what_was_taken_and_what_decided() -> None:
    score = verify(r"\frac{1}{2}", r"\boxed{0.5}")
    assert score.detail["extracted"] == "0.5"
    assert score.detail["stage"] == "exact"
    assert score.detail["rule"] == "box"


def test_the_last_number_is_an_answer_only_if_the_policy_says_so() -> None:
    response = "After a long walk he counted the geese, and there were 31 of them by the lake."
    assert verify("31", response).correct
    assert verify("31", response, policy=Policy(last_number=False)).reason == "no_answer"


def test_a_box_far_from_the_end_is_found() -> None:
    assert verify("5", r"\boxed{5}" + " and so on" * 5_000).correct


@pytest.mark.parametrize(
    "gold", ["42", "$42$", r"\boxed{42}", r"$\boxed{42}$", "3 * 14 = <<3*14=42>>42\n#### 42", "so the answer is 42"]
)
def test_a_gold_may_come_in_any_wrapping(gold: str) -> None:
    assert verify(gold, "42").correct
    assert not verify(gold, "43").correct


def test_an_empty_gold_is_told_apart_from_a_wrong_answer() -> None:
    assert verify("", r"\boxed{42}").reason == "gold_unparsable"
    assert verify("$$", r"\boxed{42}").reason in ("gold_unparsable", "wrong")
