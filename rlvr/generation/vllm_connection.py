"""What is said to a vLLM server over HTTP, and what its answers and its silence mean."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.vllm_process import ServerProcess

REQUESTS = 64
"""Requests at a time."""


class ServerConnection:
    """Asks one server. Thread-safe."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """Opens nothing yet; `timeout_s` bounds one request."""
        import httpx

        self.url = url.rstrip("/")
        self.process: ServerProcess | None = None
        """The server, if it was started here: its last words explain its silence."""
        # Some more than there are requests, so that a question about its health need not wait for an answer to end.
        limits = httpx.Limits(max_connections=REQUESTS + 8, max_keepalive_connections=REQUESTS)
        self.client = httpx.Client(base_url=self.url, timeout=httpx.Timeout(timeout_s, connect=5.0), limits=limits)
        self._lost_adapter = False

    @property
    def host(self) -> str:
        """The server's machine."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach that address."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def get(self, path: str) -> Any:
        """The JSON that is there. Raises as `post` does."""
        return self._ask("GET", path)

    def post(self, path: str, **body: Any) -> Any:
        """The JSON that it answers to `body`.

        Raises EngineError if it does not answer or refuses, ConfigError for a route that it does not have.
        """
        return self._ask("POST", path, body)

    def healthy(self, timeout_s: float) -> bool:
        """Whether it answers within `timeout_s` that it and its workers run, and has what it was given."""
        import httpx

        if self._lost_adapter or (self.process is not None and not self.process.running):
            return False
        try:
            return bool(self.client.get("/health", timeout=timeout_s).status_code == 200)
        except (httpx.HTTPError, RuntimeError):  # a client that was closed raises RuntimeError
            return False

    def close(self) -> None:
        """Ask nothing any more; calling it twice is harmless."""
        self.client.close()

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        import httpx

        # The server closes a connection on which it failed, and may do so only after the next request was sent on it.
        closed = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
        try:
            try:
                reply = self.client.request(method, path, json=body or None)
            except closed:
                reply = self.client.request(method, path, json=body or None)
        except (httpx.TransportError, RuntimeError) as fault:
            if not isinstance(fault, httpx.TransportError) and not self.client.is_closed:
                raise
            last = f" Its last words: {self.process.last_words()}" if self.process is not None else ""
            raise EngineError(
                f"the vLLM server {self.url} does not answer ({type(fault).__name__} at {path}).{last} "
                "Check that it runs; nothing of this call was kept."
            ) from fault
        if reply.status_code == 404 and body is not None and "model" in body:
            self._lost_adapter = True
            raise EngineError(
                f"the vLLM server {self.url} has lost the adapter it was given: it was restarted. Nothing of this call was kept."
            )
        if reply.status_code == 404 and path != "/version":
            adapters = " and, for adapters, VLLM_ALLOW_RUNTIME_LORA_UPDATING=1" if "lora" in path else ""
            raise ConfigError(
                f"the vLLM server {self.url} has no route {path}. Start it with VLLM_SERVER_DEV_MODE=1, --enable-scale-out"
                f"{adapters}."
            )
        if reply.status_code >= 300:
            raise EngineError(
                f"the vLLM server {self.url} answered {path} with {reply.status_code}: {reply.text[:400]}"
            )
        return reply.json() if "json" in reply.headers.get("content-type", "") else {}
