"""A record in the formats of other systems. Each function writes into a folder and returns the files it wrote."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import rlvr
from rlvr_leaderboard.publishing import slug
from rlvr_leaderboard.record import Item, Record, Rollout, file_sha256
from rlvr_leaderboard.summary import CONFIDENCE, summarise

Pairs = Iterator[tuple[Item, Rollout]]


def to_csv(record: Record, out: Path) -> list[Path]:
    """`rollouts.csv`, one line a rollout, and `summary.csv`, one an environment.

    Texts that a spreadsheet would run as a formula get an apostrophe.
    """
    out.mkdir(parents=True, exist_ok=True)
    rollouts, summary = out / "rollouts.csv", out / "summary.csv"
    head = [
        "model",
        "env",
        "item",
        "run",
        "attempt",
        "status",
        "reward",
        "reason",
        "tokens",
        "finish",
        "prompt",
        "answer",
    ]
    with rollouts.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for item, one in _pairs(record):
            facts = [
                record.name,
                one.env,
                one.item,
                one.run,
                one.attempt,
                one.status,
                one.reward,
                one.reason,
                one.tokens,
                one.finish,
            ]
            writer.writerow([_harmless(cell) for cell in [*facts, item.task.text, "\n\n".join(one.turns)]])
    names = ["items", "k", "mean", "low", "high", "standard_error", "missing", "truncated", "tokens_mean", "distinct"]
    with summary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["model", "env", *names])
        for env, found in summarise(record)["environments"].items():
            writer.writerow([record.name, env, *(found.get(name, "") for name in names)])
    return [rollouts, summary]


def to_huggingface(record: Record, out: Path) -> list[Path]:
    """`.eval_results/*.yaml` for a model's repository, one file an environment (huggingface hub-docs, eval-results.md).

    The dataset id is the environment's id; a board on the hub must know it under that name for the result to be shown there.
    """
    folder = out / ".eval_results"
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for env, found in summarise(record)["environments"].items():
        if "mean" not in found:
            continue
        facts = record.environments[env]
        notes = (
            f"avg@{found['k']} over {found['items']} items, 95% interval {found['low']:.4f} to {found['high']:.4f}; "
            f"item set {facts['item_set_sha256'][:12]}, rlvr {rlvr.__version__}"
        )
        lines = [
            "- dataset:",
            f"    id: {json.dumps(facts['id'])}",
            f"    task_id: {json.dumps(env)}",
            f"    revision: {json.dumps(facts['item_set_sha256'])}",
            f"  value: {found['mean']:.6f}",
            *([f"  date: {json.dumps(_ended(record))}"] if _ended(record) else []),
            '  evaluation_framework: "rlvr"',
            f"  notes: {json.dumps(notes)}",
        ]
        path = folder / f"{slug(env)}.yaml"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        written.append(path)
    return written


def to_inspect(record: Record, out: Path) -> list[Path]:
    """An inspect_ai log (JSON, version 2) for each environment, so that `inspect view` shows the runs. Written item by item."""
    out.mkdir(parents=True, exist_ok=True)
    summary = summarise(record)["environments"]
    written = []
    for env, found in summary.items():
        began, ended = _began(record) or "1970-01-01T00:00:00+00:00", _ended(record) or "1970-01-01T00:00:00+00:00"
        task_id = hashlib.sha256(f"{record.name} {env}".encode()).hexdigest()[:22]
        head = {
            "version": 2,
            "status": "success" if record.sealed else "started",
            "eval": {
                "run_id": task_id,
                "eval_id": task_id,
                "task_id": task_id,
                "created": began,
                "task": env,
                "task_version": 0,
                "model": f"rlvr/{record.name}",
                "dataset": {"name": env, "samples": found["items"], "shuffled": False},
                "config": {"epochs": found["k"]},
                "metadata": {"rlvr_record": record.header},
                "packages": {"rlvr": rlvr.__version__},
            },
            "plan": {"name": "rlvr", "steps": []},
            "results": {
                "total_samples": found["items"] * found["k"],
                "completed_samples": found["rollouts"],
                "scores": [{"name": "reward", "scorer": "rlvr", "params": {}, "metrics": _inspect_metrics(found)}],
            },
            "stats": {"started_at": began, "completed_at": ended, "model_usage": {}},
        }
        path = out / f"{began[:19].replace(':', '-')}_{slug(env)}_{task_id}.json"
        with path.open("w", encoding="ascii") as file:
            file.write(json.dumps(head)[:-1] + ', "samples": [')
            for number, (item, one) in enumerate((i, r) for i, r in _pairs(record) if r.env == env):
                file.write((",\n" if number else "\n") + json.dumps(_inspect_sample(item, one, record.name)))
            file.write("]}\n")
        written.append(path)
    return written


def to_every_eval_ever(record: Record, out: Path) -> list[Path]:
    """The shared schema of every_eval_ever, version 0.2.1: one aggregate JSON and its instance-level JSONL."""
    out.mkdir(parents=True, exist_ok=True)
    when = str(int(datetime.fromisoformat(_ended(record)).timestamp())) if _ended(record) else "0"
    model = str(record.header["model"].get("source") or record.name)
    evaluation_id = f"rlvr/{slug(model)}/{when}"
    instances = out / f"{slug(record.name)}_samples.jsonl"
    count = 0
    with instances.open("w", encoding="ascii") as file:
        for item, one in _pairs(record):
            file.write(json.dumps(_instance(item, one, evaluation_id, model)) + "\n")
            count += 1
    sampling = record.header.get("sampling", {})
    arguments = {name: sampling[name] for name in ("temperature", "top_p", "top_k", "max_tokens") if name in sampling}
    results = []
    for env, found in summarise(record)["environments"].items():
        if "mean" not in found:
            continue
        facts = record.environments[env]
        uncertainty: dict[str, Any] = {
            "confidence_interval": {
                "lower": found["low"],
                "upper": found["high"],
                "confidence_level": CONFIDENCE,
                "method": "over items",
            },
            "num_samples": found["items"],
        }
        if "standard_error" in found:
            uncertainty["standard_error"] = {"value": found["standard_error"], "method": "over items"}
        results.append(
            {
                "evaluation_name": env,
                "source_data": {
                    "dataset_name": facts["id"],
                    "source_type": "other",
                    "additional_details": {"item_set_sha256": facts["item_set_sha256"], "split": facts["split"]},
                },
                "metric_config": {
                    "lower_is_better": False,
                    "score_type": "continuous",
                    "min_score": 0.0,
                    "max_score": 1.0,
                },
                "score_details": {
                    "score": found["mean"],
                    "details": {"k": str(found["k"])},
                    "uncertainty": uncertainty,
                },
                "generation_config": {"generation_args": arguments},
            }
        )
    aggregate = {
        "schema_version": "0.2.1",
        "evaluation_id": evaluation_id,
        "retrieved_timestamp": when,
        "source_metadata": {
            "source_name": "rlvr evaluation record",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "rlvr", "version": rlvr.__version__},
        "model_info": {"name": record.name, "id": model},
        "evaluation_results": results,
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": instances.name,
            "hash_algorithm": "sha256",
            "checksum": file_sha256(instances),
            "total_rows": count,
        },
    }
    path = out / f"{slug(record.name)}.json"
    path.write_text(json.dumps(aggregate, indent=1) + "\n", "ascii")
    return [path, instances]


FORMATS: dict[str, Callable[[Record, Path], list[Path]]] = {
    "csv": to_csv,
    "hf": to_huggingface,
    "inspect": to_inspect,
    "every-eval-ever": to_every_eval_ever,
}


def _pairs(record: Record) -> Pairs:
    items = {(item.env, item.id): item for item in record.items()}
    for rollout in record.rollouts():
        yield items[rollout.env, rollout.item], rollout


def _harmless(cell: Any) -> Any:
    """A text that begins like a formula gets an apostrophe: a spreadsheet must not run what a model wrote."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _began(record: Record) -> str:
    journal = record.journal()
    return str(journal[0]["began"]) if journal else ""


