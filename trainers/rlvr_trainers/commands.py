"""`rlvr train` and `rlvr rollouts`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from rlvr.errors import ConfigError
from rlvr.tracking import read_rollouts, rollout_files
from rlvr.trajectory import Trajectory


def train(
    recipe: Annotated[Path | None, typer.Argument(help="TOML file with the stages of training.")] = None,
    words: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings on top of it.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the run in this folder.")] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Train on the rollouts that this run stored, without sampling any.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="No progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    nproc: Annotated[int, typer.Option(help="Processes to train with on this machine: one for each GPU.", min=1)] = 1,
    nodes: Annotated[int, typer.Option(help="Machines; the same command is given on each.", min=1)] = 1,
    rendezvous: Annotated[str, typer.Option(help="HOST:PORT of one of the machines, where they meet.")] = "",
) -> None:
    """Train by a recipe: build, supervised start, reinforcement learning, with evaluation before and after.

    Example: rlvr train trainers/recipes/quickstart.toml seed=1 grpo.steps=50
    """
    if nproc > 1 or nodes > 1:
        # Else PyTorch prints two pages where a machine is lost. It is read when torch is imported.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        from rlvr_trainers.launch import launch, train_arguments

        arguments = train_arguments(recipe, words or [], resume=resume, replay=replay, quiet=quiet, as_json=as_json)
        code = launch(arguments, nproc=nproc, nodes=nodes, rendezvous=rendezvous)
        raise typer.Exit(code)
    from rlvr_trainers.launch import one_voice

    with one_voice() as ranks:
        _train(recipe, list(words or []), resume, replay, quiet=quiet, as_json=as_json, main=ranks.main)


def _train(
    recipe: Path | None,
    given: list[str],
    resume: Path | None,
    replay: Path | None,
    *,
    quiet: bool,
    as_json: bool,
    main: bool,
) -> None:
    from rlvr_trainers.recipe import load_recipe, recipe_of_run, run_recipe, sampling_stage

    if resume is not None:
        if recipe is not None:
            given.insert(0, str(recipe))  # with --resume the first word is a setting already
        recipe = recipe_of_run(resume)
        given.append(f"out={json.dumps(str(resume))}")
    if recipe is None:
        raise ConfigError("give a recipe to train by, or --resume with the folder of a run")
    if replay is not None:
        given.append(f"{sampling_stage(recipe)}.replay={json.dumps(str(replay))}")
    _silence_libraries()
    begin, processor = time.perf_counter(), time.process_time()
    loaded = load_recipe(recipe, given)
    result = run_recipe(loaded, resume=resume is not None, quiet=quiet)
    if not main:
        return
    seconds = {"wall_s": time.perf_counter() - begin, "processor_s": time.process_time() - processor}
    facts = {"out": str(loaded.out), "model": str(getattr(result, "model", result)), **seconds}
    if (before := getattr(result, "accuracy_before", None)) is not None:
        from rlvr_trainers.report import write_report

        facts |= {"accuracy_before": before, "accuracy_after": result.accuracy_after}
        facts |= {"ended": result.ended, "report": str(write_report(loaded.out))}
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    if before is not None:
        print(f"accuracy on unseen tasks: {before:.1%} before, {result.accuracy_after:.1%} after")
        print(f"curves and transcripts: {facts['report']}")
    print(f"model: {facts['model']}")
    print(f"{seconds['wall_s']:.0f} s, {seconds['processor_s']:.0f} s of processor time", file=sys.stderr)


def rollouts(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    step: Annotated[int | None, typer.Option(help="Step to show; the last stored one if not given.")] = None,
    n: Annotated[int, typer.Option(help="Episodes to print.")] = 4,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only those that were not right.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Read what a run sampled: prompt, answer, verdict, and why.

    Example: rlvr rollouts runs/quickstart --step 10 --wrong
    """
    files = rollout_files(run)
    if not files:
        raise ConfigError(f"{str(run)!r} stored no rollouts; give the `out` of a run with rollouts_every above 0")
    chosen = max(files) if step is None else step
    if chosen not in files:
        raise ConfigError(f"{str(run)!r} stored no rollouts of step {chosen}; it has {min(files)} to {max(files)}")
    shown = 0
    for trajectory in read_rollouts(files[chosen]):
        if shown == n:
            break
        if wrong and trajectory.score is not None and trajectory.score.correct:
            continue
        shown += 1
        print(json.dumps(trajectory.to_dict()) if as_json else transcript(trajectory) + "\n")


def transcript(trajectory: Trajectory) -> str:
    """One episode as a person reads it."""
    lines = []
    for message in trajectory.messages:
        lines.append(f"[{message.get('role')}] {message.get('content') or ''}")
    score = trajectory.score
    if score is not None:
        verdict = f"error: {score.error}" if score.error else score.reason or ("right" if score.correct else "wrong")
        lines.append(f"=> reward {score.reward:g}, {verdict}; {trajectory.num_sampled} tokens")
    return "\n".join(lines)


def _silence_libraries() -> None:
    """The loading bars of transformers say nothing about a run."""
    from transformers.utils import logging

    logging.disable_progress_bar()


__all__: list[Any] = ["rollouts", "train", "transcript"]
