"""Writes a record: opened once, appended to as rollouts finish, taken up again after any kind of death, sealed at the end."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from rlvr.errors import RecordError
from rlvr_leaderboard.record import (
    ITEMS,
    JOURNAL,
    MANIFEST,
    RECORD,
    ROLLOUTS,
    SUMMARY,
    VERIFICATION,
    Item,
    Record,
    Rollout,
    file_sha256,
    lines,
    read_json,
    to_json,
    to_line,
)

FACTS = ("packages", "machine")
"""Parts of record.json that describe where it ran. They may differ when it is taken up again; the journal says so."""


class RecordWriter:
    """The one process that writes a record. Use it as a context manager.

    A folder that is empty or absent is begun; one that holds the same evaluation is continued. Raises RecordError, and
    changes nothing, if it holds another evaluation or anything else, or if another process is writing it.
    """

    def __init__(self, path: str | Path, header: Mapping[str, Any], items: Sequence[Item]) -> None:
        self.path = Path(path)
        self.header = dict(header)
        self._order = {(item.env, item.id): place for place, item in enumerate(items)}
        existing = self.path.is_dir() and any(self.path.iterdir())
        if existing:
            self._check_same(items)
        else:
            self._begin(items)
        self._file = self._open_locked()
        if existing:
            _drop_torn_line(self._file)
        self.done: dict[tuple[str, str, int], Rollout] = {}
        """The newest attempt of every rollout that is stored, without its texts."""
        for _, values in lines(self.path / ROLLOUTS):
            rollout = Rollout.from_dict(values)
            before = self.done.get(rollout.key)
            if before is None or rollout.attempt > before.attempt:
                self.done[rollout.key] = _light(rollout)
        self._begun = datetime.now(UTC)
        self._resumed = len(self.done)
        self._tokens = 0

    @property
    def sealed(self) -> bool:
        """True if there is nothing left to do."""
        return (self.path / MANIFEST).exists()

    def append(self, rollout: Rollout) -> None:
        """Store one finished rollout; it is with the operating system when this returns."""
        if self.sealed:
            raise RecordError(f"{str(self.path)!r} is sealed; evaluate into another folder")
        self._file.write(to_line(rollout.to_dict()).encode("ascii"))
        self._file.flush()
        self.done[rollout.key] = _light(rollout)
        self._tokens += rollout.tokens

    def attempt_of(self, key: tuple[str, str, int]) -> int:
        """The number the next attempt at a rollout has."""
        return self.done[key].attempt + 1 if key in self.done else 1

    def seal(self, summary: Mapping[str, Any]) -> Record:
        """Sort the rollouts, write the summary and the hashes. From then on the record does not change."""
        self._sort()
        self._write(SUMMARY, to_json(summary))
        self._note("finished")
        files = [RECORD, ITEMS, ROLLOUTS, JOURNAL, SUMMARY]
        self._write(MANIFEST, "".join(f"{file_sha256(self.path / name)}  {name}\n" for name in files))
        return Record(self.path)

    def close(self) -> None:
        """Let go of the folder; what was appended stays."""
        if not self._file.closed:
            if not self.sealed and len(self.done) > self._resumed:
                self._note("interrupted")
            self._file.close()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _begin(self, items: Sequence[Item]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(ITEMS, "".join(to_line(item.to_dict()) for item in items))
        (self.path / ROLLOUTS).touch()
        self._write(RECORD, to_json(self.header))  # last: a folder with a record.json is complete enough to resume

    def _check_same(self, items: Sequence[Item]) -> None:
        if not (self.path / RECORD).is_file():
            leftovers = {entry.name for entry in self.path.iterdir()}
            if leftovers <= {ITEMS, ROLLOUTS, f"{ITEMS}.partial", f"{RECORD}.partial"}:
                self._begin(items)  # it died before its first rollout
                return
            raise RecordError(
                f"{str(self.path)!r} is not empty and holds no record; nothing was written. Give another --out."
            )
        before = read_json(self.path / RECORD)
        differing = differences(_comparable(before), _comparable(self.header))
        if differing:
            raise RecordError(
                f"{str(self.path)!r} holds another evaluation, so this one cannot go on in it and nothing was written. "
                f"Different: {'; '.join(sorted(differing, key=len)[:4])}. Give another --out, or the settings of the first run."
            )
        self.header = before

    def _open_locked(self) -> IO[bytes]:
        file = (self.path / ROLLOUTS).open("r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            file.close()
            raise RecordError(
                f"another process is writing {str(self.path)!r}; wait for it or give another --out"
            ) from fault
        file.seek(0, os.SEEK_END)
        return file

    def _sort(self) -> None:
        """Rewrite rollouts.jsonl in the order of items and runs: equal evaluations end as equal files."""
        path = self.path / ROLLOUTS
        places = []
        offset = 0
        with path.open("rb") as file:
            for line in file:
                values = json.loads(line)
                place = self._order[values["env"], values["item"]]
                places.append((place, values["run"], values["attempt"], offset, len(line)))
                offset += len(line)
            if places == sorted(places):
                return
            partial = path.with_suffix(".partial")
            with partial.open("wb") as out:
                for *_, start, length in sorted(places):
                    file.seek(start)
                    out.write(file.read(length))
        os.replace(partial, path)

    def _note(self, how: str) -> None:
        facts = {name: self.header[name] for name in FACTS if name in self.header}
        line = {
            "began": self._begun.isoformat(timespec="seconds"),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "wall_s": round((datetime.now(UTC) - self._begun).total_seconds(), 3),
            "how": how,
            "rollouts_before": self._resumed,
            "rollouts_after": len(self.done),
            "tokens": self._tokens,
            "command": command_line(),
            **facts,
        }
        with (self.path / JOURNAL).open("a", encoding="ascii") as file:
            file.write(to_line(line))

    def _write(self, name: str, text: str) -> None:
        partial = self.path / f"{name}.partial"
        partial.write_text(text, "utf-8")
        os.replace(partial, self.path / name)


def unseal(path: Path) -> None:
    """Open a sealed record again, to try its faults once more: what was computed from its rollouts no longer holds."""
    for name in (SUMMARY, MANIFEST, VERIFICATION):
        (path / name).unlink(missing_ok=True)


def command_line() -> list[str]:
    """How this process was called, the program's folder left out."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv else []


def differences(before: Any, now: Any, where: str = "") -> list[str]:
    """The places in which two JSON values differ, with both values."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = []
        for name in sorted(before.keys() | now.keys()):
            found += differences(before.get(name), now.get(name), f"{where}.{name}" if where else name)
        return found
    return [] if before == now else [f"{where} was {before!r:.80} and is now {now!r:.80}"]


def _comparable(header: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in json.loads(json.dumps(header)).items() if name not in FACTS}


def _light(rollout: Rollout) -> Rollout:
    return dataclasses.replace(rollout, turns=[], replies=[], detail={}, token_ids=None, loss_mask=None)


def _drop_torn_line(file: IO[bytes]) -> None:
    """Cut off a last line without its end: the process died while it wrote it."""
    size = file.seek(0, os.SEEK_END)
    end = size
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        file.truncate(end)
    file.seek(0, os.SEEK_END)
