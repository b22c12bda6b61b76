"""The one program, `rlvr`. Packages above the core add their commands through the entry-point group `rlvr.commands`.

Results go to standard output, progress and messages to standard error. Exit codes: 0 done, 1 it failed, 2 wrong usage
or settings, 3 a check did not pass, 130 interrupted.
"""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Any

import typer

from rlvr.errors import ConfigError, RlvrError, UnknownEnvironmentError

COMMANDS = "rlvr.commands"
USAGE, FAILED, CHECK_FAILED, INTERRUPTED = 2, 1, 3, 130

app = typer.Typer(
    name="rlvr",
    help="Train, evaluate and compare reasoning models on tasks whose answers a program can check.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Run the program and end the process with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; the exit code. A RlvrError becomes one line on standard error."""
    try:
        code = build().main(args=arguments, prog_name="rlvr", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except typer.Exit as leave:
        return int(leave.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        print("rlvr: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ConfigError, UnknownEnvironmentError) as fault:
        print(f"rlvr: {fault}", file=sys.stderr)
        return USAGE
    except RlvrError as fault:
        print(f"rlvr: {type(fault).__name__}: {fault}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        sys.stderr.close()  # `rlvr ... | head` is no failure, and there is nobody left to tell
        return 0
    except Exception as fault:
        show = getattr(fault, "show", None)  # a usage error knows how to print itself
        if show is None:
            raise
        show()
        return int(getattr(fault, "exit_code", USAGE))


def build() -> Any:
    """The command tree: the core's commands and those of every installed package."""
    from rlvr import commands

    commands.add_to(app)
    groups = {group.name: group.typer_instance for group in app.registered_groups if group.typer_instance is not None}
    for point in importlib.metadata.entry_points(group=COMMANDS):
        home, dot, name = point.name.rpartition(".")  # `envs.difficulty` is the command `rlvr envs difficulty`
        if dot and (home not in groups or name in {command.name for command in groups[home].registered_commands}):
            continue
        if point.name in {command.name for command in app.registered_commands} | {
            group.name for group in app.registered_groups
        }:
            continue
        try:
            found = point.load()
        except Exception as fault:  # one broken package must not take the program down
            print(f"rlvr: the command {point.name!r} of {point.value} is left out: {fault}", file=sys.stderr)
            continue
        if dot:
            groups[home].command(name=name)(found)
        elif isinstance(found, typer.Typer):
            app.add_typer(found, name=point.name)
        else:
            app.command(name=point.name)(found)
    return typer.main.get_command(app)
