"""The way in: a reward function written for TRL becomes an environment.

def right(completions, answer, **columns): return [float(c.strip() == a) for c, a in zip(completions, answer)]
from_reward_function("acme/mine-v0", rows, right)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rlvr
from rlvr.errors import ConfigError
from rlvr.spec import RowsSpec


def from_reward_function(
    env_id: str,
    rows: Sequence[Mapping[str, Any]],
    reward: Callable[..., Sequence[float | None]],
    *,
    prompt: str = "prompt",
    split: str | None = None,
) -> RowsSpec:
    """Registers rows and a reward function `reward(prompts=, completions=, **columns) -> [float | None]` as an environment.

    The function is called with one completion at a time, in a worker process. A completion is a text if the row's prompt is
    one, else a list with one assistant message, as TRL does. None, and rewards outside [0, 1], are faults that are counted.
    """
    if rows and prompt not in rows[0]:
        raise ConfigError(
            f"{env_id}: the rows have no field {prompt!r}; name the one that holds the prompt, of {list(rows[0])}"
        )

    def verify(task: rlvr.Task, text: str) -> rlvr.Score:
        asked = task.data[prompt]
        completion: Any = text if isinstance(asked, str) else [{"role": "assistant", "content": text}]
        columns = {name: [value] for name, value in task.data.items() if name != prompt}
        value = reward(prompts=[asked], completions=[completion], **columns)[0]
        return rlvr.Score(value)  # type: ignore[arg-type]  # None and the like become a named fault

    spec: RowsSpec = rlvr.register(
        env_id, rows=list(rows), prompt=lambda row: row[prompt], verify=verify, split=split
    )
    return spec
