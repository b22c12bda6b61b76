"""How long a board takes to build, how much memory it needs, and how the page behaves in a browser.

    python bench/board.py               # 100,000 rollouts; then 50 models x 10 environments in headless Chromium
    python bench/board.py --quick       # a tenth of that

The records are written by rlvr's own writer, with answers of the length that a small reasoning model gives.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import rlvr
from rlvr_leaderboard.evaluate import environment_facts
from rlvr_leaderboard.plan import plan
from rlvr_leaderboard.record import SCHEMA, Item, Record, Rollout
from rlvr_leaderboard.summary import summarise
from rlvr_leaderboard.writer import RecordWriter

WORDS = [
    "first",
    "we",
    "add",
    "the",
    "two",
    "numbers",
    "then",
    "carry",
    "one",
    "and",
    "check",
    "that",
    "it",
    "is",
    "right",
]
ENVS = [
    "math/arithmetic-v0",
    "math/fractions-v0",
    "math/gcd-lcm-v0",
    "math/linear-equation-v0",
    "math/modular-v0",
    "math/sequence-v0",
    "text/sort-v0",
    "text/count-v0",
    "text/reverse-v0",
    "text/json-v0",
]


def write_record(out: Path, name: str, num_envs: int, items: int, k: int, skill: float, letters: int) -> Record:
    """A sealed record of rollouts that no model made: item difficulty by Beta(0.5, 0.25), shifted by skill."""
    plans = plan(ENVS[:num_envs], n=items, k=k)
    rows = [Item(task.id, one.name, task, 10, [[1], [2]]) for one in plans for task in one.tasks]
    header = {
        "schema": SCHEMA,
        "name": name,
        "model": {"source": f"made/{name}", "engine": "none"},
        "sampling": {"temperature": 1.0},
        "seed": 0,
        "environments": {one.name: environment_facts(one) for one in plans},
        "packages": {"rlvr": rlvr.__version__},
        "machine": {},
    }
    pool = [" ".join(random.Random(n).choices(WORDS, k=letters // 5)) for n in range(64)]
    with RecordWriter(out, header, rows) as writer:
        for row in rows:
            ease = min(1.0, random.Random(row.id).betavariate(0.5, 0.25) * skill)
            for run in range(k):
                draw = random.Random(f"{name} {row.id} {run}")
                right = draw.random() < ease
                text = draw.choice(pool) + "</think><answer>7</answer>"
                writer.append(
                    Rollout(
                        item=row.id,
                        env=row.env,
                        run=run,
                        attempt=1,
                        status="correct" if right else "wrong",
                        reward=float(right),
                        finish="stop",
                        reason="correct" if right else "wrong",
                        parts={},
                        detail={},
                        error=None,
                        turns=[text],
                        replies=[],
                        tokens=len(text) // 4,
                        mean_logprob=-0.3,
                    )
                )
        return writer.seal(summarise(Record(out)))


def build(records: list[Path], out: Path) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak MiB of a process that builds the page."""
    code = "import sys; from rlvr_leaderboard import build_board; build_board(sys.argv[2:], [], sys.argv[1])"
    begin = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code, str(out), *map(str, records)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begin, processor_s, after.ru_maxrss / 1024


def browse(index: Path) -> tuple[str, int] | None:
    """Milliseconds until the page was ready in headless Chromium, and its network requests. None without a browser."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        return None
    with tempfile.TemporaryDirectory() as profile:
        log = Path(profile) / "net.json"
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}/p"]
        command += [f"--log-net-log={log}", "--virtual-time-budget=5000", "--dump-dom", index.as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
        ready = dom.partition('data-ready="')[2].partition('"')[0]
        # The browser's own services call home as well; a request of the page names the page's site.
        text = log.read_text("utf-8", "replace") if log.is_file() else ""
        requests = sum(1 for line in text.splitlines() if "{site=file://" in line and '"url":"http' in line)
    return ready, requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    scale = 10 if parser.parse_args().quick else 1
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        begin = time.perf_counter()
        large = write_record(home / "large", "large", 5, 2500 // scale, 8, 0.9, 1500)
        count = sum(1 for _ in large.rollouts())
        size_mb = (home / "large" / "rollouts.jsonl").stat().st_size / 2**20
        print(f"written: {count} rollouts, {size_mb:.0f} MiB, {time.perf_counter() - begin:.1f} s")
        seconds, processor_s, peak_mb = build([home / "large"], home / "page")
        print(f"page of {count} rollouts: {seconds:.1f} s ({processor_s:.1f} s of processor), peak {peak_mb:.0f} MiB")
        print("  goal: under 60 s and under 1,024 MiB")

        models, envs = 50 // scale, 10 // min(scale, 2)
        records = []
        for number in range(models):
            path = home / f"m{number}"
            write_record(path, f"model-{number:02d} grpo@{100 * number}", envs, 20, 4, 0.5 + number / 2 / models, 200)
            records.append(path)
        seconds, processor_s, peak_mb = build(records, home / "wide")
        index = home / "wide" / "index.html"
        size_kb = index.stat().st_size / 1000
        wide = f"{seconds:.1f} s ({processor_s:.1f} s of processor), index {size_kb:.0f} kB"
        print(f"{models} models x {envs} environments: {wide}")
        seen = browse(index)
        if seen is None:
            print("no Chromium here: readiness was not measured")
        else:
            print(f"ready in Chromium after {seen[0]} ms, {seen[1]} network requests (goal: under 1,000 ms and 0)")
        print(json.dumps({"python": sys.version.split()[0]}))


if __name__ == "__main__":
    main()
