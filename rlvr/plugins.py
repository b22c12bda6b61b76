"""Packages that bring environments: found by entry point, listed without being imported, imported on demand."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import re
import threading
from dataclasses import dataclass
from pathlib import Path

from rlvr.errors import EnvironmentFault

GROUP = "rlvr.envs"
_DECLARATION = re.compile(r"\bregister\(\s*[\"']([a-z0-9][a-z0-9_-]*/[a-z0-9][a-z0-9_.-]*-v[0-9]+)[\"']")


@dataclass(frozen=True)
class Plugin:
    """One installed module that owns a namespace."""

    namespace: str
    module: str
    distribution: str
    """Name and version of the package that brings it."""


_lock = threading.RLock()
_loaded: set[str] = set()
_broken: dict[str, str] = {}


@functools.cache
def installed() -> dict[str, Plugin]:
    """The plugins by namespace whose optional packages are there.

    Of two that claim one namespace, rlvr's own wins, else the first by package name.
    """
    found: dict[str, Plugin] = {}

    def order(point: importlib.metadata.EntryPoint) -> tuple[bool, str]:
        name = point.dist.name if point.dist else ""
        return name != "rlvr", name

    for point in sorted(importlib.metadata.entry_points(group=GROUP), key=order):
        if not _extras_installed(point):
            continue
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown package"
        plugin = Plugin(point.name, point.module, distribution)
        owner = found.setdefault(point.name, plugin)
        if owner != plugin:
            _broken[f"{point.name} ({distribution})"] = f"the namespace belongs to {owner.distribution}"
    return found


def _extras_installed(point: importlib.metadata.EntryPoint) -> bool:
    """Whether the optional packages are there that an entry point like `module [extra]` asks for."""
    wanted = {f'extra == "{extra}"' for extra in point.extras} | {f"extra == '{extra}'" for extra in point.extras}
    for requirement in (point.dist.requires or ()) if point.dist and wanted else ():
        name, _, marker = requirement.partition(";")
        if marker.strip() in wanted:
            try:
                importlib.metadata.version(re.split(r"[^A-Za-z0-9._-]", name.strip())[0])
            except importlib.metadata.PackageNotFoundError:
                return False
    return True


def broken() -> dict[str, str]:
    """Plugins that could not be used so far, with the reason."""
    installed()
    return dict(_broken)


def load(namespace: str) -> None:
    """Import the plugin that owns `namespace`, once. Nothing happens if there is none.

    Raises EnvironmentFault if its import fails, now and whenever it is asked for again; other plugins keep working.
    """
    plugin = installed().get(namespace)
    if plugin is None or namespace in _loaded:
        return
    with _lock:
        if namespace in _loaded:
            return
        try:
            importlib.import_module(plugin.module)
        except Exception as fault:  # a plugin's import may raise anything; it must not take the others down
            _broken[namespace] = f"{type(fault).__name__}: {fault}"
            raise EnvironmentFault(
                f"the plugin {plugin.distribution}, which owns {namespace!r}, cannot be imported: {_broken[namespace]}. "
                f"Its environments cannot be used; mend or uninstall it (module {plugin.module})."
            ) from fault
        _broken.pop(namespace, None)
        _loaded.add(namespace)


@functools.cache
def declared_ids() -> tuple[str, ...]:
    """The ids that installed plugins register, read from their source text: nothing is imported."""
    ids: set[str] = set()
    for plugin in installed().values():
        for file in _sources(plugin.module):
            try:
                text = file.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as fault:
                _broken[plugin.namespace] = f"its source {file.name} cannot be read: {fault}"
                continue
            ids.update(name for name in _DECLARATION.findall(text) if name.startswith(plugin.namespace + "/"))
    return tuple(sorted(ids))


def _sources(module: str) -> list[Path]:
    """The Python files of a module or package, found without importing it."""
    top, *rest = module.split(".")
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        found = None
    if found is None:
        _broken[module] = "its module is not on the path"
        return []
    for root in found.submodule_search_locations or ():
        place = Path(root, *rest)
        if place.is_dir():
            return sorted(place.rglob("*.py"))
        if place.with_suffix(".py").is_file():
            return [place.with_suffix(".py")]
    return [Path(found.origin)] if found.origin and not rest else []
