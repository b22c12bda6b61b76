"""An environment's tasks as other processes see them: `python -m rlvr.audit_stream` reads a request, prints the tasks."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from rlvr import registry, scoring_wire
from rlvr.errors import EnvironmentFault
from rlvr.spec import EnvSpec
from rlvr.streams import Split

HASH_SEEDS = ("0", "1", "4242")
TIMEOUT_S = 120.0


def streams_elsewhere(spec: EnvSpec, split: Split, n: int, knobs: Mapping[str, Any]) -> dict[str, list[str]]:
    """The first `n` tasks as JSON, by hash seed, each made in a fresh process and in reverse order.

    Raises EnvironmentFault if such a process fails.
    """
    definition = scoring_wire.definition(spec.id)
    request = json.dumps(
        {
            "env_id": spec.id,
            "split": split,
            "n": n,
            "knobs": dict(knobs),
            "definition": base64.b64encode(definition).decode() if definition else None,
        }
    )
    found = {}
    for hash_seed in HASH_SEEDS:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "rlvr.audit_stream"],
                input=request,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                env=environment,
            )
        except subprocess.TimeoutExpired as fault:
            raise EnvironmentFault(
                f"{spec.id}: making {n} tasks in a fresh process took over {TIMEOUT_S:g} s"
            ) from fault
        if done.returncode != 0:
            tail = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise EnvironmentFault(f"{spec.id}: a fresh process could not make its tasks: {tail[0][:300]}")
        found[hash_seed] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Answer one request from standard input."""
    request = json.load(sys.stdin)
    if request["definition"]:
        spec = pickle.loads(base64.b64decode(request["definition"]))  # from our own parent
    else:
        spec = registry.spec(request["env_id"])
    tasks = {
        index: spec.task(index, split=request["split"], knobs=request["knobs"]).to_json()
        for index in reversed(range(request["n"]))
    }
    print(json.dumps([tasks[index] for index in range(request["n"])]))


if __name__ == "__main__":
    main()