def _ended(record: Record) -> str:
    journal = record.journal()
    return str(journal[-1]["ended"]) if journal else ""


def _inspect_metrics(found: dict[str, Any]) -> dict[str, Any]:
    values = {"mean": found.get("mean", 0.0), "stderr": found.get("standard_error", 0.0)}
    return {name: {"name": name, "value": value, "params": {}} for name, value in values.items()}


def _messages(item: Item, one: Rollout) -> list[dict[str, Any]]:
    made = [{"role": str(m.get("role")), "content": str(m.get("content") or "")} for m in item.task.messages]
    for turn, text in enumerate(one.turns):
        made.append({"role": "assistant", "content": text})
        for reply in one.replies[turn] if turn < len(one.replies) else ():
            made.append({"role": str(reply.get("role")), "content": str(reply.get("content") or "")})
    return made


def _inspect_sample(item: Item, one: Rollout, model: str) -> dict[str, Any]:
    answer = one.turns[-1] if one.turns else ""
    stop = {"length": "max_tokens", "turn_limit": "max_tokens"}.get(one.finish, "stop")
    usage = {
        "input_tokens": item.prompt_tokens,
        "output_tokens": one.tokens,
        "total_tokens": item.prompt_tokens + one.tokens,
    }
    value = {} if one.counts else {"error": {"message": one.error or "", "traceback": "", "traceback_ansi": ""}}
    gold = item.task.answer
    return {
        "id": item.id,
        "epoch": one.run + 1,
        "input": [{"role": str(m.get("role")), "content": str(m.get("content") or "")} for m in item.task.messages],
        "target": "" if gold is None else gold if isinstance(gold, str) else json.dumps(gold),
        "messages": _messages(item, one),
        "output": {
            "model": f"rlvr/{model}",
            "choices": [{"message": {"role": "assistant", "content": answer}, "stop_reason": stop}],
            "usage": usage,
        },
        "scores": {
            "reward": {
                "value": one.reward,
                "answer": str(one.detail.get("answer", "")) or None,
                "explanation": one.reason,
                "metadata": {"status": one.status, "parts": one.parts},
            }
        }
        if one.counts
        else {},
        "metadata": {"attempt": one.attempt},
        "store": {},
        "events": [],
        "model_usage": {},
        "attachments": {},
        **value,
    }


