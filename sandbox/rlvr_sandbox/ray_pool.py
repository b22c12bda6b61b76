"""A pool of Ray actors, each with a sandbox pool of its own (extra `ray`)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from rlvr.errors import ConfigError
from rlvr.score import Score
from rlvr_sandbox.limits import Limits, Outcome
from rlvr_sandbox.pool import Pool


class RayPool:
    """`run` and `judge` on Ray actors, in turn. `actors` of them, each with `workers` sandbox workers and as many CPUs.

    Raises ConfigError if Ray is not installed. Errors of the sandbox arrive as they do from a local pool.
    """

    def __init__(self, actors: int, *, workers: int = 1, minimum: str | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise ConfigError("RayPool needs Ray; install rlvr[ray]. Nothing was started.") from error
        self._ray = ray
        if not ray.is_initialized():
            ray.init()
        actor = ray.remote(num_cpus=workers, max_concurrency=workers, max_restarts=-1)(Pool)
        self._actors = [actor.remote(workers, minimum=minimum) for _ in range(actors)]
        self._turn = itertools.cycle(self._actors)

    def run(self, code: str, stdin: str = "", limits: Limits | None = None, *, language: str = "python") -> Outcome:
        """As `Pool.run`."""
        outcome: Outcome = self._get(next(self._turn).run.remote(code, stdin, limits, language=language))
        return outcome

    def judge(self, code: str, tests: Mapping[str, Any], *args: Any, **kwargs: Any) -> Score:
        """As `Pool.judge`."""
        score: Score = self._get(next(self._turn).judge.remote(code, tests, *args, **kwargs))
        return score

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None

    def close(self) -> None:
        """Ends the actors."""
        for actor in self._actors:
            self._ray.kill(actor)
