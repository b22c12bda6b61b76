"""Completions that need not be sampled twice.

An engine in front of an engine. What decides a completion names it: the weights' fingerprint, the prompt's token ids,
every sampling parameter, the seed (which holds the item and the run) and the number of the answer. So a cached evaluation
repeats itself, and never gives one run's answer for another's.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rlvr.errors import ConfigError
from rlvr.generation.engine import Completion, Engine, Request, Sampling, describe


class CachedEngine:
    """Answers from a file where it can, from `engine` where it must. Several processes may share the file."""

    def __init__(self, engine: Engine, folder: str | Path) -> None:
        self._engine = engine
        self.hits = 0
        path = Path(folder)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._store = sqlite3.connect(path / "completions.sqlite", timeout=60)
            self._store.execute("PRAGMA journal_mode=WAL")
            self._store.execute(
                "CREATE TABLE IF NOT EXISTS completions (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"
            )
        except (OSError, sqlite3.DatabaseError) as fault:
            raise ConfigError(
                f"cache {str(path)!r} cannot be used: {fault}. Remove it or give another folder."
            ) from fault
        self._served = engine.fingerprint()
        self.tokenizer = engine.tokenizer
        self.weight_version = engine.weight_version
        self.max_model_len = engine.max_model_len

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        """`n` completions for each request, in order; only requests with an answer missing reach the engine."""
        settings = describe(sampling)
        names = [[self._name(request, settings, answer) for answer in range(request.n)] for request in requests]
        found = [[self._load(name) for name in group] for group in names]
        missing = [place for place, group in enumerate(found) if None in group]
        self.hits += sum(len(group) for place, group in enumerate(found) if place not in set(missing))
        if missing:
            fresh = self._engine.generate([requests[place] for place in missing], sampling)
            for place, group in zip(missing, fresh, strict=True):
                found[place] = list(group)
                self._save(zip(names[place], group, strict=True))
        return [[completion for completion in group if completion is not None] for group in found]

    def load_weights(self, named_tensors: Iterable[tuple[str, Any]], version: int) -> None:
        """Passed on; cached answers of the old weights are not given any more."""
        self._engine.load_weights(named_tensors, version)
        self.weight_version = self._engine.weight_version
        self._served = self._engine.fingerprint()

    def fingerprint(self) -> str:
        """The engine's own."""
        return self._engine.fingerprint()

    def forced_logprobs(self, token_ids: Sequence[int]) -> list[float]:
        """The engine's own; never cached."""
        return self._engine.forced_logprobs(token_ids)

    def close(self) -> None:
        """Close the file, and the engine."""
        self._store.close()
        self._engine.close()

    def _name(self, request: Request, settings: Any, answer: int) -> str:
        facts = [self._served, list(request.prompt_ids), settings, request.max_tokens, request.seed, answer]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _load(self, name: str) -> Completion | None:
        row = self._store.execute("SELECT value FROM completions WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        ids, logprobs, reason = json.loads(row[0])
        values = [math.nan if value is None else value for value in logprobs]
        return Completion(ids, values, reason, self.weight_version)

    def _save(self, pairs: Iterable[tuple[str, Completion]]) -> None:
        rows = []
        for name, completion in pairs:
            if completion.finish_reason != "abort":
                logprobs = [None if math.isnan(value) else value for value in completion.logprobs]
                rows.append((name, json.dumps([completion.token_ids, logprobs, completion.finish_reason])))
        with self._store:
            self._store.executemany("INSERT OR IGNORE INTO completions VALUES (?, ?)", rows)
