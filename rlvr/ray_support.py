"""Ray, where it is installed (extra `ray`): found, started once, and left to whoever started it."""

from __future__ import annotations

import os
import sys
from typing import Any

from rlvr.errors import ConfigError


def connected_ray(what: str) -> Any:
    """The module `ray`, connected: to the cluster this process is in already, that $RAY_ADDRESS names, or a new one on this
    machine. `what` needs it, for the message. Raises ConfigError if Ray is not installed or does not start.
    """
    try:
        import ray
    except ImportError as fault:
        raise ConfigError(f"{what} needs Ray; install rlvr[ray]. Nothing was started.") from fault
    if not ray.is_initialized():
        try:
            ray.init(
                # Workers find what this process finds; where a path does not exist it does no harm.
                runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}},
                include_dashboard=None if "RAY_ADDRESS" in os.environ else False,
                log_to_driver=False,
            )
        except Exception as fault:  # a boundary: Ray raises many kinds
            raise ConfigError(
                f"{what} needs Ray, which did not start: {type(fault).__name__}: {fault}. "
                "Check RAY_ADDRESS, or unset it to start Ray on this machine."
            ) from fault
    return ray
