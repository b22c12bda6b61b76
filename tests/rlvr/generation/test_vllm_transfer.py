"""Weights to real vLLM servers by each transfer: what is served, what is refused, and what a server that dies costs."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.errors import ConfigError, EngineError
from rlvr.generation import weight_files, weight_packing
from rlvr.generation.engine import Request, Sampling
from rlvr.generation.proof import prove_served
from rlvr.generation.replicas import ReplicatedEngine
from rlvr.generation.vllm_replicas import open_servers
from rlvr.generation.vllm_server import VLLMServerEngine
from rlvr.generation.vllm_versions import vllm_version
from rlvr.generation.weight_broadcast import BroadcastSender
from rlvr.generation.weight_packing import packed
from rlvr.generation.weight_sharing import SharedMemorySender

NO_VLLM = pytest.mark.skipif(vllm_version() is None, reason="vLLM is not installed here; `make vllm` tests it")
real_vllm = [pytest.mark.vllm, pytest.mark.slow, NO_VLLM]
gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]
TRANSFERS = ["files", "broadcast", "shared_memory"]
SIZE: dict[str, Any] = {"max_num_seqs": 64, "kv_cache_memory_mb": 64, "start_timeout_s": 1500}


def moved(model: Any, seed: int) -> Any:
    other = copy.deepcopy(model)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.2 * parameter.std() * torch.randn(parameter.shape, generator=noise).to(parameter))
    return other


def greedy(model: Any, prompt: list[int], tokens: int) -> list[int]:
    ids = list(prompt)
    for _ in range(tokens):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids], device=model.device)).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def assert_serves(engine: Any, model: Any, version: int) -> None:
    """Forced log-probabilities and greedy tokens are the model's."""
    assert prove_served(engine, model, version, served_dtype=engine.dtype) < 5e-5 or engine.dtype != torch.float32
    prompt = [5, 9, 17]
    [[answer]] = engine.generate([Request(prompt, seed=0)], Sampling(temperature=0.0, max_tokens=8))
    if engine.dtype == torch.float32:
        expected = greedy(model, prompt, 8)
        assert answer.token_ids == expected[: len(answer.token_ids)]
    assert answer.weight_version == version


def buffers() -> int:
    """Shared buffers that this process has mapped."""
    return Path("/proc/self/maps").read_text().count("memfd:rlvr-weights")


@pytest.fixture(scope="module")
def server(model_folder: Path) -> Iterator[VLLMServerEngine]:
    engine = VLLMServerEngine.launch(model_folder, transfer="files", **SIZE)
    yield engine
    engine.close()


@pytest.fixture
def connect(server: VLLMServerEngine, model_folder: Path, tmp_path: Path) -> Iterator[Callable[..., VLLMServerEngine]]:
    """Engines on the one server, each with a transfer of its own. Nothing of them is left."""
    engines: list[VLLMServerEngine] = []

    def connected(transfer: Any, **settings: Any) -> VLLMServerEngine:
        if transfer == "files":
            settings["transfer_folder"] = tmp_path
        engines.append(VLLMServerEngine(server._connection.url, model_folder, transfer=transfer, **settings))
        return engines[-1]

    before = buffers()
    yield connected
    for engine in engines:
        engine.close()
    assert buffers() == before
    assert not list(tmp_path.iterdir())


