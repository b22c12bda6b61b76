"""The numbers of a record, computed from its rollouts and nothing else."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr.answers import final_answer
from rlvr_leaderboard import statistics as s
from rlvr_leaderboard.record import Record, Rollout

CONFIDENCE = 0.95
RIGHT = "right"
"""The class of all answers with full marks, for votes: the verifier said that they are equivalent."""


@dataclass(slots=True)
class ItemTable:
    """What became of one item's runs, in the order of runs; faults are left out and counted."""

    runs: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    answers: list[str | None] = field(default_factory=list)
    texts: set[bytes] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    """Why the faulty runs have no verdict."""
    line_numbers: list[int] = field(default_factory=list)
    """Where its rollouts stand in rollouts.jsonl, faults included."""

    @property
    def mean(self) -> float:
        """The mean reward of the runs that have a verdict."""
        return math.fsum(self.rewards) / len(self.rewards)

    @property
    def correct(self) -> int:
        """Runs with full marks."""
        return sum(reward == 1.0 for reward in self.rewards)

    def add(self, rollout: Rollout) -> None:
        """Take in one rollout. Texts are reduced to digests: a table of 100,000 rollouts is small."""
        if not rollout.counts:
            self.errors.append(rollout.error or rollout.reason)
            return
        place = len(self.runs)
        while place and self.runs[place - 1] > rollout.run:
            place -= 1
        self.runs.insert(place, rollout.run)
        self.rewards.insert(place, rollout.reward)
        self.statuses.insert(place, rollout.status)
        self.tokens.insert(place, rollout.tokens)
        self.answers.insert(place, _answer_class(rollout))
        text = "\x00".join(rollout.turns).encode("utf-8", "surrogatepass")
        self.texts.add(hashlib.blake2b(text, digest_size=8).digest())


Table = dict[str, dict[str, ItemTable]]
"""Environment to item to what became of its runs."""


def tabulate(record: Record) -> Table:
    """Every item of the record, in order, those without a run included."""
    table: Table = {name: {} for name in record.environments}
    for item in record.items():
        table[item.env][item.id] = ItemTable()
    for number, rollout in record.newest_rollouts():
        row = table[rollout.env][rollout.item]
        row.add(rollout)
        row.line_numbers.append(number)
    return table


def scored(items: dict[str, ItemTable]) -> dict[str, list[float]]:
    """The rewards of the items that have a verdict, for the statistics."""
    return {item: row.rewards for item, row in items.items() if row.rewards}


def summarise(record: Record, table: Table | None = None) -> dict[str, Any]:
    """What summary.json holds: for each environment the mean with its interval, pass@k and what went wrong; and overall."""
    table = tabulate(record) if table is None else table
    environments = {
        name: summarise_environment(items, record.environments[name]) for name, items in table.items() if items
    }
    return {"environments": environments, "overall": overall(environments), "confidence": CONFIDENCE}


def summarise_environment(items: dict[str, ItemTable], facts: dict[str, Any]) -> dict[str, Any]:
    """The numbers of one environment."""
    k = int(facts["k"])
    rewards = scored(items)
    statuses = Counter(status for row in items.values() for status in row.statuses)
    tokens = [count for row in items.values() for count in row.tokens]
    found: dict[str, Any] = {
        "items": len(rewards),
        "k": k,
        "rollouts": len(tokens),
        "missing": sum(max(0, k - len(row.rewards)) for row in items.values()),
        "faults": sum(len(row.errors) for row in items.values()),
        "statuses": dict(sorted(statuses.items())),
        "tokens": sum(tokens),
        "tokens_mean": sum(tokens) / len(tokens) if tokens else 0.0,
        "truncated": (statuses["truncated"] + statuses["turn_limit"]) / len(tokens) if tokens else 0.0,
        "chance": facts.get("chance", 0.0),
    }
    errors = Counter(error for row in items.values() for error in row.errors)
    if not rewards:
        return {**found, "warnings": [f"no rollout has a verdict{_most(errors)}"]}
    means = s.item_means(rewards)
    low, high = s.mean_interval(rewards, CONFIDENCE)
    found |= {"mean": math.fsum(means) / len(means), "low": low, "high": high}
    if len(means) > 1:
        found["standard_error"] = s.standard_error(means)
    if all(len(values) > 1 for values in rewards.values()):
        found["run_standard_error"] = s.run_standard_error(rewards)
    found |= _passing([row for row in items.values() if row.rewards])
    found["distinct"] = math.fsum(len(row.texts) / len(row.rewards) for row in items.values() if row.rewards) / len(
        means
    )
    return {**found, "warnings": _warnings(found, errors)}


