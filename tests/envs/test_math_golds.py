"""Golds of the procedural math environments against sympy, and answers in the notation that models use."""

import re
from fractions import Fraction
from itertools import permutations, product

import pytest
import sympy
from sympy.parsing.sympy_parser import (
    convert_xor,
    implicit_multiplication_application,
    parse_expr,
    split_symbols,
    standard_transformations,
)

import rlvr
from rlvr_envs.math.matrix import read_matrix

TRANSFORMATIONS = (*standard_transformations, convert_xor, split_symbols, implicit_multiplication_application)


def in_sympy(text, name="x"):
    """What one of our own texts means to sympy, in its own reading of it."""
    text = text.replace(f"ln|{name}|", f"ln({name})").replace("ln(", " log(")
    symbol = sympy.Symbol(name, positive=True)
    return parse_expr(
        text, transformations=TRANSFORMATIONS, local_dict={name: symbol, "e": sympy.E, "C": sympy.Symbol("C")}
    )


def some(name, n, level=None, seed="golds"):
    levels = range(len(rlvr.spec(f"math/{name}-v0").levels)) if level is None else [level]
    return [task for level in levels for task in rlvr.tasks(f"math/{name}-v0", n=n, level=level, seed=seed)]


def judge(task, text):
    score = rlvr.spec(task.env_id).judge(task, text)
    assert score.error is None
    return score.correct


def test_fractions():
    for task in some("fractions", 20):
        text = task.data["text"]
        assert re.fullmatch(r"[\d /+*()-]+", text)
        assert sympy.Rational(task.answer) == sympy.sympify(re.sub(r"(\d+)", r"Integer(\1)", text)), text


def test_linear_equations():
    for task in some("linear-equation", 10):
        name = task.data["name"]
        equation = re.search(r"[^:.?]*=[^:.?]*", task.text.split("\n")[0])[0]
        for word in (r".*\bif ", r".*\bequation ", r".*\bsatisfies ", r" has one.*", r" for \w$"):
            equation = re.sub(word, "", equation)
        left, right = (in_sympy(side, name) for side in equation.split("="))
        unknown = sympy.Symbol("u")
        (root,) = sympy.solve((left - right).subs(sympy.Symbol(name, positive=True), unknown), unknown)
        assert root == sympy.Rational(task.answer), task.text


def test_linear_systems():
    for task in some("linear-system", 10):
        rows, right = sympy.Matrix(task.data["rows"]), sympy.Matrix(task.data["right"])
        gold = rows.LUsolve(right)
        assert task.answer == f"({', '.join(map(str, gold))})"
        names = task.data["names"]
        named = ", ".join(f"{name} = {value}" for name, value in zip(names, gold, strict=True))
        turned = "; ".join(f"{name} = {value}" for name, value in reversed([*zip(names, gold, strict=True)]))
        assert judge(task, f"<answer>{named}</answer>")
        assert judge(task, "<answer>\n" + named.replace(", ", "\n") + "\n</answer>")
        assert judge(task, f"<answer>{turned}</answer>")
        assert judge(task, f"$\\boxed{{\\left({', '.join(map(sympy.latex, gold))}\\right)}}$")
        if gold[0] != gold[1]:
            wrong = [gold[1], gold[0], *gold[2:]]
            assert not judge(task, f"<answer>({', '.join(map(str, wrong))})</answer>")


def test_polynomial_roots():
    x = sympy.Symbol("x")
    for task in some("polynomial-roots", 10):
        roots = sorted(sympy.roots(sympy.Poly(task.data["coefficients"][::-1], x)))
        assert task.answer == "{" + ", ".join(map(str, roots)) + "}"
        name = task.data["name"]
        assert judge(task, f"<answer>{', '.join(map(str, reversed(roots)))}</answer>")
        assert judge(task, f"\\boxed{{{name} = {f' or {name} = '.join(map(str, roots))}}}")
        assert judge(task, f"\\boxed{{\\{{{', '.join(map(sympy.latex, roots))}\\}}}}")
        assert not judge(task, f"<answer>{roots[0]}</answer>") or len(roots) == 1


