"""MCP in both directions: a world's tools served, and a server's tools used, over memory and over pipes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import rlvr
from rlvr.errors import ConfigError, EnvironmentFault
from rlvr.verifiers.toolcall import write

pytest.importorskip("mcp", reason="the extra mcp is not installed")

from mcp.server import MCPServer

from rlvr_envs.tools.mcp_client import MCPSession, MCPTools
from rlvr_envs.tools.mcp_server import ServedWorld, build, open_world


def test_a_served_world_shows_its_tools_and_nothing_else() -> None:
    _, session = open_world("tools/bank-v0", 0, "train", 0, None)
    world = ServedWorld(session)
    with MCPTools(build(world, "bank")) as tools:
        names = set(tools.tools.names)
        assert names == {tool.name for tool in session.world.tools} | {"submit"}
        assert not any(word in name for name in names for word in ("reset", "state", "score", "reward"))
        assert json.loads(tools.call("accounts", {}))
        assert "$.amount is missing" in tools.call("transfer", {"source": "a", "target": "b"})
        assert tools.call("transfer", {"source": "zz", "target": "A000", "amount": 1}).startswith(
            "error: there is no account"
        )
        for call in session.scenario.plan[:-1]:
            assert not tools.call(call["name"], call["arguments"]).startswith("error")
        assert world.score is None
        assert tools.call("submit", session.scenario.plan[-1]["arguments"]) == "submitted"
        assert tools.call("accounts", {}) == "error: the episode has ended"
    assert world.score is not None
    assert world.score.correct


def test_arguments_are_checked_strictly_before_they_are_sent() -> None:
    server = MCPServer("calculator")
    seen: list[Any] = []

    @server.tool()
    def double(x: int) -> int:
        seen.append(x)
        return 2 * x

    with MCPTools(server) as tools:
        for wrong in ({"x": "5"}, {"x": True}, {"x": 5.5}, {"x": 5, "y": 1}, {}):
            assert tools.call("double", wrong).startswith("error: double: $.")
        assert seen == []
        assert tools.call("double", {"x": 5}) == "10"
        assert tools.call("triple", {}).startswith("error: unknown tool 'triple'")


def test_a_tool_that_fails_is_a_message_and_one_that_hangs_is_a_fault() -> None:
    server = MCPServer("bad")

    @server.tool()
    def fail() -> str:
        raise ValueError("no luck")

    @server.tool()
    async def hang() -> str:
        import asyncio

        await asyncio.sleep(60)
        return ""

    with MCPTools(server, timeout_s=0.5) as tools:
        assert "no luck" in tools.call("fail", {}) or tools.call("fail", {}).startswith("error:")
        with pytest.raises(EnvironmentFault, match=r"did not answer within 0\.5 s"):
            tools.call("hang", {})


def test_a_server_that_cannot_be_started_is_a_fault_with_a_name() -> None:
    with pytest.raises(EnvironmentFault, match="did not start"):
        MCPTools([sys.executable, "-c", "raise SystemExit(3)"], start_timeout_s=10)


def test_serving_wants_a_world() -> None:
    with pytest.raises(ConfigError, match="no world"):
        open_world("tools/call-v0", 0, "train", 0, None)


def test_an_environment_can_be_made_of_a_servers_tools() -> None:
    def counter() -> MCPServer:
        server = MCPServer("counter")
        count = [0]

        @server.tool()
        def add(n: int) -> int:
            count[0] += n
            return count[0]

        return server

    with MCPTools(counter()) as tools:
        shown = tools.definitions

    class Counting(MCPSession):
        definitions = shown

        def server(self, **knobs: Any) -> MCPServer:
            return counter()

        def prompt(self, rng: Any, **knobs: Any) -> list[dict[str, Any]]:
            self.goal = rng.randrange(5, 9)
            return [{"role": "user", "content": f"Bring the counter to {self.goal}."}]

        def judge(self, text: str, tools: MCPTools) -> rlvr.Score:
            return rlvr.Score(float(tools.call("add", {"n": 0}) == str(self.goal)))

    spec = rlvr.register("x/counting-v0", max_turns=4)(Counting)
    task = spec.task(0)
    goal = int(task.text.split()[-1].rstrip("."))
    one, rest = (write([{"name": "add", "arguments": {"n": n}}]) for n in (1, goal - 1))
    assert spec.judge_turns(task, [one, rest, "Done."]).correct
    assert not spec.judge_turns(task, [one, "Done."]).correct
    assert not spec.judge_turns(task, [one, one + "<tool_call>{", "Done."]).correct


@pytest.mark.slow
def test_a_world_is_served_over_pipes_and_writes_its_score_when_the_client_has_gone(tmp_path: Path) -> None:
    task, session = open_world("tools/sheet-v0", 2, "train", 0, 0)
    command = "from rlvr_envs.tools.mcp_server import app; app()"
    files = ["--prompt-file", str(tmp_path / "prompt.json"), "--score-file", str(tmp_path / "score.json")]
    words = [sys.executable, "-c", command, "serve", "tools/sheet-v0", "--index", "2", "--level", "0", *files]
    with MCPTools(words, start_timeout_s=90) as tools:
        for call in session.scenario.plan:
            tools.call(call["name"], call["arguments"])
    assert rlvr.Score.from_json((tmp_path / "score.json").read_text()).correct
    prompt = json.loads((tmp_path / "prompt.json").read_text())
    assert (prompt["key"], prompt["data"], prompt["answer"]) == (task.key, None, None)
