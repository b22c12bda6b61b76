"""Replicas share the prompts out, and one that dies costs nothing but time. Real engines that can be made to die or to hang."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.errors import ConfigError, EngineError, StaleWeightsError
from rlvr.generation.engine import Completion, Request, Sampling
from rlvr.generation.proof import prove_served
from rlvr.generation.replicas import ReplicatedEngine
from rlvr.generation.transformers import TransformersEngine
from rlvr.generation.weight_files import WeightFiles
from rlvr.generation.weight_packing import Bucket, packed, unpack
from rlvr.generation.weights import WeightShapes

SAMPLING = Sampling(max_tokens=6)


class Mortal(TransformersEngine):
    """A decode loop with a switch to kill it and one to hang it."""

    dtype = torch.float32

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(copy.deepcopy(model), tokenizer)
        self.dies_after = 10**9
        self.hangs = threading.Event()
        self.answered = 0
        self.conversations: list[str] = []
        self.one_at_a_time = threading.Lock()

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        with self.one_at_a_time:
            while self.hangs.is_set():
                time.sleep(0.01)
            if not self.healthy(1.0):
                raise EngineError("this replica was killed")
            self.answered += len(requests)
            self.conversations += [request.conversation for request in requests]
            return super().generate(requests, sampling)

    def load_weights(self, named_tensors: Any, version: int, *, keep_cache: bool = False) -> None:
        if not self.healthy(1.0):
            raise EngineError("this replica was killed")
        super().load_weights(named_tensors, version)

    def healthy(self, timeout_s: float) -> bool:
        return not self.hangs.is_set() and self.answered < self.dies_after


class MortalStream(Mortal):
    """The same with weights that come in buckets and are kept nowhere."""

    streams = True

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer)
        self.received: list[tuple[str, torch.Tensor]] = []
        self.held: int | None = None
        """The version whose update has begun."""

    def begin_update(self, version: int, keep_cache: bool) -> None:
        self._alive()
        self.received, self.held = [], version

    def buckets(self, named_tensors: Iterable[tuple[str, Any]]) -> Iterator[Bucket]:
        shapes = WeightShapes(self._model)
        buffer = torch.empty(max(shapes.sizes) * 4, dtype=torch.uint8)
        return packed(shapes.once(shapes.checked(named_tensors)), torch.float32, buffer)

    def send(self, bucket: Bucket) -> None:
        self._alive()
        assert self.held is not None
        self.received += unpack(bucket.data.clone(), bucket.layout)

    def finish_update(self, version: int, keep_cache: bool) -> None:
        self._alive()
        self.load_weights(self.received, version)
        self.received, self.held = [], None

    def abandon_update(self) -> None:
        self.received, self.held = [], None

    def _alive(self) -> None:
        if not self.healthy(1.0):
            raise EngineError("this replica was killed")


class Farm:
    """Opens replicas and remembers them."""

    def __init__(self, model: Any, tokenizer: Any, kind: type[Mortal] = Mortal) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.kind = kind
        self.engines: dict[int, list[Any]] = {}
        self.may_open = threading.Event()
        self.may_open.set()

    def open(self, number: int) -> Mortal:
        if not self.may_open.is_set():
            raise EngineError(f"no machine for replica {number}")
        engine = self.kind(self.model, self.tokenizer)
        self.engines.setdefault(number, []).append(engine)
        return engine


@pytest.fixture
def farm(model: Any, tokenizer: Any) -> Farm:
    return Farm(model, tokenizer)


@pytest.fixture
def two(farm: Farm, tmp_path: Path) -> Any:
    engine = ReplicatedEngine(
        farm.open, 2, requests_each=4, transfer_folder=tmp_path, health_every_s=0.05, reopen_pause_s=0.01
    )
    yield engine
    for engines in farm.engines.values():
        for one in engines:
            one.hangs.clear()
    engine.close()
    engine.close()
    assert not list(tmp_path.glob("rlvr-weights-*"))


@pytest.fixture
def streamed(model: Any, tokenizer: Any, tmp_path: Path) -> Any:
    """Three replicas whose weights are kept nowhere, and the farm that opens them."""
    farm = Farm(model, tokenizer, MortalStream)
    engine = ReplicatedEngine(
        farm.open, 3, requests_each=4, transfer_folder=tmp_path, health_every_s=0.05, reopen_pause_s=0.01
    )
    yield engine, farm
    engine.close()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def requests(tokenizer: Any) -> list[Request]:
    return [Request(tokenizer.encode(f"{number}+1="), seed=number, n=2) for number in range(12)]


@pytest.fixture(scope="module")
def expected(model: Any, tokenizer: Any, requests: list[Request]) -> list[list[list[int]]]:
    return tokens(TransformersEngine(model, tokenizer).generate(requests, SAMPLING))


def tokens(answers: list[list[Completion]]) -> list[list[list[int]]]:
    return [[completion.token_ids for completion in group] for group in answers]


def moved(model: Any) -> Any:
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    return other


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_prompts_are_shared_out_and_answered_as_one_engine_answers_them(
    two: Any, farm: Farm, requests: list[Request], expected: list[list[list[int]]]
) -> None:
    assert tokens(two.generate(requests, SAMPLING)) == expected
    shares = [engines[0].answered for engines in farm.engines.values()]
    assert sum(shares) == 12
    assert min(shares) >= 2


def test_prompts_of_a_replica_that_died_are_answered_elsewhere_and_it_is_replaced(
    two: Any, farm: Farm, requests: list[Request], expected: list[list[list[int]]]
) -> None:
    farm.engines[0][0].dies_after = 2
    assert tokens(two.generate(requests, SAMPLING)) == expected
    until(lambda: two.num_restarts == 1)
    assert two.num_serving == 2
    assert tokens(two.generate(requests, SAMPLING)) == expected
    assert farm.engines[0][1].answered > 0


def test_a_replica_that_hangs_is_found_and_its_prompts_are_asked_again(
    two: Any, farm: Farm, requests: list[Request], expected: list[list[list[int]]]
) -> None:
    farm.engines[1][0].hangs.set()
    assert tokens(two.generate(requests, SAMPLING)) == expected
    until(lambda: two.num_restarts == 1)


def test_a_replica_that_comes_back_serves_the_current_weights_before_its_first_prompt(
    two: Any, farm: Farm, model: Any, requests: list[Request]
) -> None:
    other = moved(model)
    two.load_weights(other.named_parameters(), 4)
    assert prove_served(two, other, 4) < 5e-5
    farm.engines[0][0].dies_after = 0
    answers = two.generate(requests, SAMPLING)
    until(lambda: two.num_restarts == 1)
    replaced = farm.engines[0][1]
    assert replaced.weight_version == 4
    prove_served(replaced, other, 4)
    assert {completion.weight_version for group in answers for completion in group} == {4}
    assert tokens(two.generate(requests, SAMPLING)) == tokens(answers)


def test_an_update_goes_on_without_a_replica_that_dies_over_it_and_the_replica_gets_it_later(
    two: Any, farm: Farm, model: Any
) -> None:
    farm.may_open.clear()
    two._pause_s = 1.0  # there is time for the update before it is given up
    farm.engines[1][0].dies_after = 0
    other = moved(model)
    two.load_weights(other.named_parameters(), 1)
    assert two.weight_version == 1
    farm.may_open.set()
    until(lambda: len(farm.engines[1]) == 2 and two.num_serving == 2)
    assert prove_served(farm.engines[1][1], other, 1) < 5e-5


def test_a_stream_of_weights_is_read_once_however_many_replicas_there_are(two: Any, model: Any) -> None:
    read = []

    def stream() -> Any:
        for name, tensor in model.named_parameters():
            read.append(name)
            yield name, tensor

    two.load_weights(stream(), 2)
    assert len(read) == len(set(read))


def test_weights_that_do_not_fit_are_refused_and_cost_no_replica(
    two: Any, model: Any, requests: list[Request], expected: list[list[list[int]]]
) -> None:
    with pytest.raises(EngineError, match="were not given"):
        two.load_weights(list(model.named_parameters())[:-1], 3)
    with pytest.raises(EngineError, match="load a complete set"):
        two.generate(requests, SAMPLING)
    two.load_weights(model.named_parameters(), 4)
    assert tokens(two.generate(requests, SAMPLING)) == expected
    assert two.num_restarts == 0


def test_a_request_that_nobody_can_answer_is_its_own_fault(two: Any, requests: list[Request]) -> None:
    with pytest.raises(EngineError, match="no room"):
        two.generate([*requests, Request([5] * two.max_model_len, seed=0)], SAMPLING)
    assert two.num_serving == 2
    assert two.num_restarts == 0


def test_when_no_replica_comes_back_the_error_names_each_of_them(two: Any, farm: Farm, requests: list[Request]) -> None:
    farm.may_open.clear()
    for [engine] in list(farm.engines.values()):
        engine.dies_after = 1
    with pytest.raises(EngineError, match=r"replica 0: no machine for replica 0; replica 1: no machine"):
        two.generate(requests, SAMPLING)
    with pytest.raises(EngineError, match="none of 2 replicas"):
        two.generate(requests, SAMPLING)


def test_an_unexpected_fault_of_a_restart_ends_the_waiting_too(
    two: Any, farm: Farm, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(number: int) -> Mortal:
        raise OSError("no space left on device")

    monkeypatch.setattr(two, "_open", broken)
    for [engine] in list(farm.engines.values()):
        engine.dies_after = 1
    with pytest.raises(EngineError, match="replica 1: OSError: no space left on device"):
        two.generate(requests, SAMPLING)


def test_replicas_that_serve_different_weights_are_refused(farm: Farm, model: Any, tmp_path: Path) -> None:
    def open_replica(number: int) -> Mortal:
        return Mortal(model if number == 0 else moved(model), farm.tokenizer)

    with pytest.raises(StaleWeightsError, match="replicas 0 and 1 differ by"):
        ReplicatedEngine(open_replica, 2, transfer_folder=tmp_path)


def test_a_replica_that_comes_back_with_other_weights_gets_no_prompt(
    two: Any, farm: Farm, model: Any, requests: list[Request], expected: list[list[list[int]]]
) -> None:
    farm.model = moved(model)  # what is started from now on serves something else, and no update has been kept
    farm.engines[0][0].dies_after = 1
    assert tokens(two.generate(requests, SAMPLING)) == expected
    until(lambda: len(farm.engines[0]) == 4)
    assert tokens(two.generate(requests, SAMPLING)) == expected
    assert all(engine.answered == 0 for engine in farm.engines[0][1:])
    assert two.num_restarts == 0


def test_one_stream_of_weights_reaches_all_replicas_bucket_by_bucket(streamed: Any, model: Any) -> None:
    engine, farm = streamed
    other, alive = moved(model), []

    def stream() -> Iterator[tuple[str, torch.Tensor]]:
        for number, (name, tensor) in enumerate(other.named_parameters()):
            if number == 8:
                alive.append([len(one.received) for [one] in farm.engines.values()])
            yield name, tensor

    engine.load_weights(stream(), 5)
    assert len(alive) == 1
    [counts] = alive
    assert 0 < counts[0] == counts[1] == counts[2] <= 8  # what was gathered had been sent before more was gathered
    assert prove_served(engine, other, 5) < 5e-5
    for [one] in farm.engines.values():
        prove_served(one, other, 5)


def test_a_replica_that_missed_a_stream_serves_again_with_the_next_one(
    streamed: Any, model: Any, requests: list[Request]
) -> None:
    engine, farm = streamed
    first, second = moved(model), moved(moved(model))
    engine.load_weights(first.named_parameters(), 1)
    farm.engines[0][0].dies_after = 0
    engine.generate(requests, SAMPLING)
    until(lambda: engine._dispatch.places[0].late is not None)
    assert (engine.num_serving, engine.num_restarts) == (2, 0)
    answers = engine.generate(requests, SAMPLING)
    assert farm.engines[0][1].answered == 0
    assert {completion.weight_version for group in answers for completion in group} == {1}
    engine.load_weights(second.named_parameters(), 2)
    assert (engine.num_serving, engine.num_restarts) == (3, 1)
    assert prove_served(farm.engines[0][1], second, 2) < 5e-5
    engine.generate(requests, SAMPLING)
    assert farm.engines[0][1].answered > 0


def test_a_replica_that_dies_before_anything_was_streamed_serves_again_at_once(
    streamed: Any, requests: list[Request], expected: list[list[list[int]]]
) -> None:
    engine, farm = streamed
    farm.engines[2][0].dies_after = 1
    assert tokens(engine.generate(requests, SAMPLING)) == expected
    until(lambda: engine.num_restarts == 1)
    assert engine.num_serving == 3


@pytest.mark.parametrize("victim", [0, 1])  # the one that packs, and one that only receives
def test_a_replica_that_dies_under_a_stream_costs_the_others_nothing(
    streamed: Any, model: Any, requests: list[Request], victim: int
) -> None:
    engine, farm = streamed
    other = moved(model)

    def stream() -> Iterator[tuple[str, torch.Tensor]]:
        for number, pair in enumerate(other.named_parameters()):
            if number == 8:
                farm.engines[victim][0].dies_after = 0
            yield pair

    engine.load_weights(stream(), 1)
    assert engine.num_serving == 2
    assert prove_served(engine, other, 1) < 5e-5
    until(lambda: engine._dispatch.places[victim].late is not None)
    engine.load_weights(model.named_parameters(), 2)
    assert engine.num_serving == 3
    assert prove_served(engine, model, 2) < 5e-5


def test_a_stream_that_does_not_fit_is_refused_and_no_replica_stays_held(
    streamed: Any, model: Any, requests: list[Request], expected: list[list[list[int]]]
) -> None:
    engine, farm = streamed
    with pytest.raises(EngineError, match="were not given"):
        engine.load_weights(list(model.named_parameters())[:-1], 3)
    assert [one.held for [one] in farm.engines.values()] == [None] * 3
    with pytest.raises(EngineError, match="load a complete set"):
        engine.generate(requests, SAMPLING)
    engine.load_weights(model.named_parameters(), 4)
    assert tokens(engine.generate(requests, SAMPLING)) == expected
    assert engine.num_restarts == 0


def test_when_all_that_is_left_came_back_too_late_the_error_says_what_helps(
    streamed: Any, model: Any, requests: list[Request], expected: list[list[list[int]]]
) -> None:
    engine, farm = streamed
    engine.load_weights(model.named_parameters(), 1)
    for engines in farm.engines.values():
        engines[0].dies_after = 0
    with pytest.raises(EngineError, match=r"none of 3 replicas answers .*waits for the next load_weights; .*'files'"):
        engine.generate(requests, SAMPLING)
    until(lambda: all(place.late is not None for place in engine._dispatch.places))
    with pytest.raises(EngineError, match="waits for the next load_weights"):
        engine.generate(requests, SAMPLING)
    engine.load_weights(model.named_parameters(), 2)
    assert tokens(engine.generate(requests, SAMPLING)) == expected
    assert engine.num_restarts == 3


def test_a_late_replica_that_dies_once_more_is_found_by_the_update(
    streamed: Any, model: Any, requests: list[Request]
) -> None:
    engine, farm = streamed
    engine.load_weights(model.named_parameters(), 1)
    farm.engines[1][0].dies_after = 0
    engine.generate(requests, SAMPLING)
    until(lambda: engine._dispatch.places[1].late is not None)
    farm.engines[1][1].dies_after = 0
    engine.load_weights(model.named_parameters(), 2)
    assert engine.num_serving == 2
    until(lambda: engine._dispatch.places[1].late is farm.engines[1][2])
    engine.load_weights(model.named_parameters(), 3)
    assert engine.num_serving == 3


def test_closing_ends_a_call_with_an_error(two: Any, farm: Farm, requests: list[Request]) -> None:
    for [engine] in farm.engines.values():
        engine.healthy = lambda timeout_s: True  # type: ignore[method-assign]
        engine.hangs.set()
    faults: list[BaseException] = []

    def ask() -> None:
        try:
            two.generate(requests, SAMPLING)
        except EngineError as fault:
            faults.append(fault)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.1)
    two.close()
    thread.join(10)
    assert "closed" in str(faults[0])


def test_no_replicas_are_refused(farm: Farm) -> None:
    with pytest.raises(ConfigError, match="replicas is 0"):
        ReplicatedEngine(farm.open, 0)


def test_weight_files_hold_a_tied_weight_once_and_are_gone_when_a_disk_is_full(model: Any, tmp_path: Path) -> None:
    files = WeightFiles.write(model.state_dict().items(), tmp_path)
    assert [name for name, _ in files] == [name for name, _ in files]
    assert {name for name, _ in files} == {name for name, _ in model.named_parameters()}
    files.delete()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EngineError, match=r"could not be written to .*nowhere.*transfer_folder"):
        WeightFiles.write(model.named_parameters(), tmp_path / "nowhere")


def turns(tokenizer: Any, *names: str, n: int = 1) -> list[Request]:
    return [Request(tokenizer.encode(f"{name}="), seed=1, n=n, conversation=name) for name in names]


def test_a_later_turn_goes_to_the_replica_where_its_conversation_began(two: Any, farm: Farm, tokenizer: Any) -> None:
    two.generate(turns(tokenizer, "a", "b", "c", "d"), SAMPLING)
    first, second = (set(farm.engines[number][0].conversations) for number in (0, 1))
    assert (len(first), len(second)) == (2, 2)
    for order in ("acbd", "dcba", "bdac"):
        two.generate(turns(tokenizer, *order), SAMPLING)
    assert set(farm.engines[0][0].conversations) == first
    assert set(farm.engines[1][0].conversations) == second


def test_a_later_turn_does_not_wait_for_a_replica_that_is_much_busier(two: Any, farm: Farm, tokenizer: Any) -> None:
    [home], [other] = farm.engines[0], farm.engines[1]
    two.generate(turns(tokenizer, "a"), SAMPLING)
    assert home.conversations == ["a"]
    threads = []
    with home.one_at_a_time:
        for name, n in (("b", 16), ("a", 1), ("a", 1)):  # the last one finds 17 answers more there than elsewhere
            threads.append(threading.Thread(target=two.generate, args=(turns(tokenizer, name, n=n), SAMPLING)))
            threads[-1].start()
            until(lambda: sum(len(place.jobs) for place in two._dispatch.places) + other.answered == len(threads))
        until(lambda: other.answered == 1)
        assert home.answered == 1
    for thread in threads:
        thread.join(10)
    assert other.conversations == ["a"]
    assert sorted(home.conversations) == ["a", "a", "b"]


def test_a_conversation_begins_again_elsewhere_when_its_replica_is_lost_or_its_weights_are(
    two: Any, farm: Farm, model: Any, tokenizer: Any
) -> None:
    two._pause_s = 1.0  # it is not given up meanwhile, however busy the machine
    two.generate(turns(tokenizer, "a"), SAMPLING)
    farm.may_open.clear()
    farm.engines[0][0].dies_after = 0
    two.generate(turns(tokenizer, "a"), SAMPLING)
    farm.may_open.set()
    until(lambda: two.num_serving == 2)
    two.generate(turns(tokenizer, "a"), SAMPLING)
    assert farm.engines[1][0].conversations == ["a", "a"]
    two.load_weights(model.named_parameters(), 1)
    two.generate(turns(tokenizer, "a"), SAMPLING)
    assert farm.engines[0][1].conversations == ["a"]


def test_only_so_many_conversations_are_remembered(two: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlvr.generation.replica_dispatch.REMEMBERED", 3)
    two.generate(turns(tokenizer, *"abcdefgh"), SAMPLING)
    assert list(two._dispatch._homes) == ["f", "g", "h"]


def test_a_request_that_comes_while_weights_arrive_is_answered_by_them(
    two: Any, model: Any, held_stream: Any, requests: list[Request], expected: list[list[list[int]]]
) -> None:
    other = moved(model)
    loading = threading.Thread(target=two.load_weights, args=(held_stream.of(other), 3))
    loading.start()
    assert held_stream.half.wait(20)
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.extend(two.generate(requests, SAMPLING)))
    asking.start()
    asking.join(0.3)
    assert asking.is_alive()
    held_stream.go_on.set()
    asking.join(20)
    loading.join(20)
    assert {completion.weight_version for group in answers for completion in group} == {3}
    assert tokens(answers) != expected
