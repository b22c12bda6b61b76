"""What the core costs: importing it, an episode, a verdict in another process, and verifiers that hang.

    python bench/core.py

Goals: import at most 0.3 s of processor time; 30,000 reset + step a second on one core; 20,000 verdicts a second on two
cores; 8 hanging items among 4,096 cost their own deadlines and nothing else. The peer is Gymnasium itself: the same
environment written by hand as a gymnasium.Env.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium

import rlvr

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ROUNDS = 5


@rlvr.register("bench/reverse-v0", length=12)
def reverse(rng: random.Random, length: int) -> rlvr.Task:
    word = "".join(rng.choices(LETTERS, k=length))
    return rlvr.Task(f"Reverse: {word}", answer=word[::-1])


@reverse.verifier
def check(task: rlvr.Task, text: str) -> rlvr.Score:
    while text == "hang":
        pass
    return rlvr.Score(float(text == task.answer))


class ByHand(gymnasium.Env[str, str]):
    """The peer: what an author would write without us, with no splits, no chat and no verdict in info."""

    observation_space = rlvr.TextSpace()
    action_space = rlvr.TextSpace()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.word = "".join(LETTERS[number] for number in self.np_random.integers(26, size=12))
        return f"Reverse: {self.word}", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return "", float(action.strip() == self.word[::-1]), True, False, {}


def per_second(call: Callable[[int], Any], count: int) -> float:
    """Calls a second of processor time, the median of some rounds."""
    rates = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for number in range(count):
            call(number)
        rates.append(count / (time.process_time() - began))
    return statistics.median(rates)


def import_s(modules: str) -> float:
    code = f"import time; began = time.process_time(); import {modules}; print(time.process_time() - began)"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(ROUNDS)
    ]
    return statistics.median(float(run.stdout) for run in runs)


def main() -> None:
    print(f"import rlvr                          {import_s('rlvr'):8.3f} s of processor time (goal 0.3)")
    print(f"import gymnasium                     {import_s('gymnasium'):8.3f} s")

    env, by_hand = rlvr.make("bench/reverse-v0"), ByHand()

    def episode(number: int) -> None:
        env.reset(options={"index": number})
        env.step("abc")

    def seeded(number: int) -> None:
        env.reset(seed=number)
        env.step("abc")

    def peer(number: int) -> None:
        by_hand.reset(seed=number)
        by_hand.step("abc")

    print(f"reset(index) + step                  {per_second(episode, 5000):8.0f} /s (goal 30,000)")
    print(f"reset(seed) + step                   {per_second(seeded, 5000):8.0f} /s")
    print(f"reset(seed) + step, written by hand  {per_second(peer, 5000):8.0f} /s")

    tasks = rlvr.tasks("bench/reverse-v0", n=4096)
    right = [task.answer for task in tasks]
    with rlvr.ScoringPool(workers=2, timeout_s=1.0) as pool:
        pool.score(tasks, right)
        rates = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            scores = pool.score(tasks * 4, right * 4)
            rates.append(len(scores) / (time.perf_counter() - began))
        print(f"verdicts in 2 processes              {statistics.median(rates):8.0f} /s of wall time (goal 20,000)")
        hanging = ["hang" if number % 512 == 0 else text for number, text in enumerate(right)]
        began = time.perf_counter()
        scores = pool.score(tasks, hanging)
        wall_s = time.perf_counter() - began
        print(
            f"4,096 items, 8 of them hanging 1 s   {wall_s:8.1f} s: {sum(score.timed_out for score in scores)} timed out, "
            f"{sum(score.correct for score in scores)} of {4096 - 8} others right"
        )


if __name__ == "__main__":
    main()
