"""Two real vLLM servers behind one engine, one of which is killed while it answers."""

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

from rlvr.generation.engine import Completion, Request, Sampling
from rlvr.generation.proof import prove_served
from rlvr.generation.vllm_replicas import connect_replicas, open_servers
from rlvr.generation.vllm_versions import vllm_version

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(vllm_version() is None, reason="vLLM is not installed here; `make vllm` tests it"),
]
SAMPLING = Sampling(max_tokens=300)


@pytest.fixture(scope="module")
def two_servers(model_folder: Path) -> Iterator[Any]:
    engine = open_servers(
        model_folder,
        replicas=2,
        transfer="files",  # kept for the one that comes back; test_vllm_transfer has the others
        max_num_seqs=64,
        kv_cache_memory_mb=64,
        start_timeout_s=1500,
        health_every_s=1.0,
    )
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def requests(tokenizer: Any) -> list[Request]:
    return [Request(tokenizer.encode(f"{number}*7="), seed=number, n=4) for number in range(48)]


def tokens(answers: list[list[Completion]]) -> list[list[list[int]]]:
    return [[completion.token_ids for completion in group] for group in answers]


def test_a_server_killed_in_the_middle_costs_no_answer_and_comes_back_with_the_trained_weights(
    two_servers: Any, model: Any, requests: list[Request]
) -> None:
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.9)
    two_servers.load_weights(other.named_parameters(), 5)
    assert prove_served(two_servers, other, 5) < 5e-5
    expected = two_servers.generate(requests, SAMPLING)

    victim = two_servers._dispatch.places[0]
    answers: list[Any] = []
    reader = threading.Thread(target=lambda: answers.extend(two_servers.generate(requests, SAMPLING)))
    reader.start()
    deadline = time.monotonic() + 60
    while not victim.jobs:
        assert time.monotonic() < deadline, "the server was given nothing"
        time.sleep(0.002)
    busy = len(victim.jobs)
    segments = victim.engine._connection.process._shared_memory
    assert segments
    os.killpg(victim.engine._connection.process._process.pid, 9)
    reader.join(300)
    assert busy > 0
    assert tokens(answers) == tokens(expected)
    assert {completion.weight_version for group in answers for completion in group} == {5}

    deadline = time.monotonic() + 1500
    while two_servers.num_restarts < 1:
        assert time.monotonic() < deadline, victim.fault
        time.sleep(0.1)
    assert two_servers.num_serving == 2
    assert not any(path.exists() for path in segments)  # a killed process cannot tidy up
    assert prove_served(victim.engine, other, 5) < 5e-5
    assert tokens(two_servers.generate(requests, SAMPLING)) == tokens(expected)
    two_servers.load_weights(model.named_parameters(), 6)
    assert prove_served(two_servers, model, 6) < 5e-5


def test_servers_that_run_already_are_used_by_their_addresses(
    two_servers: Any, model: Any, model_folder: Path, requests: list[Request]
) -> None:
    urls = [place.engine._connection.url for place in two_servers._dispatch.places]
    by_address = connect_replicas(urls, model_folder)
    try:
        by_address.load_weights(model.named_parameters(), 7)
        assert prove_served(by_address, model, 7) < 5e-5
        assert tokens(by_address.generate(requests[:6], SAMPLING)) == tokens(
            two_servers.generate(requests[:6], SAMPLING)
        )
    finally:
        by_address.close()
    assert all(place.engine.healthy() for place in two_servers._dispatch.places)


def test_no_weight_file_stays_behind(two_servers: Any) -> None:
    kept = {Path(path) for path in two_servers._files.paths}
    assert kept
    assert all(path.exists() for path in kept)
    two_servers.close()
    assert not any(path.exists() for path in kept)
