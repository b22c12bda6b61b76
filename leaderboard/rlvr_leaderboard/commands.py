"""The commands `rlvr eval`, `score`, `compare` and `show`; `rlvr leaderboard ...` is in `board_commands.py`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from rlvr.chat import prompt_text
from rlvr.errors import ConfigError
from rlvr.generation.engine import Sampling
from rlvr_leaderboard.compare import compare as compare_records
from rlvr_leaderboard.evaluate import evaluate, make_items
from rlvr_leaderboard.models import ENGINES, open_model
from rlvr_leaderboard.plan import SUITES, EnvironmentPlan, plan
from rlvr_leaderboard.publishing import slug
from rlvr_leaderboard.record import SUMMARY, Item, Record, Rollout, read_json
from rlvr_leaderboard.rescoring import judge_again, score_again
from rlvr_leaderboard.statistics import minimum_detectable_difference
from rlvr_leaderboard.summary import summarise
from rlvr_leaderboard.tables import comparison_table, scoring_table, summary_table, transcript

CHECK_FAILED = 3
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Workers = Annotated[int, typer.Option(help="Processes that judge answers.")]
Timeout = Annotated[float, typer.Option("--timeout-s", help="Seconds a verdict may take.")]
ONLY = ("correct", "partial", "wrong", "truncated", "turn_limit", "timeout", "fault", "flipped")


def eval_command(
    model: Annotated[
        str, typer.Argument(help="A folder, hub name, LoRA folder, http://HOST/v1#MODEL or scripted:0.6.")
    ],
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", help="ID, ID:KNOB=VALUE,... or a suite. Several: repeat, or commas."),
    ] = None,
    suite: Annotated[str | None, typer.Option(help=f"A named list of environments: {', '.join(SUITES)}.")] = None,
    n: Annotated[
        int | None, typer.Option("--n", "-n", help="Items. Default: all rows of a data set, else 100.")
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", "-k", help="Runs an item. Default: 8; 32 for 60 items or fewer.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the items and seeds every run.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the record.")] = None,
    engine: Annotated[str, typer.Option(help=f"One of {', '.join(ENGINES)}.")] = "auto",
    split: Annotated[str, typer.Option(help="eval or train.")] = "eval",
    name: Annotated[str | None, typer.Option(help="What boards call the model.")] = None,
    served_name: Annotated[str | None, typer.Option(help="The model's name at an endpoint.")] = None,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    max_tokens: int = 1024,
    workers: Workers = 2,
    timeout_s: Timeout = 5.0,
    batch_size: Annotated[int, typer.Option(help="Rollouts given to the engine at a time.")] = 256,
    cache: Annotated[Path | None, typer.Option(help="Folder in which completions are kept and found again.")] = None,
    keep_tokens: Annotated[bool, typer.Option(help="Store token ids, for a check against the weights.")] = False,
    retry_faults: Annotated[bool, typer.Option(help="Try again what ended without a verdict.")] = False,
    fail_under: Annotated[float | None, typer.Option(help="Exit with 3 if the mean (0 to 1) is below.")] = None,
    dry_run: Annotated[
        bool, typer.Option(help="Show a prompt, its tokens and what the plan can detect; run nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Evaluate a model and leave a record that can be checked. Goes on where an earlier call with the same --out stopped.

    Example: rlvr eval scripted:0.6 --env math/arithmetic-v0 --n 50 --out runs/eval-demo
    """
    envs = [*(env or []), *([suite] if suite else [])]
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k, max_tokens=max_tokens)
    if suite is not None and suite not in SUITES:
        raise ConfigError(f"there is no suite {suite!r}; known: {', '.join(SUITES)}")
    if dry_run:
        _dry_run(model, plan(envs, n=n, k=k, seed=seed, split=split), engine, served_name)
        return
    place = out if out is not None else Path("runs") / f"eval-{slug(name or model)}-{slug('-'.join(envs))}"
    try:
        record = evaluate(
            model,
            envs,
            out=place,
            n=n,
            k=k,
            seed=seed,
            sampling=sampling,
            split=split,
            engine=engine,
            name=name,
            served_name=served_name,
            workers=workers,
            timeout_s=timeout_s,
            batch_size=batch_size,
            cache=cache,
            keep_tokens=keep_tokens,
            retry_faults=retry_faults,
        )
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on from what is stored in {place}", file=sys.stderr)
        raise
    summary = read_json(record.path / SUMMARY)
    if as_json:
        print(json.dumps({"schema": "rlvr-eval/1", "record": str(place), "name": record.name, **summary}, indent=1))
    else:
        print(summary_table(record, summary))
        print(f"record in {place}; next: rlvr leaderboard build {place} -o board", file=sys.stderr)
    mean = summary["overall"].get("mean", 0.0)
    if fail_under is not None and mean < fail_under:
        print(f"rlvr: the mean {mean:.4f} is below --fail-under {fail_under:g}", file=sys.stderr)
        raise typer.Exit(CHECK_FAILED)


