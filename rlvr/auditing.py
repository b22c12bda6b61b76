"""What every environment must survive before anybody trains on it.

An audit asks whether the reward can be had for nothing, whether hostile text harms the scorer, whether tasks come out the
same everywhere, and whether training tasks stay out of the evaluation. Each check passes, fails or is skipped with its
reason; `rlvr audit ID` exits with 3 if one fails.
"""

from __future__ import annotations

import html
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rlvr import audit_texts, registry
from rlvr.audit_stream import Asked, streams_elsewhere
from rlvr.errors import ConfigError, EnvironmentFault
from rlvr.score import Score
from rlvr.scoring import ScoringPool, Turns
from rlvr.spec import EnvSpec, Knobs, SessionSpec
from rlvr.streams import SPLITS, Split
from rlvr.task import Task

FLOOR = 0.05
"""Mean reward above the declared chance level that an answer without content may earn."""
Status = Literal["pass", "fail", "skip"]


@dataclass(frozen=True)
class Check:
    """One question of the audit and its answer."""

    name: str
    status: Status
    says: str


@dataclass
class AuditReport:
    """What an audit found."""

    env_id: str
    knobs: Knobs
    checks: list[Check] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)
    """Measured, not judged: `generate_per_s`, `score_per_s`, `unique_share`, `chance`."""

    @property
    def passed(self) -> bool:
        """True if no check failed."""
        return not self.failures

    @property
    def failures(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.status == "fail"]

    def to_dict(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "env_id": self.env_id,
            "knobs": self.knobs,
            "passed": self.passed,
            "checks": [{"name": check.name, "status": check.status, "says": check.says} for check in self.checks],
            "facts": self.facts,
        }

    def text(self) -> str:
        """The report for a terminal."""
        lines = [f"audit of {self.env_id}: {'passed' if self.passed else 'FAILED'}"]
        lines += [f"  {check.status:4}  {check.name:14} {check.says}" for check in self.checks]
        lines += [f"        {name:14} {value:.4g}" for name, value in self.facts.items()]
        return "\n".join(lines)

    def page(self) -> str:
        """The report as one HTML page."""
        rows = "".join(
            f"<tr class={check.status}><td>{check.status}<td>{html.escape(check.name)}<td>{html.escape(check.says)}"
            for check in self.checks
        )
        facts = "".join(f"<tr><td><td>{html.escape(name)}<td>{value:.4g}" for name, value in self.facts.items())
        return (
            f"<!doctype html><meta charset=utf-8><title>Audit of {html.escape(self.env_id)}</title>"
            "<style>body{font:16px/1.5 system-ui;margin:2rem auto;max-width:60rem}td{padding:.2rem .8rem;vertical-align:top}"
            ".fail td:first-child{color:#b00020;font-weight:700}</style>"
            f"<h1>{html.escape(self.env_id)}: {'passed' if self.passed else 'failed'}</h1><table>{rows}{facts}</table>"
        )


def audit(
    env_id: str, *, n: int = 50, level: int | None = None, workers: int = 2, timeout_s: float = 5.0, **knobs: Any
) -> AuditReport:
    """Audit an environment on `n` tasks of its stream.

    Raises UnknownEnvironmentError or ConfigError if it cannot be asked at all; a fault of its own is a failed check.
    """
    spec = registry.spec(env_id)
    return _audit([(spec, spec.resolve_knobs(level, knobs))], n, workers, timeout_s)[0]


def audit_all(env_ids: Sequence[str], *, n: int = 50, workers: int = 2, timeout_s: float = 5.0) -> list[AuditReport]:
    """Audit several environments with their default knobs: the same reports as one by one, from processes that they share."""
    specs = [registry.spec(env_id) for env_id in env_ids]
    return _audit([(spec, spec.resolve_knobs(None, {})) for spec in specs], n, workers, timeout_s)


def _audit(asked: Sequence[tuple[EnvSpec, Knobs]], n: int, workers: int, timeout_s: float) -> list[AuditReport]:
    if n < 2:
        raise ConfigError(f"n is {n}; an audit needs at least 2 tasks to tell one answer from another")
    reports, made = [], []
    with ScoringPool(workers, timeout_s) as pool, audit_texts.Canary() as canary:
        for spec, knobs in asked:
            reports.append(AuditReport(spec.id, knobs))
            tasks = _scored(reports[-1], spec, n, pool, canary, timeout_s)
            if tasks:
                made.append((reports[-1], spec, tasks))
    for (report, spec, tasks), check in zip(made, _stream(made), strict=True):
        report.checks += [check, _splits(spec, report.knobs, n), _leak(tasks)]
    return reports


def _home(spec: EnvSpec, knobs: Knobs) -> Split:
    """The split to audit: training tasks, where there are any."""
    return "eval" if spec.count("train", knobs) == 0 else "train"


