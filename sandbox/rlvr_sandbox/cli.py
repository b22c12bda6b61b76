"""`rlvr sandbox`: what this machine gives, and a worker for others."""

from __future__ import annotations

import os
import secrets
import sys
from typing import Annotated

import typer

from rlvr.errors import ConfigError
from rlvr_sandbox.levels import doctor
from rlvr_sandbox.limits import Limits
from rlvr_sandbox.pool import Pool

TOKEN_VARIABLE = "RLVR_SANDBOX_TOKEN"
app = typer.Typer(help="Run programs of models in isolation.", no_args_is_help=True)


@app.command()
def probe() -> None:
    """Say which isolation levels this machine gives, and why not a better one."""
    for label, fine, text in doctor():
        print(f"{'ok' if fine else '--'}  {label}: {text}")


@app.command()
def run(
    file: Annotated[typer.FileText, typer.Argument(help="the program; - for standard input")],
    language: str = "python",
    timeout_s: float = 5.0,
    memory_mb: int = 512,
) -> None:
    """Run one program without input and show what it did."""
    with Pool(1) as pool:
        outcome = pool.run(file.read(), limits=Limits(timeout_s, memory_mb), language=language)
    sys.stdout.write(outcome.stdout)
    sys.stderr.write(outcome.stderr)
    print(f"{outcome.verdict} in {outcome.seconds:.2f} s at level {outcome.level}", file=sys.stderr)
    if not outcome.ok:
        raise typer.Exit(1)


@app.command()
def serve(
    host: str = "127.0.0.1",
    port: int = 8321,
    workers: Annotated[int, typer.Option(help="0 means one per core")] = 0,
    minimum: Annotated[str, typer.Option(help="refuse to start below this isolation level")] = "landlock",
) -> None:
    """Offer this machine's sandbox over HTTP. The token is $RLVR_SANDBOX_TOKEN, else a new one, printed."""
    try:
        import uvicorn

        from rlvr_sandbox.service import make_app
    except ImportError as error:
        raise ConfigError(f"serving needs the extra `view` (pip install 'rlvr[view]'): {error}") from error
    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(24)
    if TOKEN_VARIABLE not in os.environ:
        print(f"token: {token}", file=sys.stderr)
    with Pool(workers or None, minimum=minimum) as pool:
        print(f"level {pool.level}, {pool.workers} workers, http://{host}:{port}", file=sys.stderr)
        uvicorn.run(make_app(pool, token), host=host, port=port, log_level="warning")
