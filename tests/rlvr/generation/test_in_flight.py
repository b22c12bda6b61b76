"""Weights that change while a vLLM server generates: what was under way goes on, what comes later waits. A real server."""

from __future__ import annotations

import copy
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import rlvr
from rlvr.errors import EngineError
from rlvr.generation import vllm_support
from rlvr.generation.engine import Completion, Request, Sampling
from rlvr.generation.proof import prove_served
from rlvr.generation.vllm_versions import vllm_version
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool
from rlvr.trajectory import Trajectory

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(vllm_version() is None, reason="vLLM is not installed here; `make vllm` tests it"),
]
TOLERANCE = 5e-5
LONG = Sampling(max_tokens=400)


@rlvr.register("inflighttest/say-v0")
def say(rng: random.Random) -> rlvr.Task:
    return rlvr.Task(str(rng.random()))


@say.verifier
def anything(task: rlvr.Task, text: str) -> rlvr.Score:
    return rlvr.Score(1.0)


@pytest.fixture(scope="module")
def other(model: Any) -> Any:
    """The same architecture with weights that say something else."""
    changed = copy.deepcopy(model)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.add_(0.3 * parameter.std() * torch.randn(parameter.shape, generator=noise))
    return changed


@pytest.fixture
def server(vllm_server: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Only its limit ends an answer, so that on a busy machine, too, answers are under way when something happens to them."""
    settings = vllm_support.sampling_settings
    monkeypatch.setattr(vllm_support, "sampling_settings", lambda *given: settings(*given) | {"ignore_eos": True})
    monkeypatch.setattr(vllm_server, "_end_ids", [])
    yield vllm_server
    vllm_server.load_weights(model.named_parameters(), 0)


def metric(server: Any, name: str) -> float:
    lines = server._connection.client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f"vllm:{name}{{"))


def sampled(server: Any) -> float:
    """Tokens that the server has sampled since it started."""
    return metric(server, "generation_tokens_total")


def arrived(server: Any) -> float:
    """Answers that have been asked of the server since it started, whether they have ended, run, or wait for a place."""
    return sum(
        metric(server, name) for name in ("request_success_total", "num_requests_running", "num_requests_waiting")
    )


def many(prompt: list[int]) -> list[Request]:
    """More answers than the server has places for, so that an update finds some of them running and some of them waiting."""
    return [Request(prompt, seed=seed, n=32) for seed in range(4)]


class Asked(threading.Thread):
    """Requests under way in another thread. Starting it returns when the server has begun to sample for them."""

    def __init__(self, server: Any, requests: list[Request], begun: bool = True) -> None:
        super().__init__()
        self._server, self._requests = server, requests
        self._groups: list[list[Completion]] | None = None
        self._fault: EngineError | None = None
        before = sampled(server) if begun else 0.0
        self.start()
        until(lambda: not begun or sampled(server) > before + 8)

    def run(self) -> None:
        try:
            self._groups = self._server.generate(self._requests, LONG)
        except EngineError as fault:
            self._fault = fault

    def groups(self) -> list[list[Completion]]:
        self.join(300)
        if self._fault is not None:
            raise self._fault
        assert self._groups is not None
        return self._groups


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def logprobs_under(model: Any, prompt: list[int], tokens: list[int]) -> torch.Tensor:
    """Log-probability of each of `tokens` behind the prompt, by one forward pass."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits.float(), -1).gather(1, torch.tensor(tokens)[:, None])[:, 0]


def logprobs_over_old_cache(old: Any, new: Any, prompt: list[int], tokens: list[int], cut: int) -> torch.Tensor:
    """Those of `tokens[cut:]` under `new`, with the keys and values that `old` computed of all that it had read by then."""
    read = len(prompt) + cut - 1  # the last token that was sampled had not been read yet
    ids = torch.tensor([prompt + tokens])
    with torch.no_grad():
        cache = old(ids[:, :read], use_cache=True).past_key_values
        logits = new(ids[:, read:-1], past_key_values=cache).logits[0]
    return torch.log_softmax(logits.float(), -1).gather(1, ids[0, read + 1 :, None])[:, 0]


def changed_on_the_way(groups: list[list[Completion]]) -> list[Completion]:
    found = [answer for group in groups for answer in group if answer.version_starts]
    assert found, "no answer was running while the weights changed"
    return found


def test_after_the_change_every_token_is_the_new_weights_own(server: Any, model: Any, other: Any) -> None:
    prompt = [5, 6, 7]
    asked = Asked(server, many(prompt))
    server.load_weights(other.named_parameters(), 9)
    assert prove_served(server, other, 9) < TOLERANCE
    for answer in changed_on_the_way(asked.groups()):
        (old, first), (new, cut) = answer.version_starts
        assert (old, first, new, answer.weight_version) == (0, 0, 9, 0)
        by_old, by_new = (logprobs_under(weights, prompt, answer.token_ids) for weights in (model, other))
        assert torch.tensor(answer.logprobs[:cut]) == pytest.approx(by_old[:cut], abs=TOLERANCE)
        assert torch.tensor(answer.logprobs[cut:]) == pytest.approx(by_new[cut:], abs=TOLERANCE)


def test_with_the_cache_kept_what_runs_goes_on_from_it_and_what_begins_does_not_find_it(
    server: Any, model: Any, other: Any
) -> None:
    prompt = [5 + place % 40 for place in range(90)]
    long = Request([5 + place % 40 for place in range(300)], seed=1)  # more than two blocks of the prefix cache
    server.generate([long], Sampling(max_tokens=2))
    asked = Asked(server, many(prompt))
    server.load_weights(other.named_parameters(), 9, keep_cache=True)
    assert prove_served(server, other, 9) < TOLERANCE
    [[later]] = server.generate([long], Sampling(max_tokens=8))
    expected = logprobs_under(other, list(long.prompt_ids), later.token_ids)
    assert later.weight_version == 9
    assert torch.tensor(later.logprobs) == pytest.approx(expected, abs=TOLERANCE)

    gaps = []
    for answer in changed_on_the_way(asked.groups()):
        _, (new, cut) = answer.version_starts
        assert (new, answer.weight_version) == (9, 0)
        by_old, by_new = (logprobs_under(weights, prompt, answer.token_ids) for weights in (model, other))
        mixed = logprobs_over_old_cache(model, other, prompt, answer.token_ids, cut)
        assert torch.tensor(answer.logprobs[:cut]) == pytest.approx(by_old[:cut], abs=TOLERANCE)
        assert torch.tensor(answer.logprobs[cut:]) == pytest.approx(mixed, abs=TOLERANCE)
        gaps.append(float((mixed - by_new[cut:]).abs().max()))
    assert max(gaps) > 0.01  # so that the comparison above says something


def test_a_prefix_that_was_cached_is_found_until_weights_change(server: Any, model: Any) -> None:
    long = Request([7 + place % 40 for place in range(300)], seed=1)
    hits = []
    for version in (0, 0, 1, 1):
        if version != server.weight_version:
            server.load_weights(model.named_parameters(), version, keep_cache=True)
        before = metric(server, "prefix_cache_hits_total")
        server.generate([long], Sampling(max_tokens=2))
        hits.append(metric(server, "prefix_cache_hits_total") - before)
    assert hits == [0, 256, 0, 256]  # two blocks of 128 tokens


def test_a_request_that_comes_while_weights_arrive_is_answered_by_them(
    server: Any, other: Any, held_stream: Any
) -> None:
    loading = threading.Thread(target=server.load_weights, args=(held_stream.of(other), 9))
    loading.start()
    assert held_stream.half.wait(60)
    asked = Asked(server, [Request([5, 6, 7], seed=3)], begun=False)
    asked.join(0.5)
    assert asked.is_alive()
    assert server.weight_version == 0
    held_stream.go_on.set()
    [[answer]] = asked.groups()
    loading.join(60)
    assert (answer.weight_version, answer.version_starts) == (9, ())
    expected = logprobs_under(other, [5, 6, 7], answer.token_ids)
    assert torch.tensor(answer.logprobs) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("keep_cache", [False, True])
def test_an_update_that_fails_aborts_what_runs_and_refuses_what_waits(
    server: Any, model: Any, other: Any, keep_cache: bool
) -> None:
    half, go_on = threading.Event(), threading.Event()

    def weights() -> Iterator[tuple[str, Any]]:
        yield from list(other.named_parameters())[:5]
        half.set()
        assert go_on.wait(60)

    before = arrived(server)
    running = Asked(server, many([5, 6, 7]))
    until(lambda: arrived(server) >= before + 4 * 32)
    faults: list[EngineError] = []

    def load() -> None:
        try:
            server.load_weights(weights(), 9, keep_cache=keep_cache)
        except EngineError as fault:
            faults.append(fault)

    loading = threading.Thread(target=load)
    loading.start()
    assert half.wait(60)
    waiting = Asked(server, [Request([5, 6, 7], seed=3)], begun=False)
    go_on.set()
    loading.join(60)
    assert "were not given" in str(faults[0])
    with pytest.raises(EngineError, match="load a complete set"):
        waiting.groups()
    answers = [answer for group in running.groups() for answer in group]
    assert len(answers) == 4 * 32
    assert sum(answer.finish_reason == "abort" for answer in answers) > 64  # what waited for a place, too
    assert {answer.weight_version for answer in answers if answer.finish_reason != "abort"} <= {0}

    server.load_weights(model.named_parameters(), 10, keep_cache=keep_cache)
    assert prove_served(server, model, 10) < TOLERANCE
    [[answer]] = server.generate([Request([5, 6, 7], seed=3)], Sampling(max_tokens=8))
    assert torch.tensor(answer.logprobs) == pytest.approx(
        logprobs_under(model, [5, 6, 7], answer.token_ids), abs=TOLERANCE
    )


def test_episodes_that_were_under_way_when_an_update_failed_have_no_verdict(server: Any, other: Any) -> None:
    played: list[list[Trajectory]] = []

    def play() -> None:
        tasks = rlvr.tasks("inflighttest/say-v0", n=4)
        with ScoringPool(1) as pool:
            played.extend(rollout(server, tasks, group_size=32, sampling=LONG, pool=pool, seed=0))

    before = arrived(server)
    playing = threading.Thread(target=play)
    playing.start()
    until(lambda: arrived(server) >= before + 4 * 32)
    with pytest.raises(EngineError, match="were not given"):
        server.load_weights(list(other.named_parameters())[:5], 9)
    playing.join(60)
    episodes = [trajectory for group in played for trajectory in group]
    aborted = [trajectory for trajectory in episodes if trajectory.faulty]
    assert len(episodes) == 4 * 32
    assert len(aborted) > 64  # what waited for a place, too
    for trajectory in aborted:
        assert trajectory.score is not None
        assert "aborted" in str(trajectory.score.error)
