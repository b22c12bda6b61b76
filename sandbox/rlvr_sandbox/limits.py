"""What a program may use, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rlvr.errors import ConfigError

Verdict = Literal["AC", "WA", "TLE", "MLE", "OLE", "RE", "CE"]
"""Accepted, wrong answer, time, memory or output limit exceeded, runtime error, compile error."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run. Raises ConfigError if one is not positive."""

    timeout_s: float = 5.0
    """Seconds the program may take. Time it spends waiting for a processor does not count, so a busy machine makes no
    TLE; sleeping counts, and so does the processor time of all its processes together."""
    memory_mb: int = 512
    """MiB beside what the bare interpreter takes: address space of one process, resident memory of all of them."""
    output_bytes: int = 8 << 20
    """Bytes of standard output; of standard error the first 64 KiB are kept and the rest is dropped."""

    def __post_init__(self) -> None:
        for name in ("timeout_s", "memory_mb", "output_bytes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
                raise ConfigError(f"{name} is {value!r}; it must be a positive number, so nothing was run")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program did."""

    verdict: Literal["OK", "TLE", "MLE", "OLE", "RE", "CE"]
    """OK means that it ended by itself with exit status 0."""
    stdout: str
    """UTF-8; bytes that are none are shown as U+FFFD. Of an output over the limit only the first 64 KiB."""
    stderr: str
    """The first 64 KiB of it."""
    exit_code: int | None
    """Exit status; minus the signal that killed it; None where the sandbox did."""
    seconds: float
    """Wall time."""
    cpu_s: float
    """Processor time of its first process and those it waited for."""
    peak_mb: float
    """Largest resident size of one process in MiB, the interpreter's own some 20 included."""
    level: str
    """The isolation it ran at."""

    @property
    def ok(self) -> bool:
        """It ended by itself with exit status 0."""
        return self.verdict == "OK"

    def to_dict(self) -> dict[str, Any]:
        """A JSON object; `Outcome(**values)` is the inverse."""
        return {name: getattr(self, name) for name in self.__slots__}
