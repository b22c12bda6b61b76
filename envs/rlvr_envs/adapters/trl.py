"""Our environments in TRL: rows and a reward function, or an environment class for episodes of several turns.

rows, reward = to_trl("math/arithmetic-v0", n=1000)
GRPOTrainer(model, reward_funcs=reward, train_dataset=Dataset.from_list(rows), ...)

GRPOTrainer(model, environment_factory=trl_environment("game/bagels-v0"), ...)      # TRL's experimental interface
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import rlvr
from rlvr.errors import ConfigError
from rlvr_envs.adapters.rows import TASK, completion_text, task_of, to_rows

RewardFunction = Callable[..., list[float | None]]


def to_trl(
    env_id: str, n: int | None = None, *, workers: int = 2, timeout_s: float = 5.0, **settings: Any
) -> tuple[list[dict[str, Any]], RewardFunction]:
    """Rows for `train_dataset` and a function for `reward_funcs`; `settings` go to `to_rows`.

    The function scores in processes that are killed on time. An answer on which the verifier failed gets None, which TRL
    leaves out, instead of a 0 that would teach the model something false. Raises ConfigError for several-turn environments.
    """
    if rlvr.spec(env_id).max_turns > 1:
        raise ConfigError(f"{env_id} takes several turns; use trl_environment({env_id!r}) as TRL's environment_factory")

    def rlvr_reward(completions: Sequence[Any], **columns: Any) -> list[float | None]:
        if TASK not in columns:
            raise ConfigError(f"the data set has no column {TASK!r}; train on the rows that to_trl returned")
        tasks = [task_of(value) for value in columns[TASK]]
        scores = rlvr.score(tasks, [completion_text(completion) for completion in completions], workers, timeout_s)
        return [None if score.error else score.reward for score in scores]

    return to_rows(env_id, n, **settings), rlvr_reward


def trl_environment(env_id: str, *, split: str = "train", level: int | None = None, **knobs: Any) -> Callable[[], Any]:
    """A factory for TRL's `environment_factory`: episodes are played through one tool, `act(text)`.

    A row's `index` chooses the task, so that the answers of a group share it; without one, instances count upwards.
    """
    counter = itertools.count()

    class RlvrEnvironment:
        """One episode at a time."""

        def __init__(self) -> None:
            self._env = rlvr.make(env_id, split, level=level, **knobs)
            self._reward = 0.0
            self._over = True

        def reset(self, index: int | None = None, **columns: Any) -> str:
            """Start an episode and return its prompt."""
            observation, _ = self._env.reset(options={"index": next(counter) if index is None else int(index)})
            self._reward, self._over = 0.0, False
            return observation

        def act(self, text: str) -> str:
            """Take your next turn in the game or task.

            Args:
                text: Your whole turn, exactly as the task asks for it.

            Returns:
                What the environment answers, or that the episode has ended.
            """
            if self._over:
                return "The episode has ended."
            observation, self._reward, terminated, truncated, _ = self._env.step(text)
            self._over = terminated or truncated
            return observation or "The episode has ended."

        def get_reward(self) -> float:
            """The final outcome; 0 if the episode was not finished."""
            return self._reward

    return RlvrEnvironment