def test_factorisations():
    x = sympy.Symbol("x")
    for task in some("factor", 12):
        p = sympy.Poly(task.data["coefficients"][::-1], x).as_expr()
        name = task.data["name"]
        shown = sympy.expand(in_sympy(task.answer, name)).subs(sympy.Symbol(name, positive=True), x)
        assert sympy.expand(shown - p) == 0
        assert judge(task, f"$\\boxed{{{sympy.latex(sympy.factor(p)).replace('x', name)}}}$")
        assert not judge(task, f"<answer>{sympy.latex(p).replace('x', name)}</answer>")


def test_a_factor_that_can_be_split_or_has_a_common_number_is_not_complete():
    task = next(task for task in some("factor", 40, level=1) if re.fullmatch(r"2\(.*\)\(.*\)", task.answer))
    first, second = re.findall(r"\(([^)]*)\)", task.answer)
    assert judge(task, f"<answer>2({second})({first})</answer>")
    assert judge(task, f"<answer>-2(-({first}))({second})</answer>")
    doubled = sympy.expand(2 * in_sympy(first, task.data["name"]))
    assert not judge(task, f"<answer>({doubled})({second})</answer>")
    assert not judge(task, f"<answer>4({first})({second})/2 + 0</answer>")


@pytest.mark.slow
def test_derivatives_and_their_forms():
    for task in some("derivative", 3):
        name = task.data["name"]
        symbol = sympy.Symbol(name, positive=True)
        gold = sympy.diff(in_sympy(task.data["function"], name), symbol)
        assert sympy.simplify(gold - in_sympy(task.answer, name)) == 0
        for form in (gold, sympy.expand(gold), sympy.factor(gold), sympy.together(gold)):
            assert judge(task, f"<answer>{sympy.latex(form)}</answer>"), (task.text, sympy.latex(form))
            assert judge(task, f"\\boxed{{f'({name}) = {str(form).replace('exp', 'e^')}}}"), (task.text, str(form))
        assert not judge(task, f"<answer>{sympy.latex(gold + symbol)}</answer>")
        assert not judge(task, f"<answer>{sympy.latex(2 * gold)}</answer>")


def test_antiderivatives_and_their_forms():
    for task in some("integral", 4):
        name = task.data["name"]
        symbol = sympy.Symbol(name, positive=True)
        if "coefficients" in task.data:
            p = sympy.Poly(task.data["coefficients"][::-1], symbol).as_expr()
            assert sympy.integrate(p, (symbol, *task.data["limits"])) == sympy.Rational(task.answer)
            continue
        function = in_sympy(task.data["function"], name)
        gold = in_sympy(task.answer, name)
        assert sympy.simplify(sympy.diff(gold, symbol) - function) == 0
        for form in (gold - sympy.Symbol("C"), sympy.expand(gold), sympy.factor(gold) + 7):
            assert judge(task, f"<answer>{sympy.latex(form)}</answer>"), (task.text, sympy.latex(form))
        assert not judge(task, f"<answer>{sympy.latex(gold + symbol)}</answer>")
        assert not judge(task, f"<answer>{sympy.latex(function)} + C</answer>")


def test_limits():
    for task in some("limit", 4):
        name = task.data["name"]
        symbol = sympy.Symbol(name)
        function = in_sympy(task.data["function"], name).subs(sympy.Symbol(name, positive=True), symbol)
        point = sympy.oo if task.data["point"] == "infinity" else sympy.Integer(task.data["point"])
        assert sympy.limit(function, symbol, point) == sympy.Rational(task.answer), task.text


def test_divisors_and_multiples():
    for task in some("gcd-lcm", 20):
        numbers = task.data["numbers"]
        function = sympy.ilcm if task.data["lcm"] else sympy.igcd
        assert int(task.answer) == function(*numbers)


