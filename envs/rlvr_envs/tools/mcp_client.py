"""Use any MCP server's tools inside an environment (extra `mcp`, version 2).

Servers built with the SDK coerce arguments and drop those they do not know, so calls are checked against the tool's schema
before they are sent, strictly. Each episode has a connection of its own, in a thread that this object owns. A call that takes
too long, or a server that is gone, is a fault of the environment and not of the model; a write is never repeated.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from rlvr.errors import ConfigError, EnvironmentFault
from rlvr.score import Score
from rlvr.task import Message, Task
from rlvr.verifiers.toolcall import ParsedCall, check_call, parse
from rlvr.verifiers.toolcall.schema import ToolSet

MAX_RESULT_CHARS = 4_000
ResultT = TypeVar("ResultT")


class MCPTools:
    """A connection to one MCP server: its tools as OpenAI definitions, and calls to them.

    `server` is a command (a list of words, started as a subprocess), a URL, or an `mcp.server.Server` of this process.
    Use it as a context manager or call `close()`. Raises EnvironmentFault if the server cannot be reached in
    `start_timeout_s`, or does not answer a call within `timeout_s`.
    """

    def __init__(self, server: Any, *, timeout_s: float = 10.0, start_timeout_s: float = 30.0) -> None:
        try:
            import mcp
        except ImportError as fault:
            raise ConfigError(
                f"MCP tools need the package mcp, version 2: pip install 'rlvr[mcp]' ({fault})"
            ) from fault
        if isinstance(server, list | tuple):
            server = mcp.StdioServerParameters(command=server[0], args=list(server[1:]))
        self.timeout_s = timeout_s
        self._name = str(server)[:200]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._client: Any = None
        started: concurrent.futures.Future[list[dict[str, Any]]] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=self._run, args=(mcp.Client, server, started), name="rlvr-mcp", daemon=True
        )
        self._thread.start()
        try:
            self.definitions = started.result(start_timeout_s)
        except Exception as fault:  # whatever the transport raises, there is no server to call
            self.close()
            raise EnvironmentFault(
                f"the MCP server {self._name} did not start within {start_timeout_s:g} s ({type(fault).__name__}: {fault}); "
                "the episode has no reward"
            ) from fault
        self.tools = ToolSet(self.definitions)

    def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        """The text that the tool answers, `error: ` in front if the call breaks its schema or the server says so."""
        problem = check_call(ParsedCall(name, dict(arguments)), self.tools)
        if problem:
            return f"error: {problem}"
        result = self._wait(self._client.call_tool(name, dict(arguments)), f"the tool {name!r}")
        parts = [getattr(part, "text", None) or f"[{getattr(part, 'type', 'data')}]" for part in result.content]
        text = "\n".join(parts) or json.dumps(getattr(result, "structured_content", None))
        text = text if not result.is_error else f"error: {text.removeprefix('error: ')}"
        return text if len(text) <= MAX_RESULT_CHARS else text[:MAX_RESULT_CHARS] + "... (cut)"

    def close(self) -> None:
        """End the connection, and the server if it was started by it."""
        if self._loop.is_closed():
            return
        try:
            self._loop.call_soon_threadsafe(self._stop.set)
        except RuntimeError:  # the loop ended between the two lines
            return
        self._thread.join(timeout=10)

    def __enter__(self) -> MCPTools:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, ResultT], what: str) -> ResultT:
        try:
            return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, self.timeout_s), self._loop).result()
        except Exception as fault:  # a time-out, a broken pipe, a protocol error: none of them the model's doing
            raise EnvironmentFault(
                f"{what} of the MCP server {self._name} did not answer within {self.timeout_s:g} s or failed "
                f"({type(fault).__name__}: {fault}); it may have acted, so it is not called again and the episode has no reward"
            ) from fault

    def _run(self, client: Any, server: Any, started: concurrent.futures.Future[list[dict[str, Any]]]) -> None:
        async def live() -> None:
            async with client(server) as self._client:
                started.set_result([_definition(tool) for tool in (await self._client.list_tools()).tools])
                await self._stop.wait()

        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(live())
        except BaseException as fault:  # also what the task group of the transport raises at its end
            if not started.done():
                started.set_exception(fault)
        finally:
            self._loop.close()


def _definition(tool: Any) -> dict[str, Any]:
    schema = {"additionalProperties": False, **dict(tool.input_schema)}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description or "", "parameters": schema},
    }


class MCPSession:
    """An episode whose tools are an MCP server's. Subclass it and register it with `max_turns`.

    `server(**knobs)` says what to connect to, fresh for each episode; `prompt(rng, **knobs)` gives the first messages and
    `judge(text, tools)` the Score once the model has made its last turn, one without calls. The connection is opened at the first
    turn, so that drawing tasks costs none.
    """

    format = "hermes"
    definitions: Sequence[Mapping[str, Any]] = ()
    """The tools to show; read once from a server by `MCPTools(...).definitions`."""

    def server(self, **knobs: Any) -> Any:
        """A command, a URL or a server object."""
        raise NotImplementedError

    def prompt(self, rng: Any, **knobs: Any) -> list[Message]:
        """The first messages."""
        raise NotImplementedError

    def judge(self, text: str, tools: MCPTools) -> Score:
        """The verdict, from the last message and whatever the server's tools show."""
        raise NotImplementedError

    def start(self, rng: Any, **knobs: Any) -> Task:
        """The task; nothing is connected yet."""
        self._knobs = knobs
        self._tools: MCPTools | None = None
        self._shown = ToolSet(self.definitions)
        return Task(self.prompt(rng, **knobs), tools=list(self.definitions))

    def turn(self, text: str) -> list[Message] | Score:
        """Carry out one turn: calls one after another, each answered; a turn without calls ends the episode."""
        if self._tools is None:
            self._tools = MCPTools(self.server(**self._knobs))
        parsed = parse(text, self.format, self._shown)
        if not parsed.calls:
            try:
                return self.judge(text, self._tools)
            finally:
                self._tools.close()
        replies: list[Message] = []
        for call in parsed.calls:
            problem = "" if call.ok else check_call(call, self._shown)
            result = f"error: {problem}" if problem else self._tools.call(call.name, call.arguments)
            replies.append({"role": "tool", "name": call.name or "unknown", "content": result})
        return replies
