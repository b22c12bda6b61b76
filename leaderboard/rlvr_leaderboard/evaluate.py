"""Evaluate a model on environments and leave a record that can be checked.

    record = evaluate("checkpoints/step-000100", ["math/arithmetic-v0"], out="runs/eval-100", n=200, k=8)

Every rollout is stored the moment it is judged. Called again with the same settings and `out`, an evaluation that was
killed goes on where it stopped, and its record ends as if it had never stopped: the draws of a rollout follow from the
seed, the item and the number of the run, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rlvr
from rlvr.chat import prompt_ids
from rlvr.errors import ConfigError
from rlvr.generation.engine import Engine, Sampling, describe
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool
from rlvr.trajectory import Trajectory
from rlvr_leaderboard import provenance
from rlvr_leaderboard.cache import CachedEngine
from rlvr_leaderboard.models import OpenModel, open_model
from rlvr_leaderboard.plan import EnvironmentPlan, plan
from rlvr_leaderboard.progress import Progress
from rlvr_leaderboard.record import SCHEMA, Item, Record, Rollout
from rlvr_leaderboard.summary import summarise
from rlvr_leaderboard.writer import RecordWriter, unseal

BATCH = 256
"""Rollouts handed to the engine at a time. Larger batches fill a large GPU better; results come in later."""

Model = Engine | str | Path


def evaluate(
    model: Model,
    envs: str | Sequence[str | Mapping[str, Any]],
    *,
    out: str | Path,
    n: int | None = None,
    k: int | None = None,
    seed: int = 0,
    sampling: Sampling | None = None,
    split: str = "eval",
    engine: str = "auto",
    name: str | None = None,
    served_name: str | None = None,
    workers: int = 2,
    timeout_s: float = 5.0,
    batch_size: int = BATCH,
    cache: str | Path | None = None,
    keep_tokens: bool = False,
    retry_faults: bool = False,
    quiet: bool = False,
) -> Record:
    """Run `k` rollouts of each of `n` items of every environment and return the sealed record in `out`.

    `model`: a checkpoint folder, a LoRA adapter's folder, a hub name, `http://...#MODEL`, `scripted:0.6`, or an engine of
    rlvr. `envs`: see `rlvr_leaderboard.plan.plan`; `k` defaults to 8 runs, 32 for 60 items or fewer, 1 at temperature 0.
    `name` is what boards call the model. `workers` processes judge, each answer within `timeout_s`. With `cache`, a folder,
    completions are kept and reused; with `keep_tokens`, token ids go into the record, so that they can be checked against
    the weights. `retry_faults` tries once more what ended without a verdict, and nothing else.

    Raises ConfigError for settings that cannot work, RecordError if `out` holds something else (nothing is overwritten),
    EngineError if the engine fails; what was finished by then stays and the same call goes on from there.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
    drawn = sampling or Sampling(max_tokens=1024)
    if k is None and drawn.temperature == 0:
        k = 1
    plans = plan(envs, n=n, k=k, seed=seed, split=split)
    opened = open_model(model, engine, (task for one in plans for task in one.tasks), served_name=served_name)
    own = isinstance(model, str | Path)
    try:
        source: Engine = opened.engine if cache is None else CachedEngine(opened.engine, cache)
        items = list(make_items(plans, source.tokenizer))
        header = make_header(opened, plans, drawn, seed, name or opened.name, source.tokenizer)
        if retry_faults and (Path(out) / "record.json").is_file() and _faults(Record(out)):
            unseal(Path(out))
        with RecordWriter(out, header, items) as writer:
            if not writer.sealed:
                how = _How(drawn, seed, workers, timeout_s, batch_size, keep_tokens, retry_faults, quiet)
                _run(writer, plans, source, how)
                writer.seal(summarise(Record(out)))
        return Record(out)
    finally:
        if own:
            opened.engine.close()


def make_items(plans: Sequence[EnvironmentPlan], tokenizer: Any) -> Iterator[Item]:
    """The items of a plan as the record stores them."""
    for one in plans:
        for task in one.tasks:
            ids = prompt_ids(tokenizer, task.messages, task.tools)
            yield Item(task.id, one.name, task, len(ids), [list(ids[:8]), list(ids[-8:])])


def make_header(
    opened: OpenModel, plans: Sequence[EnvironmentPlan], sampling: Sampling, seed: int, name: str, tokenizer: Any
) -> dict[str, Any]:
    """What record.json holds: everything that decides the rollouts, and what it ran on."""
    return {
        "schema": SCHEMA,
        "name": name,
        "model": opened.facts,
        "sampling": dict(describe(sampling)),
        "seed": seed,
        "environments": {one.name: environment_facts(one) for one in plans},
        "packages": provenance.packages(),
        "machine": provenance.machine(),
    }


def environment_facts(one: EnvironmentPlan) -> dict[str, Any]:
    """What a record says of an environment."""
    spec = rlvr.spec(one.id)
    return {
        "id": one.id,
        "knobs": one.knobs,
        "split": one.split,
        "k": one.k,
        "items": len(one.tasks),
        "item_set_sha256": provenance.hash_of(sorted(task.key for task in one.tasks)),
        "source_sha256": provenance.environment_source(spec),
        "kind": spec.kind,
        "chance": spec.chance,
        "max_turns": spec.max_turns,
    }


@dataclass(frozen=True)
class _How:
    """Settings of a run that are handed on together."""

    sampling: Sampling
    seed: int
    workers: int
    timeout_s: float
    batch_size: int
    keep_tokens: bool
    retry_faults: bool
    quiet: bool


def _run(writer: RecordWriter, plans: Sequence[EnvironmentPlan], engine: Engine, how: _How) -> None:
    missing = [
        (one, task, run)
        for one in plans
        for run in range(one.k)  # a first run of every item, then a second: early numbers are about all items
        for task in one.tasks
        if _is_missing(writer, (one.name, task.id, run), how.retry_faults)
    ]
    if not missing:
        return
    total = sum(one.k * len(one.tasks) for one in plans)
    with (
        ScoringPool(how.workers, how.timeout_s) as pool,
        closing(Progress(total, total - len(missing), quiet=how.quiet)) as progress,
    ):
        for start in range(0, len(missing), how.batch_size):
            batch = missing[start : start + how.batch_size]

            def store(number: int, group: list[Trajectory], batch: Any = batch) -> None:
                one, task, run = batch[number]
                attempt = writer.attempt_of((one.name, task.id, run))
                row = Rollout.of(group[0], env=one.name, run=run, attempt=attempt, keep_tokens=how.keep_tokens)
                writer.append(row)
                progress.finish(row)

            progress.start(len(batch))
            rollout(
                engine,
                [task for _, task, _ in batch],
                group_size=1,
                sampling=how.sampling,
                pool=pool,
                seed=how.seed,
                occurrences=[run for *_, run in batch],
                on_group=store,
            )


def _is_missing(writer: RecordWriter, key: tuple[str, str, int], retry_faults: bool) -> bool:
    done = writer.done.get(key)
    return done is None or (retry_faults and not done.counts)


def _faults(record: Record) -> int:
    return sum(not rollout.counts for rollout in record.rollouts())
