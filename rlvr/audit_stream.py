"""An environment's tasks as other processes see them: `python -m rlvr.audit_stream` reads a request, prints the tasks."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr import registry, scoring_wire
from rlvr.errors import EnvironmentFault, RlvrError
from rlvr.spec import EnvSpec
from rlvr.streams import Split

HASH_SEEDS = ("0", "1", "4242")
TIMEOUT_S = 120.0
"""For the tasks of one environment."""
Asked = tuple[EnvSpec, Split, int, Mapping[str, Any]]
"""An environment, the split, how many tasks, and its knobs."""


def streams_elsewhere(asked: Sequence[Asked]) -> dict[str, list[list[str] | str]]:
    """The first tasks of each environment as JSON, by hash seed; a text instead of a list is what its author's code raised.

    One fresh process a hash seed makes them all, each in reverse order. Raises EnvironmentFault if a process fails.
    """
    requests = []
    for spec, split, n, knobs in asked:
        definition = scoring_wire.definition(spec.id)
        requests.append(
            {
                "env_id": spec.id,
                "split": split,
                "n": n,
                "knobs": dict(knobs),
                "definition": base64.b64encode(definition).decode() if definition else None,
            }
        )
    return {hash_seed: _ask(requests, hash_seed) for hash_seed in HASH_SEEDS}


def _ask(requests: Sequence[dict[str, Any]], hash_seed: str) -> list[list[str] | str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ids = ", ".join(request["env_id"] for request in requests[:3])
    limit_s = TIMEOUT_S * len(requests)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "rlvr.audit_stream"],
            input=json.dumps(requests),
            capture_output=True,
            text=True,
            timeout=limit_s,
            env=environment,
        )
    except subprocess.TimeoutExpired as fault:
        raise EnvironmentFault(f"{ids}: making tasks in a fresh process took over {limit_s:g} s") from fault
    if done.returncode != 0:
        tail = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise EnvironmentFault(f"{ids}: a fresh process could not make tasks: {tail[0][:300]}")
    answers: list[list[str] | str] = json.loads(done.stdout.splitlines()[-1])
    return answers


def main() -> None:
    """Answer the requests from standard input."""
    with contextlib.redirect_stdout(sys.stderr):  # a generator that prints must not garble the answer
        made = [_made(request) for request in json.load(sys.stdin)]
    print(json.dumps(made))


def _made(request: dict[str, Any]) -> list[str] | str:
    try:
        if request["definition"]:
            spec = pickle.loads(base64.b64decode(request["definition"]))  # from our own parent
        else:
            spec = registry.spec(request["env_id"])
        tasks = {
            index: spec.task(index, split=request["split"], knobs=request["knobs"]).to_json()
            for index in reversed(range(request["n"]))
        }
    except RlvrError as fault:
        return f"a fresh process could not make its tasks: {fault}"
    return [tasks[index] for index in range(request["n"])]


if __name__ == "__main__":
    main()