def _scored(
    report: AuditReport, spec: EnvSpec, n: int, pool: ScoringPool, canary: audit_texts.Canary, timeout_s: float
) -> list[Task]:
    """The checks that need verdicts; the tasks they were made on, none if there are none."""
    split = _home(spec, report.knobs)
    try:
        began = time.process_time()
        tasks = _some(spec, split, n, report.knobs)
        report.facts["generate_per_s"] = len(tasks) / max(time.process_time() - began, 1e-9)
    except EnvironmentFault as fault:
        report.checks.append(Check("generate", "fail", str(fault)))
        return []
    report.facts["unique_share"] = len({task.key for task in tasks}) / len(tasks)
    report.facts["chance"] = spec.chance
    report.checks.append(Check("generate", "pass", f"{len(tasks)} tasks"))
    # A list, so that each check runs even after another failed.
    report.checks += [*_gold(spec, tasks, pool, report.facts), *_floor(spec, tasks, pool)]
    report.checks += [*_hostile(spec, tasks[:3], pool, canary, timeout_s), *_levels(spec, split, pool)]
    return tasks


def _some(spec: EnvSpec, split: Split, n: int, knobs: Knobs) -> list[Task]:
    count = spec.count(split, knobs)
    return [spec.task(index, split=split, knobs=knobs) for index in range(n if count is None else min(n, count))]


def gold_text(spec: EnvSpec, task: Task) -> Turns | None:
    """The best completion the environment knows for a task: its worked solution, else its answer; None if it has neither."""
    if spec.solution is not None:
        return spec.solution(task)
    if task.answer is None or isinstance(task.answer, list | dict) or isinstance(spec, SessionSpec):
        return None
    return str(task.answer)


def _gold(spec: EnvSpec, tasks: list[Task], pool: ScoringPool, facts: dict[str, float]) -> Iterator[Check]:
    try:
        golds = [gold_text(spec, task) for task in tasks]
    except Exception as fault:  # the author's solution may raise anything
        yield Check("gold", "fail", f"its worked solution raised {type(fault).__name__}: {fault}")
        return
    known = [(task, gold) for task, gold in zip(tasks, golds, strict=True) if gold is not None]
    if not known:
        yield Check(
            "gold",
            "skip",
            "it has neither a gold answer that is a text nor a worked solution, so nothing checks the verifier",
        )
        return
    began = time.perf_counter()
    scores = pool.score([task for task, _ in known], [gold for _, gold in known])
    facts["score_per_s"] = len(known) / (time.perf_counter() - began)
    yield _all_scores("gold", scores, [task.id for task, _ in known], lambda score: score.correct, "scored below 1")


def _floor(spec: EnvSpec, tasks: list[Task], pool: ScoringPool) -> Iterator[Check]:
    worst, faults = ("", 0.0), ""
    for name, texts in audit_texts.worthless(spec, tasks):
        turns: list[Turns] = (
            [[text] * spec.max_turns for text in texts] if isinstance(spec, SessionSpec) else list(texts)
        )
        scores = pool.score(tasks[: len(turns)], turns)
        mean = sum(score.reward for score in scores) / len(scores)
        if mean > worst[1]:
            worst = (name, mean)
        faults = faults or next((f"on {name}: {score.error}" for score in scores if score.error), "")
    limit = max(spec.chance + FLOOR, _luck(spec.chance, len(tasks)))
    says = (
        f"the best answer without content ({worst[0]}) earns {worst[1]:.3f}"
        if worst[0]
        else "answers without content earn 0"
    )
    yield Check("floor", "pass" if worst[1] <= limit else "fail", f"{says}; the limit is {limit:.3f}")
    yield Check("faults", "fail" if faults else "pass", faults or "no answer made the verifier fail")


def _luck(chance: float, n: int) -> float:
    """The mean of `n` guesses that are right with probability `chance`, exceeded once in 10,000 audits."""
    tail, wins = 1.0, 0
    while wins < n and tail > 1e-4:
        tail -= math.comb(n, wins) * chance**wins * (1 - chance) ** (n - wins)
        wins += 1
    return (wins - 1) / n


def _hostile(
    spec: EnvSpec, tasks: list[Task], pool: ScoringPool, canary: audit_texts.Canary, timeout_s: float
) -> Iterator[Check]:
    harm, executed = [], []
    for name, text in audit_texts.hostile(canary.path):
        scores = pool.score(tasks, [text if spec.max_turns == 1 else [text]] * len(tasks))
        if any(score.timed_out for score in scores):
            harm.append(f"no verdict within {timeout_s:g} s on {name}")
        elif errors := [score.error for score in scores if score.error]:
            harm.append(f"the verifier failed on {name}: {errors[0]}")
        elif max(score.reward for score in scores) > spec.chance:
            harm.append(f"{name} earned {max(score.reward for score in scores):g}")
        if canary.touched():
            executed.append(name)
    yield Check(
        "hostile",
        "fail" if harm else "pass",
        "; ".join(harm[:3]) or "hostile texts were judged in time and earned nothing",
    )
    says = f"the verifier ran these answers as code: {', '.join(executed)}" if executed else "no answer was executed"
    yield Check("execution", "fail" if executed else "pass", says)


