"""How weights are packed, and how the bytes get across. No vLLM: the workers' side runs in threads of this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

from rlvr.errors import ConfigError, EngineError
from rlvr.generation import weight_broadcast, weight_packing
from rlvr.generation.transfer import WeightStream, choose_transfer
from rlvr.generation.weight_broadcast import BroadcastReceiver, BroadcastSender
from rlvr.generation.weight_packing import ALIGNMENT, Bucket, buffer_bytes, num_bytes, packed, unpack
from rlvr.generation.weight_sharing import SharedMemoryReceiver, SharedMemorySender
from rlvr.generation.weights import WeightShapes

CPU = torch.device("cpu")
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU these bytes go by NCCL and CUDA IPC")


def weights() -> list[tuple[str, torch.Tensor]]:
    noise = torch.Generator().manual_seed(0)
    return [
        ("matrix", torch.randn(7, 5, generator=noise)),
        ("transposed", torch.randn(3, 4, generator=noise).T),
        ("half", torch.randn(11, generator=noise).to(torch.bfloat16)),
        ("scalar", torch.tensor(2.5)),
        ("none", torch.zeros(0, 4)),
        ("numbers", torch.arange(3)),
        ("large", torch.randn(30, 9, generator=noise)),
        ("last", torch.randn(2, 2, generator=noise)),
    ]


def buckets_of(pairs: Any, dtype: torch.dtype, size: int) -> list[Bucket]:
    """Copies, for a bucket is gone when the next is asked for."""
    buffer = torch.empty(size, dtype=torch.uint8)
    return [Bucket(bucket.data.clone(), list(bucket.layout)) for bucket in packed(pairs, dtype, buffer)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_what_was_packed_is_unpacked_as_it_was_in_the_dtype_that_is_served(dtype: torch.dtype) -> None:
    buckets = buckets_of(weights(), dtype, 30 * 9 * dtype.itemsize)  # the largest tensor, and nothing beside it
    assert len(buckets) == 3
    found = [pair for bucket in buckets for pair in unpack(bucket.data, bucket.layout)]
    assert [name for name, _ in found] == [name for name, _ in weights()]
    for (name, given), (_, got) in zip(weights(), found, strict=True):
        expected = given.to(dtype) if given.is_floating_point() else given
        assert got.dtype == expected.dtype
        assert torch.equal(got, expected), name


def test_buckets_stay_below_their_size_and_a_large_tensor_goes_alone() -> None:
    buckets = buckets_of(weights(), torch.float32, 30 * 9 * 4)
    assert all(len(bucket.data) == num_bytes(bucket.layout) <= 30 * 9 * 4 for bucket in buckets)
    assert [[name for name, _, _ in bucket.layout] for bucket in buckets] == [
        ["matrix", "transposed", "half", "scalar", "none", "numbers"],
        ["large"],
        ["last"],
    ]


def test_every_tensor_begins_where_a_view_of_its_dtype_may_begin() -> None:
    [bucket] = buckets_of([("a", torch.ones(3).half()), ("b", torch.ones(2).double())], torch.float64, 4096)
    assert bucket.layout == [("a", "float64", [3]), ("b", "float64", [2])]
    assert [tensor.storage_offset() * 8 for _, tensor in unpack(bucket.data, bucket.layout)] == [0, ALIGNMENT]


def test_a_buffer_holds_a_bucket_or_the_largest_weight_or_a_small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert buffer_bytes([10, 100], torch.float32) == 64 + 448
    monkeypatch.setattr(weight_packing, "BUCKET_BYTES", 100)
    assert buffer_bytes([10, 10, 10], torch.float32) == 100
    assert buffer_bytes([10, 100], torch.bfloat16) == 256


def test_a_tensor_that_does_not_fit_is_named() -> None:
    with pytest.raises(EngineError, match=r"'large' takes 1080 bytes as torch\.float32, more than the buffer of 1024"):
        buckets_of(weights(), torch.float32, 1024)


def test_a_tied_weight_goes_once_whatever_lies_between_its_names(model: Any) -> None:
    assert model.config.tie_word_embeddings
    shapes = WeightShapes.of_config(model.config)
    state = list(model.state_dict().items())
    assert [name for name, _ in shapes.once(shapes.checked(state))] == [name for name, _ in model.named_parameters()]
    assert len(state) > len(shapes.sizes)


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(EngineError, match="'load' is no dtype"):
        list(unpack(torch.zeros(8, dtype=torch.uint8), [("a", "load", [2])]))


class Workers:
    """The workers of a server, in threads of this process."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.receivers: list[Any] = []
        self.threads = ThreadPoolExecutor(count)

    def join(self, settings: dict[str, Any]) -> None:
        def one(number: int) -> Any:
            if "host" in settings:
                return BroadcastReceiver(settings, 1 + number, CPU)
            return SharedMemoryReceiver(settings, CPU)

        self.receivers = list(self.threads.map(one, range(self.count)))

    def taking(self, bucket: Bucket, into: list[Any]) -> Callable[[], None]:
        size = num_bytes(bucket.layout)
        return lambda: into.extend(self.threads.map(lambda receiver: receiver.take(size), self.receivers))

    def close(self) -> None:
        for receiver in self.receivers:
            receiver.close()


