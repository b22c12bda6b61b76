"""What the scoring pool and its workers say to each other. JSON both ways: nothing a worker sends is ever executed."""

from __future__ import annotations

import struct
import sys
import threading
from typing import Any

from rlvr import plugins
from rlvr.errors import EnvironmentFault
from rlvr.registry import registered, spec
from rlvr.score import Score
from rlvr.spec import Reply

LENGTH = struct.Struct("<Q")
PROGRESS = struct.Struct("<qd")
"""Index of the item being judged, and the monotonic time it was begun at."""
EMPTY_PROGRESS = PROGRESS.pack(-1, 0.0)
_by_value_lock = threading.Lock()
"""cloudpickle keeps its list of modules for the whole process, and every worker's thread defines its environments."""


def definition(env_id: str) -> bytes | None:
    """The spec as bytes if a fresh process could not find it by its id, else None.

    Scripts and notebooks register in `__main__`, tests in modules that have no importable name: those go by value.
    Raises EnvironmentFault if such an environment cannot be carried over.
    """
    found = registered().get(env_id) or spec(env_id)
    plugin = plugins.installed().get(env_id.partition("/")[0])
    if plugin is not None and (found.module == plugin.module or found.module.startswith(plugin.module + ".")):
        return None
    import cloudpickle

    module = sys.modules.get(found.module)
    by_value = module is not None and found.module != "__main__"
    try:
        with _by_value_lock:
            if by_value:
                cloudpickle.register_pickle_by_value(module)
            try:
                return bytes(cloudpickle.dumps(found))
            finally:
                if by_value:
                    cloudpickle.unregister_pickle_by_value(module)
    except Exception as fault:  # pickling calls the author's code
        raise EnvironmentFault(
            f"{env_id} was registered in {found.module} and cannot be sent to a scoring process: {fault}. "
            "Put it in a module of an installed package, or keep open files, locks and sessions out of it."
        ) from fault


def encode_result(value: Reply) -> tuple[str, Any]:
    """A kind and a JSON value."""
    if isinstance(value, Score):
        return "score", value.to_dict()
    return ("text", value) if isinstance(value, str) else ("messages", value)


def decode_result(kind: str, value: Any) -> Reply:
    """The inverse of `encode_result`."""
    if kind == "score":
        return Score.from_dict(value)
    return str(value) if kind == "text" else list(value)
