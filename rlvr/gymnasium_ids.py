"""Makes every id known to Gymnasium, so that `gymnasium.make(id)` works after `import rlvr`.

Importing Gymnasium costs several times what the rest of `import rlvr` costs, and verifying, scoring and the command line
do not need it. So the ids are registered at once if Gymnasium is there already, and else right after somebody imports it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType


def announce(ids: Iterable[str]) -> None:
    """Register ids with Gymnasium now, if it is imported; known ones are left alone."""
    gymnasium = sys.modules.get("gymnasium")
    if gymnasium is None or not hasattr(gymnasium, "registry"):
        return
    for env_id in ids:
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, entry_point="rlvr.env:TaskEnv", kwargs={"env_id": env_id})


def announce_after_import(ids: Callable[[], Iterable[str]]) -> None:
    """Register `ids()` now if Gymnasium is imported, else as soon as it is."""
    if "gymnasium" in sys.modules:
        announce(ids())
    else:
        sys.meta_path.insert(0, _AfterImport(ids))


class _AfterImport(importlib.abc.MetaPathFinder):
    """Lets the import of Gymnasium go on as it would, then registers the ids; it serves once."""

    def __init__(self, ids: Callable[[], Iterable[str]]) -> None:
        self._ids = ids

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute, ids = spec.loader.exec_module, self._ids

        def exec_module(module: ModuleType) -> None:
            execute(module)
            announce(ids())

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
