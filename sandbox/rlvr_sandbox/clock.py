"""The time limit of a run, as it should be on a machine that does other things, too."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rlvr_sandbox.worker import Worker

_GRACE_S = 0.1
_START_TIMEOUT_S = 30.0
_CEILING = 20.0


class Clock:
    """Stops while a program waits for a processor.

    A program is over its limit when its processes' CPU time reaches it, or when the wall time less the time spent
    waiting for a processor does: busy loops and sleeps end on time, an overloaded machine makes nobody late. Nothing
    runs longer than twenty times its limit (and five seconds). The clock runs from `restart`, which is called when the
    program starts; before that it only bounds how long making a process may take.
    """

    def __init__(self, workers: Sequence[Worker], limit_s: float) -> None:
        self._workers = workers
        self._limit_s = limit_s
        self._waited_s = 0.0
        self._cpu_s = 0.0
        self.running = False
        self._started = time.monotonic()
        self._ceiling = self._next_look = self._started + _START_TIMEOUT_S

    def restart(self) -> None:
        """The program, or its next piece of work, begins and has the whole limit."""
        self.running = True
        self._started = time.monotonic()
        self._ceiling = self._started + _CEILING * self._limit_s + 5.0
        self._next_look = self._started + self._limit_s + _GRACE_S

    @property
    def next_look(self) -> float:
        """When `expired` is to be asked next, by time.monotonic()."""
        return self._next_look

    def expired(self) -> bool:
        """To be asked when `next_look` has come; False also moves it on."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        if now >= self._ceiling:
            return True
        used = [usage for usage in (worker.used() for worker in self._workers) if usage is not None]
        if not used:
            return False  # ended just now: the caller is about to see it
        cpu_s, waited_s = sum(usage.cpu_s for usage in used), sum(usage.wait_s for usage in used)
        # What was used before this piece of work began is known only from the last look: in doubt for the program.
        own_s = now - self._started - (waited_s - self._waited_s)
        left_s = self._limit_s + _GRACE_S - max(own_s, min(cpu_s - self._cpu_s, now - self._started))
        if left_s <= 0 or cpu_s - self._cpu_s > self._limit_s * _CEILING:
            self._waited_s, self._cpu_s = waited_s, cpu_s
            return True
        self._next_look = now + max(left_s, 0.02)
        return False
