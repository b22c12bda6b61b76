"""How far a loop is, on standard error: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from types import TracebackType
from typing import Any, Self

WINDOW = 20
"""Values in the running mean."""
LINE_EVERY_S = 5.0
"""Time between plain lines."""


class Progress:
    """Done of total, a running mean with its 95 % interval, tokens a second and the time left."""

    def __init__(self, label: str, total: int, *, done: int = 0, quantity: str = "", quiet: bool = False) -> None:
        """`quantity` names the values whose running mean is shown; `done` is where a resumed loop starts."""
        self.label, self.total, self.done, self.quantity, self.quiet = label, total, done, quantity, quiet
        self._start = self._shown = time.monotonic()
        self._first = done
        self._tokens = 0
        self._values: deque[float] = deque(maxlen=WINDOW)
        self._bar: Any = None
        if not quiet and sys.stderr.isatty():
            self._open_bar()

    def update(self, done: int, *, value: float | None = None, tokens: int = 0) -> None:
        """`done` of the total are finished; `value` is the newest of the quantity, `tokens` were processed for it."""
        self.done = done
        self._tokens += tokens
        if value is not None:
            self._values.append(value)
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._row, completed=done, note=self._note())
        elif not self.quiet and (now - self._shown >= LINE_EVERY_S or done in (self._first + 1, self.total)):
            self._shown = now
            print(f"{self.label} {done}/{self.total}  {self._note()}{self._left(now)}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text)
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _note(self) -> str:
        parts = []
        if self._values:
            count, mean = len(self._values), math.fsum(self._values) / len(self._values)
            spread = math.sqrt(math.fsum((v - mean) ** 2 for v in self._values) / (count - 1)) if count > 1 else 0.0
            parts.append(f"{self.quantity} {mean:.3f} ± {1.96 * spread / math.sqrt(count):.3f}")
        if self._tokens:
            parts.append(f"{self._tokens / max(time.monotonic() - self._start, 1e-9):,.0f} tokens/s")
        return "  ".join(parts)

    def _left(self, now: float) -> str:
        finished = self.done - self._first
        if finished <= 0 or self.done >= self.total:
            return ""
        return f"  {(now - self._start) / finished * (self.total - self.done):.0f} s left"

    def _open_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description:12}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        self._bar = Bar(*columns, console=Console(stderr=True), refresh_per_second=2)
        self._row = self._bar.add_task(self.label, total=self.total, completed=self.done, note="")
        self._bar.start()
