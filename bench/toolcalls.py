"""The tool-call verifier on BFCL's data: verdicts against known ones, speed, and hostile text, beside BFCL's ast_checker.

    RLVR_DATA=... python bench/toolcalls.py [--bfcl FOLDER] [--every N]

`RLVR_DATA` holds `bfcl/` as jsonl. `--bfcl` is an unpacked bfcl-eval wheel (`pip download --no-deps bfcl-eval`, then
unzip); its real checker is loaded with only its registry of models replaced, which is what asks for 32 dependencies. The
checker gets calls that are parsed already, so the comparison of speed is in its favour. Without `--bfcl`, or where it
cannot be loaded, the peer is `policy="bfcl"`, our own rewriting of its rules, and the table says so.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
import types
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.toolcall_cases import Case, cases, load_rows
from rlvr.verifiers.toolcall import formats, match, verify, write

Checker = Callable[[list[dict[str, Any]], list[dict[str, Any]], list[Any]], bool]
"""(functions in Gorilla's form, calls, gold) -> accepted."""


def load_bfcl(folder: str) -> Checker:
    """BFCL's own ast_checker; raises ImportError if the folder does not hold it."""
    sys.path.insert(0, folder)
    registry = types.ModuleType("bfcl_eval.constants.model_config")
    registry.MODEL_CONFIG_MAPPING = defaultdict(lambda: types.SimpleNamespace(underscore_to_dot=False))  # type: ignore[attr-defined]
    sys.modules["bfcl_eval.constants.model_config"] = registry
    for name in ("java_type_converter", "js_type_converter"):  # parsers of other languages, not used here
        stub = types.ModuleType(name)
        setattr(stub, name, None)
        sys.modules[f"bfcl_eval.eval_checker.ast_eval.type_convertor.{name}"] = stub
    module = importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")
    python = importlib.import_module("bfcl_eval.constants.enums").Language.PYTHON

    def accepts(functions: list[dict[str, Any]], calls: list[dict[str, Any]], gold: list[Any]) -> bool:
        output = [{call["name"]: call["arguments"]} for call in calls]
        category = "parallel" if len(gold) > 1 else "multiple" if len(functions) > 1 else "simple"
        return bool(module.ast_checker(functions, output, gold, python, category, "any")["valid"])

    return accepts


def our_bfcl(functions: list[dict[str, Any]], calls: list[dict[str, Any]], gold: list[Any]) -> bool:
    return match(calls, gold, functions, policy="bfcl").ok


def verdicts(folder: Path, every: int, peer: Checker, peer_name: str) -> None:
    """Our verdict and the peer's on every case; the peer judges the calls, so only kinds that change calls are its."""
    functions = {row.id: row.functions for row in load_rows(folder)}
    total: Counter[str] = Counter()
    wrong: dict[tuple[str, str, bool], Counter[str]] = defaultdict(Counter)
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases(folder, every):
        group = "disputed" if case.dispute else "core"
        total[f"rlvr {group}"] += 1
        kinds[case.kind]["n"] += 1
        kinds[case.kind]["disputed"] += bool(case.dispute)
        if verify(case.response, case.tools, case.gold, case.format).correct != case.expected:
            wrong["rlvr", group, case.expected][case.kind] += 1
        if case.calls is not None and case.format == "hermes":
            total[f"{peer_name} {group}"] += 1
            if _safely(peer, functions[case.row], case) != case.expected:
                wrong[peer_name, group, case.expected][case.kind] += 1
                kinds[case.kind]["peer"] += 1
    print(f"{len(kinds)} kinds of change, {len(formats())} formats\n")
    print("| checker | group | verdicts | right | false positives | false negatives |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for name in ("rlvr", peer_name):
        for group in ("core", "disputed"):
            count = total[f"{name} {group}"]
            positives = sum(wrong[name, group, False].values())
            negatives = sum(wrong[name, group, True].values())
            share = 1 - (positives + negatives) / count if count else 1.0
            print(f"| {name} | {group} | {count:,} | {share:.2%} | {positives:,} | {negatives:,} |")
    print(f"\nWhere {peer_name} decides otherwise (it sees each change once, parsed):\n")
    for kind, counts in sorted(kinds.items(), key=lambda item: -item[1]["peer"]):
        if counts["peer"]:
            print(f"- {kind}: {counts['peer']}")


def _safely(peer: Checker, functions: list[dict[str, Any]], case: Case) -> bool | None:
    try:
        return peer(functions, case.calls or [], case.gold)
    except Exception:  # the peer crashes on some rows; that is a wrong verdict, not ours to hide
        return None


def rate(work: Callable[[], int], rounds: int = 5) -> float:
    """Verdicts a second of processor time, the best of some rounds (another process may share the core)."""
    best = 0.0
    for _ in range(rounds):
        start = time.process_time()
        count = work()
        best = max(best, count / (time.process_time() - start))
    return best


def speed(folder: Path, peer: Checker, peer_name: str) -> None:
    """Verdicts a second on right answers and on wrong ones, a reason included."""
    rows = load_rows(folder)
    wrong = {row.id: [{**call, "arguments": {**call["arguments"], "nobody_": 1}} for call in row.calls] for row in rows}
    print("\n| what | right answers/s | wrong answers/s |\n| --- | ---: | ---: |")
    for format in sorted(set(formats())):
        good = [(write(row.calls, format), row) for row in rows]
        bad = [(write(wrong[row.id], format), row) for row in rows]

        def judge(texts: list[tuple[str, Any]], format: str = format) -> int:
            for text, row in texts:
                verify(text, row.tools, row.gold, format)
            return len(texts)

        print(
            f"| rlvr, {format}: parse + match | {rate(lambda t=good: judge(t)):,.0f} | {rate(lambda t=bad: judge(t)):,.0f} |"
        )  # type: ignore[misc]

    def ours(calls: dict[str, Any]) -> int:
        for row in rows:
            match(calls[row.id], row.gold, row.tools)
        return len(rows)

    def theirs(calls: dict[str, Any]) -> int:
        for row in rows:
            peer(row.functions, calls[row.id], row.gold)
        return len(rows)

    right = {row.id: row.calls for row in rows}
    print(f"| rlvr: match alone | {rate(lambda: ours(right)):,.0f} | {rate(lambda: ours(wrong)):,.0f} |")
    print(
        f"| {peer_name} alone, no parsing | {rate(lambda: theirs(right)):,.0f} | {rate(lambda: theirs(wrong)):,.0f} |"
    )


def hostile() -> None:
    """The slowest verdicts on text made to be slow."""
    tools = [
        {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}}
    ]
    gold = [{"name": "f", "arguments": {"x": 1}}]
    payloads = ["[" * 100_000, '{"a":' * 100_000, "(" * 100_000, "9**9**8", "-" * 100_000, '"' + "x" * 1_000_000 + '"',
                '"' * 100_000, "[" + "1," * 60_000 + "1]", '[{"a":1},' * 15_000, "\ud800" * 10_000, " " * 1_000_000]  # fmt: skip
    tags = [
        "<tool_call>",
        "[TOOL_CALLS]",
        "<think>",
        "<think></think>",
        "<function=f>",
        "[f(",
        "f(x=1);",
        "<｜tool▁calls▁begin｜>",
    ]
    worst: list[tuple[float, str, str]] = []
    for format in sorted(set(formats())):
        frame = write([{"name": "f", "arguments": {"x": 987654321}}], format)
        texts = (
            [frame.replace("987654321", payload) for payload in payloads] + payloads + [tag * 50_000 for tag in tags]
        )
        for text in texts:
            start = time.process_time()
            score = verify(text, tools, gold, format)
            worst.append((time.process_time() - start, format, text[:24]))
            assert score.reward == 0.0
    worst.sort(reverse=True)
    print(f"\n{len(worst)} hostile texts, none rewarded, none raised; the slowest: "
          + ", ".join(f"{1000 * seconds:.0f} ms ({format}, {text!r}…)" for seconds, format, text in worst[:3]))  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--bfcl", default="", help="folder of an unpacked bfcl-eval wheel")
    arguments.add_argument("--every", type=int, default=1, help="use every N-th row for the verdicts")
    chosen = arguments.parse_args()
    if "RLVR_DATA" not in os.environ:
        sys.exit("set RLVR_DATA to the folder that holds bfcl/")
    folder = Path(os.environ["RLVR_DATA"]) / "bfcl"
    peer, name = our_bfcl, "BFCL's rules, rewritten"
    if chosen.bfcl:
        peer, name = load_bfcl(chosen.bfcl), "BFCL ast_checker"
    print(f"Python {platform.python_version()}, one core of {platform.machine()}, {time.strftime('%Y-%m-%d')}\n")
    verdicts(folder, chosen.every, peer, name)
    speed(folder, peer, name)
    hostile()


if __name__ == "__main__":
    main()
