"""What must not pass in silence: a run that trains nothing, or something else than it seems."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rlvr.errors import RlvrError
from rlvr_trainers.distributed import ALONE, Ranks
from rlvr_trainers.sharding import local

RECENT = 20
"""Steps, or evaluations, that an alarm looks back over."""
DEAD_STEPS = 10
"""Steps in a row without one live group after which a run is over: solved, or stopped because nothing is learned."""


class TrainingError(RlvrError):
    """Training cannot go on, or would go on without learning anything."""


class TrainingWarning(UserWarning):
    """Training goes on, but probably not where you want it; the message starts with the alarm's name."""


class Alarms:
    """Watches a run's metrics. Each alarm sounds once; all that they remember is in `state_dict`."""

    def __init__(self) -> None:
        self._first: list[dict[str, float]] = []
        self._recent: list[dict[str, float]] = []
        self._evals: list[dict[str, float]] = []
        self._dead_steps = 0
        self._right_steps = 0
        self._sounded: list[str] = []

    @property
    def solved(self) -> bool:
        """True after DEAD_STEPS steps in a row whose every answer was right: there is nothing left to learn."""
        return self._right_steps >= DEAD_STEPS

    def after_step(self, metrics: Mapping[str, float], *, max_tokens: int, moving: bool = False) -> None:
        """Look at a step's metrics. Raises TrainingError after DEAD_STEPS steps without a live group, unless all were right.

        `moving`: a curriculum is about to change the level, so that steps without a live group do not count.
        """
        dead = metrics.get("live_groups", 1.0) == 0
        right = dead and metrics["accuracy"] == 1.0
        self._dead_steps = self._dead_steps + 1 if dead and not moving else 0
        self._right_steps = self._right_steps + 1 if right and not moving else 0
        if dead and not right:
            self._sound(
                "all_groups_dead",
                f"every group of step {metrics.get('step', 0):.0f} has equal rewards (mean {metrics['reward']:.3g}), so no "
                "weight changed. Change the difficulty, raise group_size or temperature, or set refill_rounds",
            )
        if metrics.get("final_reward_std") == 0 and metrics["accuracy"] < 1:
            self._sound(
                "equal_rewards",
                f"all answers of step {metrics.get('step', 0):.0f} earned the same (mean {metrics['reward']:.3g}): no news "
                "for the policy. Change the difficulty, or sample more answers a step",
            )
        if self._dead_steps >= DEAD_STEPS and not self.solved:
            raise TrainingError(
                f"{DEAD_STEPS} steps in a row had no group with different rewards (mean reward {metrics['reward']:.3g}); nothing "
                "is learned. Near 0 the tasks are too hard or the format is never met: start from a better model or an easier "
                "level. Near 1 they are too easy but for a few: take a harder level, or set refill_rounds"
            )
        if metrics["length_mean"] <= 1 < max_tokens and metrics["accuracy"] == 0:
            self._sound(
                "empty_answers",
                f"no answer of step {metrics.get('step', 0):.0f} has a token but its end, and none is right. The model may not "
                "know the prompt's format, or have collapsed: read the rollouts, and start from a checkpoint before",
            )
        row = {k: v for k, v in metrics.items() if k in _WATCHED or k.startswith("part/")}
        self._first = [*self._first, row][: RECENT // 2]
        self._recent = [*self._recent, row][-RECENT:]
        if len(self._recent) == RECENT:
            self._look_back(max_tokens, moving=moving)

    def after_eval(self, metrics: Mapping[str, float]) -> None:
        """Look at an evaluation beside the training rewards since the one before."""
        now = {"accuracy": metrics["eval/accuracy"], "reward": _mean([row["reward"] for row in self._recent])}
        self._evals = [*self._evals, now][-3:]
        if len(self._evals) == 3:
            first, _, last = self._evals
            if last["reward"] > first["reward"] + 0.1 and last["accuracy"] < first["accuracy"] - 0.05:
                self._sound(
                    "reward_without_accuracy",
                    f"over the last evaluations the training reward rose from {first['reward']:.3f} to {last['reward']:.3f} "
                    f"while eval accuracy fell from {first['accuracy']:.3f} to {last['accuracy']:.3f}. Read the rollouts: "
                    "the verifier may pay for something else than the task",
                )

    def state_dict(self) -> dict[str, Any]:
        """Plain values; the inverse of `load_state_dict`."""
        return {
            "first": self._first,
            "recent": self._recent,
            "evals": self._evals,
            "dead_steps": self._dead_steps,
            "right_steps": self._right_steps,
            "sounded": list(self._sounded),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on watching where `state_dict` was taken."""
        self._first, self._recent, self._evals = (list(state[name]) for name in ("first", "recent", "evals"))
        self._dead_steps, self._right_steps = state["dead_steps"], state["right_steps"]
        self._sounded = list(state["sounded"])

    def _look_back(self, max_tokens: int, *, moving: bool) -> None:
        rewards = [row["reward"] for row in self._recent]
        if max(rewards) == min(rewards) and not (moving or self._right_steps):
            advice = (
                "There is nothing left to learn: lower steps or take a harder level"
                if rewards[-1] == 1.0
                else "Check that the verifier reads the answers: rlvr audit ENVIRONMENT"
            )
            self._sound(
                "constant_reward", f"the mean reward was {rewards[-1]:.3g} in each of the last {RECENT} steps. {advice}"
            )
        half = RECENT // 2
        late = self._recent[half:]
        # What creeps shows against the beginning, what jumps against the steps before.
        for early in (self._first, self._recent[:half]):
            self._compare(early, late)
        length, before = (_mean([row["length_mean"] for row in rows]) for rows in (late, self._first))
        if length > 0.9 * max_tokens and before < length:
            self._sound(
                "length_at_cap",
                f"answers grew from {before:.0f} to {length:.0f} of max_tokens = {max_tokens} tokens, where they are cut off. "
                "Raise max_tokens, or set overlong_buffer so that length costs something before the cut",
            )

    def _compare(self, early: Sequence[Mapping[str, float]], late: Sequence[Mapping[str, float]]) -> None:
        accuracy = [_mean([row["accuracy"] for row in rows]) for rows in (early, late)]
        for name in late[-1]:
            if name.startswith("part/") and all(name in row for row in (*early, *late)):
                part = [_mean([row[name] for row in rows]) for rows in (early, late)]
                if part[1] > part[0] + 0.2 and accuracy[1] <= accuracy[0] + 0.01:
                    self._sound(
                        f"{name}_without_accuracy",
                        f"{name} rose from {part[0]:.3f} to {part[1]:.3f} while accuracy went from {accuracy[0]:.3f} to "
                        f"{accuracy[1]:.3f}. If it has a weight, the model may be learning the form alone; lower part_weights",
                    )

    def _sound(self, name: str, text: str) -> None:
        if name not in self._sounded:
            self._sounded.append(name)
            warnings.warn(f"{name}: {text}", TrainingWarning, stacklevel=2)


class WeightWatch:
    """Notices an optimizer step that changed nothing: frozen weights, or a step size that rounds away."""

    def __init__(self, parameters: Sequence[Tensor], ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        self._watched = [parameter for parameter in parameters if parameter.requires_grad][:8]
        self._before = self._sample()

    def check(self, *, grad_norm: float, learning_rate: float) -> None:
        """Raises TrainingError if there was a gradient and yet no watched weight differs from the last check."""
        now = self._sample()
        changed = torch.tensor([float(not torch.equal(a, b)) for a, b in zip(self._before, now, strict=True)]).sum()
        same = float(self._ranks.sum(changed)) == 0
        self._before = now
        if same and grad_norm > 0 and learning_rate > 0:
            raise TrainingError(
                f"an update with gradient norm {grad_norm:.3g} and step size {learning_rate:.3g} left the weights as they were: "
                "the step is smaller than their precision. Raise learning_rate, or train float32 weights"
            )

    def _sample(self) -> list[Tensor]:
        return [local(parameter.detach()).reshape(-1)[:256].clone() for parameter in self._watched]


_WATCHED = ("reward", "accuracy", "length_mean")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
