"""Writes docs/environments/reasoning_gym.md: which tasks of reasoning-gym are offered, how they are judged, what is refused.

python bench/catalogue_rg.py
"""

from __future__ import annotations

from pathlib import Path

import rlvr
from rlvr_envs.adapters.reasoning_gym import REFUSED, full_marks
from rlvr_envs.adapters.reasoning_gym.verdicts import full_marks_at_size

PAGE = Path(__file__).resolve().parents[1] / "docs" / "environments" / "reasoning_gym.md"
HEAD = """\
# Tasks of reasoning-gym

Written by `python bench/catalogue_rg.py`; do not edit. `pip install 'rlvr[reasoning-gym]'` adds {offered} environments,
`rg/NAME-v0`, from [reasoning-gym](https://github.com/open-thought/reasoning-gym) 0.1.25. What changes on the way:

- a task is drawn by a hashed stream and not by `seed + index`, so two seeds share nothing, and its content decides its split;
- the reward is 1 or 0, given in processes that are killed on time; partial credits and reward floors pay nothing;
- **theirs** is their scorer at full marks, of an answer no larger than it should be; **ours** is a strict check, where theirs
  evaluates the answer as code, raises on ordinary text, or takes a beginning for the whole;
- questions with few possible answers are asked several at a time, and all must be right;
- questions whose answer stands in what is given, or is the same again and again, are left out.

`chance` bounds what the best fixed answer earned on 60 to 300 tasks; 0 stands for less than 1 %. Each id passes `rlvr audit`.

| id | judged by | questions | chance |
| --- | --- | ---: | ---: |
"""


def row(env_id: str) -> str:
    spec = rlvr.spec(env_id)
    asked = int(spec.description.split()[0]) if spec.description[0].isdigit() else 1
    judge = "theirs" if spec.verify in (full_marks, full_marks_at_size) else "ours"
    return f"| `{env_id}` | {judge} | {asked} | {spec.chance:g} |\n"


def main() -> None:
    ids = [env_id for env_id in rlvr.list_envs() if env_id.startswith("rg/")]
    refused = "".join(f"| {name} | {reason} |\n" for name, reason in sorted(REFUSED.items()))
    text = HEAD.format(offered=len(ids)) + "".join(map(row, ids))
    PAGE.write_text(f"{text}\n## Refused\n\n| task | why |\n| --- | --- |\n{refused}", "utf-8")
    print(f"wrote {PAGE.name}: {len(ids)} offered, {len(REFUSED)} refused")


if __name__ == "__main__":
    main()