def _instance(item: Item, one: Rollout, evaluation_id: str, model: str) -> dict[str, Any]:
    gold = item.task.answer
    reference = [] if gold is None else [gold if isinstance(gold, str) else json.dumps(gold)]
    single = not one.replies
    messages = [{"turn_idx": place, **message} for place, message in enumerate(_messages(item, one))]
    extracted = str(one.detail.get("answer", one.detail.get("extracted", "")))
    source = {
        "turn_idx": 0 if single else len(messages) - 1,
        "source": "output.raw" if single else "messages[turn_idx].content",
    }
    return {
        "schema_version": "instance_level_eval_0.2.1",
        "evaluation_id": evaluation_id,
        "model_id": model,
        "evaluation_name": one.env,
        "sample_id": item.id,
        "sample_hash": hashlib.sha256(
            (item.task.text + "".join(reference)).encode("utf-8", "surrogatepass")
        ).hexdigest(),
        "interaction_type": "single_turn" if single else "multi_turn",
        "input": {"raw": item.task.text, "reference": reference},
        "output": {"raw": one.turns} if single else None,
        "messages": None if single else messages,
        "answer_attribution": [
            {**source, "extracted_value": extracted, "extraction_method": "custom", "is_terminal": True}
        ],
        "evaluation": {"score": one.reward, "is_correct": one.reward == 1.0, "num_turns": max(1, len(one.turns))},
        "token_usage": {
            "input_tokens": item.prompt_tokens,
            "output_tokens": one.tokens,
            "total_tokens": item.prompt_tokens + one.tokens,
        },
        "error": one.error,
        "metadata": {"run": str(one.run), "status": one.status, "reason": one.reason},
    }
