#!/usr/bin/env python3
"""Verdicts and speed of the math verifier, with Math-Verify beside it in the same run.

    RLVR_DATA=path/to/data python bench/math_verdicts.py [--parts cases,mix,length]

cases   every row of math_equivalence.jsonl: accuracy a source, false positives and negatives. "Core" leaves out the rows tagged
        policy, noise or needs_context. Math-Verify gets golds and bare predictions between dollars, its best setting.
mix     1,000 checks, 125 GSM8K and 125 MATH-500 golds with four responses each: two that mean the gold, two with a digit changed.
length  the same responses behind reasoning of 0 to 64 kB.

Times are of one thread. Wall-clock figures depend on what else runs, so processor time is printed beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlvr.verifiers.math import verify

Judge = Callable[[str, str], bool]
NOT_CORE = {"policy", "noise", "needs_context"}
MARKED = re.compile(r"\$|\\boxed|\\\(|\\\[")
PROSE = re.compile(r"(?i)answer|[a-z]{3,} [a-z]{2,} ")


def data(name: str) -> list[dict[str, Any]]:
    """The rows of a file in RLVR_DATA. Exits with a message if it is not there."""
    folder = os.environ.get("RLVR_DATA")
    path = Path(folder or "", name)
    if not folder or not path.exists():
        sys.exit(f"{name} is not in RLVR_DATA ({folder!r}); set RLVR_DATA to the folder that holds it")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ours(gold: str, response: str) -> bool:
    """Our verdict."""
    return verify(gold, response).correct


def math_verify_judge() -> Judge | None:
    """Math-Verify with its own time limits, bare strings between dollars; None if it is not installed."""
    try:
        import logging

        from math_verify import parse
        from math_verify import verify as theirs
    except ImportError:
        return None
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)

    def wrapped(text: str) -> str:
        bare = "\n" not in text and len(text) < 400 and not PROSE.search(text) and not MARKED.search(text)
        return f"${text}$" if bare else text

    def judge(gold: str, response: str) -> bool:
        reference = gold if MARKED.search(gold) else f"${gold}$"
        return bool(theirs(parse(reference), parse(wrapped(response))))

    return judge


def run_cases(judges: dict[str, Judge]) -> None:
    """Accuracy a source."""
    rows = data("math_equivalence.jsonl")
    core = [not NOT_CORE & set(row["tags"]) for row in rows]
    negative = sum(kept and not row["expected"] for kept, row in zip(core, rows, strict=True))
    print(f"\ncases: {len(rows)} rows, {sum(core)} core, of these {negative} negative")
    verdicts = {}
    for name, judge in judges.items():
        begun = time.perf_counter()
        verdicts[name] = [safely(judge, row["gold"], row["prediction"]) for row in rows]
        print(f"  {name}: {time.perf_counter() - begun:.1f} s")
    print(f"\n{'source':26}{'core':>6}" + "".join(f"{name + ' right':>20}{'FP':>5}{'FN':>5}" for name in judges))
    for source in [*sorted({row["source"] for row in rows}), "all core", "all rows"]:
        chosen = [
            i
            for i, row in enumerate(rows)
            if (source in (row["source"], "all core") and core[i]) or source == "all rows"
        ]
        if not chosen:
            continue
        line = f"{source:26}{len(chosen):6}"
        for name in judges:
            right = sum(verdicts[name][i] == rows[i]["expected"] for i in chosen)
            positives = sum(verdicts[name][i] and not rows[i]["expected"] for i in chosen)
            share = f"{right} ({100 * right / len(chosen):.1f}%)"
            line += f"{share:>20}{positives:5}{len(chosen) - right - positives:5}"
        print(line)
    for i, row in enumerate(rows):
        if core[i] and verdicts["rlvr"][i] != row["expected"]:
            print(
                f"  rlvr {'FP' if verdicts['rlvr'][i] else 'FN'} {row['id']}: {row['gold'][:60]!r} | {row['prediction'][-60:]!r}"
            )


def safely(judge: Judge, gold: str, response: str) -> bool:
    """A verdict; a checker that raises has refused."""
    try:
        return judge(gold, response)
    except Exception:
        return False


def same_meaning(rng: random.Random, gold: str) -> str:
    """A response that means the gold, by construction."""
    options = [f"\\boxed{{{gold}}}", f"The final answer is $\\boxed{{{gold}}}$.", f"So it is \\(\\boxed{{{gold}}}\\)."]
    number = gold.replace(",", "").replace("\\!", "")
    if re.fullmatch(r"-?\d+", number):
        n = int(number)
        options += [f"\\boxed{{{n:,}}}", f"\\boxed{{{n}.0}}", f"\\boxed{{x = {n}}}", f"The answer is {n}.",
                    f"#### {n}", f"<answer>{n}</answer>",
                    f"\\boxed{{\\text{{{n}}}}}", f"**Final Answer:** ${n}$"]  # fmt: skip
    fraction = re.fullmatch(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}", gold)
    if fraction:
        sign, top, bottom = fraction.group(1), int(fraction.group(2)), int(fraction.group(3))
        options += [f"\\boxed{{{sign}{top}/{bottom}}}", f"\\boxed{{{sign}\\frac{{{2 * top}}}{{{2 * bottom}}}}}"]
    if "\\frac" in gold:
        options.append("\\boxed{" + gold.replace("\\frac", "\\dfrac") + "}")
    return rng.choice(options)


def other_meaning(rng: random.Random, gold: str) -> str:
    """A response with one number of the gold changed."""
    numbers = list(re.finditer(r"\d+", gold))
    if not numbers:
        return "\\boxed{12345678}"
    chosen = rng.choice(numbers)
    wrong = gold[: chosen.start()] + str(int(chosen.group()) + rng.choice([1, 2, 3, 10])) + gold[chosen.end() :]
    return rng.choice(
        [f"\\boxed{{{wrong}}}", f"The final answer is $\\boxed{{{wrong}}}$.", f"The answer is ${wrong}$."]
    )


def mix(num_golds: int, padding: int, seed: int = 0) -> list[tuple[str, str, bool]]:
    """(gold, response, whether it is right): half GSM8K, half MATH-500, behind `padding` characters of real solutions."""
    rng = random.Random(seed)
    gsm8k = [row["answer"].split("####")[-1].strip() for row in data("gsm8k_test.jsonl")]
    math500 = data("math500.jsonl")
    solutions = [re.sub(r"\\boxed\s*", "", row["solution"]) for row in math500]
    golds = rng.sample(gsm8k, num_golds // 2) + rng.sample(
        [row["answer"] for row in math500], num_golds - num_golds // 2
    )
    rng.shuffle(golds)
    rows = []
    for gold in golds:
        for turn in range(4):
            text = ""
            while len(text) < padding:
                text += rng.choice(solutions) + "\n\n"
            text = text[:padding].rsplit("\n", 1)[0] if padding else ""
            right = turn % 2 == 0
            rows.append((gold, f"{text}\n\n{(same_meaning if right else other_meaning)(rng, gold)}", right))
    return rows


def timed(judge: Judge, rows: list[tuple[str, str, bool]]) -> dict[str, float]:
    """Share of right verdicts, rate and percentiles of one pass after a short warm-up."""
    for gold, response, _ in rows[:20]:
        safely(judge, gold, response)
    times, right = [], 0
    begun, processor = time.perf_counter(), time.process_time()
    for gold, response, expected in rows:
        start = time.perf_counter()
        right += safely(judge, gold, response) == expected
        times.append(time.perf_counter() - start)
    wall, processor = time.perf_counter() - begun, time.process_time() - processor
    times.sort()
    return {
        "right": right / len(rows),
        "per_s": len(rows) / wall,
        "per_cpu_s": len(rows) / processor,
        "p50_ms": 1e3 * times[len(times) // 2],
        "p99_ms": 1e3 * times[int(0.99 * len(times))],
    }


def print_timed(name: str, figures: dict[str, float]) -> None:
    """One line of figures."""
    print(
        f"  {name:14} right {100 * figures['right']:6.2f}%  {figures['per_s']:9,.0f}/s"
        f"  ({figures['per_cpu_s']:9,.0f} a processor second)"
        f"  p50 {figures['p50_ms']:.3f} ms  p99 {figures['p99_ms']:.2f} ms"
    )


def run_mix(judges: dict[str, Judge]) -> None:
    """Accuracy and speed on 1,000 checks."""
    rows = mix(250, 400)
    print(f"\nmix: {len(rows)} checks of GSM8K and MATH-500 golds behind 400 characters of reasoning, four to a gold")
    rates = {}
    for name, judge in judges.items():
        figures = timed(judge, rows)
        rates[name] = figures["per_s"]
        print_timed(name, figures)
    if len(rates) == 2:
        first, second = rates.values()
        print(f"  ratio {first / second:.0f}")


def run_length(judges: dict[str, Judge]) -> None:
    """Speed against the length of the reasoning."""
    print("\nlength: the same checks behind longer reasoning")
    for padding in (0, 4_000, 16_000, 64_000):
        for name, judge in judges.items():
            rows = mix(250 if name == "rlvr" else 16, padding, seed=1)
            print_timed(f"{name} {padding // 1000} kB", timed(judge, rows))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="cases,mix,length")
    parts = parser.parse_args().parts.split(",")
    theirs = math_verify_judge()
    judges: dict[str, Judge] = {"rlvr": ours} | ({"Math-Verify": theirs} if theirs else {})
    if theirs is None:
        print("Math-Verify is not installed (pip install 'rlvr[math-verify]'): our figures only")
    for part, run in (("cases", run_cases), ("mix", run_mix), ("length", run_length)):
        if part in parts:
            run(judges)


if __name__ == "__main__":
    main()
