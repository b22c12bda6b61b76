"""A vLLM API server as a child of this process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from rlvr.generation import vllm_support as support

_LAUNCHERS = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT"}
"""What torchrun tells a rank of the learner; a server that read it would wait for the other ranks."""


class ServerProcess:
    """One server on a free port of the loopback. It ends with `stop`, or when this process ends, however that happens."""

    def __init__(
        self,
        path: str | Path,
        flags: list[str],
        gpus: Sequence[int] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start it. `path` is the model, for messages; `gpus` are those it may use (default: all that this process sees).

        `variables` are set in its environment beside those that every server gets.
        """
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._path = path
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the server)
        environment = {**support.server_environment(), **os.environ, "VLLM_SERVER_DEV_MODE": "1", **(variables or {})}
        if gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = support.visible_devices(gpus)
        environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)  # that of an engine in this process
        for name in [name for name in environment if name in _LAUNCHERS or name.startswith("TORCHELASTIC_")]:
            del environment[name]
        command = [
            sys.executable,
            "-m",
            "rlvr.generation.vllm_launch",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            *flags,
        ]
        self._shared_memory: set[Path] = set()
        """What it holds in shared memory, which stays there if the server is killed."""
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self._log, stderr=self._log, env=environment, start_new_session=True
        )

    @property
    def running(self) -> bool:
        """False once the server's first process has ended."""
        return self._process.poll() is None

    def wait_until_healthy(self, timeout_s: float) -> None:
        """Raises ConfigError with the server's last words if it ends, or is not healthy in time."""
        import httpx

        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise support.start_failure(self._path, self.last_words())
            try:
                if httpx.get(f"{self.url}/health", timeout=2.0).status_code == 200:
                    self._shared_memory = _shared_memory_of(self._process.pid)
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        words = f"not healthy after {timeout_s:g} s (raise start_timeout_s for a slow machine); {self.last_words()}"
        raise support.start_failure(self._path, words)

    def last_words(self) -> str:
        """The last line it wrote that names an error, or else its last line."""
        if self._log.closed:
            return "it was stopped"
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - 20_000))
        lines = [line.strip() for line in self._log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if "Error" in line and "Traceback" not in line and "File " not in line]
        return (errors or lines or ["nothing"])[-1][-400:]

    def stop(self) -> None:
        """End it and every process it started."""
        assert self._process.stdin is not None
        for end in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, end)
            except ProcessLookupError:
                break
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                continue
        try:
            os.killpg(self._process.pid, signal.SIGKILL)  # workers that outlived the server
        except ProcessLookupError:
            pass
        self._process.wait()
        for path in self._shared_memory:
            path.unlink(missing_ok=True)
        self._process.stdin.close()
        self._log.close()


def _shared_memory_of(group: int) -> set[Path]:
    """Files in /dev/shm that processes of this group have mapped; nothing where there is no /proc."""
    found: set[Path] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == group:
                lines = (process / "maps").read_text().splitlines()
                found |= {Path(line.split(maxsplit=5)[5]) for line in lines if "/dev/shm/" in line}
        except OSError:  # it ended meanwhile
            continue
    return {path for path in found if path.exists()}
