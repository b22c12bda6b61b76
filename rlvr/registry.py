"""Ids and what stands behind them: registration, look-up, tasks.

Environments come from modules that entry points of the group `rlvr.envs` name; the entry point's key is the namespace
that the module owns. A module is imported when an id of its namespace is first asked for, in whatever process asks.
"""

from __future__ import annotations

import difflib
import inspect
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast, overload

from rlvr import plugins
from rlvr.errors import ConfigError, UnknownEnvironmentError
from rlvr.gymnasium_ids import announce
from rlvr.rows import RowSource
from rlvr.spec import EnvSpec, FunctionSpec, RowsSpec, Session, SessionSpec, Verifier, check_parameters
from rlvr.streams import split_named
from rlvr.task import Message, Task

ID = re.compile(r"([a-z0-9][a-z0-9_-]*)/([a-z0-9][a-z0-9_.-]*)-v([0-9]+)")
RESERVED = frozenset({"level", "split", "seed", "n", "index", "env_id", "render_mode"})

_specs: dict[str, EnvSpec] = {}
_lock = threading.RLock()

MakerT = TypeVar("MakerT")


class Registration:
    """What `register(id, **knobs)` returns to stand above a function or a class."""

    def __init__(self, common: dict[str, Any], location: tuple[str, str]) -> None:
        self._common = common
        self._module, self._location = location

    @overload
    def __call__(self, author: type[Any]) -> SessionSpec: ...
    @overload
    def __call__(self, author: Callable[..., Task]) -> FunctionSpec: ...
    def __call__(self, author: Callable[..., Any]) -> EnvSpec:
        """Registers the function or the class and returns its spec, which has `.verifier` and `.worked_solution`."""
        common = dict(self._common)
        common["description"] = common["description"] or _first_paragraph(author)
        common.update(module=self._module, location=self._location)
        spec: EnvSpec
        if inspect.isclass(author):
            start = getattr(author, "start", None)
            if start is None or not hasattr(author, "turn"):
                raise ConfigError(f"{common['id']}: class {author.__name__} needs start(rng, **knobs) and turn(text)")
            check_parameters(common["id"], start, common["knobs"], skip=2)
            session = cast(Callable[[], Session], author)
            spec = SessionSpec(**{**common, "max_turns": common["max_turns"] or 16}, session=session)
        else:
            if common["max_turns"]:
                raise ConfigError(
                    f"{common['id']}: max_turns needs a class with start and turn; a function takes one turn"
                )
            check_parameters(common["id"], author, common["knobs"], skip=1)
            spec = FunctionSpec(**{**common, "max_turns": 1}, make=author)
        _add(spec)
        return spec


@overload
def register(
    env_id: str,
    /,
    *,
    rows: RowSource,
    prompt: Callable[[Any], str | Sequence[Message]] | str,
    answer: Callable[[Any], Any] | str | None = None,
    verify: Verifier | None = None,
    split: str | None = None,
    levels: Sequence[Mapping[str, Any]] = (),
    chance: float = 0.0,
    answer_is_program: bool = False,
    description: str = "",
    **knobs: Any,
) -> RowsSpec: ...
@overload
def register(
    env_id: str,
    /,
    *,
    levels: Sequence[Mapping[str, Any]] = (),
    max_turns: int | None = None,
    chance: float = 0.0,
    answer_is_program: bool = False,
    description: str = "",
    **knobs: Any,
) -> Registration: ...
def register(
    env_id: str,
    /,
    *,
    rows: RowSource | None = None,
    prompt: Callable[[Any], str | Sequence[Message]] | str | None = None,
    answer: Callable[[Any], Any] | str | None = None,
    verify: Verifier | None = None,
    split: str | None = None,
    levels: Sequence[Mapping[str, Any]] = (),
    max_turns: int | None = None,
    chance: float = 0.0,
    answer_is_program: bool = False,
    description: str = "",
    **knobs: Any,
) -> Registration | RowsSpec:
    """Register an environment under `namespace/name-vN`; every other keyword is a knob with its default.

    Above a function `make(rng, **knobs) -> Task` it makes single-turn tasks; above a class with `start(rng, **knobs)` and
    `turn(text)` it plays episodes of up to `max_turns`; with `rows=` it makes one task per row of a data set: `prompt`
    is a function of the row or a format string, `answer` a function or a field (default `answer`), `verify(task, text)`
    judges, `split` names the field that holds the row's split (without it, the content decides).

    `levels` lists the knobs of level 0, 1, ...; `chance` is the mean reward that guessing earns;
    `answer_is_program` spares the audit's hedges, since two programs in one text are one program.
    Raises ConfigError if the id is malformed or taken (naming both places), or knobs and parameters do not match.
    """
    if ID.fullmatch(env_id) is None:
        raise ConfigError(
            f"environment id {env_id!r} is not of the form namespace/name-vN in lower case, like text/reverse-v0"
        )
    if reserved := RESERVED & set(knobs):
        raise ConfigError(f"{env_id}: {', '.join(sorted(reserved))} cannot be a knob's name; the framework uses it")
    for level, values in enumerate(levels):
        if unknown := set(values) - set(knobs):
            raise ConfigError(
                f"{env_id}: level {level} sets {sorted(unknown)}, which are no knobs; it has {sorted(knobs)}"
            )
    common: dict[str, Any] = {
        "id": env_id,
        "knobs": knobs,
        "levels": tuple(levels),
        "max_turns": max_turns,
        "chance": chance,
        "answer_is_program": answer_is_program,
        "description": description,
    }
    module, location = _caller()
    if rows is None:
        if prompt is not None or answer is not None or verify is not None or split is not None:
            raise ConfigError(
                f"{env_id}: prompt, answer, verify and split describe rows; give rows= too, or use a function"
            )
        return Registration(common, (module, location))
    if prompt is None:
        raise ConfigError(f"{env_id}: rows need prompt=, a function of the row or a format string like '{{question}}'")
    if knobs and not callable(rows):
        raise ConfigError(f"{env_id}: knobs {sorted(knobs)} need rows= to be a function of them")
    common.update(module=module, location=location, max_turns=1, verify=verify)
    spec = RowsSpec(**common, rows=rows, prompt=prompt, answer=answer, split=split)
    _add(spec)
    return spec


