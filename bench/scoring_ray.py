"""Verdicts per second of two local worker processes and of two Ray actors, and what their first verdict waits for.

    pip install 'rlvr[ray]'; python bench/scoring_ray.py

The same tasks, texts and verifiers; rounds alternate. Wall time, so other work on the machine counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import rlvr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", default="math/arithmetic-v0")
    parser.add_argument("--items", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    pools: dict[str, Any] = {"processes": rlvr.ScoringPool(2), "Ray actors": rlvr.RayScoringPool(2)}
    for env_id in args.envs.split(","):
        tasks = rlvr.tasks(env_id, n=args.items // 4) * 4
        texts = [str(task.answer) if number % 2 else "no" for number, task in enumerate(tasks)]
        rates: dict[str, list[float]] = {name: [] for name in pools}
        scores = {}
        for number in range(args.rounds + 1):
            for name, pool in pools.items():
                began = time.perf_counter()
                scores[name] = pool.score(tasks, texts)
                seconds = time.perf_counter() - began
                if number == 0:
                    print(
                        f"{env_id}, {name}: {seconds:.1f} s for the first {len(tasks)} verdicts, workers started in them"
                    )
                else:
                    rates[name].append(len(tasks) / seconds)
        assert scores["processes"] == scores["Ray actors"]
        for name, values in rates.items():
            print(
                f"{env_id}, {name}: {statistics.median(values):,.0f} verdicts/s [{min(values):,.0f}..{max(values):,.0f}]"
            )
    for pool in pools.values():
        pool.close()


if __name__ == "__main__":
    main()
