"""Episodes over OpenEnv's protocol (needs the extra `openenv`: make exports)."""

import threading
import time

import pytest

import rlvr
from rlvr.errors import ConfigError

pytest.importorskip("openenv", reason="the extra openenv is not installed")

import openenv
import uvicorn

from rlvr_envs.adapters.openenv import make_openenv
from rlvr_envs.adapters.service import serve


@pytest.fixture(scope="module")
def pool():
    with rlvr.ScoringPool(1, 5.0) as pool:
        yield pool


@pytest.fixture
def client(pool):
    """A function that serves an environment and gives OpenEnv's own client for it."""
    servers = []

    def start(env_id):
        server = uvicorn.Server(uvicorn.Config(make_openenv(env_id, pool=pool), port=0, log_level="warning"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        servers.append((server, thread))
        return openenv.GenericEnvClient(
            base_url=f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        ).sync()

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join()


def test_a_single_turn_is_an_episode(client):
    task = rlvr.tasks("text/reverse-v0", "eval", 4)[3]
    with client("text/reverse-v0") as env:
        assert env.reset(index=3, split="eval").observation["text"] == task.text
        right = env.step({"text": f"<answer>{task.answer}</answer>"})
        assert (right.reward, right.done, right.observation["reason"]) == (1.0, True, "correct")
        assert task.answer not in str(env.state())
        with pytest.raises(Exception, match="reset first"):
            env.step({"text": "again"})
        env.reset(index=3, split="eval")
        assert env.step({"text": "no"}).reward == 0.0


def test_a_game_is_truncated_when_its_turns_are_used_up(client):
    @rlvr.register("test/deaf-v0", max_turns=3)
    class Deaf:
        def start(self, rng):
            self.secret = rng.random()
            return "Say something."

        def turn(self, text):
            return f"I did not hear {text!r}."

    with client("test/deaf-v0") as env:
        env.reset(index=0)
        results = [env.step({"text": word}) for word in ("a", "b", "c")]
    assert [result.done for result in results] == [False, False, True]
    assert [result.observation["truncated"] for result in results] == [False, False, True]
    assert results[2].reward == 0.0
    assert [message["role"] for message in results[2].observation["messages"]] == ["user", "assistant"] * 3 + ["user"]


def test_a_seed_names_the_stream_and_is_not_dropped(client):
    with client("text/sort-v0") as env:
        first, again, other = (env.reset(seed=seed).observation["text"] for seed in (1, 1, 2))
        one, two = (env.reset().observation["text"] for _ in range(2))
    assert first == again == rlvr.tasks("text/sort-v0", n=1, seed=1)[0].text
    assert other != first
    assert one != two


def test_what_a_reset_does_not_know_is_an_error_and_the_session_goes_on(client):
    with client("text/sort-v0") as env:
        with pytest.raises(Exception, match="lenght"):
            env.reset(knobs={"lenght": 3})
        assert env.reset(knobs={}).observation["text"]


def test_openenv_is_served_to_this_machine_only():
    with pytest.raises(ConfigError, match="no token"):
        serve(host="0.0.0.0", token="secret", openenv="text/sort-v0")
