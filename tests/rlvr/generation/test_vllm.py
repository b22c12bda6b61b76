"""What only vLLM can get wrong: stale heads, stale caches, servers that die. Real vLLM, no stand-ins."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.errors import ConfigError, EngineError, StaleWeightsError
from rlvr.generation.engine import Request, Sampling
from rlvr.generation.proof import prove_served
from rlvr.generation.vllm_server import VLLMServerEngine
from rlvr.generation.vllm_versions import vllm_version

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(vllm_version() is None, reason="vLLM is not installed here; `make vllm` tests it"),
]


def moved(model: Any, by: float, seed: int = 1) -> Any:
    other = copy.deepcopy(model)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(by * parameter.std() * torch.randn(parameter.shape, generator=noise))
    return other


def test_a_head_that_stays_stale_is_refused_and_the_repacked_one_is_not(
    vllm_engine: Any, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model.config.tie_word_embeddings
    other = moved(model, 0.3)
    with monkeypatch.context() as without_repair:
        without_repair.setattr("rlvr.generation.vllm_worker.repack_tied_heads", lambda model: None)
        vllm_engine.load_weights(other.named_parameters(), 5)
        assert vllm_engine.weight_version == 5  # the label is no proof
        with pytest.raises(StaleWeightsError, match="version 5"):
            prove_served(vllm_engine, other, 5)
    vllm_engine.load_weights(other.named_parameters(), 6)
    assert prove_served(vllm_engine, other, 6) < 5e-5
    vllm_engine.load_weights(model.named_parameters(), 0)


def test_a_long_prompt_that_was_cached_is_read_again_by_new_weights(vllm_engine: Any, model: Any) -> None:
    request = Request([5 + place % 40 for place in range(300)], seed=1)  # more than two blocks of the prefix cache
    vllm_engine.generate([request], Sampling(max_tokens=2))
    other = moved(model, 0.3)
    vllm_engine.load_weights(other.named_parameters(), 7)
    [[completion]] = vllm_engine.generate([request], Sampling(max_tokens=8))
    ids = torch.tensor([[*request.prompt_ids, *completion.token_ids]])
    with torch.no_grad():
        logprobs = torch.log_softmax(other(ids).logits[0, 299:-1], -1)
    expected = logprobs.gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]
    assert torch.tensor(completion.logprobs) == pytest.approx(expected, abs=5e-5)
    vllm_engine.load_weights(model.named_parameters(), 0)


def test_many_updates_in_a_row_stay_exact(vllm_engine: Any, model: Any) -> None:
    for version in range(20, 25):
        other = moved(model, 0.2, seed=version)
        vllm_engine.load_weights(other.named_parameters(), version)
        assert prove_served(vllm_engine, other, version) < 5e-5
    vllm_engine.load_weights(model.named_parameters(), 0)


def test_the_learners_thread_settings_survive_the_engine(vllm_engine: Any) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before + 1  # vLLM replaces this function by one that does nothing
    torch.set_num_threads(before)


def test_no_weight_file_is_left_in_shared_memory(vllm_server: Any, model: Any) -> None:
    with pytest.raises(EngineError):
        vllm_server.load_weights(list(model.named_parameters())[:-1], 3)
    vllm_server.load_weights(model.named_parameters(), 0)
    assert not list(Path("/dev/shm").glob("rlvr-weights-*"))


def test_a_model_that_vllm_cannot_serve_is_refused_with_the_remedy(tmp_path: Path, tokenizer: Any) -> None:
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    from rlvr.generation.vllm import VLLMEngine

    config = OpenAIGPTConfig(vocab_size=len(tokenizer), n_embd=64, n_head=2, n_layer=1, n_positions=64)
    OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="engine 'transformers'"):
        VLLMEngine(tmp_path)


def test_a_server_that_was_killed_is_one_clear_error(model_folder: Path) -> None:
    engine = VLLMServerEngine.launch(model_folder, max_num_seqs=8, kv_cache_memory_mb=64, start_timeout_s=1500)
    os.killpg(engine._connection.process._process.pid, 9)  # type: ignore[union-attr]
    with pytest.raises(EngineError, match="does not answer"):
        engine.generate([Request([5], seed=0)], Sampling(max_tokens=2))
    with pytest.raises(EngineError):
        engine.load_weights([], 4)
    engine.close()


def test_a_server_ends_with_the_process_that_launched_it(tmp_path: Path) -> None:
    # The launcher itself, on a module that starts in no time: what ends it is the closing of its input.
    program = (
        "import runpy, sys, time\n"
        "from rlvr.generation import vllm_launch\n"
        "import threading\n"
        "vllm_launch.GRACE_S = 0.5\n"
        "threading.Thread(target=vllm_launch._end_with_starter, daemon=True).start()\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    assert child.poll() is None
    child.stdin.close()
    assert child.wait(timeout=30) < 0
