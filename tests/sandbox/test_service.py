"""The pool behind HTTP, over real sockets, and the client that asks several of them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from rlvr.errors import ConfigError, SandboxUnavailableError
from rlvr_sandbox import Limits, Pool

pytest.importorskip("starlette", reason="the extra `view` is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="the extra `view` is not installed")
httpx = pytest.importorskip("httpx", reason="the extra `view` is not installed")

from rlvr_sandbox.client import Client  # noqa: E402
from rlvr_sandbox.docker import container_command  # noqa: E402
from rlvr_sandbox.service import make_app  # noqa: E402

TESTS = {"kind": "function", "entry": "f", "cases": [{"args": [1], "expected": (1, {2})}]}


@pytest.fixture(scope="module")
def urls() -> Iterator[list[str]]:
    servers, addresses = [], []
    with Pool(1) as first, Pool(1) as second:
        for pool in (first, second):
            listener = socket.create_server(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(make_app(pool, "secret"), log_level="error"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            servers.append((server, thread))
            addresses.append(f"http://127.0.0.1:{listener.getsockname()[1]}")
        while not all(server.started for server, _ in servers):
            time.sleep(0.01)
        yield addresses
        for server, thread in servers:
            server.should_exit = True
            thread.join()


def test_a_client_gets_what_a_pool_gives(urls: list[str]) -> None:
    with Client(urls, "secret") as client, Pool(1) as pool:
        code = "def f(n): return (n, {2})"
        assert client.judge(code, TESTS) == pool.judge(code, TESTS)
        assert client.judge("def f(n): return [n, {2}]", TESTS).reward == 0.0  # a tuple is still one on the other side
        outcome = client.run("print(input())", "x", Limits(timeout_s=2))
        assert (outcome.verdict, outcome.stdout) == ("OK", "x\n")


def test_bad_requests_and_strangers_are_refused(urls: list[str]) -> None:
    with Client(urls, "secret") as client, pytest.raises(ConfigError, match="kind 'none'"):
        client.judge("x", {"kind": "none"})
    with Client(urls, "wrong") as client, pytest.raises(SandboxUnavailableError, match="401"):
        client.run("print(1)")
    headers = {"authorization": "Bearer secret"}
    for body in (b"", b"[]", b"{", b'{"code": 1}', b'{"code": "x", "tests": {"h": 1}}', b"[" * 100_000):
        assert httpx.post(urls[0] + "/v1/judge", content=body, headers=headers).status_code == 400
    assert httpx.get(urls[0] + "/v1/health").status_code == 401
    health = httpx.get(urls[0] + "/v1/health", headers=headers).json()
    assert health["workers"] == 1
    assert health["level"] in ("bwrap", "namespaces", "landlock")
    with Pool(1) as pool, pytest.raises(ConfigError, match="token is empty"):
        make_app(pool, "")


def test_a_service_that_is_gone_is_replaced_by_another(urls: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client([dead, urls[0]], "secret") as client:
        assert client.run("print(1)").stdout == "1\n"
    with Client([dead], "secret") as client, pytest.raises(SandboxUnavailableError, match="no sandbox service"):
        client.run("print(1)")


def test_both_services_share_the_work(urls: list[str]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    code = "import time\ntime.sleep(0.3)\nprint(1)"
    with Client(urls, "secret") as client, ThreadPoolExecutor(4) as executor:
        client.run("print(1)")
        assert [outcome.stdout for outcome in executor.map(client.run, [code] * 4)] == ["1\n"] * 4
        assert max(client._load.values()) <= 1


def test_the_container_gets_its_runtime_and_no_token_on_its_command_line() -> None:
    command = container_command("rlvr:latest", runtime="runsc", port=9000, workers=4, minimum="namespaces")
    assert command[command.index("--runtime") + 1] == "runsc"
    assert "127.0.0.1:9000:8321" in command
    assert "--read-only" in command
    assert command[command.index("--env") + 1] == "RLVR_SANDBOX_TOKEN"


def test_ray_actors_judge_as_a_pool_does() -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    from rlvr_sandbox.ray_pool import RayPool

    pool = RayPool(2)
    try:
        assert pool.judge("def f(n): return (n, {2})", TESTS).reward == 1.0
        with pytest.raises(ConfigError):
            pool.judge("x", {"kind": "none"})
    finally:
        pool.close()
