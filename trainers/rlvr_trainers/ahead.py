"""One step off-policy: the next step's rollouts are sampled while the update on the current ones runs.

    weights    v0                     v1                     v2
    sampling   batch 1, then batch 2  batch 3                batch 4
    training            on batch 1    on batch 2             on batch 3

So every batch but the first is trained on by weights one step newer than those that sampled it, and always by just one: what a
run does depends on no clock. Noukhovitch et al. 2024, arXiv:2410.18252; the importance weights of `losses` correct for it.

With `in_flight` new weights reach the engine while it samples, and what is under way goes on with them (PipelineRL, Piché et al.
2025, arXiv:2509.19128): a batch then holds tokens of two versions, and which of them depends on the clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from rlvr.trajectory import Trajectory
from rlvr_trainers.rollouts import Collected

Draw = Callable[[int], Collected]
"""Samples the rollouts of a step."""


class Ahead:
    """Holds the rollouts of one step in advance. All calls come from one thread; `draw` runs in another."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="ahead")
        self._step = 0
        self._drawn: Future[Collected] | None = None

    def start(self, step: int, draw: Draw) -> None:
        """Begin to sample the rollouts of a step, unless they are there."""
        if self._drawn is None or self._step != step:
            self._step, self._drawn = step, self._threads.submit(draw, step)

    def take(self, step: int, draw: Draw) -> Collected:
        """The rollouts of a step: those sampled in advance, or new ones. Raises what sampling them raised."""
        self.start(step, draw)
        assert self._drawn is not None
        collected, self._drawn = self._drawn.result(), None
        return collected

    def settle(self) -> None:
        """Wait until nothing is being sampled. Raises what the sampling raised."""
        if self._drawn is not None:
            self._drawn.result()

    def close(self) -> None:
        """Wait for what is being sampled and forget it."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def state_dict(self) -> dict[str, Any]:
        """The rollouts that were sampled in advance, as plain values."""
        if self._drawn is None:
            return {}
        collected = self._drawn.result()
        return {
            "step": self._step,
            "live": [[t.to_dict() for t in group] for group in collected.live],
            "dead": [[t.to_dict() for t in group] for group in collected.dead],
            "refilled": collected.refilled,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the rollouts of a state that `state_dict` gave."""
        if not state:
            return
        live, dead = ([[Trajectory.from_dict(t) for t in group] for group in state[kind]] for kind in ("live", "dead"))
        self._step, self._drawn = state["step"], Future()
        self._drawn.set_result(Collected(live, dead, state["refilled"]))


def token_age(collected: Collected, version: int) -> dict[str, float]:
    """How old the sampled tokens are. `staleness`: optimizer updates between the weights that sampled a token and version
    `version`, on average; `newest_weights_share`: tokens that this version sampled.
    """
    num_tokens: Counter[int] = Counter()
    for trajectory in (trajectory for group in collected.groups for trajectory in group):
        for span in (span for sample in trajectory.samples for span in sample.spans):
            num_tokens[span.weight_version] += span.end - span.start
    total = max(1, num_tokens.total())
    return {
        "staleness": sum((version - sampled_by) * count for sampled_by, count in num_tokens.items()) / total,
        "newest_weights_share": num_tokens[version] / total,
    }
