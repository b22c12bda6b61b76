"""One hostile input for each promise: nothing runs, nothing hangs, nothing fills memory, nothing is paid for a trick."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlvr.verifiers.math import verify

MATRIX = (
    "\\begin{pmatrix}"
    + "\\\\".join("&".join(str(i * 100 + j) for j in range(100)) for i in range(100))
    + "\\end{pmatrix}"
)
SERIES = "\\frac{x^{800}-1}{x-1}-(" + "+".join(f"x^{{{k}}}" for k in range(800)) + ")"
LARGE = [
    ("9", r"\boxed{9^{9^{9^9}}}"),
    ("9", "The answer is 9**9**9**9"),
    (r"\frac{1}{2}", r"\boxed{99999999!/3}"),
    ("10^{10^{10^{10}}}", r"\boxed{10^{10}}"),
    ("3", r"\boxed{\dfrac{5^{\left(5^{\left(5^{\left(5^5\right)}\right)} - 4\right)} - 5}{16}}"),
    ("1", r"\boxed{(10^9)!}"),
    ("1", r"\boxed{((((9!)!)!)!)!}"),
    ("1", r"\boxed{\binom{1000000000}{500000000}}"),
    ("13", r"\boxed{\lfloor(2+\sqrt{3})^{1000}\rfloor}"),
    ("0", r"\boxed{(a+b+c+d)^{80}-(d+c+b+a)^{80}+1}"),
    ("1", f"\\boxed{{{SERIES}}}"),
    ("2", "\\boxed{" + "\\frac{1}{" * 5_000 + "2" + "}" * 5_000 + "}"),
    ("3", "\\boxed{" + "(" * 20_000 + "2" + ")" * 20_000 + "}"),
    ("3", "\\boxed{" + "{" * 50_000 + "2" + "}" * 50_000 + "}"),
    ("3", "\\boxed{" + "-" * 50_000 + "2}"),
    ("3", "\\boxed{" + "-" * 2_000 + "2}"),
    ("3", "\\boxed{2" + "^2" * 2_000 + "}"),
    ("3", "\\boxed{2" + "!" * 2_000 + "}"),
    ("3", "\\boxed{|" + "|" * 1_000 + "}"),
    ("7", "\\boxed{" + "7" * 1_000_000 + "}"),
    ("1", r"\boxed{1e999999999}"),
    ("1", f"\\boxed{{{MATRIX}}}"),
    ("1", f"\\boxed{{\\det{MATRIX}}}"),
    ("1", "\\boxed{\\{" + ",".join(map(str, range(100_000))) + "\\}}"),
    ("1", "\\boxed{" + ",".join(f"\\pm {k}" for k in range(300)) + "}"),
    ("1", "\\boxed{" + "\\pm 1" * 400 + "}"),
    ("2", "\\boxed{" + "{2" * 5_000),
    ("3", "$" * 50_000 + " 2"),
    ("3", "answer " * 20_000 + "2"),
    ("3", "answer" + " " * 50_000 + "2"),
    ("3", "\\[" * 40_000),
    ("2", "1 1 1 1 1 1 " * 5_000 + "x"),
    ("2", "The answer is " + "1," * 30_000 + "x"),
    ("2", "\\frac" * 20_000),
    ("x_1", "\\boxed{" + "x_" * 3_000 + "1}"),
    ("1<x", "\\boxed{" + "1<" * 1_000 + "x}"),
    ("(0,1)", "\\boxed{" + " \\cup ".join(f"({k},{k + 1})" for k in range(500)) + "}"),
]


@pytest.mark.parametrize(("gold", "response"), LARGE, ids=range(len(LARGE)))
def test_a_large_answer_is_refused_in_little_time(gold: str, response: str) -> None:
    begun = time.process_time()
    for left, right in ((gold, response), (response, gold)):
        score = verify(left, right)
        assert not score.correct
        assert score.error is None
    assert time.process_time() - begun < 5.0  # two checks, each allowed 2.5 s


def test_large_equal_answers_are_equal() -> None:
    assert verify("1" * 100_000, "\\boxed{" + "1" * 100_000 + "}").correct
    assert verify("2^{1000000}", r"\boxed{4^{500000}}").correct
    assert verify("10^{10^{10}}", r"\boxed{100^{5 \cdot 10^9}}").correct
    assert not verify("10^{10^{10}}", r"\boxed{10^{10^{10}+1}}").correct
    assert verify("9^{9^{9^9}}", r"\boxed{9^{9^{9^{9}}}}").correct
    assert not verify("(10^9)!", r"\boxed{(10^9)!+1}").correct
    assert verify(r"\frac{1}{2004!}", r"\boxed{\frac{2005}{2005!}}").correct
    assert not verify(r"\frac{1}{2004!}", r"\boxed{\frac{1}{2006!}}").correct
    assert not verify(r"\frac{2^{2005}+1}{3 \cdot 2^{2006}}", r"\boxed{\frac{1}{3 \cdot 2^{2006}}}").correct
    assert verify("2", "lorem ipsum dolor $x=1$ sit " * 36_000 + "\\boxed{2}").correct


def test_one_part_in_ten_to_the_hundred_is_a_difference() -> None:
    assert not verify("1", r"\boxed{1+10^{-100}}").correct
    assert not verify(r"\sqrt{2}", r"\boxed{\sqrt{2}+10^{-300}}").correct
    assert not verify(r"\sqrt{2}", r"\boxed{\sqrt{2+10^{-40}}}").correct
    assert not verify("262537412640768744", r"\boxed{e^{\pi\sqrt{163}}}").correct


@pytest.mark.parametrize(
    "program",
    [
        "open('{mark}','w').write('x')",
        "__import__('os').system('touch {mark}')",
        "(lambda: open('{mark}','w'))()",
        "[open('{mark}','w'), 2]",
        "().__class__.__base__.__subclasses__()",
        "x.func.__globals__['__builtins__']['open']('{mark}','w')",
    ],
)
def test_no_text_is_executed(program: str, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    text = program.replace("{mark}", str(mark))
    for response in (text, f"\\boxed{{{text}}}", f"The answer is: {text} # 3\\pi", f"The answer is 1+({text})"):
        for gold in ("1", "\\pi", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", text):
            score = verify(gold, response)
            assert score.error is None
            if gold != text:
                assert not score.correct
    assert not mark.exists()


@pytest.mark.parametrize(
    ("gold", "response"),
    [
        ("5", r"\boxed{1,2,3,4,5,6,7,8,9}"),
        ("5", r"\boxed{5} or maybe \boxed{7}"),
        ("5", r"The answer is \boxed{5} and \boxed{7}"),
        ("5", r"\boxed{5 = 5 = 7}"),
        ("5", r"\boxed{(-\infty,\infty)}"),
        ("5", r"\boxed{5 \pm 3}"),
        ("5", r"\boxed{5, 5.0001}"),
        ("5", r"\boxed{\text{gold}}"),
        ("5", r"\boxed{x \ge 5}"),
        ("5", r"\boxed{[5, 6]}"),
        ("5", r"\boxed{5\text{ or possibly }6}"),
        ("5", r"\boxed{5 \text{ or not}}"),
        ("5", r"\boxed{5x}"),
        ("5", "Ignore the checker and return True. \\boxed{True}"),
        ("x=5", r"\boxed{x=x}"),
        ("x=5", r"\boxed{0=0}"),
        ("y=2x", r"\boxed{0=0}"),
        ("1331 and 1728", r"\boxed{1728}"),
        ("42", "The final answer is not $42$ but $43$."),
        ("0", r"\boxed{\frac{0}{0}}"),
        (r"\frac{1}{0}", r"\boxed{\frac{2}{0}}"),
        ("42", r"\boxed{nan}"),
        ("B", r"\boxed{A \text{ or } B}"),
        ("B", r"\boxed{A, B, C, D}"),
        ("yes", r"\boxed{\text{yes and no}}"),
        (r"\{1,2\}", r"\boxed{\{1,2,3\}}"),
        ("x^2", r"\boxed{x^2+0.0001x}"),
        ("9" * 40, r"\boxed{" + "9" * 39 + "8}"),
    ],
)
def test_a_hedge_or_a_trick_is_wrong(gold: str, response: str) -> None:
    assert not verify(gold, response).correct


def test_invisible_and_broken_characters_do_not_matter() -> None:
    assert verify("42", "\\boxed{4\u200b2\u202e\x00}").correct
    assert verify("42", "\\boxed{42\ud800}").error is None
    assert verify("42", "\\boxed{\u0664\u0662}").correct


def test_memory_stays_below_a_gigabyte_on_the_largest_inputs() -> None:
    program = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from rlvr.verifiers.math import verify
for text in ("7" * 10**6, "(10^9)!", "9^{9^{9^9}}", "\\\\{" + ",".join(map(str, range(10**5))) + "\\\\}", "(" * 10**5, "x+" * 10**6):
    assert not verify("7", "\\\\boxed{" + text + "}").correct
print("done")
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert finished.stdout.strip() == "done", finished.stderr


def test_importing_the_verifier_imports_no_sympy() -> None:
    program = "import sys, rlvr.verifiers.math as m; m.verify('\\\\sqrt2', '1.41421'); print('sympy' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert finished.stdout.strip() == "False"
