"""Everything that has to be measured on a GPU, in one call; the report grows phase by phase, so that a lost machine loses little.

    python bench/gpu_all.py --out bench/results/h200.md               # about ten minutes on one GPU
    python bench/gpu_all.py --tiny --out /tmp/report.md               # the same path on a CPU, to see that it works

Nothing is downloaded: models are random weights of Qwen2.5's shapes. vLLM, TRL and pytest are used where they are installed and
named as missing where not. Each phase is a process of its own with a limit of its own (`--limit-s`, and `--total-s` over all).

    tests    pytest -m gpu, and the contract of the engines on this device
    size     for each size: phases of GRPO steps, update alone with its MFU, generation, update of the engine's weights, memory
    trl      the same GRPO steps by TRL
    learn    the quickstart from nothing: supervised start, GRPO, accuracy before and after, curve of the reward
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PHASES = ("tests", "size", "trl", "learn")
RESULT = "RESULT "
"""Begins the lines of a phase's output that hold numbers, as JSON."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a tiny model and few steps, on whatever device there is")
    parser.add_argument("--sizes", default="0.5b,1.5b")
    parser.add_argument("--phases", default=",".join(PHASES))
    parser.add_argument("--limit-s", type=float, default=180.0, help="most seconds of one phase")
    parser.add_argument(
        "--total-s", type=float, default=560.0, help="most seconds of all; phases that are left are named"
    )
    parser.add_argument("--out", default="bench/results/h200.md")
    args = parser.parse_args()
    if unknown := set(args.phases.split(",")) - set(PHASES):
        raise SystemExit(f"there are no phases {', '.join(sorted(unknown))}; there are {', '.join(PHASES)}")
    sizes = ["tiny"] if args.tiny else args.sizes.split(",")
    flags = ["--tiny"] if args.tiny else []
    began = time.monotonic()
    report = Report(Path(args.out))
    report.add(heading())
    with tempfile.TemporaryDirectory() as scratch:
        jobs: list[tuple[str, list[str]]] = []
        for phase in args.phases.split(","):
            if phase == "tests":
                jobs.append(("tests", test_command(args.tiny)))
                if installed("vllm") and not args.tiny:
                    jobs.append(("tests of vLLM in process", vllm_test_command()))
            elif phase == "learn":
                jobs.append(("learn", [sys.executable, "bench/gpu/learn.py", scratch, *flags]))
            else:
                script = "bench/gpu/one_size.py" if phase == "size" else "bench/gpu/with_trl.py"
                jobs += [(f"{phase} {size}", [sys.executable, script, size, scratch, *flags]) for size in sizes]
        for name, command in jobs:
            left = args.total_s - (time.monotonic() - began)
            if left < 20:
                report.add(f"\n## {name}\n\nNot run: the time was used up (--total-s {args.total_s:g}).\n")
                continue
            report.add(run(name, command, min(args.limit_s, left)))
    report.add(f"\n{time.monotonic() - began:.0f} s in all: `python bench/gpu_all.py {' '.join(sys.argv[1:])}`\n")


class Report:
    """A file that is complete after every addition."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

    def add(self, text: str) -> None:
        """Append, and show."""
        with self.path.open("a") as file:
            file.write(text)
        print(text, end="", flush=True)


def heading() -> str:
    """What ran on what."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU ({platform.processor() or 'unknown'})"
    versions = ", ".join(
        f"{name} {version}" for name in ("torch", "transformers", "vllm", "trl") if (version := installed(name))
    )
    return f"# Measured on {device}\n\n{time.strftime('%Y-%m-%d')}, {os.cpu_count()} processors, {versions}.\n"


def installed(name: str) -> str | None:
    """Its version."""
    for other in (name, f"{name}-cpu"):
        try:
            return importlib.metadata.version(other)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def test_command(tiny: bool) -> list[str]:
    """The tests that speak of a device."""
    if importlib.util.find_spec("pytest") is None:
        return [sys.executable, "-c", "print('pytest is not installed here, so no test was run')"]
    files = ["tests/rlvr/generation", "tests/trainers/test_packed_attention.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    # On a CPU the contract tests take minutes with vLLM; there the tiny run only shows that the command works.
    return [*command, "-k", "temperature_0 and transformers"] if tiny else [*command, "-m", "gpu or not vllm"]


def vllm_test_command() -> list[str]:
    """The contract of the engine that needs no server: it works with more versions of vLLM than a server does."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/rlvr/generation/test_contract.py"]
    return [*command, "-m", "vllm", "-k", "not server"]


def run(name: str, command: list[str], limit_s: float) -> str:
    """A section of the report: what the phase printed, or how it failed."""
    path = os.pathsep.join(str(ROOT / part) for part in (".", "sandbox", "envs", "trainers", "leaderboard"))
    environment = {
        **os.environ,
        "PYTHONPATH": path + os.pathsep + os.environ.get("PYTHONPATH", ""),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    began = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired as fault:
        said = (fault.stdout or b"").decode() if isinstance(fault.stdout, bytes) else fault.stdout or ""
        return f"\n## {name}\n\nStopped after {limit_s:.0f} s. Until then:\n\n{said[-3000:]}\n"
    seconds = time.monotonic() - began
    if done.returncode:
        return f"\n## {name}\n\nFailed after {seconds:.0f} s:\n\n```\n{(done.stdout + done.stderr)[-3000:]}\n```\n"
    return f"\n## {name} ({seconds:.0f} s)\n\n{shown(done.stdout)}\n"


def shown(output: str) -> str:
    """Results become a table, everything else stays as it was said."""
    lines, table = [], []
    for line in output.strip().splitlines():
        if line.startswith(RESULT):
            row: dict[str, Any] = json.loads(line.removeprefix(RESULT))
            table += [f"| {key} | {value} |" for key, value in row.items()]
        else:
            lines.append(line)
    head = ["", "| | |", "| --- | --- |"] if table else []
    return "\n".join([*lines[-40:], *head, *table])


if __name__ == "__main__":
    main()
