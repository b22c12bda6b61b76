"""Several engines that serve the same weights, as one. `replica_dispatch` shares the prompts out and asks those of an engine that
died again; here replicas are opened, replaced and given weights.

Each replica is opened by the function it was given, and opened again when it dies. It gets no prompt before it serves the
current version. Where weights travel as files, those of the current version are kept for it; where they are streamed nothing is
kept, and it waits for the next update. A request is answered by one replica or not at all, so nothing half-finished is ever
returned, and its seed makes the second replica draw what the first would have drawn.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError, EngineError, RlvrError, StaleWeightsError
from rlvr.generation.adapters import AdapterFiles, AdapterSettings
from rlvr.generation.engine import Completion, Request, Sampling
from rlvr.generation.proof import TOLERANCE_NATS, difference, probe_tokens
from rlvr.generation.replica import Replica, TakesBuckets
from rlvr.generation.replica_dispatch import Dispatcher, Place
from rlvr.generation.vllm_support import digest_of
from rlvr.generation.weight_files import WeightFiles
from rlvr.generation.weight_gate import WeightGate

OPENINGS = 3
"""Times in a row that a replica may fail to come back before it is given up."""
LATE = (
    "it came back without the current weights, which were streamed and are gone, and waits for the next load_weights; "
    "transfer = 'files' would have kept them"
)


class ReplicatedEngine:
    """Data-parallel generation: an Engine made of `replicas` engines. Thread-safe."""

    def __init__(
        self,
        open_replica: Callable[[int], Replica],
        replicas: int,
        *,
        requests_each: int = 64,
        transfer_folder: str | Path = "/dev/shm",
        health_every_s: float = 10.0,
        health_timeout_s: float = 30.0,
        reopen_pause_s: float = 2.0,
    ) -> None:
        """Open all replicas, at the same time; `open_replica(number)` gives one, and is called again after it died.

        A replica gets at most `requests_each` requests at a time, the least busy one first; a later turn goes to where its
        conversation began, if `PREFIX_IS_WORTH` it. Every `health_every_s` seconds all are asked whether they live; one that
        does not say so within `health_timeout_s` is replaced. Unless all replicas stream (`TakesBuckets`), the current
        weights are kept in `transfer_folder`, which needs room for one copy of the model.
        Raises ConfigError for settings that cannot be, whatever `open_replica` raises, and StaleWeightsError if the replicas
        do not serve the same weights.
        """
        if replicas < 1:
            raise ConfigError(f"replicas is {replicas}; at least one engine has to answer")
        self._open = open_replica
        self._folder = transfer_folder
        self._health_every_s = health_every_s
        self._health_timeout_s = health_timeout_s
        self._pause_s = reopen_pause_s
        self._dispatch = Dispatcher(
            replicas, requests_each=requests_each, health_timeout_s=health_timeout_s, replace=self._replace
        )
        self._syncing = threading.RLock()
        """Held while weights change, so that a replica which comes back meanwhile is compared with the new ones."""
        self._files: WeightFiles | None = None
        self._streamed: int | None = None
        """The version of the weights that were streamed last."""
        self._gate = WeightGate("the replicas hold")
        self._adapter: tuple[AdapterFiles, AdapterSettings] | None = None
        """What is served beside the weights."""
        self.weight_version = 0
        self.num_restarts = 0
        """Replicas that died and came back."""
        first = self._open_all()
        self.tokenizer: Any = first.tokenizer
        self.dtype = first.dtype
        self.weight_version = first.weight_version
        self._streams = all(isinstance(engine, TakesBuckets) and engine.streams for _, engine in self._dispatch.serving())
        self.max_model_len = min(engine.max_model_len for _, engine in self._dispatch.serving())
        self._probe = probe_tokens(len(self.tokenizer))
        try:
            self._expected = self.forced_logprobs(self._probe)
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._watch, name="rlvr-replicas", daemon=True).start()

    @property
    def num_serving(self) -> int:
        """Replicas that can be asked now."""
        return len(self._dispatch.serving())

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """`n` completions for each request, in order.

        May be called while another thread loads weights: what is not under way by then waits until they have arrived.
        Answers that were cut off because an update failed have `finish_reason == "abort"`, and may be empty.
        Raises EngineError if a request cannot be answered, if `ATTEMPTS` replicas failed on one, if no replica is left that
        has the current weights or will have them without another `load_weights`, or if the last one failed.
        """
        ticket = self._gate.enter()
        jobs = self._dispatch.ask(requests, sampling)
        try:
            return [self._gate.leave(ticket, job.answer.result()) for job in jobs]
        except BaseException:
            self._dispatch.cancel(jobs)
            raise

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]], version: int, *, keep_cache: bool = False) -> None:
        """Serve these weights everywhere from now on, under this version.

        The stream is read once, in this thread: bucket by bucket to all replicas, or else into files that every replica
        loads and that one which comes back later will load. Requests that are running go on with the new weights, each
        replica's as soon as it has them; `keep_cache` is for them. Raises EngineError on an unknown name, a wrong shape, a
        missing weight or if no replica is left, StaleWeightsError if the replicas then disagree; nothing is generated until a
        complete set has been loaded.
        """
        self._dispatch.wait_for_one()
        with self._syncing, self._gate.update(version):
            if self._streams:
                self._stream_everywhere(named_tensors, version, keep_cache)
            else:
                self._files_everywhere(named_tensors, version, keep_cache)
            self._updated(version, None)

    def load_adapter(self, named_tensors: Iterable[tuple[str, Any]], settings: AdapterSettings, version: int) -> None:
        """Serve the base weights with this adapter everywhere from now on, under this version.

        Answers under way are finished by the adapter they began with. The files are written once, and stay for a replica that
        comes back. Raises as `load_weights` does, ConfigError if the replicas were not started for such adapters; nothing is
        generated until a complete set has been loaded.
        """
        self._dispatch.wait_for_one()
        with self._syncing, self._gate.update(version):
            files = AdapterFiles.write(dict(named_tensors), settings, self._folder)
            try:
                self._everywhere(self._dispatch.serving(), lambda engine: engine.load_adapter(files, settings, version))
            except BaseException:
                files.release()
                raise
            self._updated(version, (files, settings))

    def fingerprint(self) -> str:
        """A digest of what the first replica says about fixed tokens."""
        return digest_of(self.forced_logprobs(self._probe))

    def forced_logprobs(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probability at temperature 1, in nats, of each given token after the first: the first replica's, after all
        were asked. Raises StaleWeightsError if they do not agree, EngineError if none answers.
        """
        answers: dict[int, list[float]] = {}
        for place, engine in self._dispatch.serving():
            try:
                answers[place.number] = engine.forced_logprobs(token_ids)
            except EngineError as fault:
                self._dispatch.blame(place, engine, fault)
        if not answers:
            raise self._dispatch.nobody()
        first, *others = answers
        for other in others:
            self._compare(answers[first], answers[other], f"replicas {first} and {other}")
        return answers[first]

    def close(self) -> None:
        """End all replicas and remove the files; what is being generated raises EngineError."""
        self._dispatch.close()
        if self._files is not None:
            self._files.delete()
        self._keep_adapter(None)

    def _updated(self, version: int, adapter: tuple[AdapterFiles, AdapterSettings] | None) -> None:
        """All replicas serve `version`, with this adapter. Raises StaleWeightsError if they do not agree."""
        self._keep_adapter(adapter)
        self.weight_version = version
        self._expected = self.forced_logprobs(self._probe)
        self._dispatch.forget_conversations()

    def _keep_adapter(self, adapter: tuple[AdapterFiles, AdapterSettings] | None) -> None:
        """What a replica that comes back is given, in place of the one before."""
        before, self._adapter = self._adapter, adapter
        if before is not None:
            before[0].release()

    def _open_all(self) -> Replica:
        places = self._dispatch.places
        with ThreadPoolExecutor(len(places)) as threads:
            futures = [threads.submit(self._open, place.number) for place in places]
        faults = [fault for future in futures if (fault := future.exception()) is not None]
        if faults:
            for future in futures:
                if future.exception() is None:
                    future.result().close()
            raise faults[0]
        for place, future in zip(places, futures, strict=True):
            self._dispatch.stand(place, future.result())
        versions = {engine.weight_version for _, engine in self._dispatch.serving()}
        if len(versions) > 1:
            self.close()
            raise StaleWeightsError(f"the replicas serve different weights: versions {sorted(versions)}. Restart them.")
        return futures[0].result()

    def _replace(self, place: Place, old: Replica) -> None:
        _close_quietly(old)
        closing = self._dispatch.closing
        for _ in range(OPENINGS):
            if closing.is_set():
                return
            try:
                engine = self._open(place.number)
            except Exception as fault:  # a boundary: whatever it is, those who wait must not wait for ever
                place.fault = _said(fault)
                closing.wait(self._pause_s)
                continue
            try:
                with self._syncing:
                    if self._lacks_weights(engine):
                        self._dispatch.stand_by(place, engine, LATE)
                        return
                    self._bring_up_to_date(place, engine)
                    self.num_restarts += 1
                    self._dispatch.stand(place, engine)
                    return
            except Exception as fault:  # as above
                place.fault = _said(fault)
            _close_quietly(engine)
        self._dispatch.give_up(place)

    def _lacks_weights(self, engine: Replica) -> bool:
        """Whether weights were streamed that a replica which came back does not have."""
        return self._streamed is not None and engine.weight_version != self._streamed

    def _bring_up_to_date(self, place: Place, engine: Replica) -> None:
        """Have a replica that came back serve what the others serve. Raises StaleWeightsError if it then does not."""
        if self._files is not None:
            engine.load_weights(self._files, self.weight_version)
        if self._adapter is not None:
            engine.load_adapter(*self._adapter, self.weight_version)
        served = engine.forced_logprobs(self._probe)
        if not self._gate.fault:
            self._compare(self._expected, served, f"replica {place.number}, restarted, and the others")

    def _files_everywhere(self, named_tensors: Iterable[tuple[str, Any]], version: int, keep_cache: bool) -> None:
        """Write them once, and have every replica load them. One that dies over it is replaced, and then loads them too."""
        if self._files is not None:
            self._files.delete()  # first, so that one copy of the model is held and not two
        self._files = None
        files = WeightFiles.write(named_tensors, self._folder)
        try:
            self._everywhere(self._dispatch.serving(), lambda engine: engine.load_weights(files, version, keep_cache=keep_cache))
        except BaseException:
            files.delete()
            raise
        self._files = files

    def _stream_everywhere(self, named_tensors: Iterable[tuple[str, Any]], version: int, keep_cache: bool) -> None:
        """Each bucket to all replicas before the next is gathered. One that came back late serves again afterwards."""
        late = self._dispatch.late()
        updating: list[tuple[Place, Any]] = [*self._dispatch.serving(), *late]
        try:
            updating = self._everywhere(updating, lambda engine: engine.begin_update(version, keep_cache))
            for bucket in updating[0][1].buckets(named_tensors):
                updating = self._everywhere(updating, lambda engine, bucket=bucket: engine.send(bucket))  # type: ignore[misc]
            updating = self._everywhere(updating, lambda engine: engine.finish_update(version, keep_cache))
            self._streamed = version
        except BaseException:
            for _, engine in updating:
                engine.abandon_update()
            raise
        for place, engine in updating:
            if (place, engine) in late:
                self.num_restarts += 1
                self._dispatch.stand(place, engine)

    def _everywhere(self, engines: list[tuple[Place, Any]], call: Callable[[Any], None]) -> list[tuple[Place, Any]]:
        """`call` on all of them at the same time; those that did it. One that died is replaced, and if none is left, or one
        lives and refuses, EngineError is raised.
        """
        with ThreadPoolExecutor(max(1, len(engines))) as threads:
            calls = [threads.submit(call, engine) for _, engine in engines]
        done = []
        for (place, engine), called in zip(engines, calls, strict=True):
            fault = called.exception()
            if fault is None:
                done.append((place, engine))
            elif isinstance(fault, EngineError):
                self._dispatch.blame(place, engine, fault)
            else:
                raise fault
        if not done:
            raise self._dispatch.nobody()
        return done

    def _compare(self, expected: Sequence[float], served: Sequence[float], who: str) -> None:
        gap = difference(expected, served, self.dtype)
        if not gap <= TOLERANCE_NATS[self.dtype]:
            raise StaleWeightsError(
                f"{who} differ by {gap:.3g} nats on {len(self._probe)} fixed tokens ({TOLERANCE_NATS[self.dtype]:g} is "
                f"allowed in {self.dtype}): they serve different weights. Load a complete set, or restart them."
            )

    def _watch(self) -> None:
        """Find replicas that neither answer nor fail."""
        while not self._dispatch.closing.wait(self._health_every_s):
            for place, engine in self._dispatch.serving():
                if not engine.healthy(self._health_timeout_s):
                    self._dispatch.lose(place, engine, f"it did not answer within {self._health_timeout_s:g} s")


def _said(fault: Exception) -> str:
    """Ours explain themselves; of others the kind is needed, too."""
    return str(fault) if isinstance(fault, RlvrError) else f"{type(fault).__name__}: {fault}"


def _close_quietly(engine: Replica) -> None:
    """What is already dead may fail to close; it is being replaced either way."""
    with contextlib.suppress(Exception):
        engine.close()
