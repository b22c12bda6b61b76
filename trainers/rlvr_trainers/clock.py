"""Where the time of a step goes."""

from __future__ import annotations

import time


class Clock:
    """Seconds by phase, since the last time they were taken."""

    _last: float
    _processor: float

    def __init__(self) -> None:
        self.restart()

    def lap(self, phase: str) -> dict[str, float]:
        """Book the time since the last lap on a phase; returns all phases."""
        now = time.perf_counter()
        self._seconds[phase] = self._seconds.get(phase, 0.0) + now - self._last
        self._last = now
        return self._seconds

    def processor_s(self) -> float:
        """Processor seconds of this process since the step began."""
        return time.process_time() - self._processor

    def restart(self) -> None:
        """Forget everything: a step begins."""
        self._seconds: dict[str, float] = {}
        self._last, self._processor = time.perf_counter(), time.process_time()
