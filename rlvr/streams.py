"""Random streams and splits that depend on nothing but their names.

A task's stream is seeded with a sha256 of what names it, so two seeds never share a shifted stream, and neither Python's
`hash()` nor any global generator has a say. A task's split is decided by the sha256 of what it shows, so no seed, size or
process can bring a training task into the evaluation.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import Literal

from rlvr.errors import ConfigError

Split = Literal["train", "eval"]
SPLITS: tuple[Split, Split] = ("train", "eval")
EVAL_BUCKETS = 10
"""One bucket in so many is evaluation: 10 %."""

_SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "eval": "eval",
    "evaluation": "eval",
    "test": "eval",
    "validation": "eval",
    "valid": "eval",
    "val": "eval",
    "dev": "eval",
}


def stream_name(seed: int | str, split: str, index: int, attempt: int) -> str:
    """Names the stream of one draw. Text seeds are quoted, so that no two names can run together."""
    return f"{seed if type(seed) is int else json.dumps(seed)}/{split}/{index}/{attempt}"


def stream(env_id: str, name: str) -> random.Random:
    """The generator of a named stream: a Mersenne Twister seeded with 256 bits of sha256(env_id, name)."""
    digest = hashlib.sha256(f"{env_id}/{name}".encode()).digest()
    return random.Random(int.from_bytes(digest, "big"))


def split_of(key: str) -> Split:
    """The split that a content key (64 hex digits) falls in."""
    return "eval" if int(key[:15], 16) % EVAL_BUCKETS == 0 else "train"


def split_named(name: object, *, where: str) -> Split:
    """`train` or `eval` for the names that data sets use; raises ConfigError for any other, saying `where` it stood."""
    split = _SPLIT_NAMES.get(str(name).strip().lower())
    if split is None:
        raise ConfigError(f"{where}: split {name!r} is none of {', '.join(_SPLIT_NAMES)}; name one of these")
    return split
