"""Pipes to a run, closed exactly once whatever happens."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

CHUNK = 1 << 16


class End:
    """One end of a pipe."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Closes it; again does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


@contextlib.contextmanager
def pipe() -> Iterator[tuple[End, End]]:
    """(reader, writer), both closed at the end of the block."""
    reader, writer = (End(fd) for fd in os.pipe())
    try:
        yield reader, writer
    finally:
        reader.close()
        writer.close()


def read_some(fd: int) -> bytes | None:
    """What is there on a descriptor that does not block, b"" at the end, None if there is nothing right now."""
    try:
        return os.read(fd, CHUNK)
    except BlockingIOError:
        return None


def read_now(fd: int) -> bytes:
    """What has been written to a pipe so far."""
    os.set_blocking(fd, False)
    return read_some(fd) or b""
