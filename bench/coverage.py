"""Do the intervals cover what they claim, and do the tests claim no more than they should? Simulated, no model needed.

    python bench/coverage.py               # a few minutes of one processor
    python bench/coverage.py --quick

Each simulated evaluation draws n items whose chance to be solved is Beta(0.5, 0.25), mean 2/3: most items are nearly always
right or nearly always wrong, as in real evaluations. Each item is run K times. The truth is 2/3. `pooled` is the interval
that takes all n K runs as independent, which several public boards print.
"""

from __future__ import annotations

import argparse
import math
import sys
import time

import numpy as np

from rlvr_leaderboard import statistics as s

ALPHA, BETA = 0.5, 0.25
TRUTH = ALPHA / (ALPHA + BETA)
Z = 1.959963984540054


def runs(rng: np.random.Generator, n: int, k: int, ease: np.ndarray | None = None) -> np.ndarray:
    """Passes of n items in k runs."""
    ease = rng.beta(ALPHA, BETA, n) if ease is None else ease
    return (rng.random((n, k)) < ease[:, None]).astype(float)


def coverage(rng: np.random.Generator, n: int, k: int, times: int) -> dict[str, float]:
    """Share of intervals that hold the truth."""
    hits = {"pooled runs": 0, "item t": 0, "mean_interval": 0}
    for _ in range(times):
        scores = runs(rng, n, k)
        mean = float(scores.mean())
        half = Z * math.sqrt(mean * (1 - mean) / (n * k))
        hits["pooled runs"] += abs(mean - TRUTH) <= half
        low, high = s.t_interval(scores.mean(axis=1).tolist())
        hits["item t"] += low <= TRUTH <= high
        low, high = s.mean_interval(scores.tolist())
        hits["mean_interval"] += low <= TRUTH <= high
    return {name: count / times for name, count in hits.items()}


def claims(rng: np.random.Generator, n: int, k: int, times: int, gain: float) -> dict[str, float]:
    """Share of comparisons that claim a difference at the 5 % level, between models whose true means differ by `gain`.

    Both are run on the same items, on which they differ: the chances on a third of the items are drawn anew for B. Where
    `gain` is above 0, A's chances are lifted towards 1 by so much on average.
    """
    found = {"paired t": 0, "sign flip of items": 0, "sign flip of runs": 0}
    for _ in range(times):
        a = rng.beta(ALPHA, BETA, n)
        b = np.where(rng.random(n) < 1 / 3, rng.beta(ALPHA, BETA, n), a)
        a = a + (1 - a) * gain / (1 - TRUTH)  # E[1 - a] is 1 - TRUTH, so the mean rises by gain
        x, y = runs(rng, n, k, a), runs(rng, n, k, b)
        found["paired t"] += s.paired_difference(x.tolist(), y.tolist()).p_value <= 0.05
        found["sign flip of items"] += s.sign_flip_test(x.mean(1).tolist(), y.mean(1).tolist(), flips=1000) <= 0.05
        d = (x - y).ravel()
        signs = rng.integers(0, 2, (1000, d.size)) * 2.0 - 1.0
        found["sign flip of runs"] += float((np.abs(signs @ d) >= abs(d.sum())).mean()) <= 0.05
    return {name: count / times for name, count in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    rng = np.random.default_rng(2024)
    begin = time.process_time()
    print(f"Coverage of nominal 95 % intervals ({300 if quick else 4000} evaluations each)\n")
    print("| items, runs | pooled runs | item t | mean_interval (what rlvr prints) |\n|---|---|---|---|")
    worst = []
    for n, k in [(30, 1), (8, 8), (30, 8), (30, 32), (100, 8), (500, 8)]:
        found = coverage(rng, n, k, (300 if quick else 4000) if n < 500 else (100 if quick else 1000))
        if k > 1:  # with one run the mean of 30 items has 31 values, and coverage jumps with the truth, here to 0.97
            worst.append(found["mean_interval"])
        print(f"| {n}, {k} | " + " | ".join(f"{value:.3f}" for value in found.values()) + " |")
    print("\nClaims of a difference at the 5 % level\n")
    print("| case | comparisons | paired t | sign flip of items | sign flip of runs |\n|---|---|---|---|---|")
    null = []
    for n, k, gain, times in [(30, 32, 0.0, 1000), (100, 8, 0.0, 1000), (500, 8, 0.05, 200)]:
        times = max(50, times // 10) if quick else times
        found = claims(rng, n, k, times, gain)
        if not gain:
            null.append(found["paired t"])
        name = f"{n} items, {k} runs, " + (f"+{100 * gain:.0f} points" if gain else "equal models")
        print(f"| {name} | {times} | " + " | ".join(f"{value:.3f}" for value in found.values()) + " |")
    ok = min(worst) >= 0.92 and max(worst) <= 0.97 and max(null) <= 0.07
    print(f"\nwithin 0.92 to 0.97, and at most 0.07 claims where there is nothing: {ok}")
    print(f"{time.process_time() - begin:.0f} s of processor, numpy {np.__version__}")
    if not ok and not quick:
        sys.exit(1)


if __name__ == "__main__":
    main()
