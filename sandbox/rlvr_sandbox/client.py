"""Asks sandbox services for what a pool does here (extra `view`: httpx)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from rlvr.errors import ConfigError, SandboxUnavailableError
from rlvr.score import Score
from rlvr_sandbox.guest import codec
from rlvr_sandbox.limits import Limits, Outcome

_ATTEMPTS = 3


class Client:
    """`run` and `judge` on the least loaded of several services (`service.py`).

    A request is tried again, on another service where there is one, only if the sandbox failed or the service could not
    be reached; a verdict is never asked for twice. `deadline_s` bounds each attempt. Safe for threads.
    """

    def __init__(self, urls: Sequence[str], token: str, *, deadline_s: float = 120.0) -> None:
        if isinstance(urls, str) or not urls:
            raise ConfigError(f"urls is {urls!r}; it must be a list of addresses such as 'http://127.0.0.1:8321'")
        self._load = {url.rstrip("/"): 0 for url in urls}
        self._lock = threading.Lock()
        self._http = httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=deadline_s)

    def run(self, code: str, stdin: str = "", limits: Limits | None = None, *, language: str = "python") -> Outcome:
        """As `Pool.run`."""
        limits = limits or Limits()
        body = {
            "code": code,
            "stdin": stdin,
            "limits": {name: getattr(limits, name) for name in limits.__slots__},
            "language": language,
        }
        return Outcome(**self._ask("/v1/run", body))

    def judge(
        self,
        code: str,
        tests: Mapping[str, Any],
        timeout_s: float = 5.0,
        memory_mb: int = 512,
        *,
        language: str = "python",
    ) -> Score:
        """As `Pool.judge`."""
        body = {
            "code": code,
            "tests": codec.encode(dict(tests), _no_object),
            "timeout_s": timeout_s,
            "memory_mb": memory_mb,
            "language": language,
        }
        return Score.from_dict(self._ask("/v1/judge", body))

    async def run_async(self, *args: Any, **kwargs: Any) -> Outcome:
        """`run` for coroutines."""
        return await asyncio.to_thread(self.run, *args, **kwargs)

    async def judge_async(self, *args: Any, **kwargs: Any) -> Score:
        """`judge` for coroutines."""
        return await asyncio.to_thread(self.judge, *args, **kwargs)

    def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        tried: list[str] = []
        trouble = ""
        for _ in range(_ATTEMPTS):
            url = self._enter(tried)
            depth = 0
            try:
                response = self._http.post(url + path, json=body)
                depth = int(response.headers.get("x-queue-depth", 0))
                if response.status_code == 200:
                    answer: dict[str, Any] = response.json()
                    return answer
                trouble = f"{url} answered {response.status_code}: {response.text[:300]}"
                if response.status_code == 400:
                    raise ConfigError(f"a sandbox service refused the request: {trouble}. There is no verdict.")
                if response.status_code != 503:
                    break
            except httpx.TransportError as error:
                trouble = f"{url}: {type(error).__name__}: {error}"
            finally:
                self._leave(url, depth)
            tried.append(url)
        raise SandboxUnavailableError(
            f"no sandbox service could do it; last: {trouble}. There is no verdict on the program. "
            "Check the addresses, the token and /v1/health of the services."
        )

    def _enter(self, tried: list[str]) -> str:
        """The service with the shortest queue that we know of, those already tried last."""
        with self._lock:
            url = min(self._load, key=lambda url: (tried.count(url), self._load[url]))
            self._load[url] += 1
            return url

    def _leave(self, url: str, depth: int) -> None:
        with self._lock:
            # What the service says of itself counts others' requests, too; ours still under way are in it.
            self._load[url] = max(self._load[url] - 1, depth, 0) if depth else max(self._load[url] - 1, 0)

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _no_object(value: Any) -> Any:
    raise ConfigError(f"the tests hold a {type(value).__name__}; only plain values can be sent")
