"""verifiers evaluates two of our environments: one of a single turn, one game of several.

    pip install 'rlvr[verifiers]' uv && python examples/exports/verifiers_eval.py

The model is a Python function behind an OpenAI-compatible endpoint on this machine; any other endpoint is named in its
place by --client.base-url. verifiers runs its chat loop in an environment that uv makes at the first run.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from scripted_endpoint import endpoint
from verifiers.v1.cli.eval.main import main as vf_eval


def model(messages: list[dict[str, Any]]) -> str:
    """Reverses strings, every third one wrongly; guesses numbers by halving the interval."""
    texts = [message["content"] for message in messages if message["role"] == "user"]
    if word := re.search(r"(?:this string|backwards): (\w+)", texts[0]):
        return f"<answer>{word[1] if ord(word[1][0]) % 3 == 0 else word[1][::-1]}</answer>"
    low, high = 1, int(re.search(r"from 1 to (\d+)", texts[0])[1])
    guesses = [int(message["content"]) for message in messages if message["role"] == "assistant"]
    for guess, hint in zip(guesses, texts[1:], strict=True):
        low, high = (guess + 1, high) if hint.startswith("higher") else (low, guess - 1)
    return str((low + high) // 2)


def evaluate(env_id: str, n: int, url: str, out: Path) -> list[float]:
    """Runs vf-eval, without uploading anything; the reward of each rollout."""
    name = env_id.replace("/", "-")
    arguments = f"rlvr_envs --env.taskset.env {env_id} --env.taskset.n {n} --model scripted --num-rollouts 1"
    arguments += (
        f" --client.base-url {url} --client.api-key-var NO_KEY --output-dir {out} --run.name {name} --push false"
    )
    vf_eval([*arguments.split(), "--rich", "None"])
    traces = [line for file in out.rglob("traces.jsonl") if name in str(file) for line in file.read_text().splitlines()]
    episodes = [json.loads(line) for line in traces]
    return [trace["rewards"]["verdict"]["score"] for episode in episodes for trace in episode.get("traces", [episode])]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, endpoint(model) as url:
        found = {
            env_id: evaluate(env_id, 6, url, Path(folder)) for env_id in ("text/reverse-v0", "game/guess-number-v0")
        }
    for env_id, rewards in found.items():
        print(f"{env_id}: rewards {rewards}, mean {sum(rewards) / len(rewards):.2f}")
