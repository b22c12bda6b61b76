"""Adapters on a real vLLM: what is served is what peft computes, update after update, and nothing of the old ones stays."""

from __future__ import annotations

import copy
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.errors import ConfigError, EngineError, StaleWeightsError
from rlvr.generation.engine import Request, Sampling
from rlvr.generation.proof import prove_served
from rlvr.generation.vllm_versions import vllm_version
from rlvr_trainers.lora import adapter_settings, add_adapters, named_adapters
from rlvr_trainers.weight_sync import named_weights, sync_weights

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(vllm_version() is None, reason="vLLM is not installed here; `make vllm` tests it"),
]
RANK = 5  # vLLM has room for 1 and 8
TOLERANCE = 5e-5
"""Nats, float32; measured differences are 2e-6 on a model of this size."""


@pytest.fixture(scope="module", params=["vllm", "vllm-server"])
def engine(request: pytest.FixtureRequest, model_folder: Path) -> Iterator[Any]:
    if request.param == "vllm":
        from rlvr.generation.vllm import VLLMEngine

        engine: Any = VLLMEngine(model_folder, max_num_seqs=64, lora_rank=RANK)
    else:
        engine = launched(model_folder)
    yield engine
    engine.close()
    assert not left_in_shared_memory()


def launched(model_folder: Path) -> Any:
    from rlvr.generation.vllm_server import VLLMServerEngine

    return VLLMServerEngine.launch(
        model_folder, max_num_seqs=64, kv_cache_memory_mb=64, start_timeout_s=1500, lora_rank=RANK
    )


def left_in_shared_memory() -> list[Path]:
    """This process's adapters."""
    return list(Path("/dev/shm").glob(f"rlvr-adapter-{os.getpid()}-*"))


def held_by(engine: Any) -> int:
    """Adapters that vLLM has loaded."""
    if hasattr(engine, "_llm"):
        return len(engine._llm.llm_engine.list_loras())
    return len(engine._post("/collective_rpc", method="list_loras")["results"][0])


@pytest.fixture(autouse=True)
def _base_weights_afterwards(request: pytest.FixtureRequest, model: Any) -> Iterator[None]:
    yield
    if "engine" in request.fixturenames:
        request.getfixturevalue("engine").load_weights(model.named_parameters(), 0)


@pytest.fixture
def adapted(model: Any) -> Any:
    return add_adapters(copy.deepcopy(model), rank=RANK, alpha=10.0, seed=0)


def move(adapted: Any, seed: int, by: float = 0.1) -> Any:
    """An update of the adapters, and of nothing else."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.add_(by * torch.randn(parameter.shape, generator=noise))
    return adapted


def load(engine: Any, adapted: Any, version: int) -> None:
    engine.load_adapter(named_adapters(adapted), adapter_settings(adapted), version)


def assert_samples_from(engine: Any, model: Any, requests: list[Request], version: int) -> None:
    assert_sampled_from(model, requests, engine.generate(requests, Sampling(max_tokens=16)), version)


def assert_sampled_from(model: Any, requests: list[Request], answers: list[Any], version: int) -> None:
    for request, group in zip(requests, answers, strict=True):
        assert len(group) == request.n
        for completion in group:
            assert completion.weight_version == version
            assert completion.version_starts == ()
            prompt = len(request.prompt_ids)
            with torch.no_grad():
                logits = model(torch.tensor([[*request.prompt_ids, *completion.token_ids]])).logits[0, prompt - 1 : -1]
            expected = logits.log_softmax(-1).gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]
            assert torch.tensor(completion.logprobs) == pytest.approx(expected, abs=TOLERANCE)


@pytest.fixture(scope="module")
def requests(tokenizer: Any) -> list[Request]:
    """Short ones, and one of more than two blocks of vLLM's prefix cache."""
    long = [5 + place % 40 for place in range(300)]
    return [Request(tokenizer.encode(f"{i}+{i}="), seed=i, n=2) for i in range(4)] + [Request(long, seed=9, n=2)]