def score_command(
    record: Annotated[Path, typer.Argument(help="Folder of a record.")],
    workers: Workers = 2,
    timeout_s: Timeout = 5.0,
    write: Annotated[bool, typer.Option(help="Store the new rewards beside the old ones.")] = True,
    as_json: Json = False,
) -> None:
    """Judge the stored answers again with the verifiers installed here. Never changes a stored reward.

    Example: rlvr score runs/eval-demo --workers 4
    """
    scoring = score_again(Record(record), workers=workers, timeout_s=timeout_s, write=write)
    if as_json:
        flips = [
            {
                "line": flip.line,
                "item": flip.rollout.item,
                "env": flip.rollout.env,
                "run": flip.rollout.run,
                "before": flip.rollout.reward,
                "now": flip.score.reward,
                "reason": flip.score.reason,
            }
            for flip in scoring.flips
        ]
        counts = {name: getattr(scoring, name) for name in ("judged", "agreeing", "unjudged", "changed_sources")}
        print(json.dumps({"schema": "rlvr-score/1", **counts, "flips": flips}, indent=1))
    else:
        print(scoring_table(scoring))
    if scoring.flips or scoring.unjudged:
        raise typer.Exit(CHECK_FAILED)


def compare_command(
    a: Annotated[Path, typer.Argument(help="Folder of a record.")],
    b: Annotated[Path, typer.Argument(help="Folder of the record it is compared with.")],
    metric: Annotated[str, typer.Option(help="avg, or pass@K.")] = "avg",
    common_items: Annotated[bool, typer.Option(help="Compare on the items that both have.")] = False,
    fail_if_worse: Annotated[
        bool, typer.Option(help="Exit with 3 if A is worse beyond doubt on an environment.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare two records item by item: the difference A - B, its interval, and what could have been found.

    Example: rlvr compare runs/eval-after runs/eval-before --fail-if-worse
    """
    table = compare_records(Record(a), Record(b), metric=metric, common_items=common_items)
    print(json.dumps(table.to_dict(), indent=1) if as_json else comparison_table(table))
    if fail_if_worse and table.worse:
        print(f"rlvr: {table.a} is worse than {table.b} on {', '.join(table.worse)}", file=sys.stderr)
        raise typer.Exit(CHECK_FAILED)


def show_command(
    record: Annotated[Path, typer.Argument(help="Folder of a record.")],
    item: Annotated[str | None, typer.Option(help="An item's id, or how it begins or ends.")] = None,
    only: Annotated[str | None, typer.Option(help=f"One of {', '.join(ONLY)}.")] = None,
    n: Annotated[int, typer.Option("--n", "-n", help="Items at the most.")] = 3,
    as_json: Json = False,
) -> None:
    """Print transcripts: the prompt once, then each run with what the verifier said.

    Example: rlvr show runs/eval-demo --only wrong --n 2
    """
    if only is not None and only not in ONLY:
        raise ConfigError(f"--only {only!r} is none of {', '.join(ONLY)}")
    found = Record(record)
    if not as_json and "summary.json" in {path.name for path in found.path.iterdir()}:
        print(summary_table(found, summarise(found)), file=sys.stderr)
    shown = 0
    for one, rollouts in _matching(found, item, only):
        if shown == n:
            break
        shown += 1
        if as_json:
            print(json.dumps({"item": one.to_dict(), "rollouts": [rollout.to_dict() for rollout in rollouts]}))
        else:
            print("\n".join(transcript(one, rollouts)))
    if shown == 0:
        print("nothing matches", file=sys.stderr)


def _matching(record: Record, item: str | None, only: str | None) -> Iterator[tuple[Item, list[Rollout]]]:
    flipped = None
    if only == "flipped":
        flipped = {verdict.rollout.key for verdict in judge_again(record) if not verdict.agrees}
    wanted = {
        (one.env, one.id): one
        for one in record.items()
        if item is None or one.id.startswith(item) or one.id.endswith(item)
    }
    if not wanted:
        raise ConfigError(
            f"no item of {str(record.path)!r} is named {item!r}; ids look like math/arithmetic-v0#0123456789abcdef"
        )
    rows: dict[tuple[str, str], list[Rollout]] = {}
    for rollout in record.rollouts():
        fits = rollout.key in flipped if flipped is not None else only is None or rollout.status == only
        if (rollout.env, rollout.item) in wanted and fits:
            rows.setdefault((rollout.env, rollout.item), []).append(rollout)
    for key, one in wanted.items():
        if key in rows:
            yield one, sorted(rows[key], key=lambda rollout: rollout.run)


def _dry_run(model: str, plans: list[EnvironmentPlan], engine: str, served_name: str | None) -> None:
    opened = open_model(model, engine, (task for one in plans for task in one.tasks), served_name=served_name)
    try:
        for one in plans:
            task = one.tasks[0]
            first = next(make_items([one], opened.engine.tokenizer))
            print(f"{one.name}: {len(one.tasks)} items x {one.k} runs = {len(one.tasks) * one.k} rollouts")
            print(
                f"--- prompt of {task.id}, {first.prompt_tokens} tokens, {first.prompt_ends[0]} ... {first.prompt_ends[1]}"
            )
            print(prompt_text(opened.engine.tokenizer, task.messages, task.tools))
            # Unknown before the first run: the spread of Miller's example, a ninth between items and a sixth within.
            reach = minimum_detectable_difference(len(one.tasks), 1 / 9, 1 / 6, one.k)
            print(
                f"--- a comparison on these items finds a true difference of about {100 * reach:.1f} points (power 80 %)"
            )
    finally:
        opened.engine.close()
