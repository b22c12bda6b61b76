"""The engine against a real HTTP server on this machine that speaks OpenAI's protocol."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import rlvr
from rlvr.errors import ConfigError, EngineError
from rlvr.generation.engine import Request, Sampling
from rlvr.generation.openai import OpenAIEngine
from rlvr.generation.transcript import TranscriptTokenizer
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool

Answer = tuple[int, dict[str, Any] | str]


class Endpoint:
    """Answers each request as `respond(path, body, how many requests came before)` says, and remembers them."""

    def __init__(self, respond: Callable[[str, dict[str, Any], int], Answer]) -> None:
        self.requests: list[tuple[str, dict[str, Any], str]] = []
        lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    before = len(endpoint.requests)
                    endpoint.requests.append((self.path, body, self.headers.get("Authorization", "")))
                status, answer = respond(self.path, body, before)
                data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                if status == 429:
                    self.send_header("Retry-After", "0.1")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Callable[..., Endpoint]]:
    endpoints: list[Endpoint] = []

    def start(respond: Callable[[str, dict[str, Any], int], Answer]) -> Endpoint:
        endpoints.append(Endpoint(respond))
        return endpoints[-1]

    yield start
    for endpoint in endpoints:
        endpoint.server.shutdown()
        endpoint.server.server_close()


def chat(content: str | None, finish: str = "stop", **more: Any) -> Answer:
    return 200, {"choices": [{"message": {"role": "assistant", "content": content, **more}, "finish_reason": finish}]}


def ask(engine: OpenAIEngine, n: int = 1, **sampling: Any) -> list[str]:
    ids = engine.tokenizer.encode(
        engine.tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], add_generation_prompt=True)
    )
    [completions] = engine.generate([Request(ids, seed=4, n=n)], Sampling(**sampling))
    return [engine.tokenizer.decode(completion.token_ids, skip_special_tokens=True) for completion in completions]


@rlvr.register("endpointtest/count-v0", max_turns=4)
class Count:
    """Wants to hear one, two, three."""

    def start(self, rng: Any) -> list[dict[str, Any]]:
        self.heard = 0
        self.note = rng.random()
        return [{"role": "system", "content": f"Count. \ue000 {self.note}"}, {"role": "user", "content": "Start."}]

    def turn(self, text: str) -> Any:
        self.heard += 1
        if text != ["", "one", "two \ue000{", "three"][self.heard]:
            return rlvr.Score(0.0, reason=f"heard {text!r}")
        return rlvr.Score(1.0) if self.heard == 3 else [{"role": "tool", "content": "next", "tool_call_id": "c"}]


def test_an_episode_of_several_turns_is_sent_as_messages(serve: Callable[..., Endpoint]) -> None:
    words = ["one", "two \ue000{", "three"]
    endpoint = serve(lambda path, body, before: chat(words[sum(m["role"] == "assistant" for m in body["messages"])]))
    engine = OpenAIEngine(endpoint.url, "some-model", api_key="secret")
    [task] = rlvr.tasks("endpointtest/count-v0", n=1)
    with ScoringPool(1) as pool:
        [[first, second]] = rollout(engine, [task], group_size=2, sampling=Sampling(max_tokens=9), pool=pool, seed=0)
    assert (first.reward, second.reward, first.num_turns) == (1.0, 1.0, 3), first.score
    path, body, key = endpoint.requests[-1]
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert body["messages"] == [
        *task.messages,
        {"role": "assistant", "content": "one"},
        {"role": "tool", "content": "next", "tool_call_id": "c"},
        {"role": "assistant", "content": "two \ue000{"},
        {"role": "tool", "content": "next", "tool_call_id": "c"},
    ]
    assert (body["model"], body["max_tokens"]) == ("some-model", 9)
    assert all(math.isnan(p) for p, sampled in zip(first.logprobs, first.loss_mask, strict=True) if sampled)


def test_every_answer_has_a_seed_of_its_own_and_only_settings_that_were_asked_for(
    serve: Callable[..., Endpoint],
) -> None:
    endpoint = serve(lambda path, body, before: chat("ok"))
    assert ask(OpenAIEngine(endpoint.url, "m"), n=5, top_p=0.9, stop=("x",)) == ["ok"] * 5
    bodies = [body for _, body, _ in endpoint.requests]
    assert len({body["seed"] for body in bodies}) == 5
    assert all(0 <= body["seed"] < 2**31 and body["top_p"] == 0.9 and body["stop"] == ["x"] for body in bodies)
    assert not any({"top_k", "min_p", "tools"} & body.keys() for body in bodies)


def test_a_busy_endpoint_is_asked_again(serve: Callable[..., Endpoint]) -> None:
    troubles: list[Answer] = [(429, "slow down"), (503, "loading"), (200, "no json")]
    endpoint = serve(lambda path, body, before: troubles[before] if before < 3 else chat("at last"))
    assert ask(OpenAIEngine(endpoint.url, "m")) == ["at last"]
    assert len(endpoint.requests) == 4


def test_an_endpoint_that_stays_busy_is_an_error_with_its_last_words(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve(lambda path, body, before: (500, "disk on fire"))
    with pytest.raises(EngineError, match=r"after 2 tries.*disk on fire"):
        ask(OpenAIEngine(endpoint.url, "m", max_retries=1))


@pytest.mark.parametrize(("status", "word"), [(401, "OPENAI_API_KEY"), (404, "ends in /v1"), (400, "what its answer")])
def test_a_refusal_is_not_retried_and_says_what_to_do(serve: Callable[..., Endpoint], status: int, word: str) -> None:
    endpoint = serve(lambda path, body, before: (status, "no"))
    with pytest.raises(EngineError, match=word):
        ask(OpenAIEngine(endpoint.url, "m", api_key="secret"))
    assert len(endpoint.requests) == 1


def test_an_endpoint_that_is_not_there_is_an_error() -> None:
    with pytest.raises(EngineError, match="ConnectError"):
        ask(OpenAIEngine("http://127.0.0.1:9/v1", "m", max_retries=0))


def test_the_other_name_of_the_limit_is_tried(serve: Callable[..., Endpoint]) -> None:
    def respond(path: str, body: dict[str, Any], before: int) -> Answer:
        return (400, "use 'max_completion_tokens' instead") if "max_tokens" in body else chat("ok")

    endpoint = serve(respond)
    assert ask(OpenAIEngine(endpoint.url, "m"), max_tokens=7) == ["ok"]
    assert endpoint.requests[-1][1]["max_completion_tokens"] == 7


def test_reasoning_and_calls_come_back_into_the_text(serve: Callable[..., Endpoint]) -> None:
    call = {"function": {"name": "look", "arguments": '{"at": 3}'}}
    endpoint = serve(lambda path, body, before: chat(None, "tool_calls", reasoning_content="hm", tool_calls=[call]))
    [text] = ask(OpenAIEngine(endpoint.url, "m"))
    assert text == '<think>\nhm\n</think>\n\n\n<tool_call>\n{"name": "look", "arguments": {"at": 3}}\n</tool_call>'


def test_a_cut_answer_is_cut_and_an_empty_one_still_has_a_token(serve: Callable[..., Endpoint]) -> None:
    endpoint = serve(lambda path, body, before: chat("", "length"))
    engine = OpenAIEngine(endpoint.url, "m")
    [[completion]] = engine.generate([Request([260], seed=0)], Sampling())
    assert (completion.finish_reason, len(completion.token_ids)) == ("length", 1)


def test_an_answer_of_another_shape_is_an_error(serve: Callable[..., Endpoint]) -> None:
    for answer in ({}, {"choices": []}, [1]):
        endpoint = serve(lambda path, body, before, answer=answer: (200, json.dumps(answer)))
        with pytest.raises(EngineError, match="no choices"):
            ask(OpenAIEngine(endpoint.url, "m"))


def test_an_endpoint_that_speaks_tokens_gives_exact_tokens(serve: Callable[..., Endpoint], tokenizer: Any) -> None:
    choice = {"token_ids": [7, 1], "logprobs": {"token_logprobs": [-0.5, -0.25]}, "finish_reason": "stop"}
    endpoint = serve(lambda path, body, before: (200, {"choices": [choice]}))
    engine = OpenAIEngine(endpoint.url, "m", tokenizer)
    [[completion]] = engine.generate([Request([5, 6], seed=0)], Sampling())
    assert (completion.token_ids, completion.logprobs) == ([7, 1], [-0.5, -0.25])
    assert endpoint.requests[0][1]["prompt"] == [5, 6]


def test_an_endpoint_that_was_thought_to_speak_tokens_is_an_error(
    serve: Callable[..., Endpoint], tokenizer: Any
) -> None:
    endpoint = serve(lambda path, body, before: (200, {"choices": [{"text": "x", "finish_reason": "stop"}]}))
    with pytest.raises(EngineError, match="Leave the tokenizer out"):
        OpenAIEngine(endpoint.url, "m", tokenizer).generate([Request([5], seed=0)], Sampling())


def test_an_endpoint_cannot_be_trained() -> None:
    with pytest.raises(EngineError, match="cannot be trained"):
        OpenAIEngine("http://127.0.0.1:9/v1", "m").load_weights([], 1)


def test_an_address_must_be_one() -> None:
    with pytest.raises(ConfigError, match="localhost:8000"):
        OpenAIEngine("localhost:8000", "m")


def test_a_chat_survives_its_tokens() -> None:
    tokenizer = TranscriptTokenizer()
    messages = [
        {"role": "system", "content": "a\ue003\ud800"},
        {"role": "user", "content": [{"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "é\n"},
        {"role": "assistant", "content": "done\n "},
        {"role": "user", "content": "more"},
    ]
    tools = [{"type": "function", "function": {"name": "look"}}]
    text = tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=True)
    assert tokenizer.chat_of(tokenizer.encode(text)) == (messages, tools)