def test_every_update_is_served_as_peft_computes_it(
    engine: Any, model: Any, adapted: Any, requests: list[Request]
) -> None:
    assert model.config.tie_word_embeddings
    base = engine.fingerprint()
    assert_samples_from(engine, model, requests, 0)
    load(engine, adapted, 1)  # fresh adapters are an exact zero
    assert prove_served(engine, model, 1) < TOLERANCE
    seen = {base}
    for version in range(2, 7):
        load(engine, move(adapted, version), version)
        assert engine.weight_version == version
        assert prove_served(engine, adapted, version) < TOLERANCE
        assert_samples_from(engine, adapted, requests, version)
        seen.add(engine.fingerprint())
    assert len(seen) == 6


def test_the_learners_weights_are_sent_as_adapters_and_proved(engine: Any, adapted: Any) -> None:
    sync_weights(engine, move(adapted, 1), version=3, as_adapters=True)
    assert engine.weight_version == 3
    move(adapted, 2, by=0.01)
    with pytest.raises(StaleWeightsError, match="fixed tokens"):
        prove_served(engine, adapted, 3)


def test_the_same_version_with_another_adapter_reads_no_cached_prefix_of_the_first(
    engine: Any, adapted: Any, requests: list[Request]
) -> None:
    for seed in (1, 2):
        load(engine, move(adapted, seed), 4)
        assert_samples_from(engine, adapted, requests, 4)


def test_an_adapter_that_does_not_fit_is_refused_and_the_one_before_it_goes_on(
    engine: Any, adapted: Any, model: Any, requests: list[Request]
) -> None:
    load(engine, move(adapted, 1), 5)
    good, settings = list(named_adapters(adapted)), adapter_settings(adapted)
    stretched = [(name, tensor.repeat(1, 2) if "lora_A" in name else tensor) for name, tensor in good]
    for broken, word in [(good[:-1], "not given"), (stretched, "shape"), ([*good, ("extra", good[0][1])], "extra")]:
        with pytest.raises(EngineError, match=word):
            engine.load_adapter(broken, settings, 6)
        assert_samples_from(engine, adapted, requests[:2], 5)
    larger = add_adapters(copy.deepcopy(model), rank=2 * RANK, alpha=1.0, seed=0)
    with pytest.raises(ConfigError, match=f"rank {2 * RANK}, and the engine was started with lora_rank = {RANK}"):
        load(engine, larger, 6)
    assert_samples_from(engine, adapted, requests[:2], 5)


def test_whole_weights_take_the_adapter_off(engine: Any, adapted: Any, requests: list[Request]) -> None:
    load(engine, move(adapted, 1), 7)
    merged = copy.deepcopy(adapted).merge_and_unload()
    engine.load_weights(named_weights(adapted), 8)
    assert prove_served(engine, merged, 8) < TOLERANCE
    assert_samples_from(engine, merged, requests, 8)
    load(engine, move(adapted, 2), 9)  # on top of the merged weights, which now are the base
    with torch.no_grad():
        expected = add_adapters(merged, rank=RANK, alpha=10.0, seed=0)
        for (_, theirs), (_, ours) in zip(
            ((n, p) for n, p in expected.named_parameters() if "lora_" in n), named_adapters(adapted), strict=True
        ):
            theirs.copy_(ours)
    assert prove_served(engine, expected, 9) < TOLERANCE


def test_after_many_updates_vllm_holds_at_most_two_adapters_and_shared_memory_one(engine: Any, adapted: Any) -> None:
    for version in range(1, 21):
        load(engine, move(adapted, version, by=0.01), version)
        engine.generate([Request([5, 6, 7], seed=version)], Sampling(max_tokens=2))
    on_server = not hasattr(engine, "_llm")
    assert held_by(engine) == 1 + on_server
    assert len(left_in_shared_memory()) == on_server
    if on_server:
        assert len(engine._get("/v1/models")["data"]) == 2  # the base model and one adapter
    assert prove_served(engine, adapted, 20) < TOLERANCE
    engine.load_weights(named_weights(adapted), 21)
    assert held_by(engine) == len(left_in_shared_memory()) == on_server  # one of zeros


def test_a_rank_that_vllm_has_no_room_for_is_refused_before_anything_is_loaded(model_folder: Path) -> None:
    from rlvr.generation.vllm import VLLMEngine

    with pytest.raises(ConfigError, match="lora_rank is 513"):
        VLLMEngine(model_folder, lora_rank=513)


