"""Pools at every level that this machine gives, and what the hostile programs are checked against."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rlvr_sandbox import Pool
from rlvr_sandbox.levels import LEVELS, probe

_OFFERS = {offer.level: offer for offer in probe()}
_pools: dict[str, Pool] = {}


@pytest.fixture(params=LEVELS[:-1])
def level(request: pytest.FixtureRequest) -> str:
    """Every level in turn; those this machine does not give are skipped with the reason."""
    offer = _OFFERS[request.param]
    if not offer.available:
        pytest.skip(offer.text)
    return offer.level


@pytest.fixture
def pool(level: str) -> Pool:
    """A pool at `level`, shared by all tests."""
    if level not in _pools:
        _pools[level] = Pool(2, level=level)
    return _pools[level]


@pytest.fixture(scope="session", autouse=True)
def _close_pools() -> Iterator[None]:
    yield
    for pool in _pools.values():
        pool.close()


@pytest.fixture(scope="session")
def best_pool() -> Iterator[Pool]:
    """A pool at the best level this machine gives."""
    with Pool(2) as pool:
        yield pool


@pytest.fixture(scope="session")
def best_level() -> str:
    """The best level this machine gives."""
    return next(offer.level for offer in _OFFERS.values() if offer.available)


def below(process: int) -> list[int]:
    """Ids of all processes below one, on Linux."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(name))
    found = list(children.get(process, []))
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


@pytest.fixture
def descendants() -> Callable[[int], list[int]]:
    """The function `below`."""
    return below


@pytest.fixture
def data_folder() -> str:
    """The folder with public data sets."""
    folder = os.environ.get("RLVR_DATA")
    if not folder:
        pytest.skip("RLVR_DATA does not name the folder with humaneval.jsonl and mbpp_sanitized.json")
    return folder


@pytest.fixture
def dedent() -> Callable[[str], str]:
    """textwrap.dedent."""
    return textwrap.dedent


def pytest_make_parametrize_id(config: pytest.Config, val: Any, argname: str) -> str | None:
    """Programs are named by their first element."""
    return val[0] if isinstance(val, tuple) and val and isinstance(val[0], str) else None
