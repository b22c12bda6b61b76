"""Several engines that serve the same weights, as one: prompts are shared out, and those of an engine that died are asked again.

Each replica is opened by the function it was given, and opened again when it dies. It gets no prompt before it serves the
current version. Where weights travel as files, those of the current version are kept for it; where they are streamed nothing is
kept, and it waits for the next update. A request is answered by one replica or not at all, so nothing half-finished is ever
returned, and its seed makes the second replica draw what the first would have drawn.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError, EngineError, RlvrError, StaleWeightsError
from rlvr.generation.adapters import AdapterFiles, AdapterSettings
from rlvr.generation.engine import Completion, Request, Sampling
from rlvr.generation.proof import TOLERANCE_NATS, difference, probe_tokens
from rlvr.generation.replica import Replica, TakesBuckets
from rlvr.generation.vllm_support import digest_of
from rlvr.generation.weight_files import WeightFiles
from rlvr.generation.weight_gate import WeightGate

ATTEMPTS = 3
"""Replicas that may fail on one request before it is the request's fault."""
PREFIX_IS_WORTH = 16
"""Answers that a replica may have under way more than the least busy one, and still get the next turn of a conversation whose
prefix it has cached: so many more make its steps slower by less than computing the prefix again elsewhere takes."""
REMEMBERED = 1 << 16
"""Conversations of which it is known where they began."""
OPENINGS = 3
"""Times in a row that a replica may fail to come back before it is given up."""
LATE = (
    "it came back without the current weights, which were streamed and are gone, and waits for the next load_weights; "
    "transfer = 'files' would have kept them"
)


class _Job:
    def __init__(self, request: Request, sampling: Sampling) -> None:
        self.request = request
        self.sampling = sampling
        self.failures = 0
        self.answer: Future[list[Completion]] = Future()


