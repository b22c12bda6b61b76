#!/usr/bin/env python3
"""Feed the math verifier random and mutated text and report every failure: an exception, an `error` verdict, a slow input.

    python bench/math_fuzz.py --inputs 1000000 --seed 0

Inputs are random characters, random LaTeX soup, well-formed answers from a grammar, and mutations of those (deleted, doubled,
swapped and spliced pieces). With RLVR_DATA set, the answer strings of its math files are mutated too. Every input is checked as
a response against a random gold, and every hundredth also as a gold against itself and the other way round.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import sys
import time
from pathlib import Path

from rlvr.verifiers.math import verify

PIECES = [
    "\\frac",
    "\\sqrt",
    "{",
    "}",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "\\{",
    "\\}",
    "^",
    "_",
    "+",
    "-",
    "*",
    "/",
    "=",
    "<",
    ">",
    "\\le",
    "\\pm",
    "\\cup",
    "\\cap",
    "\\in",
    "\\infty",
    "\\pi",
    "\\sin",
    "\\log",
    "\\sum",
    "\\int",
    "\\lim",
    "\\text{",
    "\\boxed{",
    "$",
    "|",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "&",
    "\\\\",
    ",",
    ";",
    ":",
    ".",
    "!",
    "%",
    "\\%",
    "^\\circ",
    "\\binom",
    "\\left",
    "\\right",
    "x",
    "y",
    "n",
    "e",
    "i",
    "f(x)",
    "ab",
    "and",
    "or",
    "is",
    "answer",
    "The answer is ",
    "####",
    "<answer>",
    "</answer>",
    "<think>",
    "</think>",
    " ",
    " ",
    "\n",
    "0",
    "1",
    "2",
    "12",
    "3.5",
    "1,000",
    "007",
    "9" * 40,
    "1e5",
    "\u221a",
    "\u00b2",
    "\u0663",
    "\u2212",
    "\ud800",
    "\x00",
    "\u202e",
    "cm",
    "p.m.",
    "dollars",
    "\\overline",
    "\\mid",
    "\\choose",
    "'",
    "**",
    "~",
    "\\,",
    "\\lfloor",
    "#",
]


def soup(rng: random.Random) -> str:
    """Pieces in any order."""
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 40)))


def noise(rng: random.Random) -> str:
    """Any characters."""
    return "".join(
        chr(rng.choice((rng.randrange(128), rng.randrange(0x3000), rng.randrange(0x110000))))
        for _ in range(rng.randint(1, 60))
    )


def expression(rng: random.Random, depth: int = 3) -> str:
    """A well-formed expression."""
    if depth == 0 or rng.random() < 0.2:
        return rng.choice([str(rng.randint(-20, 2000)), "x", "n", "\\pi", "e", f"{rng.random():.3f}", "\\infty", "i"])
    a, b = expression(rng, depth - 1), expression(rng, depth - 1)
    return rng.choice(
        [
            f"{a}+{b}",
            f"{a}-{b}",
            f"{a}{b}",
            f"({a})({b})",
            f"\\frac{{{a}}}{{{b}}}",
            f"({a})^{{{b}}}",
            f"\\sqrt{{{a}}}",
            f"\\sin({a})",
            f"\\log_{{{a}}}{b}",
            f"|{a}|",
            f"({a})!",
            f"{a}\\%",
            f"({a},{b})",
            f"\\{{{a},{b}\\}}",
            f"[{a},{b})",
            f"{a}<{b}",
            f"{a}={b}",
            f"{a}\\pm {b}",
            f"{a},{b}",
            f"{a} \\cup {b}",
            f"\\sqrt[3]{{{a}}}",
            f"{a}:{b}",
            f"\\lfloor {a}\\rfloor",
            f"{a}\\text{{ or }}{b}",
            f"\\begin{{pmatrix}}{a}\\\\{b}\\end{{pmatrix}}",
            f"\\binom{{{a}}}{{{b}}}",
            f"f({a})={b}",
            f"{a}^\\circ",
            f"{a}\\text{{ cm}}",
        ]
    )


def mutate(rng: random.Random, text: str, other: str) -> str:
    """A text with pieces deleted, doubled, swapped or spliced in."""
    for _ in range(rng.randint(1, 4)):
        if not text:
            return other
        i, j = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:i] + text[j:]
        elif kind == 1:
            text = text[:i] + text[i:j] * 2 + text[j:]
        elif kind == 2:
            text = text[:i] + rng.choice(PIECES) + text[i:]
        elif kind == 3:
            text = text[:i] + other[: rng.randint(0, 20)] + text[j:]
        else:
            text = text[j:] + text[:i]
    return text[:3000]


def seeds() -> list[str]:
    """Answers of the local data files, where there are any."""
    folder = os.environ.get("RLVR_DATA")
    found: list[str] = []
    for name, keys in (("math_equivalence.jsonl", ("gold", "prediction")), ("math500.jsonl", ("answer",))):
        path = Path(folder or "", name)
        if folder and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                found.extend(row[key][-400:] for key in keys)
    return found


def main() -> None:
    """Run the fuzzer and print what it found; the exit status is 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after this much wall-clock time")
    parser.add_argument("--slow-s", type=float, default=2.5, help="processor seconds from which an input is reported")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    corpus = seeds()
    reasons: collections.Counter[str] = collections.Counter()
    failures: list[str] = []

    def failed(what: str) -> None:
        failures.append(what)
        print(what[:1000], file=sys.stderr, flush=True)

    slowest, slowest_input = 0.0, ""
    started = time.perf_counter()
    done = 0
    for count in range(1, options.inputs + 1):
        if time.perf_counter() - started > options.seconds:
            break
        done = count
        kind = rng.random()
        base = expression(rng) if not corpus or rng.random() < 0.5 else rng.choice(corpus)
        text = (
            noise(rng)
            if kind < 0.1
            else soup(rng)
            if kind < 0.35
            else base
            if kind < 0.5
            else mutate(rng, base, soup(rng))
        )
        if rng.random() < 0.3:
            text = f"\\boxed{{{text}}}"
        gold = rng.choice(corpus) if corpus and rng.random() < 0.5 else expression(rng, 2)
        pairs = [(gold, text)] if count % 100 else [(gold, text), (text, text), (text, gold)]
        for left, right in pairs:
            begun = time.process_time()
            try:
                score = verify(left, right)
            except BaseException as error:
                failed(f"raised {type(error).__name__}: {error}: {left!r} {right!r}")
                if isinstance(error, KeyboardInterrupt):
                    raise
                continue
            spent = time.process_time() - begun
            reasons[score.reason] += 1
            if score.error is not None:
                failed(f"{score.error}: {left!r} {right!r}")
            if spent > slowest:
                slowest, slowest_input = spent, f"{left!r} {right!r}"
            if spent > options.slow_s:
                failed(f"{spent:.2f} s: {left!r} {right!r}")
        if count % 50_000 == 0:
            print(
                f"{count:,} inputs, {len(failures)} failures, {time.perf_counter() - started:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    print(f"inputs {done:,}  seed {options.seed}  verdicts {dict(reasons)}")
    print(f"slowest {slowest:.3f} processor seconds: {slowest_input[:300]}")
    print(f"failures {len(failures)}")
    for failure in failures[:40]:
        print("  " + failure[:600])
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
