"""A pool behind HTTP: a stateless worker that a client anywhere may ask (extra `view`: Starlette, uvicorn).

    POST /v1/run     {"code", "stdin", "limits": {...}, "language"}                     -> Outcome
    POST /v1/judge   {"code", "tests", "timeout_s", "memory_mb", "language"}            -> Score
    GET  /v1/health                                                                      -> level, workers, queue depth

Values in `tests` travel in the codec of `guest/codec.py`, so that tuples stay tuples. Every answer has the queue depth in
`x-queue-depth`. Status 400: the request is wrong. 401: no or another token. 503: the sandbox could not do it; ask again or
elsewhere.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rlvr.errors import ConfigError, SandboxUnavailableError
from rlvr_sandbox.guest import codec
from rlvr_sandbox.limits import Limits
from rlvr_sandbox.pool import Pool

DEFAULT_PORT = 8321
_MAX_BODY_BYTES = 64 << 20


def make_app(pool: Pool, token: str) -> Starlette:
    """The service over `pool` for those who know `token`. Raises ConfigError if the token is empty."""
    if not token:
        raise ConfigError("the token is empty, so anybody could run programs here; nothing was started")

    async def run(body: dict[str, Any]) -> dict[str, Any]:
        limits = Limits(**body.get("limits", {}))
        outcome = await pool.run_async(
            body["code"], body.get("stdin", ""), limits, language=body.get("language", "python")
        )
        return outcome.to_dict()

    async def judge(body: dict[str, Any]) -> dict[str, Any]:
        tests = codec.decode(body["tests"], _no_object)
        options = {name: body[name] for name in ("timeout_s", "memory_mb", "language") if name in body}
        return (await pool.judge_async(body["code"], tests, **options)).to_dict()

    def answering(
        work: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]],
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if (refusal := _refusal(request, token)) is not None:
                return refusal
            try:
                body = json.loads(await _body(request))
                if not isinstance(body, dict) or not isinstance(body.get("code"), str):
                    raise ConfigError("the body must be a JSON object with a text `code`")
                return _json(pool, await work(body))
            except SandboxUnavailableError as error:
                return _json(pool, {"error": str(error)}, 503)
            except (ConfigError, ValueError, TypeError, KeyError, RecursionError) as error:
                return _json(pool, {"error": f"{type(error).__name__}: {error}"}, 400)

        return answer

    async def health(request: Request) -> Response:
        refusal = _refusal(request, token)
        facts = {"workers": pool.workers, "queue_depth": pool.queue_depth, "trouble": pool.trouble}
        return refusal if refusal is not None else _json(pool, {**facts, "level": pool.level})

    return Starlette(
        routes=[
            Route("/v1/run", answering(run), methods=["POST"]),
            Route("/v1/judge", answering(judge), methods=["POST"]),
            Route("/v1/health", health),
        ]
    )


def _refusal(request: Request, token: str) -> Response | None:
    given = request.headers.get("authorization", "").encode()
    if hmac.compare_digest(given, f"Bearer {token}".encode()):
        return None
    return JSONResponse({"error": "no token, or another one"}, 401)


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MAX_BODY_BYTES:
            raise ConfigError(f"the request is larger than {_MAX_BODY_BYTES} bytes")
    return bytes(data)


def _json(pool: Pool, content: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(content, status, headers={"x-queue-depth": str(pool.queue_depth)})


def _no_object(value: Any) -> Any:
    raise ConfigError("the tests hold an object that is no plain value")