def test_residues():
    for task in some("modular", 20):
        kind, m, numbers = task.data["kind"], task.data["modulus"], task.data["numbers"]
        answer = int(task.answer)
        assert 0 <= answer < m
        if kind == "expression":
            assert (numbers[0] * numbers[1] + numbers[2] - answer) % m == 0
        elif kind in ("inverse", "congruence"):
            assert (numbers[0] * answer + numbers[1] - numbers[2]) % m == 0
        else:
            base, *exponents = numbers
            exponent = exponents[0] if len(exponents) == 1 else exponents[0] ** exponents[1]
            # Euler: the exponent may be reduced by phi(m), since base and modulus are coprime.
            assert pow(base, int(exponent % sympy.totient(m)), m) == answer


def test_simultaneous_congruences():
    for task in some("crt", 15):
        gold, _ = sympy.ntheory.modular.crt(task.data["moduli"], task.data["residues"])
        assert int(task.answer) == gold


def test_counts_by_listing():
    seen = 0
    for task in some("counting", 60, level=1) + some("counting", 40, level=2):
        question = task.text.split("\n")[0]
        word = re.search(r"\b[A-Z]{6,}\b", question)
        if word and len(word[0]) <= 8:
            assert len(set(permutations(word[0]))) == int(task.answer)
            seen += 1
        elif "<=" in question:
            n = int(re.search(r" = (\d+) |can (\d+) be", question)[0].strip("= canbe"))
            low_a, high = map(int, re.search(r"(\d+) <= a <= (\d+)", question).groups())
            lows = [int(low) for low in re.findall(r"[b-d] >= (\d+)", question)]
            ranges = [range(low_a, high + 1), *(range(low, n + 1) for low in lows)]
            assert sum(1 for values in product(*ranges) if sum(values) == n) == int(task.answer), question
            seen += 1
    assert seen > 15


def test_probabilities_of_dice_by_listing():
    for task in some("probability", 25, level=3):
        faces_and_sum = [int(n) for n in re.findall(r"\d+", re.sub(r"from 1|1 to ", "", task.text.split("\n")[0]))]
        *faces, total = faces_and_sum
        outcomes = list(product(*(range(1, n + 1) for n in faces)))
        assert Fraction(task.answer) == Fraction(sum(sum(o) == total for o in outcomes), len(outcomes)), task.text


def test_probabilities_of_urns_by_drawing_all_hands():
    from itertools import combinations

    for task in some("probability", 15, level=0):
        answer = Fraction(task.answer)
        question = task.text.split("\n")[0]
        numbers = [int(n) for n in re.findall(r"\d+", question)]
        if question[0].isdigit():
            k, a, b, j = numbers
        else:
            a, b, k, j = numbers
        hands = list(combinations([1] * a + [0] * b, k))
        assert answer == Fraction(sum(sum(hand) == j for hand in hands), len(hands)), question


def test_matrices():
    for task in some("matrix", 8):
        kind = task.data["kind"]
        if kind == "ranks":
            ranks = [sympy.Matrix(rows).rank() for rows in task.data["a"]]
            assert task.answer == f"({', '.join(map(str, ranks))})"
            continue
        a = sympy.Matrix(task.data["a"])
        if kind == "determinant":
            assert int(task.answer) == a.det()
            continue
        if kind == "product":
            gold = a * sympy.Matrix(task.data["b"])
        else:
            gold = a ** task.data["n"] if kind == "power" else a.inv()
        assert sympy.Matrix(read_matrix(task.answer)) == gold
        assert judge(task, f"$$\\boxed{{{sympy.latex(gold, mat_delim='', mat_str='pmatrix')}}}$$")
        assert judge(task, f"<answer>A = {sympy.latex(gold, mat_delim='', mat_str='bmatrix')}</answer>")


