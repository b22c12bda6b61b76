"""`rlvr train --nproc N --nodes M`: torchrun's own launcher, and what becomes of its ranks when one of them fails."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from rlvr.cli import FAILED, INTERRUPTED, USAGE
from rlvr.errors import ConfigError, RlvrError
from rlvr_trainers.distributed import RankError, Ranks, close_ranks, open_ranks

OURS = "RLVR_LAUNCHED"
"""Names, for ranks that this launcher started, the file that they leave to say that they did."""
LOST = 75
"""Exit code of a rank that has lost another one."""
ADVICE = (
    "The checkpoints are intact: give --resume and the run folder to go on from the last one, with as many processes as you "
    "like"
)


def train_arguments(
    recipe: Path | None,
    words: Sequence[str],
    *,
    resume: Path | None,
    replay: Path | None,
    quiet: bool,
    as_json: bool,
) -> list[str]:
    """The command line that each rank runs."""
    options = [("--resume", resume), ("--replay", replay)]
    return [
        "train",
        *(f"{name}={value}" for name, value in options if value is not None),
        *(["--quiet"] if quiet else []),
        *(["--json"] if as_json else []),
        *([str(recipe)] if recipe is not None else []),
        *words,
    ]


def launch(arguments: Sequence[str], *, nproc: int, nodes: int = 1, rendezvous: str = "") -> int:
    """Run `rlvr ARGUMENTS` on nproc ranks of this machine, together with those of `nodes - 1` others; the exit code.

    A rank that ends by itself has said why. Raises RankError for one that was killed, ConfigError for several machines
    without a place to meet.
    """
    if nodes > 1 and not rendezvous:
        raise ConfigError(f"nodes is {nodes}, but the machines do not know where to meet; give --rendezvous HOST:PORT")
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in ("", ".agent.server.api", ".multiprocessing.api"):  # what they report is said below, in one sentence
        logging.getLogger(f"torch.distributed.elastic{name}").setLevel(logging.CRITICAL)
    # More threads than processors would only get into each other's way.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // nproc)))
    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=nproc,
        run_id="rlvr",
        rdzv_backend="c10d",
        rdzv_endpoint=rendezvous or "127.0.0.1:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    folder = TemporaryDirectory(prefix="rlvr-launch-")
    started = Path(folder.name) / "started"
    os.environ[OURS] = str(started)
    try:
        elastic_launch(config, sys.executable)("-m", "rlvr", *arguments)
    except ChildFailedError as fault:
        return _verdict(list(fault.failures.items()), nproc * nodes)
    except SignalException:  # the launcher has stopped its ranks
        print("rlvr: interrupted", file=sys.stderr)
        return INTERRUPTED
    except RendezvousError as fault:
        if started.exists():  # they had met, and now the machine where they did is gone
            raise _lost_machine() from fault
        raise ConfigError(
            f"the machines did not meet at {rendezvous!r} ({type(fault).__name__}: {str(fault).splitlines()[0][:200]}); name a "
            "host and a free port of one of them, and start the same command on all of them"
        ) from fault
    finally:
        folder.cleanup()
    return 0


def _verdict(failures: list[tuple[Any, Any]], size: int) -> int:
    """The exit code of ranks that ended by themselves; an error for one that was killed from outside.

    The launcher itself ends the others by SIGTERM, and those that notice first say nothing and end with `LOST`.
    """
    for rank, failure in failures:
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:
            name = signal.Signals(-failure.exitcode).name
            raise RankError(
                f"rank {rank} of {size} (process {failure.pid}) was killed by {name}, and the others were stopped; its machine "
                f"may have run out of memory. {ADVICE}"
            )
    codes = {failure.exitcode for _, failure in failures if failure.exitcode > 0}
    if codes == {LOST}:
        raise _lost_machine()
    return max(codes - {LOST}, default=FAILED)


def _lost_machine() -> RankError:
    return RankError(f"a rank on another machine was killed or failed, and those here were stopped. {ADVICE}")


@contextmanager
def one_voice() -> Iterator[Ranks]:
    """This process among the ranks it was launched with. What several of them fail of is said by the first that does."""
    try:
        ranks = open_ranks()
        if OURS in os.environ:
            Path(os.environ[OURS]).touch()
        with ranks.together():
            yield ranks
    except KeyboardInterrupt:
        if OURS in os.environ:  # whoever pressed it pressed it for the launcher too
            raise typer.Exit(INTERRUPTED) from None
        raise
    except RankError:
        if OURS in os.environ:  # the launcher knows more
            raise typer.Exit(LOST) from None
        raise
    except RlvrError as fault:
        if open_ranks().first_to_say(str(fault)):
            raise
        raise typer.Exit(USAGE if isinstance(fault, ConfigError) else FAILED) from None
    close_ranks()
