"""Which replica answers which request, and who answers it instead when that one dies."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from rlvr.errors import EngineError
from rlvr.generation.engine import Completion, Request, Sampling
from rlvr.generation.replica import Replica

ATTEMPTS = 3
"""Replicas that may fail on one request before it is the request's fault."""
PREFIX_IS_WORTH = 16
"""Answers that a replica may have under way more than the least busy one, and still get the next turn of a conversation whose
prefix it has cached: so many more make its steps slower by less than computing the prefix again elsewhere takes."""
REMEMBERED = 1 << 16
"""Conversations of which it is known where they began."""


class Job:
    """One request until it is answered."""

    def __init__(self, request: Request, sampling: Sampling) -> None:
        self.request = request
        self.sampling = sampling
        self.failures = 0
        self.answer: Future[list[Completion]] = Future()

    def settle(self, outcome: list[Completion] | Exception) -> None:
        """Answer it, unless it has been or nobody waits any more."""
        if self.answer.done() or not self.answer.set_running_or_notify_cancel():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class Place:
    """One replica's place, whichever engine stands in it now."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.engine: Replica | None = None
        """None while nothing may be asked of it."""
        self.late: Replica | None = None
        """It came back, and waits for the next update; `engine` is None meanwhile."""
        self.jobs: set[Job] = set()
        self.threads: ThreadPoolExecutor | None = None
        self.given_up = False
        self.fault = ""

    @property
    def num_answers(self) -> int:
        """Answers it has under way."""
        return sum(job.request.n for job in self.jobs)


class Dispatcher:
    """Places for replicas, and the requests that they share. Thread-safe."""

    def __init__(
        self,
        replicas: int,
        *,
        requests_each: int,
        health_timeout_s: float,
        replace: Callable[[Place, Replica], None],
    ) -> None:
        """A replica gets at most `requests_each` requests at a time. `replace(place, engine)` is called, in a thread of its own,
        for one that died: it does not answer within `health_timeout_s`.
        """
        self.places = [Place(number) for number in range(replicas)]
        self.closing = threading.Event()
        self._requests_each = requests_each
        self._health_timeout_s = health_timeout_s
        self._replace = replace
        self._waiting: deque[Job] = deque()
        self._homes: dict[str, Place] = {}
        """Where each conversation began, the oldest first."""
        self._changed = threading.Condition()

    def serving(self) -> list[tuple[Place, Replica]]:
        """Those that can be asked now."""
        with self._changed:
            return [(place, place.engine) for place in self.places if place.engine is not None]

    def late(self) -> list[tuple[Place, Replica]]:
        """Those that wait for the next update."""
        with self._changed:
            return [(place, place.late) for place in self.places if place.late is not None]

    def wait_for_one(self) -> None:
        """Until a replica can be given weights, or none will ever be."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self.closing.is_set()
                    or any(place.engine is not None or place.late is not None for place in self.places)
                    or all(place.given_up for place in self.places)
                )
            )

    def ask(self, requests: Sequence[Request], sampling: Sampling) -> list[Job]:
        """Have them answered. Raises EngineError after `close`."""
        jobs = [Job(request, sampling) for request in requests]
        with self._changed:
            if self.closing.is_set():
                raise EngineError("these replicas were closed; open them anew")
            self._waiting.extend(jobs)
            self._assign()
        return jobs

    def cancel(self, jobs: Sequence[Job]) -> None:
        """Nobody waits for these any more."""
        with self._changed:
            for job in jobs:
                job.answer.cancel()
            self._waiting = deque(job for job in self._waiting if not job.answer.cancelled())

    def stand(self, place: Place, engine: Replica) -> None:
        """Let a replica be asked, unless all was closed meanwhile: then it is closed, too."""
        with self._changed:
            if not self.closing.is_set():
                place.engine, place.late, place.fault = engine, None, ""
                place.threads = ThreadPoolExecutor(
                    self._requests_each, thread_name_prefix=f"rlvr-replica-{place.number}"
                )
                self._assign()
                self._changed.notify_all()
                return
        engine.close()

    def stand_by(self, place: Place, engine: Replica, fault: str) -> None:
        """Keep a replica for the next update, unless all was closed meanwhile: then it is closed, too."""
        with self._changed:
            if not self.closing.is_set():
                place.late, place.fault = engine, fault
                self._assign()
                self._changed.notify_all()
                return
        engine.close()

    def give_up(self, place: Place) -> None:
        """No replica will stand there any more."""
        with self._changed:
            place.given_up = True
            self._assign()
            self._changed.notify_all()

    def forget_conversations(self) -> None:
        """What was cached of them is of weights that are gone."""
        with self._changed:
            self._homes.clear()

    def blame(self, place: Place, engine: Replica, fault: EngineError) -> None:
        """A replica that lives and refuses is right, and `fault` is raised; one that died is replaced."""
        if engine.healthy(self._health_timeout_s):
            raise fault
        self.lose(place, engine, str(fault))

    def lose(self, place: Place, engine: Replica, fault: str) -> None:
        """Ask its requests again elsewhere, and begin to replace it."""
        with self._changed:
            if engine not in (place.engine, place.late) or self.closing.is_set():
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

    def nobody(self) -> EngineError:
        """The error that no replica answers, with the fault of each."""
        faults = "; ".join(f"replica {place.number}: {place.fault}" for place in self.places if place.fault)
        return EngineError(
            f"none of {len(self.places)} replicas answers ({faults or 'all are being restarted'}). Nothing of this call was "
            "kept; start the run again from its last checkpoint once the cause is gone."
        )

    def close(self) -> None:
        """End all replicas; what is being generated raises EngineError. Calling it twice is harmless."""
        self.closing.set()
        with self._changed:
            engines = [(place, engine) for place in self.places if (engine := place.engine or place.late) is not None]
            unfinished = list(self._waiting) + [job for place in self.places for job in place.jobs]
            self._waiting.clear()
            for place in self.places:
                place.engine = place.late = None
                place.jobs.clear()
            self._changed.notify_all()
        for job in unfinished:
            job.settle(EngineError("the replicas were closed while they generated; nothing of this call was kept"))
        for place, engine in engines:
            engine.close()
            if place.threads is not None:
                place.threads.shutdown(wait=False, cancel_futures=True)

    def _assign(self) -> None:
        """Give waiting requests to the least busy replicas that have room. Called with the lock held."""
        while self._waiting:
            free = [p for p in self.places if p.engine is not None and len(p.jobs) < self._requests_each]
            if not free:
                break
            job = self._waiting.popleft()
            place = self._place_for(job.request, free)
            place.jobs.add(job)
            assert place.engine is not None
            assert place.threads is not None
            place.threads.submit(self._answer, place, place.engine, place.jobs, job)
        if self._waiting and all(place.given_up or place.late is not None for place in self.places):
            fault = self.nobody()
            while self._waiting:
                self._waiting.popleft().settle(fault)

    def _place_for(self, request: Request, free: Sequence[Place]) -> Place:
        """The least busy one, or the one where the conversation began. Called with the lock held."""
        least = min(free, key=lambda place: place.num_answers)
        if not request.conversation:
            return least
        home = self._homes.setdefault(request.conversation, least)
        if len(self._homes) > REMEMBERED:
            del self._homes[next(iter(self._homes))]
        return home if home in free and home.num_answers <= least.num_answers + PREFIX_IS_WORTH else least

    def _answer(self, place: Place, engine: Replica, jobs: set[Job], job: Job) -> None:
        """One request on one replica. `jobs` are those of this engine: one that left them has been given to another."""
        outcome: list[Completion] | Exception
        try:
            [outcome] = engine.generate([job.request], job.sampling)
        except EngineError as fault:
            if not engine.healthy(self._health_timeout_s):
                self.lose(place, engine, str(fault))
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
                job.settle(outcome)
            self._assign()

    def _retry(self, job: Job, fault: Exception) -> None:
        """Called with the lock held."""
        job.failures += 1
        if job.failures < ATTEMPTS:
            self._waiting.appendleft(job)
        else:
            job.settle(EngineError(f"{job.failures} replicas in turn failed on one request; the last: {fault}"))
