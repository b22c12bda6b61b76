"""Serve the tools of a world over MCP (extra `mcp`, version 2), and `rlvr tools serve`.

Only tools go over the wire. The start of an episode, its state and its reward stay on this side: no tool resets, shows or
scores anything, and `submit` is answered by a plain word.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import rlvr
from rlvr.errors import ConfigError
from rlvr.score import Score
from rlvr.spec import SessionSpec
from rlvr.verifiers.toolcall.calls import ParsedCall
from rlvr_envs.tools.session import WorldSession

if TYPE_CHECKING:
    from mcp.server import Server

ENDED = "the episode has ended"
app = typer.Typer(help="Worlds where tools act.", no_args_is_help=True)


class ServedWorld:
    """One episode whose tools an MCP client calls; `score` is None until it has ended."""

    def __init__(self, session: WorldSession) -> None:
        self.session = session
        self.score: Score | None = None

    def call(self, name: str, arguments: dict[str, Any]) -> tuple[str, bool]:
        """The text of the result, and whether it is an error."""
        if self.score is not None:
            return ENDED, True
        result = self.session.act(ParsedCall(name, arguments))
        if isinstance(result, Score):
            self.score = result
            return "submitted", False
        return result, result.startswith("error:")


def open_world(env_id: str, index: int, split: str, seed: int, level: int | None) -> tuple[rlvr.Task, WorldSession]:
    """A task of a world and its episode. Raises ConfigError if the id is no world."""
    spec = rlvr.spec(env_id)
    task = rlvr.tasks(env_id, split, n=index + 1, seed=seed, level=level)[index]
    session = spec.open(task) if isinstance(spec, SessionSpec) else None
    if not isinstance(session, WorldSession):
        raise ConfigError(f"{env_id} is no world with tools; serve one such as tools/files-v0")
    return task, session


def build(world: ServedWorld, name: str) -> Server[Any]:
    """An MCP server for the tools of one episode. Raises ConfigError if the extra is not installed."""
    try:
        from mcp import types
        from mcp.server import Server
    except ImportError as fault:
        raise ConfigError(
            f"serving tools needs the package mcp, version 2: pip install 'rlvr[mcp]' ({fault})"
        ) from fault

    async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
        tools = [
            types.Tool(name=each["name"], description=each.get("description", ""), input_schema=each["parameters"])
            for each in (tool["function"] for tool in world.session.disguise.definitions)
        ]
        return types.ListToolsResult(tools=tools)

    async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        text, is_error = world.call(params.name, dict(params.arguments or {}))
        return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=is_error)

    return Server(name, on_list_tools=list_tools, on_call_tool=call_tool)


@app.command("serve")
def serve(
    env_id: Annotated[str, typer.Argument(help="A world, such as tools/bank-v0.")],
    index: Annotated[int, typer.Option(help="Which task of the stream.")] = 0,
    split: str = "train",
    seed: int = 0,
    level: Annotated[int | None, typer.Option(help="Difficulty level.")] = None,
    prompt_file: Annotated[Path | None, typer.Option(help="Write the prompt here, as JSON.")] = None,
    score_file: Annotated[Path | None, typer.Option(help="Write the Score here when the client has gone.")] = None,
) -> None:
    """Serve one episode's tools over MCP on standard input and output; the Score is written when the client has gone."""
    import anyio

    task, session = open_world(env_id, index, split, seed, level)
    world = ServedWorld(session)
    server = build(world, env_id)
    if prompt_file is not None:
        prompt_file.write_text(task.public().to_json() + "\n", encoding="utf-8")

    async def run() -> None:
        from mcp.server.stdio import stdio_server

        async with stdio_server() as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())

    anyio.run(run)
    score = world.score or session.leave()
    if score_file is not None:
        score_file.write_text(score.to_json() + "\n", encoding="utf-8")
    print(f"{task.id}: reward {score.reward:g} ({score.reason})", file=sys.stderr)


@app.callback()
def main() -> None:
    """Worlds where tools act."""
