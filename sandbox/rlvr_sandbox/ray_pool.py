"""A pool of Ray actors, each with a sandbox pool of its own (extra `ray`)."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from typing import Any

from rlvr.errors import ConfigError, SandboxUnavailableError
from rlvr.ray_support import connected_ray
from rlvr.score import Score
from rlvr_sandbox.limits import Limits, Outcome
from rlvr_sandbox.pool import Pool

_ATTEMPTS = 3


class RayPool:
    """`run` and `judge` on Ray actors: `actors` of them, each with `workers` sandbox workers and as many CPUs.

    The least busy actor is asked. One that dies with its machine is replaced, and what it was asked is asked again: it is
    no fault of the program. Use it as a context manager, or `close` it. Raises ConfigError if Ray is not installed or the
    cluster has too few CPUs; errors of the sandbox arrive as they do from a local pool.
    """

    def __init__(self, actors: int, *, workers: int = 1, minimum: str | None = None) -> None:
        if actors < 1:
            raise ConfigError(f"actors is {actors}; a pool needs at least one")
        self._ray = connected_ray("RayPool")
        total = self._ray.cluster_resources().get("CPU", 0.0)
        if actors * workers > total:
            raise ConfigError(
                f"{actors} actors with {workers} sandbox workers each do not fit on a Ray cluster of {total:g} CPUs; they "
                "would wait for ever. Lower either, or add machines."
            )
        self._actor_class = self._ray.remote(num_cpus=workers, max_concurrency=workers, max_restarts=0)(Pool)
        self._settings: tuple[int, str | None] = workers, minimum
        self._changed = threading.Lock()
        self._actors = {number: self._start() for number in range(actors)}
        self._busy = dict.fromkeys(self._actors, 0)
        self.replaced = 0
        """Actors that died and were replaced."""

    def run(self, code: str, stdin: str = "", limits: Limits | None = None, *, language: str = "python") -> Outcome:
        """As `Pool.run`."""
        outcome: Outcome = self._ask("run", code, stdin, limits, language=language)
        return outcome

    def judge(self, code: str, tests: Mapping[str, Any], *args: Any, **kwargs: Any) -> Score:
        """As `Pool.judge`."""
        score: Score = self._ask("judge", code, tests, *args, **kwargs)
        return score

    def close(self) -> None:
        """Ends the actors."""
        with self._changed:
            actors, self._actors = list(self._actors.values()), {}
        for actor in actors:
            self._ray.kill(actor)

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start(self) -> Any:
        workers, minimum = self._settings
        return self._actor_class.remote(workers, minimum=minimum)

    def _ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        for attempt in itertools.count(1):
            with self._changed:
                if not self._actors:
                    raise SandboxUnavailableError("this pool of Ray actors is closed. Nothing was run.")
                number = min(self._actors, key=lambda number: self._busy[number])
                actor = self._actors[number]
                self._busy[number] += 1
            try:
                return self._ray.get(getattr(actor, method).remote(*args, **kwargs))
            except self._ray.exceptions.RayTaskError as fault:
                raise fault.cause from fault
            except self._ray.exceptions.RayActorError as fault:
                self._replace(number, actor)
                if attempt == _ATTEMPTS:
                    raise SandboxUnavailableError(
                        f"{attempt} Ray actors in turn died while they ran a program ({type(fault).__name__}). There is no "
                        "verdict on it; see `ray logs` for the machines."
                    ) from fault
            finally:
                with self._changed:
                    self._busy[number] -= 1
        raise AssertionError("not reached")

    def _replace(self, number: int, actor: Any) -> None:
        """Once, whichever of the callers of a dead actor comes first."""
        with self._changed:
            if self._actors.get(number) is actor:
                self._actors[number] = self._start()
                self.replaced += 1
