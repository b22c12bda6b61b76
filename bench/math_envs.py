"""Every procedural math environment on many tasks: speed, variety, golds, near misses, constants, levels.

    python bench/math_envs.py --tasks 10000 --per-level 1000

Prints a Markdown table. For each environment: milliseconds of processor time per task with default knobs; the share of different
prompts among --tasks training and a tenth as many evaluation tasks; prompts in both splits; golds that score 1 (given bare
in an answer tag, and at the end of the worked solution); near misses that score 0; the share of the most frequent answer;
the mean length of a worked solution by level, which is the stated proxy for difficulty. Verdicts are given in this process.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from itertools import pairwise
from statistics import mean

import rlvr
from rlvr_envs.math.near_misses import near_misses

NAMES = (
    *(
        "arithmetic",
        "fractions",
        "linear-equation",
        "linear-system",
        "polynomial-roots",
        "factor",
        "derivative",
        "integral",
    ),
    *("limit", "gcd-lcm", "modular", "crt", "counting", "probability", "matrix", "sequence", "base-conversion"),
    "word-problem",
)
HEADER = (
    "| environment | ms a task | different prompts | in both splits | golds right | worked right | near misses refused "
    "| ms a verdict | top answer | solution length by level |"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10_000, help="tasks generated and verified with default knobs")
    parser.add_argument("--per-level", type=int, default=1_000, help="tasks verified at each level")
    parser.add_argument("--only", nargs="*", default=list(NAMES), help="names without math/ and -v0")
    arguments = parser.parse_args()
    print(HEADER)
    print("| --- " * HEADER.count(" | ") + "| --- |")
    for name in arguments.only:
        print(row(name, arguments.tasks, arguments.per_level), flush=True)


def row(name: str, num_tasks: int, per_level: int) -> str:
    """The line of one environment."""
    env_id = f"math/{name}-v0"
    spec = rlvr.spec(env_id)
    began = time.process_time()
    tasks = rlvr.tasks(env_id, n=num_tasks)
    per_task_ms = (time.process_time() - began) / num_tasks * 1e3
    evaluation = rlvr.tasks(env_id, "eval", n=num_tasks // 10)
    keys, held_out = {task.key for task in tasks}, {task.key for task in evaluation}
    different = (len(keys) + len(held_out)) / (len(tasks) + len(evaluation))
    lengths = []
    judged = list(tasks)
    for level in range(len(spec.levels)):
        harder = rlvr.tasks(env_id, n=per_level, level=level)
        lengths.append(mean(len(spec.solution(task)) for task in harder))
        judged += harder
    began = time.process_time()
    right = sum(spec.judge(task, f"<answer>{task.answer}</answer>").correct for task in judged)
    per_verdict_ms = (time.process_time() - began) / len(judged) * 1e3
    worked = sum(spec.judge(task, spec.solution(task)).correct for task in judged)
    wrong = [(task, text) for task in judged for text in near_misses(task)]
    refused = sum(spec.judge(task, f"<answer>{text}</answer>").reward == 0.0 for task, text in wrong)
    top = Counter(task.answer for task in tasks).most_common(1)[0][1] / len(tasks)
    ordered = "" if all(a < b for a, b in pairwise(lengths)) else " NOT ORDERED"
    return (
        f"| {env_id} | {per_task_ms:.3f} | {different:.1%} | {len(keys & held_out)} | {right}/{len(judged)} "
        f"| {worked}/{len(judged)} | {refused}/{len(wrong)} | {per_verdict_ms:.3f} | {top:.2%} "
        f"| {', '.join(f'{length:.0f}' for length in lengths)}{ordered} |"
    )


if __name__ == "__main__":
    main()