def overall(environments: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The macro mean over environments with its interval, the micro mean beside it, and the totals."""
    whole = [env for env in environments.values() if "mean" in env]
    found: dict[str, Any] = {
        name: sum(env[name] for env in environments.values())
        for name in ("items", "rollouts", "missing", "faults", "tokens")
    }
    if not whole:
        return found
    rollouts = max(1, found["rollouts"])
    found["tokens_mean"] = found["tokens"] / rollouts
    found["truncated"] = sum(env["truncated"] * env["rollouts"] for env in whole) / rollouts
    found["micro_mean"] = math.fsum(env["mean"] * env["items"] for env in whole) / found["items"]
    if len(whole) == 1:
        return found | {name: whole[0][name] for name in ("mean", "low", "high", "standard_error") if name in whole[0]}
    means = [env["mean"] for env in whole]
    if any("standard_error" not in env for env in whole):
        return found | {"mean": math.fsum(means) / len(means)}
    macro = s.macro_mean(means, [env["standard_error"] for env in whole])
    low, high = s.macro_interval(means, [env["standard_error"] for env in whole], [env["items"] for env in whole])
    return found | {
        "mean": macro.mean,
        "standard_error": macro.standard_error,
        "low": max(0.0, low),
        "high": min(1.0, high),
    }


def powers(k: int) -> list[int]:
    """1, 2, 4, ... and k itself."""
    return sorted({1 << i for i in range(k.bit_length())} | {k}) if k else []


def _passing(rows: Sequence[ItemTable]) -> dict[str, Any]:
    """pass@k and its kin for every k that all items have runs for; more is never printed."""
    reach = min(len(row.rewards) for row in rows)
    found: dict[str, Any] = {"pass_at_k": {}, "pass_hat_k": {}, "maj_at_k": {}}
    for k in powers(reach):
        each = [s.pass_at_k(len(row.rewards), row.correct, k) for row in rows]
        low, high = s.mean_interval(each, CONFIDENCE)
        found["pass_at_k"][str(k)] = [math.fsum(each) / len(each), low, high]
        found["pass_hat_k"][str(k)] = s.pass_hat_k([len(row.rewards) for row in rows], [row.correct for row in rows], k)
        votes = [s.maj_at_k(row.answers, _worth(row), k) for row in rows]
        found["maj_at_k"][str(k)] = math.fsum(votes) / len(votes)
    if reach >= 2:
        even = reach - reach % 2
        counts = [len(row.rewards) for row in rows], [row.correct for row in rows]
        found["mg_pass_at_k"] = {str(even): s.mg_pass_at_k(*counts, even)}
    return found


def _worth(row: ItemTable) -> dict[str, float]:
    worth: dict[str, float] = {}
    for answer, reward in zip(row.answers, row.rewards, strict=True):
        if answer is not None:
            worth[answer] = max(reward, worth.get(answer, 0.0))
    return worth


def _answer_class(rollout: Rollout) -> str | None:
    """What the rollout votes for; None if it gave no answer."""
    if rollout.reward == 1.0:
        return RIGHT
    if rollout.status not in ("partial", "wrong") or not rollout.turns:
        return None
    given = rollout.detail.get("answer", rollout.detail.get("extracted"))
    text = given if isinstance(given, str) else final_answer(rollout.turns[-1])
    if text is None:
        return None
    return f"{rollout.reward:g} {hashlib.blake2b(text.strip().encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def _most(errors: Counter[str]) -> str:
    return f"; most often: {errors.most_common(1)[0][0][:200]}" if errors else ""


def _warnings(found: dict[str, Any], errors: Counter[str]) -> list[str]:
    """What a reader must know before believing the mean."""
    says = []
    rollouts = max(1, found["rollouts"])
    if found["missing"]:
        says.append(f"{found['missing']} runs have no verdict; they are left out, not counted as wrong{_most(errors)}")
    if found["truncated"] > 0.05:
        says.append(f"{found['truncated']:.0%} of the answers were cut off and count as 0; raise --max-tokens")
    if found["statuses"].get("timeout"):
        says.append(f"{found['statuses']['timeout']} answers kept their verifier busy to its deadline and count as 0")
    if found["k"] > 1 and rollouts > found["items"] and found["distinct"] * found["k"] <= 1.0 + 1e-9:
        says.append("all runs of every item are the same text: k runs say no more than one")
    if found["chance"] and found["low"] <= found["chance"] <= found["high"]:
        says.append(f"not told apart from guessing, which earns {found['chance']:.0%}")
    return says