class TestOneServer:
    pytestmark = real_vllm

    @pytest.mark.parametrize("transfer", TRANSFERS)
    def test_what_is_served_follows_every_update(self, connect: Any, model: Any, transfer: str) -> None:
        assert model.config.tie_word_embeddings
        engine = connect(transfer)
        for version in range(1, 5):
            other = moved(model, version)
            # By all their names, the tied head's too, and by each name once.
            pairs = other.state_dict().items() if version % 2 else other.named_parameters()
            engine.load_weights(pairs, version)
            assert_serves(engine, other, version)

    @pytest.mark.parametrize("transfer", TRANSFERS)
    @pytest.mark.parametrize("bucket", [20_000, 1])  # smaller than the model; smaller than any tensor
    def test_weights_in_many_buckets_are_served_all(
        self, connect: Any, model: Any, transfer: str, bucket: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (weight_packing, weight_files):
            monkeypatch.setattr(module, "BUCKET_BYTES", bucket)
        engine = connect(transfer)
        other = moved(model, bucket)
        if transfer != "files":
            largest = max(tensor.numel() for tensor in model.parameters()) * 4
            assert max(bucket, largest) <= len(engine._stream.buffer()) < sum(p.numel() for p in model.parameters())
            assert len(list(engine.buckets(other.named_parameters()))) > 3
        # From the last to the first, so that the weights that vLLM fuses into one layer come in different buckets.
        engine.load_weights(list(other.named_parameters())[::-1], 5)
        assert_serves(engine, other, 5)

    @pytest.mark.parametrize("transfer", TRANSFERS)
    def test_an_incomplete_set_is_never_served_and_the_next_complete_one_is(
        self, connect: Any, model: Any, transfer: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(weight_packing, "BUCKET_BYTES", 1)  # much has arrived before the mistake is noticed
        engine = connect(transfer)
        good = list(moved(model, 6).named_parameters())
        wrong_shape = [(name, torch.zeros(3, 5)) if "layers.1.mlp.up" in name else (name, t) for name, t in good]
        for broken, word in [
            (good[:-1], "were not given"),
            (wrong_shape, "has shape"),
            ([*good, ("x", good[0][1])], "'x'"),
        ]:
            with pytest.raises(EngineError, match=word):
                engine.load_weights(broken, 6)
            with pytest.raises(EngineError, match="load a complete set"):
                engine.generate([Request([5], seed=0)], Sampling(max_tokens=2))
        engine.load_weights(good, 7)
        assert_serves(engine, moved(model, 6), 7)

    def test_a_learner_whose_connection_another_one_took_is_told_and_connects_again(
        self, connect: Any, model: Any
    ) -> None:
        first, second = connect("shared_memory"), connect("broadcast")
        with pytest.raises(EngineError, match="another one has connected"):
            first.load_weights(model.named_parameters(), 8)
        first.load_weights(moved(model, 9).named_parameters(), 9)
        assert_serves(first, moved(model, 9), 9)
        second.close()  # which leaves the connection of the first as it is
        first.load_weights(moved(model, 10).named_parameters(), 10)
        assert_serves(first, moved(model, 10), 10)
        connect("files").load_weights(moved(model, 11).named_parameters(), 11)
        first.load_weights(moved(model, 12).named_parameters(), 12)
        assert_serves(first, moved(model, 12), 12)

    def test_a_server_that_was_left_has_given_the_memory_back(self, connect: Any, server: Any) -> None:
        group = os.getpgid(server._connection.process._process.pid)

        def mapped() -> int:
            found = 0
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    if os.getpgid(int(process.name)) == group:
                        found += "memfd:rlvr-weights" in (process / "maps").read_text()
                except OSError:
                    continue
            return found

        engine = connect("shared_memory")
        assert mapped() == 1
        engine.close()
        assert mapped() == 0

    def test_a_transfer_that_cannot_be_opened_is_refused_with_the_remedy(
        self, connect: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("rlvr.generation.weight_sharing.os.getpid", lambda: 2**22 + 1)  # as in another container
        with pytest.raises(ConfigError, match=r"by transfer = 'shared_memory': .* Set transfer = 'files'"):
            connect("shared_memory")

    def test_a_sharded_learner_sends_by_broadcast(self, server: Any, model_folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        program = Path(__file__).with_name("sending_ranks.py")
        launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        ranks = [
            subprocess.Popen(
                [sys.executable, program, model_folder, server._connection.url, "broadcast"],
                env={**os.environ, **launched, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        try:
            replies = [rank.communicate(timeout=300) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
        for out, errors in replies:
            assert out.split("\n")[:2] == ["served 31", "served 32"], errors

    def test_a_server_that_hangs_is_an_error_when_the_time_of_a_bucket_is_up(
        self, connect: Any, server: Any, model: Any
    ) -> None:
        engine = connect("broadcast", timeout_s=4.0)
        group = server._connection.process._process.pid
        try:
            began = time.monotonic()
            with pytest.raises(EngineError, match="does not answer"):
                engine.load_weights(self.after_the_first(model, lambda: os.killpg(group, signal.SIGSTOP)), 11)
            assert time.monotonic() - began < 40
        finally:
            os.killpg(group, signal.SIGCONT)
        deadline = time.monotonic() + 300
        while not engine.healthy(5.0):
            assert time.monotonic() < deadline
        engine._connection.client.timeout = 60.0
        while True:  # what it was asked before it hung is still to be answered
            try:
                engine.load_weights(moved(model, 12).named_parameters(), 12)
                break
            except EngineError:
                assert time.monotonic() < deadline
        assert_serves(engine, moved(model, 12), 12)

    @pytest.mark.parametrize("transfer", ["broadcast"])
    def test_a_server_killed_in_the_middle_of_an_update_is_an_error_at_once(
        self, connect: Any, server: Any, model: Any, transfer: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The last one: the server is gone afterwards."""
        monkeypatch.setattr(weight_packing, "BUCKET_BYTES", 1)
        engine = connect(transfer)
        group = server._connection.process._process.pid
        began = time.monotonic()
        with pytest.raises(EngineError, match="does not answer"):
            engine.load_weights(self.after_the_first(model, lambda: os.killpg(group, signal.SIGKILL)), 13)
        assert time.monotonic() - began < 30
        with pytest.raises(EngineError):
            engine.generate([Request([5], seed=0)], Sampling(max_tokens=2))

    @staticmethod
    def after_the_first(model: Any, call: Callable[[], Any]) -> Iterator[tuple[str, Any]]:
        """The model's weights; `call` is made when some have been taken."""
        for number, pair in enumerate(moved(model, 3).named_parameters()):
            if number == 6:
                call()
            yield pair


class TestSeveralWorkers:
    pytestmark = real_vllm

    def test_the_workers_of_a_tensor_parallel_server_all_get_the_weights(
        self, tiny: Any, tokenizer: Any, tmp_path: Path
    ) -> None:
        model = tiny(seed=4)
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        engine = VLLMServerEngine.launch(tmp_path, tensor_parallel_size=2, transfer="broadcast", **SIZE)
        try:
            for version in (1, 2):
                engine.load_weights(moved(model, version).named_parameters(), version)
                assert_serves(engine, moved(model, version), version)
            shared = VLLMServerEngine(engine._connection.url, tmp_path, transfer="shared_memory")
            shared.load_weights(moved(model, 3).named_parameters(), 3)
            assert_serves(shared, moved(model, 3), 3)
            shared.close()
        finally:
            engine.close()


class TestReplicas:
    pytestmark = real_vllm

    def test_one_stream_reaches_both_and_a_killed_one_is_back_after_the_next(
        self, model_folder: Path, model: Any
    ) -> None:
        engine = open_servers(model_folder, replicas=2, transfer="broadcast", health_every_s=1.0, **SIZE)
        assert isinstance(engine, ReplicatedEngine)
        requests = [Request([5, 9, number], seed=number, n=2) for number in range(3, 19)]
        try:
            read: list[str] = []

            def stream(seed: int) -> Iterator[tuple[str, Any]]:
                for name, tensor in moved(model, seed).named_parameters():
                    read.append(name)
                    yield name, tensor

            engine.load_weights(stream(1), 1)
            assert len(read) == len(set(read))
            for place in engine._dispatch.places:
                assert_serves(place.engine, moved(model, 1), 1)

            victim = engine._dispatch.places[0]
            os.killpg(victim.engine._connection.process._process.pid, signal.SIGKILL)  # type: ignore[union-attr]
            engine.load_weights(stream(2), 2)  # the one that is left goes on
            assert engine.num_serving == 1
            assert_serves(engine, moved(model, 2), 2)
            deadline = time.monotonic() + 1500
            while victim.late is None:
                assert time.monotonic() < deadline, victim.fault
                time.sleep(0.1)
            answers = engine.generate(requests, Sampling(max_tokens=8))
            assert {answer.weight_version for group in answers for answer in group} == {2}
            assert engine.num_serving == 1

            engine.load_weights(stream(3), 3)
            assert (engine.num_serving, engine.num_restarts) == (2, 1)
            for place in engine._dispatch.places:
                assert_serves(place.engine, moved(model, 3), 3)
        finally:
            engine.close()


class TestOnAGPU:
    """One call on a GPU machine: `pytest -m gpu`."""

    pytestmark = gpu

    def test_another_process_reads_what_lies_in_memory_shared_by_cuda_ipc(self) -> None:
        program = (
            "import json, sys, torch\n"
            "from rlvr.generation.weight_sharing import SharedMemoryReceiver\n"
            "receiver = SharedMemoryReceiver(json.loads(sys.stdin.readline()), torch.device('cuda', 0))\n"
            "for line in sys.stdin:\n"
            "    print(int(receiver.take(int(line)).long().sum()), flush=True)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None

            def say(text: str) -> None:
                child.stdin.write(text + "\n")  # type: ignore[union-attr]
                child.stdin.flush()  # type: ignore[union-attr]

            sender = SharedMemorySender(1 << 20, lambda settings: say(json.dumps(settings)))
            for value in (1, 2):
                pairs = [("a", torch.full((1000,), value, dtype=torch.uint8, device="cuda"))]
                [bucket] = packed(pairs, torch.bfloat16, sender.buffer())
                answers: list[int] = []

                def tell(bucket: Any = bucket, answers: list[int] = answers) -> None:
                    say(str(len(bucket.data)))
                    answers.append(int(child.stdout.readline()))  # type: ignore[union-attr]

                sender.send(bucket, tell)
                assert answers == [1000 * value]
            child.stdin.close()

    def test_nccl_opens_a_group_of_its_own(self) -> None:
        seen: list[Any] = []
        sender = BroadcastSender("127.0.0.1", 0, 1 << 20, seen.append, 60.0)
        assert seen[0]["backend"] == "nccl"
        [bucket] = packed([("a", torch.ones(9))], torch.bfloat16, sender.buffer())
        sender.send(bucket, lambda: None)
        sender.close()

    @pytest.mark.parametrize("transfer", TRANSFERS)
    @NO_VLLM
    def test_a_server_follows_every_update(self, model_folder: Path, model: Any, transfer: Any) -> None:
        last = torch.cuda.device_count() - 1
        if transfer == "broadcast" and last == 0:
            pytest.skip("NCCL takes no GPU twice, and there is one")
        gpus = [last if transfer == "broadcast" else 0]
        learner = copy.deepcopy(model).cuda()
        engine = VLLMServerEngine.launch(
            model_folder, gpus=gpus, transfer=transfer, gpu_memory_utilization=0.2, max_num_seqs=64, dtype=torch.float32
        )
        try:
            for version in (1, 2, 3):
                other = moved(learner, version)
                engine.load_weights(other.named_parameters(), version)
                assert prove_served(engine, other, version, served_dtype=torch.bfloat16) < 0.05
        finally:
            engine.close()
