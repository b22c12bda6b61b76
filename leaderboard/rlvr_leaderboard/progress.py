"""How far an evaluation is, on standard error: a line that is rewritten on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from rlvr_leaderboard.record import Rollout

PLAIN_EVERY_S = 30.0
LIVE_EVERY_S = 0.2


class Progress:
    """Counts rollouts and says where they stand."""

    def __init__(self, total: int, done: int = 0, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._quiet = quiet
        self._total, self._done, self._before = total, done, done
        self._running = 0
        self._tokens = 0
        self._reward = 0.0
        self._counts = {"truncated": 0, "timeout": 0, "fault": 0}
        self._began = self._shown = time.monotonic()

    def start(self, count: int) -> None:
        """So many rollouts went to the engine."""
        self._running = count
        self._show()

    def finish(self, rollout: Rollout) -> None:
        """One rollout is stored."""
        self._done += 1
        self._running -= 1
        self._tokens += rollout.tokens
        self._reward += rollout.reward
        if rollout.status in self._counts:
            self._counts[rollout.status] += 1
        self._show()

    def close(self) -> None:
        """Write the last state and end the line."""
        if self._done > self._before:
            self._show(last=True)

    def line(self) -> str:
        """Done and total, running, mean, tokens a second, what went wrong, time left."""
        new = self._done - self._before
        elapsed = max(time.monotonic() - self._began, 1e-9)
        words = [f"{self._done}/{self._total} rollouts", f"{self._running} running"]
        if scored := new - self._counts["fault"]:
            words.append(f"mean {self._reward / scored:.3f}")
        words.append(f"{self._tokens / elapsed:.0f} tokens/s")
        words += [f"{count} {name}" for name, count in self._counts.items() if count or name == "truncated"]
        if new and self._done < self._total:
            # By tokens, since long answers and not many answers are what takes time.
            left_tokens = (self._total - self._done) * self._tokens / new
            words.append(
                f"{_duration(left_tokens / max(self._tokens / elapsed, 1e-9))} left ({left_tokens:.0f} tokens)"
            )
        return ", ".join(words)

    def _show(self, last: bool = False) -> None:
        now = time.monotonic()
        if self._quiet:
            return
        if not last and now - self._shown < (LIVE_EVERY_S if self._live else PLAIN_EVERY_S):
            return
        self._shown = now
        if self._live:
            self._stream.write(f"\r\x1b[K{self.line()}" + ("\n" if last else ""))
        else:
            self._stream.write(self.line() + "\n")
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