def test_an_engine_without_room_for_adapters_says_so(vllm_engine: Any, adapted: Any) -> None:
    with pytest.raises(ConfigError, match="started without lora_rank"):
        load(vllm_engine, adapted, 1)
    assert vllm_engine.weight_version == 0


@pytest.mark.parametrize("first", ["the base weights", "an adapter"])
def test_answers_under_way_are_finished_by_what_they_began_with(
    engine: Any, adapted: Any, model: Any, first: str
) -> None:
    if hasattr(engine, "_llm"):
        pytest.skip("the engine in this process does one thing at a time")
    models = {0: model}
    if first == "an adapter":
        load(engine, move(adapted, 1), 1)
        models = {1: copy.deepcopy(adapted)}
    began = next(iter(models))
    # More answers than the server has places for, so that the last of them meet the first of the next adapter's in one batch.
    many = [Request([5, 6, 7 + number], seed=number, n=32) for number in range(10)]
    answers: list[Any] = []
    reader = threading.Thread(target=lambda: answers.extend(engine.generate(many, Sampling(max_tokens=400))))
    before = sampled(engine)
    try:
        reader.start()
        while not sampled(engine) > before + 8:
            time.sleep(0.001)
        # However slowly adapters are loaded on a busy machine, the answers are not over before.
        engine._post("/pause?mode=keep&clear_cache=false")
        try:
            for version in (2, 3):  # one more than vLLM has room for, which then loads the first again
                load(engine, move(adapted, version), version)
                models[version] = copy.deepcopy(adapted)
            files = len(left_in_shared_memory())
            under_way = reader.is_alive()
        finally:
            engine._post("/resume")
        assert_samples_from(engine, adapted, [Request([5, 6, 8], seed=1, n=8)], 3)
    finally:
        reader.join(300)
    assert under_way
    assert files >= 2
    assert len(left_in_shared_memory()) == 1
    versions = [group[0].weight_version for group in answers]
    assert began in versions
    for request, group, version in zip(many, answers, versions, strict=True):
        assert_sampled_from(models[version], [request], [group], version)


def sampled(server: Any) -> float:
    """Tokens that the server has sampled since it started."""
    lines = server._connection.client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:generation_tokens_total{"))


def test_a_server_without_room_for_adapters_is_refused_when_it_is_connected_to(
    vllm_server: Any, model_folder: Path
) -> None:
    from rlvr.generation.vllm_server import VLLMServerEngine

    with pytest.raises(ConfigError, match=r"started without adapters\. Start it with --enable-lora"):
        VLLMServerEngine(vllm_server._connection.url, model_folder, lora_rank=4)


def test_a_server_that_was_killed_comes_back_with_the_adapter_of_the_others(
    model_folder: Path, model: Any, adapted: Any, requests: list[Request]
) -> None:
    from rlvr.generation.vllm_replicas import open_servers

    others = left_in_shared_memory()  # of the server that other tests use
    two = open_servers(
        model_folder,
        replicas=2,
        max_num_seqs=64,
        kv_cache_memory_mb=64,
        start_timeout_s=1500,
        health_every_s=1.0,
        lora_rank=RANK,
    )
    try:
        for version in (1, 2):
            load(two, move(adapted, version), version)
            assert prove_served(two, adapted, version) < TOLERANCE
            assert_samples_from(two, adapted, requests, version)
        good, settings = list(named_adapters(adapted)), adapter_settings(adapted)
        with pytest.raises(EngineError, match="not given"):
            two.load_adapter(good[:-1], settings, 3)
        with pytest.raises(EngineError, match="load a complete set"):
            two.generate(requests, Sampling(max_tokens=2))
        load(two, adapted, 3)
        victim = two._dispatch.places[0]
        os.killpg(victim.engine._connection.process._process.pid, 9)
        assert_samples_from(two, adapted, requests, 3)
        deadline = time.monotonic() + 1500
        while two.num_restarts < 1:
            assert time.monotonic() < deadline, victim.fault
            time.sleep(0.1)
        assert prove_served(victim.engine, adapted, 3) < TOLERANCE
        assert len(left_in_shared_memory()) == len(others) + 1  # one for both servers
        assert_samples_from(two, adapted, requests, 3)
        two.load_weights(model.named_parameters(), 4)
        assert_samples_from(two, model, requests, 4)
    finally:
        two.close()
    assert left_in_shared_memory() == others
