"""Writes docs/environments.md from what is registered: every environment with a sample task, levels, chance and rates.

    python bench/catalogue.py            # data sets that are not on this machine are listed without a sample

Rates are of processor time on one core, so they compare environments, not machines.
"""

from __future__ import annotations

import time
from pathlib import Path

import rlvr
from rlvr.auditing import gold_text
from rlvr.errors import RlvrError
from rlvr.spec import EnvSpec

PAGE = Path(__file__).resolve().parents[1] / "docs" / "environments.md"
TASKS = 50
HEAD = """\
# Environments

Written by `python bench/catalogue.py` from what is registered; do not edit. `chance` is what guessing earns; rates are per
second of processor time on one core, at the default knobs.

"""


def knobs_of(values: dict[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items()) or "none"


def rate(count: int, seconds: float) -> str:
    return f"{count / max(seconds, 1e-9):,.0f}"


def row(spec: EnvSpec) -> str:
    try:
        split = "eval" if spec.count("train", spec.knobs) == 0 else "train"
        began = time.process_time()
        tasks = rlvr.tasks(spec.id, split, min(TASKS, spec.count(split, spec.knobs) or TASKS))
        made = rate(len(tasks), time.process_time() - began) if spec.kind != "rows" else "-"
        texts = [gold_text(spec, task) for task in tasks]
        began = time.process_time()
        for task, text in zip(tasks, texts, strict=True):
            if isinstance(text, str):
                spec.judge(task, text)
        judged = rate(len(tasks), time.process_time() - began) if isinstance(texts[0], str) else "-"
    except RlvrError:
        made = judged = "needs its data"
    turns = spec.max_turns if spec.max_turns > 1 else 1
    return f"| [`{spec.id}`](#{anchor(spec.id)}) | {turns} | {len(spec.levels) or '-'} | {spec.chance:g} | {made} | {judged} |"


def anchor(env_id: str) -> str:
    return env_id.replace("/", "").replace(".", "")


def section(spec: EnvSpec) -> str:
    lines = [f"### {spec.id}", "", spec.description or "", "", f"Knobs: {knobs_of(spec.knobs)}"]
    lines += [f"- level {number}: {knobs_of(dict(values))}" for number, values in enumerate(spec.levels)]
    try:
        split = "eval" if spec.count("train", spec.knobs) == 0 else "train"
        if spec.kind != "rows":  # rows of public data sets are not copied into these pages
            text = rlvr.tasks(spec.id, split, 1)[0].text
            fence = "`" * 4  # prompts hold fences of three
            lines += ["", f"{fence}text", text if len(text) < 1500 else text[:1500] + " ...", fence]
    except RlvrError:
        pass
    return "\n".join(lines)


def main() -> None:
    specs = [rlvr.spec(env_id) for env_id in rlvr.list_envs() if not env_id.startswith(("acme/", "rg/"))]
    table = "| id | turns | levels | chance | tasks/s | verdicts/s |\n| --- | --- | --- | --- | --- | --- |\n"
    page = HEAD + f"{len(specs)} built-in environments.\n\n" + table + "\n".join(map(row, specs)) + "\n"
    for namespace in dict.fromkeys(spec.id.partition("/")[0] for spec in specs):
        page += (
            f"\n## {namespace}/\n\n" + "\n\n".join(section(s) for s in specs if s.id.startswith(namespace + "/")) + "\n"
        )
    PAGE.write_text(page, "utf-8")
    print(f"wrote {PAGE.name}: {len(specs)} environments")


if __name__ == "__main__":
    main()
