"""The parts by themselves: tokens, trees, fingerprints, values, sets of reals."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rlvr.verifiers.math.answers import parse
from rlvr.verifiers.math.evaluate import Evaluator, TooLargeError, context
from rlvr.verifiers.math.fingerprint import PRIME, fingerprint
from rlvr.verifiers.math.lexer import UnreadableError, clean, tokenize
from rlvr.verifiers.math.realsets import Interval, complement, intersect, real_set, same_sets, unite
from rlvr.verifiers.math.tree import Node, number, symbol
from rlvr.verifiers.math.words import number_words


def test_grouped_digits_are_one_number_unless_they_are_a_pair() -> None:
    assert clean("1,234,567") == "1234567"
    assert clean("(11,111)") == "(11,111)"
    assert clean("(1,000, 2,000)") == "(1000, 2000)"
    assert clean("1,7,103, 105") == "1,7,103, 105"
    assert clean(r"12,\!000{,}003") == "12000003"
    assert clean("32, 349") == "32, 349"


def test_a_product_of_letters_binds_an_exponent_to_its_last() -> None:
    x, y = symbol("x"), symbol("y")
    assert parse("xy^2").node == Node("mul", (x, Node("pow", (y, number(2)))))


def test_decimals_remember_the_digits_they_show() -> None:
    assert parse("0.250").node == Node("num", (), Fraction(1, 4), 3)
    assert parse("0.25").node.digits == 2
    assert parse("1/4").node == number(Fraction(1, 4))


@pytest.mark.parametrize(
    ("text", "kind"),
    [("(1,2)", "tuple"), ("1,2", "list"), (r"\{1,2\}", "set"), ("x=1", "rel"), (r"(0,1)\cup(2,3)", "union"), ("3:4", "ratio"),
     ("4:30 pm", "time"), ("101_2", "base"), ("(B)", "choice"), ("five", "num"), ("blue", "text"), ("5 cm", "unit"), ("5%", "percent"),
     (r"5^\circ", "deg"), (r"\infty", "inf"), (r"\emptyset", "empty"), (r"\{x \mid x>1\}", "builder"), (r"\pm 2", "pm"), ("a: 5", "ratio"),
     ("Ann: 5", "label"), (r"\begin{bmatrix}1\end{bmatrix}", "matrix"), (r"\sum_{k=1}^n k", "big")],
)  # fmt: skip
def test_each_form_has_its_own_kind_of_node(text: str, kind: str) -> None:
    assert parse(text).node.kind == kind


def test_what_is_too_deep_or_too_long_is_refused() -> None:
    with pytest.raises(UnreadableError):
        parse("(" * 200 + "1" + ")" * 200)
    with pytest.raises(UnreadableError):
        tokenize("1+" * 4_000)
    with pytest.raises(UnreadableError):
        tokenize("7" * 3_000)


def test_fingerprints_do_arithmetic_modulo_a_prime() -> None:
    assert fingerprint(parse("2^{10}").node) == (1024, True)
    assert fingerprint(parse("1/2").node) == ((PRIME + 1) // 2, True)
    assert fingerprint(parse("-1").node) == (PRIME - 1, True)
    assert fingerprint(parse("5!").node) == (120, True)
    assert fingerprint(parse(r"\frac{1}{0}").node) is None
    assert fingerprint(parse(r"\frac{1}{x-x}").node) is None
    value = fingerprint(parse(r"\sqrt{12}").node)
    assert value is not None
    assert value == fingerprint(parse(r"2\sqrt{3}").node)
    assert value[1] is False


def test_values_are_computed_to_sixty_digits() -> None:
    mp = context()
    value = Evaluator({}).of(parse(r"\sqrt{2}").node)
    assert abs(value * value - 2) < mp.mpf(10) ** -60
    assert Evaluator({"x": mp.mpf(3)}).of(parse("x^2-1").node) == 8
    assert Evaluator({}).of(parse(r"\sqrt[3]{-8}").node) == -2
    with pytest.raises(TooLargeError):
        Evaluator({}).of(parse("9^{9^{9^9}}").node)


def test_a_lost_term_is_noticed() -> None:
    run = Evaluator({})
    run.of(parse("1+10^{-300}").node)
    assert run.absorbed


def test_sets_of_reals_unite_intersect_and_complement() -> None:
    one = real_set(parse("[0,2)").node)
    two = real_set(parse("(1,3]").node)
    assert same_sets(unite(one + two), real_set(parse("[0,3]").node))
    assert same_sets(intersect(one, two), real_set(parse("(1,2)").node))
    assert same_sets(complement(one), real_set(parse(r"(-\infty,0)\cup[2,\infty)").node))
    assert complement([]) == [Interval(None, None, False, False)]
    assert same_sets(real_set(parse(r"x \ne 2").node), real_set(parse(r"(-\infty,2)\cup(2,\infty)").node))
    assert same_sets(real_set(parse("|x-1| < 2").node), real_set(parse("(-1,3)").node))
    assert same_sets(real_set(parse("-2x+4 \\le 0").node), real_set(parse("[2,\\infty)").node))


@pytest.mark.parametrize(
    ("words", "value"),
    [("seven", 7), ("twenty-one", 21), ("one hundred and five", 105), ("two thousand three hundred", 2300), ("minus four", -4),
     ("two thirds", Fraction(2, 3)), ("one half", Fraction(1, 2)), ("the seven", None), ("seventh heaven", None)],
)  # fmt: skip
def test_number_words_are_read(words: str, value: object) -> None:
    assert number_words(words) == value
