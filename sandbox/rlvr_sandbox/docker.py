"""A sandbox service in a container, under gVisor (runsc) or any other runtime: a kernel of its own for the runs."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import subprocess
import time

from rlvr.errors import ConfigError, SandboxUnavailableError
from rlvr_sandbox.cli import TOKEN_VARIABLE
from rlvr_sandbox.client import Client
from rlvr_sandbox.service import DEFAULT_PORT

_START_TIMEOUT_S = 60.0


def container_command(image: str, *, runtime: str, port: int, workers: int, minimum: str) -> list[str]:
    """The `docker run` that starts a service; the token is handed over in the environment, not on the command line."""
    return [
        "docker", "run", "--detach", "--rm", "--init", "--runtime", runtime, "--read-only", "--tmpfs", "/tmp:exec",
        "--pids-limit", "4096", "--publish", f"127.0.0.1:{port}:{DEFAULT_PORT}", "--env", TOKEN_VARIABLE, image,
        "rlvr", "sandbox", "serve", "--host", "0.0.0.0", "--port", str(DEFAULT_PORT),
        "--workers", str(workers), "--minimum", minimum,
    ]  # fmt: skip


class DockerWorker:
    """A container with a service, and `client`, which talks to it. The image needs rlvr[view] and nothing else.

    Under `runsc` the runs share gVisor's kernel, not the host's. gVisor has no Landlock, so the level inside is
    "namespaces". Raises ConfigError without docker, SandboxUnavailableError if the service does not come up.
    """

    def __init__(self, image: str, *, runtime: str = "runsc", workers: int = 0, minimum: str = "namespaces") -> None:
        if shutil.which("docker") is None:
            raise ConfigError("docker is not installed; nothing was started")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        token = secrets.token_urlsafe(24)
        command = container_command(image, runtime=runtime, port=port, workers=workers, minimum=minimum)
        started = subprocess.run(command, capture_output=True, text=True, env=_environment(token))
        if started.returncode != 0:
            raise SandboxUnavailableError(f"docker did not start {image!r}: {started.stderr[-500:]}. Nothing was run.")
        self._container = started.stdout.strip()
        self.client = Client([f"http://127.0.0.1:{port}"], token)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                self.client.run("print(1)")
                return
            except SandboxUnavailableError:
                if time.monotonic() > deadline:
                    self.close()
                    raise
                time.sleep(0.5)

    def close(self) -> None:
        """Kills the container."""
        self.client.close()
        with contextlib.suppress(OSError):
            subprocess.run(["docker", "kill", self._container], capture_output=True)


def _environment(token: str) -> dict[str, str]:
    import os

    return {**os.environ, TOKEN_VARIABLE: token}
