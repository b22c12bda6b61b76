"""Seeds that are derived, never counted up: equal names give equal draws in any process, on any machine."""

from __future__ import annotations

import hashlib
import json

_MASK = (1 << 64) - 1


def derive_seed(*parts: int | str) -> int:
    """A seed, 0 <= seed < 2**63, from the sha256 of its parts."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def row_seed(seed: int, answer: int) -> int:
    """The 64-bit seed of answer number `answer` of a request; all draws of that row follow from it.

    SplitMix64's finaliser (Steele, Lea and Flood 2014, OOPSLA, figure 16) over seed + (answer + 1) * golden ratio.
    """
    value = (seed + (answer + 1) * 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
