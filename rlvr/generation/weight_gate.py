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
        self._ending = threading.Lock()
        self._failures = 0
        self.shut = False
        """Whether an update is under way."""
        self.fault = ""
        """What is wrong with the weights that are held; empty if they are complete."""

    @contextmanager
    def update(self, version: int) -> Iterator[None]:
        """Shut while the block runs. If it raises, requests are refused until another update has gone well."""
        self.begin(version)
        try:
            yield
        except BaseException:
            self.end(failed=True)
            raise
        self.end(failed=False)

    def begin(self, version: int) -> None:
        """Shut until `end`, which another thread may call."""
        self._updating.acquire()
        self.shut = True
        self.fault = f"version {version} did not arrive completely"

    def end(self, *, failed: bool) -> None:
        """Open. If the update `failed`, requests are refused until another has gone well. Without an update nothing happens."""
        with self._ending:
            if not self.shut:
                return
            self.shut = False
            if failed:
                self._failures += 1
            else:
                self.fault = ""
            self._updating.release()

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