class _Place:
    """One replica's place, whichever engine stands in it now."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.engine: Replica | None = None
        """None while nothing may be asked of it."""
        self.late: Replica | None = None
        """It came back, and waits for the next update; `engine` is None meanwhile."""
        self.jobs: set[_Job] = set()
        self.threads: ThreadPoolExecutor | None = None
        self.given_up = False
        self.fault = ""


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
        self._requests_each = requests_each
        self._folder = transfer_folder
        self._health_every_s = health_every_s
        self._health_timeout_s = health_timeout_s
        self._pause_s = reopen_pause_s
        self._places = [_Place(number) for number in range(replicas)]
        self._waiting: deque[_Job] = deque()
        self._homes: dict[str, _Place] = {}
        """Where each conversation began, the oldest first."""
        self._changed = threading.Condition()
        self._syncing = threading.RLock()
        """Held while weights change, so that a replica which comes back meanwhile is compared with the new ones."""
        self._files: WeightFiles | None = None
        self._streamed: int | None = None
        """The version of the weights that were streamed last."""
        self._gate = WeightGate("the replicas hold")
        self._adapter: tuple[AdapterFiles, AdapterSettings] | None = None
        """What is served beside the weights."""
        self._closing = threading.Event()
        self.weight_version = 0
        self.num_restarts = 0
        """Replicas that died and came back."""
        first = self._open_all()
        self.tokenizer: Any = first.tokenizer
        self.dtype = first.dtype
        self.weight_version = first.weight_version
        self._streams = all(isinstance(engine, TakesBuckets) and engine.streams for _, engine in self._serving())
        self.max_model_len = min(engine.max_model_len for _, engine in self._serving())
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
        return len(self._serving())

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """`n` completions for each request, in order.

        May be called while another thread loads weights: what is not under way by then waits until they have arrived.
        Answers that were cut off because an update failed have `finish_reason == "abort"`, and may be empty.
        Raises EngineError if a request cannot be answered, if `ATTEMPTS` replicas failed on one, if no replica is left that
        has the current weights or will have them without another `load_weights`, or if the last one failed.
        """
        ticket = self._gate.enter()
        jobs = [_Job(request, sampling) for request in requests]
        with self._changed:
            if self._closing.is_set():
                raise EngineError("these replicas were closed; open them anew")
            self._waiting.extend(jobs)
            self._assign()
        try:
            return [self._gate.leave(ticket, job.answer.result()) for job in jobs]
        except BaseException:
            with self._changed:
                for job in jobs:
                    job.answer.cancel()
                self._waiting = deque(job for job in self._waiting if not job.answer.cancelled())
            raise

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]], version: int, *, keep_cache: bool = False) -> None:
        """Serve these weights everywhere from now on, under this version.

        The stream is read once, in this thread: bucket by bucket to all replicas, or else into files that every replica
        loads and that one which comes back later will load. Requests that are running go on with the new weights, each
        replica's as soon as it has them; `keep_cache` is for them. Raises EngineError on an unknown name, a wrong shape, a
        missing weight or if no replica is left, StaleWeightsError if the replicas then disagree; nothing is generated until a
        complete set has been loaded.
        """
        self._wait_for_one()
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
        self._wait_for_one()
        with self._syncing, self._gate.update(version):
            files = AdapterFiles.write(dict(named_tensors), settings, self._folder)
            try:
                self._everywhere(self._serving(), lambda engine: engine.load_adapter(files, settings, version))
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
        for place, engine in self._serving():
            try:
                answers[place.number] = engine.forced_logprobs(token_ids)
            except EngineError as fault:
                self._blame(place, engine, fault)
        if not answers:
            raise self._nobody()
        first, *others = answers
        for other in others:
            self._compare(answers[first], answers[other], f"replicas {first} and {other}")
        return answers[first]

    def close(self) -> None:
        """End all replicas and remove the files; what is being generated raises EngineError."""
        self._closing.set()
        with self._changed:
            engines = [(place, engine) for place in self._places if (engine := place.engine or place.late) is not None]
            unfinished = list(self._waiting) + [job for place in self._places for job in place.jobs]
            self._waiting.clear()
            for place in self._places:
                place.engine = place.late = None
                place.jobs.clear()
            self._changed.notify_all()
        for job in unfinished:
            _settle(job, EngineError("the replicas were closed while they generated; nothing of this call was kept"))
        for place, engine in engines:
            engine.close()
            if place.threads is not None:
                place.threads.shutdown(wait=False, cancel_futures=True)
        if self._files is not None:
            self._files.delete()
        self._keep_adapter(None)

    def _updated(self, version: int, adapter: tuple[AdapterFiles, AdapterSettings] | None) -> None:
        """All replicas serve `version`, with this adapter. Raises StaleWeightsError if they do not agree."""
        self._keep_adapter(adapter)
        self.weight_version = version
        self._expected = self.forced_logprobs(self._probe)
        with self._changed:
            self._homes.clear()  # what was cached there is of the version before

    def _keep_adapter(self, adapter: tuple[AdapterFiles, AdapterSettings] | None) -> None:
        """What a replica that comes back is given, in place of the one before."""
        before, self._adapter = self._adapter, adapter
        if before is not None:
            before[0].release()

    def _serving(self) -> list[tuple[_Place, Replica]]:
        with self._changed:
            return [(place, place.engine) for place in self._places if place.engine is not None]

    def _wait_for_one(self) -> None:
        """Until a replica can be given weights, or none will ever be."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closing.is_set()
                    or any(place.engine is not None or place.late is not None for place in self._places)
                    or all(place.given_up for place in self._places)
                )
            )

    def _open_all(self) -> Replica:
        with ThreadPoolExecutor(len(self._places)) as threads:
            futures = [threads.submit(self._open, place.number) for place in self._places]
        faults = [fault for future in futures if (fault := future.exception()) is not None]
        if faults:
            for future in futures:
                if future.exception() is None:
                    future.result().close()
            raise faults[0]
        for place, future in zip(self._places, futures, strict=True):
            self._stand(place, future.result())
        versions = {engine.weight_version for _, engine in self._serving()}
        if len(versions) > 1:
            self.close()
            raise StaleWeightsError(f"the replicas serve different weights: versions {sorted(versions)}. Restart them.")
        return futures[0].result()

    def _stand(self, place: _Place, engine: Replica) -> None:
        with self._changed:
            place.engine, place.late, place.fault = engine, None, ""
            place.threads = ThreadPoolExecutor(self._requests_each, thread_name_prefix=f"rlvr-replica-{place.number}")
            self._changed.notify_all()

    def _assign(self) -> None:
        """Give waiting requests to the least busy replicas that have room. Called with the lock held."""
        while self._waiting:
            free = [p for p in self._places if p.engine is not None and len(p.jobs) < self._requests_each]
            if not free:
                break
            job = self._waiting.popleft()
            place = self._place_for(job.request, free)
            place.jobs.add(job)
            assert place.engine is not None
            assert place.threads is not None
            place.threads.submit(self._answer, place, place.engine, place.jobs, job)
        if self._waiting and all(place.given_up or place.late is not None for place in self._places):
            fault = self._nobody()
            while self._waiting:
                _settle(self._waiting.popleft(), fault)

    def _place_for(self, request: Request, free: Sequence[_Place]) -> _Place:
        """The least busy one, or the one where the conversation began. Called with the lock held."""
        least = min(free, key=_num_answers)
        if not request.conversation:
            return least
        home = self._homes.setdefault(request.conversation, least)
        if len(self._homes) > REMEMBERED:
            del self._homes[next(iter(self._homes))]
        return home if home in free and _num_answers(home) <= _num_answers(least) + PREFIX_IS_WORTH else least

    def _answer(self, place: _Place, engine: Replica, jobs: set[_Job], job: _Job) -> None:
        """One request on one replica. `jobs` are those of this engine: one that left them has been given to another."""
        outcome: list[Completion] | Exception
        try:
            [outcome] = engine.generate([job.request], job.sampling)
        except EngineError as fault:
            if not engine.healthy(self._health_timeout_s):
                self._lose(place, engine, str(fault))
                return
            outcome = fault
        except Exception as fault:  # a boundary: a fault of ours must reach whoever waits
            outcome = EngineError(f"replica {place.number} failed: {type(fault).__name__}: {fault}")
        with self._changed:
            if job not in jobs:
                return
            jobs.discard(job)
            if isinstance(outcome, Exception):
                self._retry(job, outcome)
            else:
                _settle(job, outcome)
            self._assign()

    def _retry(self, job: _Job, fault: Exception) -> None:
        """Called with the lock held."""
        job.failures += 1
        if job.failures < ATTEMPTS:
            self._waiting.appendleft(job)
        else:
            _settle(job, EngineError(f"{job.failures} replicas in turn failed on one request; the last: {fault}"))

    def _blame(self, place: _Place, engine: Replica, fault: EngineError) -> None:
        """A replica that lives and refuses is right; one that died is replaced."""
        if engine.healthy(self._health_timeout_s):
            raise fault
        self._lose(place, engine, str(fault))

    def _lose(self, place: _Place, engine: Replica, fault: str) -> None:
        """Ask its requests again elsewhere, and begin to replace it."""
        with self._changed:
            if engine not in (place.engine, place.late) or self._closing.is_set():
                return
            place.engine, place.late, place.fault = None, None, fault
            lost, place.jobs = place.jobs, set()
            self._homes = {name: home for name, home in self._homes.items() if home is not place}
            unfinished = [job for job in lost if not job.answer.done()]
            lost.clear()
            for job in unfinished:
                self._retry(job, EngineError(fault))
            if place.threads is not None:
                place.threads.shutdown(wait=False, cancel_futures=True)
            self._assign()
        threading.Thread(target=self._replace, args=(place, engine), name="rlvr-replace", daemon=True).start()

    def _replace(self, place: _Place, old: Replica) -> None:
        _close_quietly(old)
        for _ in range(OPENINGS):
            if self._closing.is_set():
                return
            try:
                engine = self._open(place.number)
            except Exception as fault:  # a boundary: whatever it is, those who wait must not wait for ever
                place.fault = _said(fault)
                self._closing.wait(self._pause_s)
                continue
            try:
                with self._syncing:
                    late = self._lacks_weights(engine)
                    if not late:
                        self._bring_up_to_date(place, engine)
                    with self._changed:
                        if not self._closing.is_set():
                            if late:
                                place.late, place.fault = engine, LATE
                                self._changed.notify_all()
                            else:
                                self.num_restarts += 1
                                self._stand(place, engine)
                            self._assign()
                            return
            except Exception as fault:  # as above
                place.fault = _said(fault)
            _close_quietly(engine)
        with self._changed:
            place.given_up = True
            self._assign()
            self._changed.notify_all()

    def _lacks_weights(self, engine: Replica) -> bool:
        """Whether weights were streamed that a replica which came back does not have."""
        return self._streamed is not None and engine.weight_version != self._streamed

    def _bring_up_to_date(self, place: _Place, engine: Replica) -> None:
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
            self._everywhere(self._serving(), lambda engine: engine.load_weights(files, version, keep_cache=keep_cache))
        except BaseException:
            files.delete()
            raise
        self._files = files

    def _stream_everywhere(self, named_tensors: Iterable[tuple[str, Any]], version: int, keep_cache: bool) -> None:
        """Each bucket to all replicas before the next is gathered. One that came back late serves again afterwards."""
        with self._changed:
            late = [(place, place.late) for place in self._places if place.late is not None]
        updating: list[tuple[_Place, Any]] = [*self._serving(), *late]
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
        with self._changed:
            for place, engine in late:
                if place.late is engine:
                    self.num_restarts += 1
                    self._stand(place, engine)
            self._assign()

    def _everywhere(self, engines: list[tuple[_Place, Any]], call: Callable[[Any], None]) -> list[tuple[_Place, Any]]:
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
                self._blame(place, engine, fault)
            else:
                raise fault
        if not done:
            raise self._nobody()
        return done

    def _compare(self, expected: Sequence[float], served: Sequence[float], who: str) -> None:
        gap = difference(expected, served, self.dtype)
        if not gap <= TOLERANCE_NATS[self.dtype]:
            raise StaleWeightsError(
                f"{who} differ by {gap:.3g} nats on {len(self._probe)} fixed tokens ({TOLERANCE_NATS[self.dtype]:g} is "
                f"allowed in {self.dtype}): they serve different weights. Load a complete set, or restart them."
            )

    def _nobody(self) -> EngineError:
        faults = "; ".join(f"replica {place.number}: {place.fault}" for place in self._places if place.fault)
        return EngineError(
            f"none of {len(self._places)} replicas answers ({faults or 'all are being restarted'}). Nothing of this call was "
            "kept; start the run again from its last checkpoint once the cause is gone."
        )

    def _watch(self) -> None:
        """Find replicas that neither answer nor fail."""
        while not self._closing.wait(self._health_every_s):
            for place, engine in self._serving():
                if not engine.healthy(self._health_timeout_s):
                    self._lose(place, engine, f"it did not answer within {self._health_timeout_s:g} s")


def _num_answers(place: _Place) -> int:
    """Answers it has under way."""
    return sum(job.request.n for job in place.jobs)


def _settle(job: _Job, outcome: list[Completion] | Exception) -> None:
    if job.answer.done() or not job.answer.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Exception):
        job.answer.set_exception(outcome)
    else:
        job.answer.set_result(outcome)


def _said(fault: Exception) -> str:
    """Ours explain themselves; of others the kind is needed, too."""
    return str(fault) if isinstance(fault, RlvrError) else f"{type(fault).__name__}: {fault}"


def _close_quietly(engine: Replica) -> None:
    """What is already dead may fail to close; it is being replaced either way."""
    with contextlib.suppress(Exception):
        engine.close()