def spec(env_id: str) -> EnvSpec:
    """What is registered under an id; imports the plugin that owns its namespace.

    Raises UnknownEnvironmentError with the nearest id, or EnvironmentFault if that plugin cannot be imported.
    """
    found = _specs.get(env_id)
    if found is None:
        match = ID.fullmatch(env_id) if isinstance(env_id, str) else None
        if match is not None:
            plugins.load(match[1])
            found = _specs.get(env_id)
    if found is None:
        raise UnknownEnvironmentError(_unknown(str(env_id)))
    return found


def list_envs() -> list[str]:
    """The ids of all environments there are, sorted: those registered and those that installed plugins would register."""
    return sorted(set(_specs) | set(plugins.declared_ids()))


def tasks(
    env_id: str,
    split: str = "train",
    n: int | None = None,
    seed: int | str = 0,
    *,
    level: int | None = None,
    **knobs: Any,
) -> list[Task]:
    """The first `n` tasks of the stream (seed, split); reproducible on any machine.

    Without `n`: every row of a data set, or 100 tasks of a generator. Raises ConfigError if a data set has fewer than `n`.
    """
    found = spec(env_id)
    values = found.resolve_knobs(level, knobs)
    home = split_named(split, where=env_id)
    count = found.count(home, values)
    if n is None:
        n = 100 if count is None else count
    if count is not None and n > count:
        raise ConfigError(
            f"{env_id} has {count} tasks in the split {home!r}; n={n} would repeat some. Ask for {count} or fewer."
        )
    return [found.task(index, split=home, seed=seed, knobs=values) for index in range(n)]


def registered() -> Mapping[str, EnvSpec]:
    """The specs known in this process."""
    return _specs


def _add(new: EnvSpec) -> None:
    with _lock:
        old = _specs.get(new.id)
        # A notebook cell or an interactive definition may be run again; anything else is two environments with one name.
        again = old is not None and old.module == new.module == "__main__"
        if old is not None and not again:
            raise ConfigError(
                f"{new.id} is registered twice: at {old.location} and at {new.location}. "
                "Rename one, or raise the version if one replaces the other."
            )
        _specs[new.id] = new
    announce([new.id])


def _caller() -> tuple[str, str]:
    """The module and the place that called register()."""
    frame = sys._getframe(2)
    return frame.f_globals.get("__name__", "__main__"), f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _first_paragraph(author: Any) -> str:
    return " ".join((inspect.getdoc(author) or "").split("\n\n")[0].split())


def _unknown(env_id: str) -> str:
    match = ID.fullmatch(env_id)
    known = list_envs()
    if match is None:
        near = difflib.get_close_matches(env_id, known, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{env_id!r} is no environment id; ids look like namespace/name-vN.{hint}"
    namespace, name, _ = match.groups()
    versions = [other for other in known if other.rpartition("-v")[0] == f"{namespace}/{name}"]
    if versions:
        return f"there is no {env_id}; {namespace}/{name} has {', '.join(versions)}"
    near = difflib.get_close_matches(env_id, known, 3, 0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"there is no environment {env_id}.{hint} `rlvr envs list` shows all {len(known)}."
