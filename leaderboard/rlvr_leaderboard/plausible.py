"""Did the named weights really write these answers? The check that needs the model, for level 3.

Two ways. Tokens: a record that kept its tokens holds the log-probability each answer was sampled with; the weights are
asked how likely they find the very same tokens. Fresh items: a procedural environment draws items that nobody has seen, the model
answers them, and its mean must fit the record's. The first finds other weights, the second finds answers that were
chosen or edited; neither can be passed by writing numbers into a file.
"""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rlvr
from rlvr.errors import ConfigError
from rlvr.generation.engine import Engine, Sampling
from rlvr_leaderboard import statistics as s
from rlvr_leaderboard.evaluate import evaluate
from rlvr_leaderboard.record import Record, Rollout
from rlvr_leaderboard.statistics.special import normal_quantile
from rlvr_leaderboard.summary import scored, tabulate

MAX_GAP = 0.05
"""Largest mean difference of log-probabilities a token, in nats, between two machines that serve the same weights. Other
precision and other kernels move it by some thousandths; another checkpoint of the same run by tenths."""
SAMPLE = 64
ALPHA = 0.01


@dataclass(frozen=True)
class Plausibility:
    """What was found."""

    passed: bool
    says: list[str]


def check(record: Record, engine: Engine, *, fresh: int = 50, seed: int = 1, workers: int = 2) -> Plausibility:
    """Both checks, as far as the record allows them. Raises ConfigError if it allows neither."""
    made = [*check_tokens(record, engine, seed), *check_fresh_items(record, engine, fresh, seed, workers)]
    if not made:
        raise ConfigError(
            f"{str(record.path)!r} kept no tokens and has no environment that draws fresh items, so nothing can be "
            "compared with the model. Evaluate with --keep-tokens."
        )
    return Plausibility(all(passed for passed, _ in made), [says for _, says in made])


def check_tokens(record: Record, engine: Engine, seed: int) -> list[tuple[bool, str]]:
    """Whether the model finds the stored tokens as likely as they were when sampled; empty if nothing can be compared."""
    sampling = record.header["sampling"]
    plain = sampling.get("temperature") in (0, 1.0) and sampling.get("top_p", 1) == 1 and not sampling.get("top_k")
    kept = [rollout for rollout in record.rollouts() if rollout.token_ids and rollout.mean_logprob is not None]
    if not kept or not plain or sampling.get("min_p"):
        return []  # log-probabilities of a cut or tempered distribution are no log-probabilities of the model's
    chosen = random.Random(seed).sample(kept, min(SAMPLE, len(kept)))
    gaps = [_gap(rollout, engine) for rollout in chosen]
    mean = math.fsum(gaps) / len(gaps)
    says = f"tokens: over {len(gaps)} answers the model's log-probabilities differ by {mean:.4f} nats a token (at most {MAX_GAP})"
    return [(mean <= MAX_GAP, says)]


def _gap(rollout: Rollout, engine: Engine) -> float:
    assert rollout.token_ids is not None
    assert rollout.loss_mask is not None
    assert rollout.mean_logprob is not None
    forced = [0.0, *engine.forced_logprobs(rollout.token_ids)]
    own = [value for value, sampled in zip(forced, rollout.loss_mask, strict=True) if sampled == "1"]
    return abs(math.fsum(own) / len(own) - rollout.mean_logprob)


def check_fresh_items(record: Record, engine: Engine, count: int, seed: int, workers: int) -> list[tuple[bool, str]]:
    """For each procedural environment, whether the model's mean on items nobody has seen fits the record's."""
    found = []
    table = tabulate(record)
    stored: dict[str, Any] = record.header["sampling"]
    sampling = Sampling(**{**stored, "stop": tuple(stored["stop"]), "stop_token_ids": tuple(stored["stop_token_ids"])})
    for name, facts in record.environments.items():
        if rlvr.spec(facts["id"]).kind == "rows" or len(scored(table[name])) < 2:
            continue
        entry = {"id": facts["id"], "knobs": facts["knobs"], "split": facts["split"], "n": count, "k": facts["k"]}
        with tempfile.TemporaryDirectory() as folder:
            fresh_seed = record.header["seed"] + seed
            again = evaluate(
                engine,
                [entry],
                out=Path(folder) / "fresh",
                seed=fresh_seed,
                sampling=sampling,
                workers=workers,
                quiet=True,
            )
            new = s.item_means(scored(tabulate(again)[name]))
        found.append(_agree(name, s.item_means(scored(table[name])), new))
    return found


def _agree(name: str, old: Sequence[float], new: Sequence[float]) -> tuple[bool, str]:
    """Two independent samples of items: the difference of their means against its standard error."""
    difference = math.fsum(old) / len(old) - math.fsum(new) / len(new)
    # Without spread on both sides the standard error says 0; a share of 1/n may always differ unseen.
    error = max(math.hypot(s.standard_error(old), s.standard_error(new)), 1 / len(new))
    limit = normal_quantile(1 - ALPHA / 2) * error
    passed = abs(difference) <= limit
    place = "inside" if passed else "outside"
    return passed, f"{name}: {100 * difference:+.1f} points against {len(new)} fresh items, {place} +-{100 * limit:.1f}"
