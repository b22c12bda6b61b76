"""What every engine that serves a model promises. The same tests run over each of them."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlvr.errors import EngineError
from rlvr.generation.engine import Completion, Engine, Request, Sampling
from rlvr.generation.proof import prove_served
from rlvr.generation.transformers import TransformersEngine
from rlvr.generation.vllm_versions import vllm_version

TOLERANCE = 5e-5
"""Nats, float32; measured differences are 2e-6 on a model of this size."""


NO_VLLM = pytest.mark.skipif(vllm_version() is None, reason="vLLM is not installed here; `make vllm` tests it")


@pytest.fixture(
    scope="module",
    params=[
        "transformers",
        "replicas",
        pytest.param("vllm", marks=[pytest.mark.vllm, NO_VLLM]),
        pytest.param("vllm-server", marks=[pytest.mark.vllm, NO_VLLM]),
    ],
)
def engine(request: pytest.FixtureRequest, model_folder: Path) -> Iterator[Engine]:
    if request.param == "transformers":
        engine = TransformersEngine(model_folder)
        yield engine
        engine.close()
    elif request.param == "replicas":
        from rlvr.generation.replicas import ReplicatedEngine

        replicated = ReplicatedEngine(lambda number: _Replica(model_folder), 2)
        yield replicated
        replicated.close()
    else:
        yield request.getfixturevalue({"vllm": "vllm_engine", "vllm-server": "vllm_server"}[request.param])


@pytest.fixture(autouse=True)
def _original_weights_afterwards(engine: Engine, model: Any) -> Iterator[None]:
    yield
    if engine.weight_version != 0:
        engine.load_weights(model.named_parameters(), 0)


class _Replica(TransformersEngine):
    dtype = torch.float32

    def load_weights(self, named_tensors: Any, version: int, *, keep_cache: bool = False) -> None:
        super().load_weights(named_tensors, version)

    def healthy(self, timeout_s: float) -> bool:
        return True


def requests_for(tokenizer: Any, n: int = 2, count: int = 6) -> list[Request]:
    return [Request(tokenizer.encode("abc" * (i % 3) + f"{i}+{7 * i}="), seed=1000 + i, n=n) for i in range(count)]


def logprobs_under(model: Any, prompt: list[int], tokens: list[int], temperature: float = 1.0) -> torch.Tensor:
    """Log-probabilities of each token in one plain forward pass."""
    with torch.no_grad():
        logits = model(torch.tensor([list(prompt) + tokens])).logits[0, len(prompt) - 1 : -1]
    return torch.log_softmax(logits.float() / temperature, -1).gather(1, torch.tensor(tokens)[:, None])[:, 0]


def moved(model: Any, by: float = 0.02) -> Any:
    """The same architecture with other weights."""
    other = copy.deepcopy(model)
    noise = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=noise))
    return other


def assert_agrees(model: Any, requests: list[Request], answers: list[list[Completion]], temperature: float) -> None:
    for request, group in zip(requests, answers, strict=True):
        for completion in group:
            expected = logprobs_under(model, list(request.prompt_ids), completion.token_ids, temperature)
            assert torch.tensor(completion.logprobs) == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_are_those_of_the_distribution_that_was_sampled(
    engine: Engine, model: Any, tokenizer: Any, temperature: float
) -> None:
    requests = requests_for(tokenizer)
    answers = engine.generate(requests, Sampling(temperature=temperature, max_tokens=24))
    assert [len(group) for group in answers] == [2] * 6
    assert_agrees(model, requests, answers, temperature)


def test_completions_end_with_the_end_token_or_at_the_limit(engine: Engine, tokenizer: Any) -> None:
    answers = engine.generate(requests_for(tokenizer, n=12), Sampling(max_tokens=40))
    completions = [completion for group in answers for completion in group]
    assert {completion.finish_reason for completion in completions} == {"stop", "length"}
    for completion in completions:
        assert len(completion.token_ids) == len(completion.logprobs)
        assert all(type(token) is int for token in completion.token_ids)
        assert all(type(value) is float for value in completion.logprobs)
        assert tokenizer.eos_token_id not in completion.token_ids[:-1]
        if completion.finish_reason == "stop":
            assert completion.token_ids[-1] == tokenizer.eos_token_id
        else:
            assert len(completion.token_ids) == 40


def test_temperature_0_takes_the_likeliest_token(engine: Engine, model: Any, tokenizer: Any) -> None:
    request = requests_for(tokenizer)[1]
    [[first, second]] = engine.generate([request], Sampling(temperature=0.0, max_tokens=12))
    assert first.token_ids == second.token_ids
    ids = list(request.prompt_ids)
    for token in first.token_ids:
        with torch.no_grad():
            assert token == int(model(torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(token)
    assert_agrees(model, [request], [[first]], temperature=1.0)


def test_a_seed_fixes_the_tokens_whatever_else_is_in_the_batch(engine: Engine, tokenizer: Any) -> None:
    requests = requests_for(tokenizer, n=3)
    together = engine.generate(requests, Sampling(max_tokens=20))
    again = engine.generate(requests, Sampling(max_tokens=20))
    assert [[c.token_ids for c in group] for group in again] == [[c.token_ids for c in group] for group in together]
    for request, group in zip(requests, together, strict=True):
        [alone] = engine.generate([request], Sampling(max_tokens=20))
        assert [c.token_ids for c in alone] == [c.token_ids for c in group]
        assert len({tuple(c.token_ids) for c in group}) > 1


def test_other_seeds_give_other_tokens(engine: Engine, tokenizer: Any) -> None:
    ids = tokenizer.encode("1+2=")
    answers = engine.generate([Request(ids, seed=seed) for seed in range(8)], Sampling(max_tokens=12))
    assert len({tuple(completion.token_ids) for [completion] in answers}) > 4


def test_a_stop_token_ends_a_completion_and_is_its_last_token(engine: Engine, tokenizer: Any) -> None:
    digits = tuple(tokenizer.encode("0123456789"))
    answers = engine.generate(requests_for(tokenizer, n=8), Sampling(max_tokens=60, stop_token_ids=digits))
    stopped = [c for group in answers for c in group if c.finish_reason == "stop"]
    assert any(completion.token_ids[-1] in digits for completion in stopped)
    for completion in stopped:
        assert completion.token_ids[-1] in (*digits, tokenizer.eos_token_id)
        assert not set(completion.token_ids[:-1]) & set(digits)


def test_a_stop_text_ends_a_completion_and_its_tokens_stay(engine: Engine, model: Any, tokenizer: Any) -> None:
    requests = requests_for(tokenizer, n=8)
    free = engine.generate(requests, Sampling(max_tokens=40))
    special = set(tokenizer.all_special_ids)
    pieces = [c.token_ids[3:5] for group in free for c in group if len(c.token_ids) > 8]
    stop = tokenizer.decode(next(piece for piece in pieces if not special & set(piece)))
    answers = engine.generate(requests, Sampling(max_tokens=40, stop=(stop, "never said")))
    stopped = 0
    for whole, cut in zip(chain(*free), chain(*answers), strict=True):
        text = tokenizer.decode(whole.token_ids)
        if stop in text:
            stopped += 1
            assert tokenizer.decode(cut.token_ids) == text[: text.index(stop) + len(stop)]
            assert cut.finish_reason == "stop"
        else:
            assert cut.token_ids == whole.token_ids
        assert len(cut.token_ids) == len(cut.logprobs)
    assert stopped
    assert_agrees(model, requests, answers, temperature=1.0)


def test_a_request_can_have_a_tighter_limit_of_its_own(engine: Engine, tokenizer: Any) -> None:
    ids = tokenizer.encode("1+2=")
    requests = [Request(ids, seed=1, max_tokens=3), Request(ids, seed=1), Request(ids, seed=1, max_tokens=99)]
    answers = [group[0].token_ids for group in engine.generate(requests, Sampling(max_tokens=10))]
    assert answers[0] == answers[1][:3]
    assert answers[1] == answers[2]
    assert len(answers[1]) <= 10


@pytest.mark.parametrize("settings", [{"top_k": 3}, {"top_p": 0.6}, {"min_p": 0.3}])
def test_cutting_the_tail_renormalises_over_what_is_kept(
    engine: Engine, model: Any, tokenizer: Any, settings: dict[str, Any]
) -> None:
    request = requests_for(tokenizer, n=6)[3]
    [answers] = engine.generate([request], Sampling(max_tokens=10, **settings))
    for completion in answers:
        ids = list(request.prompt_ids)
        for token, logprob in zip(completion.token_ids, completion.logprobs, strict=True):
            with torch.no_grad():
                whole = model(torch.tensor([ids])).logits[0, -1].float().softmax(-1)
            if "top_k" in settings:
                kept = whole >= whole.topk(3).values[-1]
            elif "min_p" in settings:
                kept = whole >= 0.3 * whole.max()
            else:
                ordered, order = whole.sort(descending=True)
                kept = torch.zeros_like(whole, dtype=torch.bool)
                kept[order[: int((ordered.cumsum(0) < 0.6).sum()) + 1]] = True
            assert kept[token]
            assert logprob == pytest.approx(float((whole[token] / whole[kept].sum()).log()), abs=1e-4)
            ids.append(token)


def test_new_weights_are_served_at_once_and_named_in_every_completion(
    engine: Engine, model: Any, tokenizer: Any
) -> None:
    requests = requests_for(tokenizer)
    before = engine.fingerprint()
    assert [c.weight_version for group in engine.generate(requests, Sampling(max_tokens=4)) for c in group] == [0] * 12
    other = moved(model)
    engine.load_weights(other.named_parameters(), 17)
    answers = engine.generate(requests, Sampling(max_tokens=24))
    assert engine.weight_version == 17
    prove_served(engine, other, 17)
    assert {c.weight_version for group in answers for c in group} == {17}
    assert_agrees(other, requests, answers, temperature=1.0)
    assert engine.fingerprint() != before
    engine.load_weights(model.named_parameters(), 18)
    assert engine.fingerprint() == before
    assert_agrees(model, requests, engine.generate(requests, Sampling(max_tokens=24)), temperature=1.0)


def test_weights_that_do_not_fit_are_refused_and_nothing_is_sampled_from_them(
    engine: Engine, model: Any, tokenizer: Any
) -> None:
    good = list(model.named_parameters())
    wrong_shape = [(name, torch.zeros(3, 5)) if "norm" in name else (name, tensor) for name, tensor in good]
    for broken, word in [
        ([*good, ("model.extra", torch.zeros(2))], "model.extra"),
        (wrong_shape, "norm"),
        (good[:-1], "norm"),
    ]:
        with pytest.raises(EngineError, match=word):
            engine.load_weights(broken, 5)
        with pytest.raises(EngineError, match="load a complete set"):
            engine.generate(requests_for(tokenizer), Sampling(max_tokens=2))
    engine.load_weights(good, 6)
    assert engine.generate(requests_for(tokenizer), Sampling(max_tokens=2))[0][0].weight_version == 6


def test_prompts_that_cannot_be_answered_are_errors(engine: Engine, tokenizer: Any) -> None:
    for ids, word in [([], "no tokens"), ([10**6], "1000000"), ([5] * engine.max_model_len, "no room")]:
        with pytest.raises(EngineError, match=word):
            engine.generate([Request(ids, seed=0)], Sampling(max_tokens=2))


def test_an_answer_ends_where_the_model_ends(engine: Engine) -> None:
    [[completion]] = engine.generate([Request([5] * (engine.max_model_len - 3), seed=0)], Sampling(max_tokens=50))
    assert len(completion.token_ids) <= 3


def test_more_prompts_than_fit_into_one_step_are_answered_too(engine: Engine, model: Any) -> None:
    requests = [Request([5 + (seed + place) % 40 for place in range(400)], seed=seed) for seed in range(12)]
    answers = engine.generate(requests, Sampling(max_tokens=3))
    assert_agrees(model, requests, answers, temperature=1.0)


def test_no_global_random_state_is_moved(engine: Engine, tokenizer: Any) -> None:
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    engine.generate(requests_for(tokenizer), Sampling(max_tokens=8))
    after = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_no_requests_give_no_answers(engine: Engine) -> None:
    assert engine.generate([], Sampling()) == []
