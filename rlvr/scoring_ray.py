"""Verdicts on other machines: the scoring pool with each of its worker processes inside a Ray actor (extra `ray`).

Deadlines, retries and counting are the local pool's own code, fed through an actor instead of pipes, so the Scores are the
same. An actor that dies with its machine is replaced and its items are scored again: it is no fault of theirs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rlvr.errors import ConfigError, EnvironmentFault
from rlvr.ray_support import connected_ray
from rlvr.scoring import ScoringPool
from rlvr.scoring_process import Item, LocalWorker, Worker, WorkerLost, chunk_frame

ACTOR_START_S = 120.0
"""How long an actor may wait for its CPUs and start."""
CALL_S = 60.0
"""A call to an actor answers within a quarter of a second. After this long its machine is taken to be gone."""


class RayScoringPool(ScoringPool):
    """As ScoringPool, with `workers` Ray actors of `cpus_each` CPUs, wherever the cluster has room for them.

    It joins the cluster this process is in or that $RAY_ADDRESS names, else starts Ray on this machine. Environments that
    other machines could not import travel by value; installed packages must be installed there too. Raises ConfigError if
    Ray is not installed or the cluster has too few CPUs.
    """

    def __init__(
        self, workers: int = 2, timeout_s: float = 5.0, memory_mb: int = 4096, *, cpus_each: float = 1.0
    ) -> None:
        self._ray = connected_ray("RayScoringPool")
        total = self._ray.cluster_resources().get("CPU", 0.0)
        if workers * cpus_each > total:
            raise ConfigError(
                f"{workers} scoring workers of {cpus_each:g} CPUs each do not fit on a Ray cluster of {total:g} CPUs; they "
                "would wait for ever. Lower workers or cpus_each, or add machines."
            )
        self._actor_class = self._ray.remote(num_cpus=cpus_each, max_restarts=0)(_Host)
        self._spare: deque[Any] = deque()
        """Actors whose process was killed: starting another process in one of them is faster than starting an actor."""
        super().__init__(workers, timeout_s, memory_mb)

    def close(self) -> None:
        """Stop the workers and end their actors. What is still waiting gets a Score with `error`."""
        super().close()
        while self._spare:
            self._ray.kill(self._spare.popleft())

    def _start_worker(self) -> Worker:
        try:
            actor = self._spare.popleft()
        except IndexError:
            actor = self._actor_class.remote()
        return _RemoteWorker(self._ray, actor, self.memory_mb, self._give_back)

    def _give_back(self, actor: Any) -> None:
        if self._closed:
            self._ray.kill(actor)
        else:
            self._spare.append(actor)


class _Host:
    """The actor: one worker process beside it. Ages, not times, cross the wire: clocks of two machines differ."""

    _worker: LocalWorker

    def start(self, memory_mb: int) -> None:
        self._worker = LocalWorker(memory_mb)

    def send(self, frame: bytes) -> None:
        self._worker.send_frame(frame)

    def progress(self) -> tuple[int, float]:
        index, started = self._worker.progress()
        return index, time.monotonic() - started if started else 0.0

    def receive(self, timeout_s: float) -> list[tuple[int, str, Any]] | None:
        return self._worker.receive(timeout_s)

    def last_words(self) -> str:
        return self._worker.last_words()

    def kill(self) -> None:
        self._worker.kill()


class _RemoteWorker:
    """The pool's side of an actor."""

    def __init__(self, ray: Any, actor: Any, memory_mb: int, give_back: Callable[[Any], None]) -> None:
        self._ray = ray
        self._actor = actor
        self._give_back = give_back
        self._defined: set[str] = set()
        self._progress = (-1, 0.0)
        try:
            ray.get(actor.start.remote(memory_mb), timeout=ACTOR_START_S)
        except ray.exceptions.RayTaskError as fault:
            ray.kill(actor)
            raise EnvironmentFault(f"a scoring worker did not start on its machine: {fault.cause}") from fault
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError) as fault:
            ray.kill(actor)
            raise WorkerLost(f"a Ray actor for scoring did not start within {ACTOR_START_S:g} s ({fault})") from fault

    def send(self, chunk: list[Item]) -> None:
        self._progress = (-1, 0.0)
        self._call("send", chunk_frame(chunk, self._defined))

    def progress(self) -> tuple[int, float]:
        index, age_s = self._call("progress")
        if index != self._progress[0]:  # asked again, the same item began at the same time to the last bit
            self._progress = index, time.monotonic() - age_s
        return self._progress

    def receive(self, timeout_s: float) -> list[tuple[int, str, Any]] | None:
        results: list[tuple[int, str, Any]] | None = self._call("receive", timeout_s)
        return results

    def last_words(self) -> str:
        return str(self._call("last_words"))

    def kill(self) -> None:
        try:
            self._ray.get(self._actor.kill.remote(), timeout=10.0)
        except Exception:  # whatever it is: an actor that cannot do this is ended, and its process dies with it
            self._ray.kill(self._actor)
        else:
            self._give_back(self._actor)

    def _call(self, method: str, *args: Any) -> Any:
        try:
            return self._ray.get(getattr(self._actor, method).remote(*args), timeout=CALL_S)
        except self._ray.exceptions.RayTaskError as fault:
            raise fault.cause from fault
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.GetTimeoutError) as fault:
            raise WorkerLost(f"{type(fault).__name__}: {str(fault).strip().splitlines()[0]}") from fault
