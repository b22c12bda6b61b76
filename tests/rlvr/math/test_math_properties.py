"""Expressions equal by construction are equal, perturbed ones are not, and no text raises."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlvr.verifiers.math import equivalent, extract, verify

QUICK = settings(max_examples=150, deadline=None)
integers = st.integers(-60, 60)


@st.composite
def polynomials(draw: st.DrawFn) -> tuple[list[int], str, str]:
    """(roots, the factored form, the expanded form) of a monic polynomial."""
    roots = draw(st.lists(integers, min_size=1, max_size=4))
    coefficients = [1]
    for root in roots:  # times (x - root)
        shifted = [*coefficients, 0]
        for index, coefficient in enumerate(coefficients):
            shifted[index + 1] -= root * coefficient
        coefficients = shifted
    factored = "".join(f"(x{-root:+d})" for root in roots)
    degree = len(coefficients) - 1
    expanded = "".join(f"{c:+d}x^{{{degree - i}}}" if i < degree else f"{c:+d}" for i, c in enumerate(coefficients))
    return coefficients, factored, expanded.lstrip("+")


@QUICK
@given(polynomials())
def test_a_product_of_factors_equals_its_expansion(case: tuple[list[int], str, str]) -> None:
    _, factored, expanded = case
    assert equivalent(factored, expanded)
    assert equivalent(expanded, factored)


@QUICK
@given(polynomials(), st.integers(1, 9))
def test_a_changed_constant_term_is_noticed(case: tuple[list[int], str, str], change: int) -> None:
    _, factored, expanded = case
    assert not equivalent(factored, f"{expanded}+{change}")
    assert not equivalent(f"{expanded}-{change}", factored)


@QUICK
@given(st.fractions(min_value=-500, max_value=500, max_denominator=400), st.integers(2, 12))
def test_a_fraction_equals_its_other_spellings(value: Fraction, scale: int) -> None:
    top, bottom = value.numerator, value.denominator
    gold = f"\\frac{{{top}}}{{{bottom}}}"
    spellings = [
        f"{top}/{bottom}",
        f"\\dfrac{{{top * scale}}}{{{bottom * scale}}}",
        f"x = {top}/{bottom}",
        f"$\\tfrac{{{top}}}{{{bottom}}}$",
    ]
    whole, rest = divmod(abs(top), bottom)
    if whole and rest:
        spellings.append(("-" if top < 0 else "") + f"{whole}\\frac{{{rest}}}{{{bottom}}}")
    for spelling in spellings:
        assert equivalent(gold, spelling), spelling
    assert not equivalent(gold, f"{top + 1}/{bottom}")
    assert not equivalent(f"{top}/{bottom + 1}", gold) or top == 0


@QUICK
@given(st.integers(-(10**30), 10**30))
def test_an_integer_equals_itself_and_not_its_neighbour(value: int) -> None:
    assert verify(str(value), f"The answer is ${value:,}$.").correct
    assert not verify(str(value), f"\\boxed{{{value + 1}}}").correct
    assert verify(str(value), f"\\boxed{{{value}.0}}").correct


@QUICK
@given(st.lists(st.integers(-30, 30), min_size=2, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_a_set_has_no_order_and_a_tuple_has(values: list[int], rng: object) -> None:
    shuffled = list(values)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert equivalent("\\{" + ",".join(map(str, values)) + "\\}", "\\{" + ", ".join(map(str, shuffled)) + "\\}")
    tuples = equivalent("(" + ", ".join(map(str, values)) + ")", "(" + ",".join(map(str, shuffled)) + ")")
    assert tuples is (values == shuffled)
    assert not equivalent("\\{" + ",".join(map(str, values)) + "\\}", "\\{" + ",".join(map(str, values[1:])) + "\\}")


@QUICK
@given(st.integers(1, 40), st.integers(2, 30), st.integers(1, 20))
def test_radicals_may_be_written_in_any_form(outside: int, inside: int, below: int) -> None:
    gold = f"\\frac{{{outside}\\sqrt{{{inside}}}}}{{{below}}}"
    assert equivalent(gold, f"\\sqrt{{\\frac{{{outside**2 * inside}}}{{{below**2}}}}}")
    assert equivalent(gold, f"\\frac{{{outside * inside}}}{{{below}\\sqrt{{{inside}}}}}")
    assert not equivalent(gold, f"\\frac{{{outside}\\sqrt{{{inside + 1}}}}}{{{below}}}")


@QUICK
@given(integers, integers, st.booleans(), st.booleans())
def test_an_interval_equals_its_inequality(low: int, width: int, low_closed: bool, high_closed: bool) -> None:
    high = low + abs(width) + 1
    interval = ("[" if low_closed else "(") + f"{low}, {high}" + ("]" if high_closed else ")")
    chain = f"{low} " + ("\\le" if low_closed else "<") + " t " + ("\\le" if high_closed else "<") + f" {high}"
    assert equivalent(interval, chain)
    assert equivalent(chain, interval)
    flipped = ("(" if low_closed else "[") + f"{low}, {high}" + ("]" if high_closed else ")")
    assert not equivalent(flipped, chain)


@QUICK
@given(integers, integers, st.integers(1, 9))
def test_an_equation_may_be_multiplied_and_turned_around(a: int, b: int, factor: int) -> None:
    gold = f"y = {a}x{b:+d}"
    assert equivalent(gold, f"{factor}y - ({factor * a})x = {factor * b}")
    assert not equivalent(gold, f"{factor}y - ({factor * a})x = {factor * b + 1}")


@settings(max_examples=400, deadline=None)
@example("0", "0\x850")  # a space to Python that is none to an ASCII pattern
@example("5", "5\\text{ .\x85. }")
@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_raises_or_is_called_a_failure_of_ours(gold: str, response: str) -> None:
    score = verify(gold, response)
    assert score.error is None
    assert score.reason in ("correct", "wrong", "no_answer", "gold_unparsable")
    extract(response)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(
    ["\\frac", "{", "}", "(", ")", "[", "]", "^", "_", "+", "-", "=", "<", "\\sqrt", "\\boxed{", "\\text{", "x", "2", "1,000", ",", "\\pm", "|",
     "\\begin{pmatrix}", "\\end{pmatrix}", "&", "\\\\", "\\{", "\\}", "\\cup", "\\sum", "!", "%", "$", " and ", ".", "\\int", "dx"]
), max_size=25))  # fmt: skip
def test_no_broken_latex_raises_and_swapping_changes_nothing(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert verify("2", text).error is None
    assert verify(text, "2").error is None
    assert equivalent(text, "2x") is equivalent("2x", text)
