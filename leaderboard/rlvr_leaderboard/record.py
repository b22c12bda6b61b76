"""The record of an evaluation: plain files from which every number can be computed again.

    record.json       what was run: model, weights, environments, sampling, seeds, packages
    items.jsonl       every item once, with all its verifier needs
    rollouts.jsonl    one line a finished rollout, appended as they finish; sorted when the record is sealed
    journal.jsonl     one line an attempt: when it ran, on what, how long
    summary.json      the numbers; computed from the lines above, and again by whoever doubts them
    MANIFEST.sha256   hashes of these files; `sha256sum -c MANIFEST.sha256` checks them too

Lines end with a digest of themselves, so that a changed byte can be traced to its line. That shows damage and careless
edits. It does not show who made the record: whoever can write the folder can seal it again. Judging the stored answers
again (`rlvr leaderboard verify`) shows that rewards follow from answers; nothing here shows that the answers came from the
weights that are named.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlvr.errors import RecordError
from rlvr.task import Message, Task
from rlvr.trajectory import Trajectory

SCHEMA = "rlvr-record/1"
RECORD, ITEMS, ROLLOUTS, JOURNAL = "record.json", "items.jsonl", "rollouts.jsonl", "journal.jsonl"
SUMMARY, MANIFEST, VERIFICATION, SCORINGS = "summary.json", "MANIFEST.sha256", "verification.json", "scorings"

Status = Literal["correct", "partial", "wrong", "truncated", "turn_limit", "timeout", "fault"]
"""What became of a rollout. A `fault` has no verdict and counts nowhere; all others have a reward, 0 from `wrong` on."""

_TAIL = len(',"digest":"0123456789abcdef"}')


@dataclass(frozen=True, slots=True)
class Item:
    """One problem of the set."""

    id: str
    env: str
    """Name of the environment in the record: its id, with knobs where they differ from the defaults."""
    task: Task
    prompt_tokens: int
    prompt_ends: list[list[int]]
    """The first and the last eight token ids of the prompt: a doubled BOS or a missing template shows here."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON object; the inverse of `from_dict`."""
        return {
            "item": self.id,
            "env": self.env,
            "task": self.task.to_dict(),
            "prompt_tokens": self.prompt_tokens,
            "prompt_ends": self.prompt_ends,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Item:
        """The item that `to_dict` wrote."""
        return cls(
            values["item"],
            values["env"],
            Task.from_dict(values["task"]),
            values["prompt_tokens"],
            values["prompt_ends"],
        )


@dataclass(frozen=True, slots=True)
class Rollout:
    """One finished rollout as it is stored."""

    item: str
    env: str
    run: int
    """Which of the item's k runs."""
    attempt: int
    """1, or more where a fault was tried again. The newest attempt counts."""
    status: Status
    reward: float
    finish: str
    reason: str
    parts: dict[str, float]
    detail: dict[str, Any]
    error: str | None
    turns: list[str]
    """The model's turns, as they were judged."""
    replies: list[list[Message]]
    """What the environment said after each turn; empty in tasks of one turn."""
    tokens: int
    """Tokens the model chose."""
    mean_logprob: float | None
    """Mean log-probability when they were sampled, in nats, of those in the last sequence; None where an engine does not tell."""
    token_ids: list[int] | None = None
    """The whole sequence, prompt included, where the record keeps tokens."""
    loss_mask: str | None = None
    """`1` for each token of it that the model chose, `0` for the others."""

    @property
    def counts(self) -> bool:
        """False for a fault: there is no verdict, so the run is missing and not wrong."""
        return self.status != "fault"

    @property
    def key(self) -> tuple[str, str, int]:
        """Names the rollout within its record, whatever the attempt."""
        return self.env, self.item, self.run

    def to_dict(self) -> dict[str, Any]:
        """A JSON object; the inverse of `from_dict`."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None or name in ("error", "mean_logprob")}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Rollout:
        """The rollout that `to_dict` wrote."""
        return cls(**values)

    @classmethod
    def of(cls, trajectory: Trajectory, *, env: str, run: int, attempt: int = 1, keep_tokens: bool = False) -> Rollout:
        """What is stored of a finished trajectory."""
        score = trajectory.score
        if score is None:
            raise RecordError(f"run {run} of {trajectory.task.id} has no score; only finished rollouts are recorded")
        pairs = zip(trajectory.logprobs, trajectory.loss_mask, strict=True)
        chosen = [value for value, sampled in pairs if sampled]
        known = chosen and not any(value != value for value in chosen)  # NaN where an endpoint does not tell
        prompt = len(trajectory.task.messages)
        return cls(
            item=trajectory.task.id,
            env=env,
            run=run,
            attempt=attempt,
            status=status_of(trajectory),
            reward=score.reward,
            finish=trajectory.finish,
            reason=score.reason,
            parts=dict(score.parts),
            detail=dict(score.detail),
            error=score.error,
            turns=list(trajectory.texts),
            replies=_replies(trajectory.messages[prompt:]) if trajectory.num_turns > 1 else [],
            tokens=trajectory.num_sampled,
            mean_logprob=round(sum(chosen) / len(chosen), 6) if known else None,
            token_ids=list(trajectory.token_ids) if keep_tokens else None,
            loss_mask="".join("1" if sampled else "0" for sampled in trajectory.loss_mask) if keep_tokens else None,
        )


def status_of(trajectory: Trajectory) -> Status:
    """What became of a trajectory. A verifier that ran out of time on an answer counts against the answer, and is told apart."""
    score = trajectory.score
    assert score is not None
    if score.error is not None:
        return "timeout" if score.timed_out else "fault"
    if trajectory.finish == "length":
        return "truncated"
    if trajectory.finish == "turn_limit":
        return "turn_limit"
    return "correct" if score.correct else "partial" if score.reward > 0 else "wrong"


class Record:
    """A record on disk, for reading. Raises RecordError if the folder holds none.

    Files are read line by line on every call, so a record may be larger than memory and may still be growing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / RECORD).is_file():
            hint = "it is the run folder of a training; add it with --run" if _is_training_run(self.path) else ""
            raise RecordError(
                f"{str(path)!r} is no evaluation record: there is no {RECORD} in it. "
                + (hint or "Give the folder that `rlvr eval --out` wrote.")
            )
        self.header: dict[str, Any] = read_json(self.path / RECORD)
        if self.header.get("schema") != SCHEMA:
            raise RecordError(
                f"{self.path / RECORD} has the schema {self.header.get('schema')!r}; this version of rlvr reads {SCHEMA!r}"
            )

    @property
    def name(self) -> str:
        """What the model is called on boards."""
        return str(self.header["name"])

    @property
    def environments(self) -> dict[str, dict[str, Any]]:
        """By name in the record: id, knobs, split, n, k, hashes."""
        return dict(self.header["environments"])

    @property
    def self_reported(self) -> bool:
        """True if it has numbers and no rollouts."""
        return bool(self.header.get("self_reported"))

    @property
    def sealed(self) -> bool:
        """True once the evaluation was finished and its files hashed."""
        return (self.path / MANIFEST).is_file()

    def items(self) -> Iterator[Item]:
        """The items, in order."""
        for number, values in lines(self.path / ITEMS):
            yield _read(Item.from_dict, values, self.path / ITEMS, number)

    def numbered_rollouts(self) -> Iterator[tuple[int, Rollout]]:
        """Every stored rollout with its line number, earlier attempts included. A torn last line is left out."""
        path = self.path / ROLLOUTS
        for number, values in lines(path):
            yield number, _read(Rollout.from_dict, values, path, number)

    def newest_rollouts(self) -> Iterator[tuple[int, Rollout]]:
        """The newest attempt of every rollout with its line number."""
        newest = self._newest_attempts()
        for number, rollout in self.numbered_rollouts():
            if rollout.attempt == newest.get(rollout.key, 1):
                yield number, rollout

    def rollouts(self) -> Iterator[Rollout]:
        """The newest attempt of every rollout."""
        for _, rollout in self.newest_rollouts():
            yield rollout

    def journal(self) -> list[dict[str, Any]]:
        """The attempts at this record."""
        path = self.path / JOURNAL
        return [values for _, values in lines(path)] if path.exists() else []

    def manifest(self) -> dict[str, str]:
        """File name to sha256, as sealed. Raises RecordError if the record is not sealed or the manifest is damaged."""
        if not self.sealed:
            raise RecordError(
                f"{str(self.path)!r} is not sealed: its evaluation was not finished. Run the same `rlvr eval` again to finish it."
            )
        found = {}
        for number, line in enumerate((self.path / MANIFEST).read_text("utf-8").splitlines(), 1):
            digest, gap, name = line.partition("  ")
            if len(digest) != 64 or not gap or "/" in name:
                raise RecordError(f"{self.path / MANIFEST}, line {number} is no `sha256  file` line: {line!r:.90}")
            found[name] = digest
        return found

    def _newest_attempts(self) -> dict[tuple[str, str, int], int]:
        """Only the keys that were tried more than once: nearly always none."""
        again: dict[tuple[str, str, int], int] = {}
        for _, line in raw_lines(self.path / ROLLOUTS):
            if not line.startswith(b'{"attempt":1,') and line_fault(line) is None:
                values = json.loads(line)
                key = values["env"], values["item"], values["run"]
                again[key] = max(again.get(key, 1), values["attempt"])
        return again


