"""Judge the stored answers of a record again, with the verifiers that are installed here and now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rlvr
from rlvr.errors import RecordError, RlvrError, UnknownEnvironmentError
from rlvr.score import Score
from rlvr.scoring import ScoringPool
from rlvr.task import Task
from rlvr_leaderboard import provenance
from rlvr_leaderboard.record import SCORINGS, Record, Rollout, file_sha256, to_json, to_line

CHUNK = 512
JUDGED = ("correct", "partial", "wrong", "timeout")
"""What a verifier had a say in. A truncated answer is 0 without one; a fault has no verdict to compare."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One stored rollout beside its new verdict."""

    line: int
    rollout: Rollout
    score: Score
    """The new verdict. For what no verifier judges it is the reward that the status stands for."""

    @property
    def unjudged(self) -> bool:
        """True if the verifier failed now, so that nothing can be said about the stored reward."""
        return self.score.error is not None and not self.score.timed_out

    @property
    def agrees(self) -> bool:
        """True if the stored reward is the new one."""
        return self.score.reward == self.rollout.reward


@dataclass
class Scoring:
    """What judging a record again found."""

    judged: int = 0
    agreeing: int = 0
    unjudged: int = 0
    flips: list[Verdict] = field(default_factory=list)
    """Rollouts whose reward changed."""
    changed_sources: list[str] = field(default_factory=list)
    """Environments whose source is no longer what it was when the record was made."""


def judge_again(record: Record, *, workers: int = 2, timeout_s: float = 5.0) -> Iterator[Verdict]:
    """A new verdict on every counted rollout, in order. Raises RecordError if an environment of the record is gone.

    Answers are only read; no model is needed. Multi-turn episodes are played again from the model's stored turns.
    """
    check_environments(record)
    tasks = {(item.env, item.id): item.task for item in record.items()}
    chunk: list[tuple[int, Rollout]] = []
    with ScoringPool(workers, timeout_s) as pool:
        for numbered in record.numbered_rollouts():
            chunk.append(numbered)
            if len(chunk) == CHUNK:
                yield from _judge(pool, tasks, chunk, record)
                chunk = []
        yield from _judge(pool, tasks, chunk, record)


def check_environments(record: Record) -> list[str]:
    """The environments whose source changed since. Raises RecordError if one does not exist any more."""
    changed = []
    for name, facts in record.environments.items():
        try:
            spec = rlvr.spec(facts["id"])
        except UnknownEnvironmentError as fault:
            raise RecordError(
                f"the record {str(record.path)!r} was made on {facts['id']}, which is not installed here: {fault}. "
                "Its answers cannot be judged again; install the version of the package that has it. Nothing was changed."
            ) from fault
        if facts.get("source_sha256") != provenance.environment_source(spec):
            changed.append(name)
    return changed


def score_again(record: Record, *, workers: int = 2, timeout_s: float = 5.0, write: bool = True) -> Scoring:
    """Judge a record again and, with `write`, store the new rewards beside the old: `scorings/NUMBER/`.

    Nothing that is there is changed. A reward that differs is listed and never replaced.
    """
    scoring = Scoring(changed_sources=check_environments(record))
    target = _next_scoring(record.path) if write else None
    file = (target / "rewards.jsonl").open("w", encoding="ascii") if target is not None else None
    try:
        for verdict in judge_again(record, workers=workers, timeout_s=timeout_s):
            scoring.judged += 1
            scoring.unjudged += verdict.unjudged
            if not verdict.unjudged:
                scoring.agreeing += verdict.agrees
                if not verdict.agrees:
                    scoring.flips.append(verdict)
            if file is not None:
                file.write(to_line(_stored(verdict)))
    finally:
        if file is not None:
            file.close()
    if target is not None:
        facts = {
            "judged": scoring.judged,
            "agreeing": scoring.agreeing,
            "unjudged": scoring.unjudged,
            "changed": len(scoring.flips),
            "changed_sources": scoring.changed_sources,
            "rollouts_sha256": file_sha256(record.path / "rollouts.jsonl"),
            "packages": provenance.packages(),
            "machine": provenance.machine(),
        }
        (target / "scoring.json").write_text(to_json(facts), "utf-8")
    return scoring


def _judge(
    pool: ScoringPool, tasks: dict[tuple[str, str], Task], chunk: list[tuple[int, Rollout]], record: Record
) -> Iterator[Verdict]:
    wanted: list[tuple[int, Rollout, Task]] = []
    for line, rollout in chunk:
        task = tasks.get((rollout.env, rollout.item))
        if task is None:
            raise RecordError(
                f"{record.path / 'rollouts.jsonl'}, line {line} answers item {rollout.item}, which items.jsonl does not have"
            )
        if rollout.status in JUDGED:
            wanted.append((line, rollout, task))
    answers = [r.turns if _is_session(task) else (r.turns[-1] if r.turns else "") for _, r, task in wanted]
    try:
        scores = iter(pool.score([task for *_, task in wanted], answers))
    except RlvrError as fault:
        raise RecordError(f"the answers of {str(record.path)!r} could not be judged: {fault}") from fault
    judged = {line for line, *_ in wanted}
    for line, rollout in chunk:
        if line in judged:
            yield Verdict(line, rollout, next(scores))
        elif rollout.counts:
            yield Verdict(line, rollout, Score(0.0, reason=rollout.status))


def _is_session(task: Task) -> bool:
    return rlvr.spec(task.env_id).kind == "session"


def _stored(verdict: Verdict) -> dict[str, Any]:
    rollout, score = verdict.rollout, verdict.score
    return {
        "item": rollout.item,
        "env": rollout.env,
        "run": rollout.run,
        "attempt": rollout.attempt,
        "reward": score.reward,
        "before": rollout.reward,
        "reason": score.reason,
        "parts": dict(score.parts),
        "error": score.error,
    }


def _next_scoring(path: Path) -> Path:
    """A new, empty folder for a scoring."""
    home = path / SCORINGS
    home.mkdir(exist_ok=True)
    number = 1 + max((int(entry.name) for entry in home.iterdir() if entry.name.isdigit()), default=0)
    while True:
        try:
            (home / f"{number:04d}").mkdir()
            return home / f"{number:04d}"
        except FileExistsError:
            number += 1
