"""What keeps requests and a change of weights apart in an engine that several threads use at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from rlvr.errors import EngineError
from rlvr.generation.engine import Completion


class WeightGate:
    """Shut while weights change: new requests wait in front of it, and answers that come meanwhile wait behind it.

    So no request is begun by half-loaded weights, and when an answer is given out `weight_version` has caught up with it.
    """

    def __init__(self, holder: str) -> None:
        """`holder` is what holds the weights, for messages: "the server"."""
        self._holder = holder
        self._updating = threading.Lock()
        self._failures = 0
        self.fault = ""
        """What is wrong with the weights that are held; empty if they are complete."""

    @contextmanager
    def update(self, version: int) -> Iterator[None]:
        """Shut while the block runs. If it raises, requests are refused until another update has gone well."""
        with self._updating:
            self.fault = f"version {version} did not arrive completely"
            try:
                yield
            except BaseException:
                self._failures += 1
                raise
            self.fault = ""

    def enter(self) -> int:
        """A ticket for `leave`, once no update is under way. Raises EngineError if the last one failed."""
        with self._updating:
            if self.fault:
                raise EngineError(f"{self._holder} half-loaded weights ({self.fault}); load a complete set first")
            return self._failures

    def leave(self, ticket: int, answers: Sequence[Completion]) -> list[Completion]:
        """The answers to a request that entered with `ticket`, once no update is under way.

        If one failed since, nobody knows which weights went on with them: they are given out as aborted.
        """
        with self._updating:
            if self._failures == ticket:
                return list(answers)
            return [replace(answer, finish_reason="abort") for answer in answers]
