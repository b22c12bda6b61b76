"""The process in which verifiers and sessions run: `python -m rlvr.scoring_worker RESULTS_FD PAGE_FD MEMORY_MB`.

Reads chunks from standard input, writes lines of results to RESULTS_FD, and says in the shared page what it is busy
with. It ends when its input ends. Standard output and error of the environments' code go where the pool can read them.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import json
import mmap
import os
import pickle
import sys
import time
from typing import Any

from rlvr import registry, scoring_wire
from rlvr.score import Score
from rlvr.spec import EnvSpec, Session, SessionSpec, guarded
from rlvr.task import Task

FLUSH_S = 0.005
"""Results wait no longer than this for company."""
SESSIONS = 512
"""Sessions kept for their next turn. One that is not kept is played again."""

_sessions: collections.OrderedDict[tuple[str, str], Session] = collections.OrderedDict()
"""By environment and `_history`."""


def main(results_fd: int, page_fd: int, memory_mb: int) -> None:
    """Serve chunks until the input ends."""
    _die_with_parent()
    _limit_memory(memory_mb)
    page = mmap.mmap(page_fd, scoring_wire.PROGRESS.size)
    source = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a verifier that reads standard input must not eat the chunks
    _write(results_fd, [(0, "ready", None)])
    specs: dict[str, EnvSpec] = {}
    while header := source.read(scoring_wire.LENGTH.size):
        chunk = json.loads(source.read(scoring_wire.LENGTH.unpack(header)[0]))
        for env_id, data in chunk["define"].items():
            specs[env_id] = pickle.loads(base64.b64decode(data))  # from our own parent
        tasks = [Task.from_dict(values) for values in chunk["tasks"]]
        for task in tasks:
            if task.env_id not in specs:
                specs[task.env_id] = registry.spec(task.env_id)
        ready: list[tuple[int, str, Any]] = []
        flushed = time.monotonic()
        for position, (number, turns, wants_reply) in enumerate(chunk["items"]):
            now = time.monotonic()
            if ready and now - flushed > FLUSH_S:
                _write(results_fd, ready)
                ready, flushed = [], now
            page[:] = scoring_wire.PROGRESS.pack(position, now)
            task = tasks[number]
            value = _answer(specs[task.env_id], task, turns, wants_reply)
            ready.append((position, *scoring_wire.encode_result(value)))
        _write(results_fd, ready)


def _answer(spec: EnvSpec, task: Task, turns: str | list[str], wants_reply: bool) -> Any:
    if isinstance(turns, str):
        return spec.judge(task, turns)
    if not isinstance(spec, SessionSpec):
        return spec.judge(task, turns[-1] if turns else "")
    return _turn(spec, task, turns) if wants_reply else spec.judge_turns(task, turns)


def _turn(spec: SessionSpec, task: Task, turns: list[str]) -> Any:
    """The reply to the last turn. A session that is used moves on, so it is kept under the turns it has now seen."""
    replies: list[Any] = []

    def play() -> Any:
        session = _sessions.pop((spec.id, _history(task, turns[:-1])), None)
        if session is None:
            session = spec.open(task)
            for text in turns[:-1]:
                session.turn(text)
        reply = session.turn(turns[-1])
        if isinstance(reply, str | list):
            _sessions[(spec.id, _history(task, turns))] = session
            if len(_sessions) > SESSIONS:
                _sessions.popitem(last=False)
            replies.append(reply)
            return 0.0
        return reply

    score = guarded(spec.id, play)
    return replies[0] if replies else score


def _history(task: Task, turns: list[str]) -> str:
    """What a session follows from: its stream, its knobs (tasks of two levels share streams), and the turns it has seen."""
    return hashlib.sha256(json.dumps([task.stream, task.knobs, turns], sort_keys=True).encode()).hexdigest()


def _write(fd: int, results: list[tuple[int, str, Any]]) -> None:
    try:
        data = json.dumps(results).encode()
    except (TypeError, ValueError):
        data = json.dumps([_plain(result) for result in results]).encode()
    view = memoryview(data + b"\n")
    while view:
        view = view[os.write(fd, view) :]


def _plain(result: tuple[int, str, Any]) -> tuple[int, str, Any]:
    try:
        json.dumps(result)
        return result
    except (TypeError, ValueError) as fault:
        message = f"the verifier's result is no JSON: {fault}"
        return (result[0], *scoring_wire.encode_result(Score.failure(message)))


def _limit_memory(memory_mb: int) -> None:
    import resource

    limit = memory_mb << 20
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _die_with_parent() -> None:
    """On Linux, be killed when the pool's thread ends, however it ends; elsewhere the end of the input has to do."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)  # PR_SET_PDEATHSIG, SIGKILL


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