@no_gpu
@pytest.mark.parametrize("way", ["broadcast", "shared_memory"])
def test_every_worker_gets_the_bytes_of_every_bucket(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")  # under torchrun; the store of the group is its own
    workers = Workers(2)
    sender = (
        BroadcastSender("127.0.0.1", 2, 2304, workers.join, 20.0)
        if way == "broadcast"
        else SharedMemorySender(2304, workers.join)
    )
    arrived: list[Any] = []
    for bucket in packed(weights(), torch.float32, sender.buffer()):
        got: list[torch.Tensor] = []
        sender.send(bucket, workers.taking(bucket, got))
        assert len(got) == 2
        assert torch.equal(got[0], got[1])
        arrived.append((got[0], list(bucket.layout)))
    # What came first is still there after all of it: a worker's layers keep it.
    found = {name: tensor for data, layout in arrived for name, tensor in unpack(data, layout)}
    assert all(torch.equal(found[name], tensor.to(found[name].dtype)) for name, tensor in weights())
    other = torch.arange(100, dtype=torch.uint8)  # packed for another server
    got = []
    sender.send(Bucket(other, [("a", "uint8", [100])]), workers.taking(Bucket(other, [("a", "uint8", [100])]), got))
    assert torch.equal(got[1], other)
    sender.close()
    workers.close()


@no_gpu
def test_the_learner_listens_where_the_server_can_reach_it_and_nowhere_else() -> None:
    seen: list[dict[str, Any]] = []
    workers = Workers(1)

    def join(settings: dict[str, Any]) -> None:
        seen.append(settings)
        workers.join(settings)

    sender = BroadcastSender("localhost", 1, 64, join, 5.0)
    assert seen[0]["host"] == "127.0.0.1"
    assert seen[0]["backend"] == "gloo"
    sender.close()
    workers.close()


@no_gpu
def test_workers_that_do_not_join_are_told_at_once_or_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(settings: dict[str, Any]) -> None:
        raise EngineError("the worker has no gloo")

    began = time.monotonic()
    with pytest.raises(EngineError, match="no gloo"):
        BroadcastSender("127.0.0.1", 1, 64, refuse, 5.0)
    assert time.monotonic() - began < 5
    monkeypatch.setattr(weight_broadcast, "OPEN_TIMEOUT_S", 0.3)
    with pytest.raises(EngineError, match="firewall"):
        BroadcastSender("127.0.0.1", 1, 64, lambda settings: time.sleep(1), 5.0)


@no_gpu
def test_a_worker_that_leaves_in_the_middle_fails_the_broadcast() -> None:
    workers = Workers(1)
    sender = BroadcastSender("127.0.0.1", 1, 64, workers.join, 5.0)
    data = torch.zeros(100 << 20, dtype=torch.uint8)
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"closed|reset|not over"):
        sender.send(Bucket(data, [("a", "uint8", [len(data)])]), workers.close)
    assert time.monotonic() - began < 15
    sender.close()


@no_gpu
def test_a_learner_leaves_a_worker_that_hangs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_broadcast, "OPEN_TIMEOUT_S", 20.0)  # after which the group gives a broadcast up

    def hang() -> None:
        raise EngineError("the server does not answer")

    data = torch.zeros(100, dtype=torch.uint8)
    for _ in range(5):  # threads race for the last reference to the group
        workers = Workers(1)
        sender = BroadcastSender("127.0.0.1", 1, 64, workers.join, 5.0)
        began = time.monotonic()
        with pytest.raises(EngineError, match="does not answer"):
            sender.send(Bucket(data, [("a", "uint8", [100])]), hang)
        sender.close()
        assert time.monotonic() - began < 10
        workers.close()


@no_gpu
def test_a_stream_that_failed_is_closed_and_opened_again() -> None:
    posts: list[str] = []
    workers = Workers(1)
    broken = threading.Event()

    def post(path: str, **body: Any) -> None:
        posts.append(path)
        if path == "/init_weight_transfer_engine":
            if "settings" in body["init_info"]:
                workers.join(body["init_info"]["settings"])
        elif broken.is_set():
            raise EngineError("the server is gone")
        else:
            workers.receivers[0].take(num_bytes(body["update_info"]["layout"]))

    stream = WeightStream("shared_memory", post, host="", num_workers=1, buffer_bytes=2304, timeout_s=5.0)
    with pytest.raises(EngineError, match="begin an update first"):
        stream.buffer()
    stream.open()
    stream.open()
    assert posts == ["/init_weight_transfer_engine"]
    [bucket] = packed([("a", torch.ones(3))], torch.float32, stream.buffer())
    stream.send(bucket)
    broken.set()
    with pytest.raises(EngineError, match="is gone"):
        stream.send(bucket)
    with pytest.raises(EngineError, match="not open"):
        stream.send(bucket)
    broken.clear()
    stream.open()
    stream.send(bucket)
    stream.leave()
    stream.leave()
    assert posts[-1] == "/init_weight_transfer_engine"
    assert posts.count("/init_weight_transfer_engine") == 3


def test_a_transfer_is_chosen_by_where_the_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen(transfer: Any = "auto", **settings: Any) -> str:
        return choose_transfer(transfer, **{"folder_given": False, "same_machine": True, **settings})

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen() == chosen(gpus=range(1)) == "shared_memory"
    assert chosen(same_machine=False) == "broadcast"
    assert chosen(folder_given=True) == chosen("files") == "files"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert chosen(gpus=[0]) == "shared_memory"
    assert chosen(gpus=[1, 2]) == chosen() == chosen(same_machine=False) == "broadcast"
    assert chosen(gpus=[0, 1]) == "files"
    with pytest.raises(ConfigError, match="there are auto, files, broadcast, shared_memory"):
        chosen("nccl")
    with pytest.raises(ConfigError, match="give one of the two"):
        chosen("broadcast", folder_given=True)
    with pytest.raises(ConfigError, match="another machine"):
        chosen("shared_memory", same_machine=False)
