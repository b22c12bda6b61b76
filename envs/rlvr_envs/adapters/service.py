"""Scoring over HTTP, for trainers in other processes, languages or machines: `rlvr serve`.

    GET  /health                 {"ok": true, "waiting": 0}
    GET  /envs                   {"environments": [...]}
    POST /tasks                  {"env_id", "split", "n", "seed", "level", "knobs"}   -> {"tasks": [...]}
    POST /score                  {"items": [{"task": {...}, "text": "..."}]}          -> {"scores": [...]}

Requests are limited in size and number; every answer is scored in a process that is killed on time. A bad request gets a
4xx with a sentence; a failed verifier is a Score with `error`, not a status. Beyond this machine a token is required.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

import rlvr
from rlvr.errors import ConfigError, RlvrError
from rlvr.scoring import ScoringPool
from rlvr.task import Task

MAX_BODY = 4 << 20
MAX_ITEMS = 4096
MAX_WAITING = 65_536
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def make_app(pool: ScoringPool, token: str | None = None) -> Any:
    """The Starlette application over a scoring pool (extra `view`)."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    waiting = 0

    async def body_of(request: Request) -> dict[str, Any]:
        data = b""
        async for part in request.stream():
            data += part
            if len(data) > MAX_BODY:
                raise _Refused(413, f"the request is larger than {MAX_BODY >> 20} MiB; send fewer items at a time")
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as fault:
            raise _Refused(400, f"the request is no JSON: {fault}") from fault
        if not isinstance(value, dict):
            raise _Refused(400, "the request must be a JSON object")
        return value

    def endpoint(answer: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if token is not None and not hmac.compare_digest(given.encode(), token.encode()):
                return JSONResponse({"error": "a valid bearer token is required"}, 401)
            try:
                return JSONResponse(await answer(request))
            except _Refused as refused:
                return JSONResponse({"error": str(refused)}, refused.status)
            except LookupError as fault:
                return JSONResponse({"error": str(fault)}, 404)
            except (ConfigError, RlvrError) as fault:
                return JSONResponse({"error": str(fault)}, 400 if isinstance(fault, ConfigError) else 500)

        return handle

    async def health(request: Request) -> Any:
        return {"ok": True, "waiting": waiting, "scored": pool.num_scored, "faults": pool.num_faults}

    async def envs(request: Request) -> Any:
        return {"environments": rlvr.list_envs()}

    async def tasks(request: Request) -> Any:
        asked = await body_of(request)
        n = asked.get("n", 1)
        if not isinstance(n, int) or not 1 <= n <= MAX_ITEMS:
            raise _Refused(400, f"n is {n!r}; ask for 1 to {MAX_ITEMS} tasks")
        knobs = asked.get("knobs", {})
        if not isinstance(knobs, dict):
            raise _Refused(400, "knobs must be an object")
        made = await asyncio.to_thread(
            rlvr.tasks, str(asked.get("env_id")), str(asked.get("split", "train")), n, asked.get("seed", 0),
            level=asked.get("level"), **knobs,
        )  # fmt: skip
        return {"tasks": [task.to_dict() for task in made]}

    async def score(request: Request) -> Any:
        nonlocal waiting
        items = (await body_of(request)).get("items")
        if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
            raise _Refused(400, f"items must be a list of 1 to {MAX_ITEMS} objects with task and text")
        if waiting + len(items) > MAX_WAITING:
            raise _Refused(503, f"{waiting} items are waiting already; try again later")
        chosen = [_item(number, item) for number, item in enumerate(items)]
        waiting += len(items)
        try:
            scores = await pool.score_async([task for task, _ in chosen], [text for _, text in chosen])
        finally:
            waiting -= len(items)
        return {"scores": [score.to_dict() for score in scores]}

    return Starlette(
        routes=[
            Route("/health", endpoint(health)),
            Route("/envs", endpoint(envs)),
            Route("/tasks", endpoint(tasks), methods=["POST"]),
            Route("/score", endpoint(score), methods=["POST"]),
        ]
    )


class _Refused(Exception):
    def __init__(self, status: int, says: str) -> None:
        super().__init__(says)
        self.status = status


def _item(number: int, item: Any) -> tuple[Task, str | list[str]]:
    if not isinstance(item, dict):
        raise _Refused(400, f"item {number} is no object")
    text = item.get("text")
    if not (isinstance(text, str) or (isinstance(text, list) and all(isinstance(turn, str) for turn in text))):
        raise _Refused(400, f"item {number} has no text, or list of turns, to score")
    try:
        task = Task.from_dict(item["task"])
        rlvr.spec(task.env_id)
    except (KeyError, TypeError, RlvrError) as fault:
        raise _Refused(400, f"item {number} has no task that can be judged: {fault}") from fault
    return task, text


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8770,
    token: Annotated[str | None, typer.Option(envvar="RLVR_TOKEN", help="Token that clients must send.")] = None,
    workers: Annotated[int, typer.Option(help="Scoring processes.")] = 2,
    timeout_s: Annotated[float, typer.Option(help="Seconds an item may take.")] = 5.0,
    openenv: Annotated[str | None, typer.Option(help="Serve episodes of this id over OpenEnv's protocol.")] = None,
) -> None:
    """Serve tasks and verdicts over HTTP. Beyond this machine it asks for a token."""
    if openenv is not None and host not in LOOPBACK:
        raise ConfigError(f"OpenEnv's protocol has no token, so {host} would be open to all; keep to 127.0.0.1")
    if host not in LOOPBACK and not token:
        raise ConfigError(f"host is {host}, which others can reach; set --token, or keep to 127.0.0.1")
    try:
        import uvicorn
    except ImportError as fault:
        raise ConfigError("serving needs Starlette and uvicorn: pip install 'rlvr[view]'") from fault
    with ScoringPool(workers, timeout_s) as pool:
        if openenv is None:
            app = make_app(pool, token)
        else:
            from rlvr_envs.adapters.openenv import make_openenv

            app = make_openenv(openenv, pool=pool)
        uvicorn.run(app, host=host, port=port, log_level="warning")