def _levels(spec: EnvSpec, split: Split, pool: ScoringPool) -> Iterator[Check]:
    if not spec.levels:
        return
    lengths = []
    for level in range(len(spec.levels)):
        try:
            tasks = _some(spec, split, 5, spec.resolve_knobs(level, {}))
            golds = [gold_text(spec, task) for task in tasks]
        except Exception as fault:  # the author's code
            yield Check("levels", "fail", f"level {level}: {type(fault).__name__}: {fault}")
            return
        known = [(task, gold) for task, gold in zip(tasks, golds, strict=True) if gold is not None]
        for score, (task, _) in zip(pool.score([t for t, _ in known], [g for _, g in known]), known, strict=True):
            if not score.correct:
                yield Check(
                    "levels",
                    "fail",
                    f"level {level}: the gold of {task.id} earned {score.reward:g} ({score.error or score.reason})",
                )
                return
        lengths.append(
            sum(len(str(gold if gold is not None else task.text)) for task, gold in zip(tasks, golds, strict=True))
            / len(tasks)
        )
    yield Check(
        "levels", "pass", f"mean length of a solution by level: {', '.join(f'{length:.0f}' for length in lengths)}"
    )


def _stream(made: Sequence[tuple[AuditReport, EnvSpec, list[Task]]]) -> list[Check]:
    """One check an environment: do its tasks come out the same in fresh processes?"""
    if not made:
        return []
    asked: list[Asked] = [
        (spec, _home(spec, report.knobs), min(len(tasks), 20), report.knobs) for report, spec, tasks in made
    ]
    try:
        others = streams_elsewhere(asked)
    except EnvironmentFault as fault:
        return [Check("stream", "fail", str(fault)) for _ in made]
    return [
        _same([task.to_json() for task in tasks[:20]], {seed: there[place] for seed, there in others.items()})
        for place, (_, _, tasks) in enumerate(made)
    ]


def _same(here: list[str], others: Mapping[str, list[str] | str]) -> Check:
    for hash_seed, there in others.items():
        if isinstance(there, str):
            return Check("stream", "fail", there)
        for index, (one, other) in enumerate(zip(here, there, strict=True)):
            if one != other:
                return Check(
                    "stream",
                    "fail",
                    f"task {index} differs in a process with PYTHONHASHSEED={hash_seed}, read in reverse order",
                )
    return Check("stream", "pass", "the same tasks under three hash seeds and in reverse order")


def _splits(spec: EnvSpec, knobs: Knobs, n: int) -> Check:
    if any(spec.count(split, knobs) == 0 for split in SPLITS):
        return Check("splits", "skip", "it has one split only")
    prompts: dict[Split, set[str]] = {}
    for split in SPLITS:
        try:
            tasks = _some(spec, split, 4 * n, knobs)
        except EnvironmentFault as fault:
            return Check("splits", "fail", str(fault))
        hidden = isinstance(spec, SessionSpec)
        prompts[split] = {task.key if hidden else task.text for task in tasks}
    shared = prompts["train"] & prompts["eval"]
    if shared:
        return Check("splits", "fail", f"{len(shared)} tasks stand in both splits, such as {sorted(shared)[0][:80]!r}")
    return Check(
        "splits", "pass", f"{len(prompts['train'])} training and {len(prompts['eval'])} evaluation tasks, none in both"
    )


def _leak(tasks: list[Task]) -> Check:
    long = [task for task in tasks if isinstance(task.answer, str) and len(task.answer.strip()) >= 8]
    if not long:
        return Check("leak", "pass", "no answer is long enough to be told from chance")
    leaked = [task for task in long if task.answer.strip() in task.text]
    if len(leaked) > max(1, 0.2 * len(long)):
        return Check(
            "leak",
            "fail",
            f"{len(leaked)} of {len(long)} prompts contain their answer, such as {leaked[0].answer[:60]!r}",
        )
    return Check("leak", "pass", f"{len(leaked)} of {len(long)} prompts contain their answer")


def _all_scores(name: str, scores: list[Score], ids: list[str], right: Any, wrong: str) -> Check:
    bad = [(task_id, score) for task_id, score in zip(ids, scores, strict=True) if not right(score)]
    if not bad:
        return Check(name, "pass", f"{len(scores)} of {len(scores)}")
    task_id, score = bad[0]
    return Check(
        name,
        "fail",
        f"{len(bad)} of {len(scores)} {wrong}, such as {task_id}: {score.reward:g} ({score.error or score.reason})",
    )
