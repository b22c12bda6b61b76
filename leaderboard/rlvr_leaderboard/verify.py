"""How far a record can be believed, as a level, and what speaks against it, by file, line and item.

    0 self-reported   numbers without rollouts; listed apart, never ranked
    1 complete        every file is there, hashes hold, the numbers follow from the rewards
    2 verified        the verifiers, run again here, give every stored answer the reward it has
    3 plausible       the named model, run again, does as well on fresh items or finds the stored tokens as likely

Levels 1 and 2 need no model. Level 3 does (`rlvr_leaderboard.plausible`), and needs an environment that draws fresh items or a
record that kept its tokens.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr.errors import RecordError
from rlvr_leaderboard import provenance
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
    file_sha256,
    line_fault,
    named_in,
    raw_lines,
    read_json,
    to_json,
)
from rlvr_leaderboard.rescoring import score_again
from rlvr_leaderboard.summary import summarise
from rlvr_leaderboard.writer import differences

SELF_REPORTED, COMPLETE, VERIFIED, PLAUSIBLE = 0, 1, 2, 3
LEVELS = ("self-reported", "complete", "verified again", "plausible")
MOST = 100
"""Findings that are listed; the rest are counted."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a record."""

    file: str
    line: int | None
    item: str | None
    says: str

    def __str__(self) -> str:
        place = self.file + (f", line {self.line}" if self.line else "") + (f", item {self.item}" if self.item else "")
        return f"{place}: {self.says}"


@dataclass
class Verification:
    """What was found."""

    level: int = SELF_REPORTED
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What is no fault and should be known."""
    judged: int = 0

    @property
    def passed(self) -> bool:
        """True if nothing speaks against the record."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "level": self.level,
            "level_name": LEVELS[self.level],
            "passed": self.passed,
            "judged": self.judged,
            "findings": [vars(finding) for finding in self.findings[:MOST]],
            "findings_in_all": len(self.findings),
            "notes": self.notes,
        }


def verify(record: Record, *, workers: int = 2, timeout_s: float = 5.0, judge: bool = True) -> Verification:
    """Check hashes, lines, numbers and, with `judge`, every verdict. A damaged record is a finding and never an exception."""
    found = Verification()
    if record.self_reported:
        found.notes.append("self-reported: there are no rollouts to check")
        return found
    found.findings = check_files(record)
    if found.findings:
        return found
    found.findings = check_contents(record)
    if found.findings:
        return found
    found.level = COMPLETE
    if judge:
        try:
            scoring = score_again(record, workers=workers, timeout_s=timeout_s, write=False)
        except RecordError as fault:
            found.findings.append(Finding(RECORD, None, None, str(fault)))
            return found
        found.judged = scoring.judged
        for name in scoring.changed_sources:
            found.notes.append(f"the source of {name} changed since the record was made")
        for flip in scoring.flips:
            stored, now = flip.rollout, flip.score
            says = f"run {stored.run}: the stored reward is {stored.reward:g}, the verifier says {now.reward:g} ({now.reason})"
            found.findings.append(Finding(ROLLOUTS, flip.line, stored.item, says))
        if scoring.unjudged:
            says = f"{scoring.unjudged} answers could not be judged here because their verifier failed"
            found.findings.append(Finding(ROLLOUTS, None, None, says))
        if not found.findings:
            found.level = VERIFIED
    return found


def check_files(record: Record) -> list[Finding]:
    """Missing files, wrong hashes, and the lines that do not match their digests."""
    try:
        manifest = record.manifest()
    except RecordError as fault:
        return [Finding(MANIFEST, None, None, str(fault)), *_damaged_lines(record.path)]
    found = []
    for name in (RECORD, ITEMS, ROLLOUTS, JOURNAL, SUMMARY):
        path = record.path / name
        if name not in manifest:
            found.append(Finding(MANIFEST, None, None, f"has no hash of {name}"))
        elif not path.is_file():
            found.append(Finding(name, None, None, "is missing"))
        elif file_sha256(path) != manifest[name]:
            found.append(Finding(name, None, None, f"is not what was sealed: its sha256 differs from {MANIFEST}"))
    return found + _damaged_lines(record.path) if found else []


def check_contents(record: Record) -> list[Finding]:
    """Rollouts without an item, runs that are missing, attempts after a verdict, numbers that do not follow."""
    found: list[Finding] = []
    runs: Counter[tuple[str, str]] = Counter()
    try:
        items: dict[tuple[str, str], Item] = {(item.env, item.id): item for item in record.items()}
        counted: set[tuple[str, str, int]] = set()
        for line, rollout in record.numbered_rollouts():
            if (rollout.env, rollout.item) not in items:
                found.append(Finding(ROLLOUTS, line, rollout.item, "answers an item that items.jsonl does not have"))
            if rollout.key in counted:
                found.append(
                    Finding(ROLLOUTS, line, rollout.item, f"run {rollout.run} was tried again after it had a verdict")
                )
            if rollout.counts:
                counted.add(rollout.key)
            if rollout.attempt == 1:
                runs[rollout.env, rollout.item] += 1
    except RecordError as fault:
        return [Finding(ROLLOUTS, None, None, str(fault))]
    for (env, item), stored in items.items():
        k = record.environments[env]["k"]
        if runs[env, item] != k:
            found.append(Finding(ROLLOUTS, None, item, f"has {runs[env, item]} of {k} runs in {env}"))
        if item != stored.task.id:
            found.append(Finding(ITEMS, None, item, f"is named {item} and its task is {stored.task.id}"))
    for name, facts in record.environments.items():
        keys = sorted(one.task.key for (env, _), one in items.items() if env == name)
        if provenance.hash_of(keys) != facts["item_set_sha256"]:
            found.append(Finding(ITEMS, None, None, f"the items of {name} are not the set that {RECORD} names"))
    if not found:
        for difference in differences(_rounded(read_json(record.path / SUMMARY)), _rounded(summarise(record))):
            found.append(Finding(SUMMARY, None, None, f"does not follow from the rollouts: {difference}"))
    return found


def store(record: Record, verification: Verification) -> None:
    """Write what was found beside the record, tied to the hashes it was found for."""
    values = {
        **verification.to_dict(),
        "of_manifest": file_sha256(record.path / MANIFEST),
        "packages": provenance.packages(),
    }
    (record.path / VERIFICATION).write_text(to_json(values), "utf-8")


def stored_level(record: Record) -> int:
    """The level a record has by what is stored: a verification counts only for the very files it was made of.

    It says what somebody's check found; a board that takes records from others verifies them itself.
    """
    if record.self_reported or not record.sealed:
        return SELF_REPORTED
    if not (record.path / VERIFICATION).is_file():
        return COMPLETE if not check_files(record) else SELF_REPORTED
    values = read_json(record.path / VERIFICATION)
    if values.get("of_manifest") != file_sha256(record.path / MANIFEST) or check_files(record):
        return SELF_REPORTED if check_files(record) else COMPLETE
    return max(SELF_REPORTED, min(PLAUSIBLE, int(values.get("level", 0))))


def _damaged_lines(path: Path) -> list[Finding]:
    found = []
    for name in (ITEMS, ROLLOUTS, JOURNAL):
        if not (path / name).is_file():
            continue
        for number, line in raw_lines(path / name):
            says = line_fault(line)
            if says:
                found.append(Finding(name, number, named_in(line), says))
    return found


def _rounded(value: Any) -> Any:
    """Numbers to twelve digits: libraries of another machine may differ in the last one."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.10g}")
    return value