def to_line(values: Mapping[str, Any]) -> str:
    """One line of canonical JSON that ends with a digest of what stands before it."""
    body = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return f'{body[:-1]},"digest":"{_digest(body)}"}}\n'


def lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of digested lines with their line numbers. A last line without its end is left out.

    Raises RecordError, naming file, line and item, for a line that does not match its digest.
    """
    for number, line in raw_lines(path):
        fault = line_fault(line)
        if fault:
            raise RecordError(
                f"{path}, line {number}{_item_hint(line)}: {fault}. The record was changed or damaged after it was written; "
                "nothing after this line was read. Restore the file from a copy, or evaluate again into another folder."
            )
        values = json.loads(line)
        del values["digest"]
        yield number, values


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The whole lines of a file, numbered from 1. Raises RecordError if the file is missing."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield number, line
    except FileNotFoundError as fault:
        raise RecordError(f"{path} is missing, so the record is incomplete; restore it or evaluate again") from fault


def line_fault(line: bytes) -> str | None:
    """What is wrong with a digested line, or None."""
    text = line.rstrip(b"\n")
    if not text.endswith(b'"}') or text[-_TAIL : -_TAIL + 11] != b',"digest":"':
        return "it is cut off or no line of a record"
    if _digest_bytes(text[:-_TAIL] + b"}") != text[-18:-2].decode("latin-1"):
        return "its content does not match its digest"
    return None


def named_in(line: bytes) -> str | None:
    """The item that a line is about, as far as it can be read."""
    _, found, rest = line.partition(b'"item":"')
    return rest.partition(b'"')[0].decode("utf-8", "replace")[:120] if found else None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises RecordError if it is none."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as fault:
        raise RecordError(f"{path} cannot be read as JSON: {fault}; restore it from a copy") from fault
    if not isinstance(values, dict):
        raise RecordError(f"{path} holds {type(values).__name__}, not a JSON object; restore it from a copy")
    return values


def to_json(values: Mapping[str, Any]) -> str:
    """A JSON file's text: sorted and indented, so that equal contents are equal bytes."""
    return json.dumps(values, sort_keys=True, indent=1, allow_nan=False) + "\n"


def file_sha256(path: Path) -> str:
    """The hash of a file, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replies(messages: list[Message]) -> list[list[Message]]:
    replies: list[list[Message]] = []
    for message in messages:
        if message.get("role") == "assistant":
            replies.append([])
        elif replies:
            replies[-1].append(message)
    return replies


def _read(build: Any, values: Mapping[str, Any], path: Path, number: int) -> Any:
    try:
        return build(values)
    except (KeyError, TypeError, ValueError) as fault:
        raise RecordError(f"{path}, line {number} lacks or has a field it should not: {fault}") from fault


def _digest(body: str) -> str:
    return _digest_bytes(body.encode("ascii"))


def _digest_bytes(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def _item_hint(line: bytes) -> str:
    item = named_in(line)
    return f" (item {item})" if item else ""


def _is_training_run(path: Path) -> bool:
    return (path / "metrics.jsonl").is_file() and (path / "config.toml").is_file()
