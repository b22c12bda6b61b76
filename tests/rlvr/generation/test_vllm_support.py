"""What is checked and decided before vLLM is touched; none of it needs vLLM to be installed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig

from rlvr.errors import ConfigError, EngineError
from rlvr.generation import vllm_support as support
from rlvr.generation.choose import choose_engine
from rlvr.generation.engine import Request, Sampling
from rlvr.generation.vllm_replicas import connect_replicas, gpu_shares, open_servers
from rlvr.generation.vllm_server import VLLMServerEngine
from rlvr.generation.vllm_versions import check_version, vllm_version
from rlvr.generation.weight_files import buckets
from rlvr.generation.weights import WeightShapes

CONFIG = LlamaConfig(hidden_size=128, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=3)


def meta_model(config: LlamaConfig) -> Any:
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        return LlamaForCausalLM(config)


@pytest.mark.parametrize("version", ["0.26.0", "0.32.0", "0.33.0", "0.32.1rc1+cpu"])
def test_versions_in_the_range_are_accepted(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["0.20.2", "0.34.0", "1.0", "unknown"])
def test_other_versions_are_refused_with_what_to_install(version: str) -> None:
    with pytest.raises(ConfigError, match=rf"{version} is installed.*pip install 'vllm>=0\.26"):
        check_version(version)


def test_servers_that_do_not_say_who_sampled_a_token_are_refused() -> None:
    check_version("0.32.0", server=True)
    with pytest.raises(ConfigError, match=r"0\.31\.0 is installed; rlvr's server engine works with 0\.32 to 0\.33"):
        check_version("0.31.0", server=True)


def test_a_missing_vllm_is_refused_with_what_to_install() -> None:
    with pytest.raises(ConfigError, match="make vllm"):
        check_version(None)


def test_heads_that_cannot_be_shared_are_refused_with_the_sizes_that_can() -> None:
    support.check_heads(CONFIG, "m", 2)
    with pytest.raises(ConfigError, match=r"tensor_parallel_size is 3.*1, 2, 4"):
        support.check_heads(CONFIG, "m", 3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the limit is that of CPUs")
def test_heads_of_a_size_that_no_cpu_kernel_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="16 dimensions"):
        support.check_heads(LlamaConfig(hidden_size=64, num_attention_heads=4), "m", 1)


def test_the_cache_holds_every_sequence_or_a_quarter_of_the_memory() -> None:
    # 2 (keys, values) * 3 layers * 2 heads * 32 dimensions * 4 bytes = 1,536 bytes a token; 1,024 tokens and a block more
    assert support.kv_cache_bytes(CONFIG, 1024, 100, 4) == 1536 * (1024 + 128) * 100
    assert support.kv_cache_bytes(CONFIG, 1024, 1, 4) == 64 << 20
    with pytest.raises(ConfigError, match="Lower max_model_len"):
        support.kv_cache_bytes(CONFIG, 1 << 32, 1, 4)


def test_a_model_that_is_larger_than_the_free_memory_is_refused_before_it_is_loaded() -> None:
    giant = LlamaConfig(
        hidden_size=16_384,
        intermediate_size=53_248,
        num_attention_heads=128,
        num_key_value_heads=1,
        num_hidden_layers=126,
    )
    with pytest.raises(ConfigError, match=r"the weights take \d{6,} MiB .* are free"):
        support.kv_cache_bytes(giant, 1024, 1, 4)


def test_the_memory_of_a_gpu_is_counted_before_anything_is_loaded() -> None:
    weights = sum(tensor.numel() for tensor in meta_model(CONFIG).parameters())
    # 2 (keys, values) * 3 layers * 2 heads * 32 dimensions * 2 bytes = 768 bytes a token
    assert support.gpu_bytes_needed(CONFIG, 2, 1, 1000) == 2 * weights + 768_000
    assert support.gpu_bytes_needed(CONFIG, 2, 2, 1000) == weights + 384_000
    with pytest.raises(ConfigError, match=r"gpu_memory_utilization is 1\.5"):
        support.check_gpu_memory(CONFIG, "m", torch.bfloat16, 1.5, 1, max_model_len=1000)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_share_of_a_gpu_that_cannot_hold_the_model_is_refused_with_the_figures() -> None:
    with pytest.raises(ConfigError, match=r"needs .* GiB of each GPU .* tensor_parallel_size"):
        support.check_gpu_memory(CONFIG, "m", torch.bfloat16, 1e-6, 1, max_model_len=1000)


@pytest.mark.skipif(torch.cuda.is_available(), reason="speaks of a machine without GPUs")
def test_gpus_that_are_not_there_are_refused() -> None:
    support.check_gpus(2, None)
    with pytest.raises(ConfigError, match=r"gpus names \[0, 1\], and this machine shows 0 GPUs"):
        support.check_gpus(2, [0, 1])


def test_a_child_gets_the_gpus_that_were_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert support.visible_devices([2, 3]) == "2,3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-ab,7")
    assert support.visible_devices([2, 1]) == "7,GPU-ab"


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("No available memory for the cache blocks", "Lower max_model_len"),
        ("Model architectures ['X'] are not supported", "use engine 'transformers'"),
        ("", "no message"),
    ],
)
def test_a_failed_start_repeats_what_vllm_said_and_adds_the_remedy(said: str, remedy: str) -> None:
    message = str(support.start_failure("folder", f"Traceback:\n{said}\n" if said else ""))
    assert said in message
    assert remedy in message


def test_whatever_runs_inside_leaves_random_states_and_threads_as_they_were() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), torch.get_num_threads()
    set_threads = torch.set_num_threads
    with support.untouched_process():
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        torch.set_num_threads(before[3] + 1)
        torch.set_num_threads = lambda number: None
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist(), torch.get_num_threads()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert torch.set_num_threads is set_threads


def test_neighbouring_requests_share_no_seed_of_an_answer() -> None:
    seeds = [
        support.sampling_settings(Request([1], seed=seed, n=8), Sampling(), 5, [2])["seed"] + answer
        for seed in range(200)
        for answer in range(8)
    ]
    assert len(set(seeds)) == 1600
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_settings_carry_what_was_asked_for_and_nothing_else() -> None:
    plain = support.sampling_settings(Request([1], seed=0, n=4), Sampling(temperature=0.5), 5, [2])
    assert {
        "n": 4,
        "max_tokens": 5,
        "temperature": 0.5,
        "stop_token_ids": [2],
        "detokenize": False,
    }.items() <= plain.items()
    assert not {"stop", "top_p", "top_k", "min_p"} & plain.keys()
    cut = support.sampling_settings(
        Request([1], seed=0, n=4), Sampling(temperature=0, top_p=0.9, stop=("x",), stop_token_ids=(7,)), 5, [2]
    )
    assert {"n": 1, "stop": ["x"], "detokenize": True, "top_p": 0.9, "stop_token_ids": [2, 7]}.items() <= cut.items()


def test_spans_of_weights_become_versions_and_where_they_start() -> None:
    assert support.version_starts([("default", 0, 9)]) == (0, ())
    assert support.version_starts([("12", 0, 56), ("20", 56, 900)]) == (12, ((12, 0), (20, 56)))
    assert support.version_starts([]) == (0, ())


def test_weights_travel_in_buckets_and_tied_ones_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlvr.generation.weight_files.BUCKET_BYTES", 100)
    first, second, third = torch.ones(20), torch.ones(10), torch.ones(3)
    pairs = [("a", first), ("tied", first), ("b", second), ("c", third)]
    assert [list(bucket) for bucket in buckets(pairs)] == [["a", "b"], ["c"]]


def test_shapes_of_a_configuration_are_those_of_the_model(model: Any) -> None:
    shapes = WeightShapes.of_config(model.config)
    pairs = list(model.named_parameters())
    assert [name for name, _ in shapes.checked(pairs)] == [name for name, _ in pairs]
    with pytest.raises(EngineError, match="were not given"):
        list(shapes.checked(pairs[:-1]))


def test_a_server_on_another_machine_is_refused_unless_its_network_is_trusted(model_folder: Path) -> None:
    for url in ("http://10.0.0.5:8000", "http://example.org:8000", "http://0.0.0.0:1"):
        with pytest.raises(ConfigError, match="trusted_network"):
            VLLMServerEngine(url, model_folder)


def test_a_server_that_does_not_answer_is_an_error_that_names_it(model_folder: Path) -> None:
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9 does not answer"):
        VLLMServerEngine("http://127.0.0.1:9", model_folder)


def test_the_choice_of_an_engine_says_why() -> None:
    small, large = choose_engine(300_000, on_gpu=False), choose_engine(10**9, on_gpu=True)
    if vllm_version() is None:
        assert small == large == ("transformers", "vLLM is not installed")
    else:
        assert small.engine == "transformers"
        assert "0.3 million" in small.reason
        assert large.engine == "vllm"
        assert choose_engine(10_000_000, on_gpu=False).engine == "vllm"


def test_replicas_take_the_last_gpus_and_leave_the_learner_one() -> None:
    assert gpu_shares(3, 2, None, 0) == [None] * 3
    assert gpu_shares(3, 2, None, 8) == [[2, 3], [4, 5], [6, 7]]
    assert gpu_shares(2, 1, [0, 5], 8) == [[0], [5]]
    with pytest.raises(ConfigError, match="need 8 GPUs beside the learner's, and this machine shows 8"):
        gpu_shares(4, 2, None, 8)
    with pytest.raises(ConfigError, match="need 4 different ones"):
        gpu_shares(2, 2, [0, 1, 1, 2], 8)


def test_options_that_do_not_exist_or_do_not_go_together_are_refused(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"engine_options has replica, unknown here; there are .*replicas"):
        open_servers(model_folder, replicas=2, replica=2)
    with pytest.raises(ConfigError, match="give one of the two"):
        open_servers(model_folder, replicas=2, urls=["http://127.0.0.1:1"])
    with pytest.raises(ConfigError, match="named once"):
        connect_replicas(["http://127.0.0.1:1", "http://127.0.0.1:1/"], model_folder)
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9 does not answer"):
        connect_replicas(["http://127.0.0.1:9"], model_folder)