def test_sequences_by_their_closed_forms():
    for task in some("sequence", 20, level=0):
        first, second = map(int, re.search(r"(-?\d+), (-?\d+), -?\d+", task.text).groups())
        n = int(re.search(r"(\d+)(?:st|nd|rd|th) term|number (\d+)", task.text)[0].strip("abcdefghijklmnopqrstuvwxyz "))
        assert int(task.answer) == first + (n - 1) * (second - first)
    n = sympy.Symbol("n")
    for task in some("sequence", 12, level=2):
        terms = [int(t) for t in re.search(r"(-?\d+, )+-?\d+", task.text)[0].split(", ")]
        if "sum" in task.text or "Add" in task.text or len(terms) < 5:
            continue
        formula = sympy.interpolate(terms, n)
        place = re.search(r"(\d+)(?:st|nd|rd|th) term|number (\d+)", task.text)
        assert formula.subs(n, int(place[1] or place[2])) == int(task.answer)


def test_numbers_in_other_bases():
    for task in some("base-conversion", 20):
        number = sum(task.data["numbers"])
        base = task.data["to"]
        assert int(task.answer, base) == number
        assert judge(task, f"<answer>{task.answer.lower()}_{base}</answer>")
        assert judge(task, f"$\\boxed{{{task.answer}_{{{base}}}}}$")
        assert judge(task, f"<answer>00{task.answer} (base {base})</answer>")
        assert not judge(task, f"<answer>{task.answer}_{base + 1}</answer>")
        assert not judge(task, f"<answer>{number}</answer>")


def test_stories_with_hand_worked_numbers():
    """A story of each kind, worked by hand, so that a change of the generator or of its arithmetic is noticed."""
    seen = set()
    for task in rlvr.tasks("math/word-problem-v0", n=60, seed="stories"):
        question = task.text.split("\n")[0]
        numbers = [int(n) for n in re.findall(r"\d+", question)]
        if "per hour" in question and "kilometres long" in question and "." not in re.sub(r"\. |\.$", "", question):
            hours_1, speed_1, hours_2, speed_2 = numbers
            assert int(task.answer) == hours_1 * speed_1 + hours_2 * speed_2
            seen.add("journey")
        elif "fewer than" in question or "more than" in question or "times as many" in question:
            first, change = numbers
            last = first + change if "more" in question else first - change if "fewer" in question else first * change
            assert int(task.answer) == first + last
            seen.add("chain")
        elif "an hour" in question and "broken" in question:
            one, two, hours, broken = numbers
            assert int(task.answer) == (one + two) * hours - broken
            seen.add("work")
        elif "Delivery" in question:
            count, price, fee = numbers
            assert int(task.answer) == count * price + fee
            seen.add("shopping")
    assert seen == {"journey", "chain", "work", "shopping"}


@pytest.mark.parametrize(
    "answer", ["(x - 2)(x - 3)", "(x-3)(x-2)", "(3 - x)(2 - x)", "(-1)(2-x)(x-3)", r"\left(x-2\right)\left(x-3\right)"]
)
def test_a_factorisation_counts_in_any_order_and_sign(answer):
    task = rlvr.Task("?", answer="(x - 3)(x - 2)", data={"coefficients": [6, -5, 1], "name": "x"}).placed(
        env_id="math/factor-v0"
    )
    assert judge(task, f"<answer>{answer}</answer>")
    assert judge(task, f"<answer>x^2 - 5x + 6 = {answer}</answer>")


@pytest.mark.parametrize(
    "answer",
    ["x^2 - 5x + 6", "(x-2)(x+3)", "6(x/2 - 1)(x/3 - 1)", "(x-2)(x-3) + 0", "(x-2)(x-3)^2", "(x-2)", "x(x-5) + 6"],
)
def test_what_is_no_factorisation_does_not(answer):
    task = rlvr.Task("?", answer="(x - 3)(x - 2)", data={"coefficients": [6, -5, 1], "name": "x"}).placed(
        env_id="math/factor-v0"
    )
    assert not judge(task, f"<answer>{answer}</answer>")
