"""A process that runs verifiers, and how the scoring pool speaks with it."""

from __future__ import annotations

import base64
import concurrent.futures
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from rlvr import scoring_wire as wire
from rlvr.errors import EnvironmentFault
from rlvr.task import Task

Turns = str | Sequence[str]
START_TIMEOUT_S = 60.0
"""How long a worker may take to start, or to import an environment."""


@dataclass
class Item:
    """One text to judge or to answer."""

    task: Task
    turns: Turns
    wants_reply: bool
    future: concurrent.futures.Future[Any] = field(default_factory=concurrent.futures.Future)
    crashes: int = 0
    losses: int = 0


class WorkerLost(Exception):
    """The machine a worker ran on is gone, and the worker with it: no fault of what it was busy with."""


class Worker(Protocol):
    """Where one process runs verifiers, seen from the thread that feeds it. Any call may raise WorkerLost."""

    def send(self, chunk: list[Item]) -> None:
        """Hand over a chunk; the worker has finished the one before."""

    def progress(self) -> tuple[int, float]:
        """Which item of the chunk it is on, and since when on this machine's monotonic clock; (-1, 0.0) before the first."""

    def receive(self, timeout_s: float) -> list[tuple[int, str, Any]] | None:
        """Results that have come in, an empty list after `timeout_s` without any, None if the process is gone."""

    def last_words(self) -> str:
        """How it ended and the last line it wrote to its standard error."""

    def kill(self) -> None:
        """End it and whatever it started."""


def chunk_frame(chunk: Sequence[Item], defined: set[str]) -> bytes:
    """A chunk as a worker reads it, with the environments that it could not import and that are not in `defined` yet."""
    numbers: dict[int, int] = {}
    tasks: list[dict[str, Any]] = []
    items: list[tuple[int, Turns, bool]] = []
    for item in chunk:
        number = numbers.get(id(item.task))
        if number is None:
            number = numbers[id(item.task)] = len(tasks)
            tasks.append(item.task.to_dict())
        turns = item.turns if isinstance(item.turns, str) else list(item.turns)
        items.append((number, turns, item.wants_reply))
    define = {}
    for env_id in {item.task.env_id for item in chunk} - defined:
        define[env_id] = wire.definition(env_id)
        defined.add(env_id)
    by_value = {env_id: base64.b64encode(value).decode() for env_id, value in define.items() if value}
    return json.dumps({"tasks": tasks, "items": items, "define": by_value}).encode()


class LocalWorker:
    """One subprocess and the pipes to it."""

    def __init__(self, memory_mb: int) -> None:
        self._page: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        self._page.write(wire.EMPTY_PROGRESS)
        self._page.flush()
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        read_end, write_end = os.pipe()
        command = [
            sys.executable,
            "-m",
            "rlvr.scoring_worker",
            str(write_end),
            str(self._page.fileno()),
            str(memory_mb),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._stderr,
            stderr=self._stderr,
            pass_fds=(write_end, self._page.fileno()),
            env=environment,
            start_new_session=True,
        )
        os.close(write_end)
        self._results = read_end
        self._buffer = bytearray()
        self._defined: set[str] = set()
        ready = self.receive(START_TIMEOUT_S)
        if ready is None or not ready:
            words = self.last_words()
            self.kill()
            raise EnvironmentFault(
                f"a scoring worker did not start within {START_TIMEOUT_S:g} s ({words}); nothing was scored"
            )

    def send(self, chunk: list[Item]) -> None:
        self.send_frame(chunk_frame(chunk, self._defined))

    def send_frame(self, frame: bytes) -> None:
        """As `send`, for a chunk that was written out already."""
        self._page.seek(0)
        self._page.write(wire.EMPTY_PROGRESS)
        self._page.flush()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(wire.LENGTH.pack(len(frame)) + frame)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; receive() will say so

    def progress(self) -> tuple[int, float]:
        """Which item of the chunk it is on, and since when on the monotonic clock; (-1, 0.0) before the first."""
        return wire.PROGRESS.unpack(os.pread(self._page.fileno(), wire.PROGRESS.size, 0))

    def receive(self, timeout_s: float) -> list[tuple[int, str, Any]] | None:
        """Results that have come in, an empty list after `timeout_s` without any, None if the process is gone."""
        readable, _, _ = select.select([self._results], [], [], timeout_s)
        if readable:
            data = os.read(self._results, 1 << 20)
            if not data:
                return None
            self._buffer += data
        results: list[tuple[int, str, Any]] = []
        while (end := self._buffer.find(b"\n")) >= 0:
            results.extend(tuple(result) for result in json.loads(self._buffer[:end]))
            del self._buffer[: end + 1]
        return results

    def last_words(self) -> str:
        """How it ended and the last line it wrote to its standard error."""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            code = None
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 2000))
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        return f"exit code {code}" + (f"; {lines[-1][:200]}" if lines else "")

    def kill(self) -> None:
        """End it and whatever it started."""
        try:
            os.killpg(self._process.pid, 9)
        except (ProcessLookupError, PermissionError):
            pass
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        os.close(self._results)
        self._page.close()
        self._stderr.close()
