"""Records on a shared board: taking them in, making self-reported rows, handing them over for review."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rlvr.errors import RecordError
from rlvr_leaderboard.record import RECORD, SCHEMA, SUMMARY, Record, read_json, to_json
from rlvr_leaderboard.runs import PROMPTS, TrainingRun, record_from_run
from rlvr_leaderboard.verify import check_files

RECORDS, RUNS = "records", "runs"


def add(source: str | Path, board: str | Path) -> list[Path]:
    """Copy a record, a training run or a self-reported summary (a JSON file) into a board's folder; what was added.

    Of a training run the curves, the prompts it trained on and its first and last evaluation are taken. Raises RecordError,
    and changes nothing, if the source is none of these, is damaged, or is there already.
    """
    place, home = Path(source), Path(board)
    if place.is_file():
        return [_add_self_reported(place, home)]
    if (place / RECORD).is_file():
        return [_add_record(Record(place), home)]
    return _add_run(TrainingRun(place), home)


def members(board: str | Path) -> tuple[list[Path], list[Path]]:
    """The records and the training runs of a board's folder."""
    home = Path(board)
    records = sorted(path.parent for path in (home / RECORDS).glob(f"*/{RECORD}"))
    runs = sorted(path.parent for path in (home / RUNS).glob("*/metrics.jsonl"))
    return records, runs


@contextmanager
def gathered(sources: Iterable[str | Path]) -> Iterator[tuple[list[Path], list[Path]]]:
    """Records and runs of any mixture of records, training runs and boards.

    The first and the last evaluation of a training run that is named itself stand as records too, for as long as this is open.
    """
    records: list[Path] = []
    runs: list[Path] = []
    with TemporaryDirectory(prefix="rlvr-board-") as folder:
        for number, source in enumerate(map(Path, sources)):
            if (source / RECORDS).is_dir() or (source / RUNS).is_dir():
                more_records, more_runs = members(source)
                records += more_records
                runs += more_runs
            elif (source / "metrics.jsonl").is_file():
                run = TrainingRun(source)
                runs.append(source)
                for step in _ends(run):
                    out = Path(folder) / str(number) / f"{run.name}-{step:06d}"
                    records.append(record_from_run(run, step, out).path)
            else:
                records.append(Record(source).path)
        yield records, runs


def self_reported_record(values: dict[str, Any], out: Path) -> Record:
    """A row without rollouts: `name`, and for each of `environments` a mean in [0, 1], and `items` and `k` where known."""
    environments = values.get("environments")
    if not isinstance(values.get("name"), str) or not isinstance(environments, dict) or not environments:
        raise RecordError(
            'a self-reported file needs "name" and "environments": {ID: {"mean": 0.5, "items": 100, "k": 8}}'
        )
    means = {}
    for env, facts in environments.items():
        mean = facts.get("mean") if isinstance(facts, dict) else None
        if isinstance(mean, bool) or not isinstance(mean, int | float) or not 0 <= mean <= 1:
            raise RecordError(f"self-reported mean of {env} is {mean!r}; it must be a number in [0, 1]")
        means[env] = float(mean)
    header = {
        "schema": SCHEMA,
        "self_reported": True,
        "name": values["name"],
        "model": {"source": str(values.get("source", ""))},
        "environments": {
            env: {"id": env, "items": facts.get("items"), "k": facts.get("k"), "item_set_sha256": ""}
            for env, facts in environments.items()
        },
    }
    numbers = {
        env: {"mean": mean, "items": environments[env].get("items"), "k": environments[env].get("k")}
        for env, mean in means.items()
    }
    out.mkdir(parents=True)
    (out / SUMMARY).write_text(
        to_json({"environments": numbers, "overall": {"mean": sum(means.values()) / len(means)}}), "utf-8"
    )
    (out / RECORD).write_text(to_json(header), "utf-8")
    return Record(out)


def _add_record(record: Record, home: Path) -> Path:
    target = _new_place(home / RECORDS / slug(record.path.resolve().name))
    if not record.self_reported:
        record.manifest()  # raises if it is not sealed
        damage = check_files(record)
        if damage:
            raise RecordError(f"{str(record.path)!r} is damaged and was not added: {damage[0]}")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(record.path, partial)
    partial.rename(target)
    return target


def _add_run(run: TrainingRun, home: Path) -> list[Path]:
    name = slug(run.name)
    target = _new_place(home / RUNS / name)
    places = {step: _new_place(home / RECORDS / f"{name}-{step:06d}") for step in _ends(run)}
    target.mkdir(parents=True)
    for file in ("config.toml", "metrics.jsonl"):
        if (run.path / file).is_file():
            shutil.copy2(run.path / file, target / file)
    with (target / PROMPTS).open("w", encoding="ascii") as out:
        for task in run.prompts():
            out.write(json.dumps({**task.public().to_dict(), "knobs": {}}) + "\n")
    return [target, *(record_from_run(run, step, place).path for step, place in places.items())]


def _add_self_reported(file: Path, home: Path) -> Path:
    target = _new_place(home / RECORDS / slug(file.stem))
    return self_reported_record(read_json(file), target).path


def _ends(run: TrainingRun) -> list[int]:
    steps = list(run.evaluations())
    return sorted({steps[0], steps[-1]}) if steps else []


def _new_place(path: Path) -> Path:
    if path.exists():
        raise RecordError(
            f"{str(path)!r} is on the board already and was left alone; rename the folder, or remove the old one"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def slug(name: str) -> str:
    """A name as a folder of any system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "record"
