"""What is registered under an id: where its tasks come from and how their answers are judged."""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from rlvr.answers import final_answer
from rlvr.errors import ConfigError, EnvironmentFault, RlvrError
from rlvr.rows import RowSource, load_rows
from rlvr.score import Score
from rlvr.streams import SPLITS, Split, split_named, split_of, stream, stream_name
from rlvr.task import Message, Task, content_key

Knobs = dict[str, Any]
Verifier = Callable[[Task, str], Score]
Reply = str | list[Message] | Score
"""What a session answers to a turn: a text, tool replies, or the verdict that ends it."""
VerifierT = TypeVar("VerifierT", bound=Callable[..., Any])

MAX_ATTEMPTS = 1000
"""Draws after which a generator is said to be unable to fill a split."""


class Session(Protocol):
    """An episode of several turns. One object an episode; it must be a function of its stream and of the turns."""

    def start(self, rng: random.Random, **knobs: Any) -> str | Sequence[Message] | Task:
        """Sets the episode up and returns the first prompt, or a Task that holds it."""

    def turn(self, text: str) -> Reply:
        """Answers one turn of the model."""


@dataclass(kw_only=True)
class EnvSpec:
    """A registered environment. Use `rlvr.register` to make one."""

    id: str
    """`namespace/name-vN`."""
    knobs: Knobs
    """Every knob with its default."""
    levels: Sequence[Mapping[str, Any]] = ()
    """Knobs of level 0, 1, ...; empty if the environment has no levels."""
    max_turns: int = 1
    """Turns of the model an episode may take."""
    chance: float = 0.0
    """Mean reward that guessing earns, for tasks with few possible answers."""
    answer_is_program: bool = False
    """The answer is a program that is run: what it does counts, so that two of them in one text are no hedge."""
    description: str = ""
    """First paragraph of the author's docstring."""
    module: str = ""
    """The module that registered it."""
    location: str = ""
    """File and line of that."""
    verify: Verifier | None = None
    """The author's verifier; without one the final answer must equal the gold one."""
    solution: Callable[[Task], str | list[str]] | None = None
    """Writes an ideal completion for a task, or one a turn, for a supervised start."""

    kind = "function"

    def verifier(self, verify: VerifierT) -> VerifierT:
        """Decorator: `verify(task, text) -> Score` judges the answers. A pure function; it runs in a worker process."""
        self.verify = verify
        return verify

    def worked_solution(self, write: VerifierT) -> VerifierT:
        """Decorator: `write(task) -> str` gives a complete ideal completion, reasoning included; a list has a text a turn."""
        self.solution = write
        return write

    def resolve_knobs(self, level: int | None, given: Mapping[str, Any]) -> Knobs:
        """Defaults, then the level's knobs, then the given ones. Raises ConfigError for what does not exist."""
        knobs = dict(self.knobs)
        if level is not None:
            if not self.levels:
                raise ConfigError(
                    f"{self.id} has no levels, so level={level!r} means nothing. Its knobs: {_listed(self.knobs)}."
                )
            if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level < len(self.levels):
                raise ConfigError(f"{self.id} has levels 0 to {len(self.levels) - 1}; there is no level {level!r}")
            knobs.update(self.levels[level])
        for name, value in given.items():
            if name not in knobs:
                near = difflib.get_close_matches(name, knobs, 1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ConfigError(f"{self.id} has no knob {name!r}.{hint} Its knobs: {_listed(self.knobs)}.")
            _check_type(self.id, name, value, self.knobs[name])
            knobs[name] = value
        return knobs

    def task(
        self, index: int, *, split: Split = "train", seed: int | str = 0, knobs: Mapping[str, Any] | None = None
    ) -> Task:
        """Task `index` of the stream (seed, split): drawn again until it falls in the split.

        Raises EnvironmentFault if the author's code fails or 1,000 draws did not land in the split.
        """
        values = self.knobs if knobs is None else knobs
        for attempt in range(MAX_ATTEMPTS):
            name = stream_name(seed, split, index, attempt)
            task = self._draw(stream(self.id, name), values)
            if split_of(task.key) == split:
                return task.placed(env_id=self.id, split=split, index=index, knobs=dict(values), stream=name)
        raise EnvironmentFault(
            f"{self.id} drew {MAX_ATTEMPTS} tasks for seed {seed!r} and index {index} and none fell in the split {split!r}. "
            f"It makes too few different tasks with {dict(values)}; choose knobs with more variety."
        )

    def count(self, split: Split, knobs: Mapping[str, Any]) -> int | None:
        """How many tasks the split has, or None if they are drawn without end."""
        return None

    def judge(self, task: Task, text: str) -> Score:
        """The verdict on one text. Total: what the verifier raises or wrongly returns becomes a Score with `error`."""
        return guarded(self.id, lambda: self._verdict(task, text))

    def open(self, task: Task) -> Any:
        """A fresh session for a task of several turns: the author's object."""
        raise EnvironmentFault(f"{self.id} takes one turn; it has no session to open")

    def _draw(self, rng: random.Random, knobs: Mapping[str, Any]) -> Task:
        raise EnvironmentFault(f"{self.id} has no generator")

    def _verdict(self, task: Task, text: str) -> Any:
        return (self.verify or exact_match)(task, text)


@dataclass(kw_only=True)
class FunctionSpec(EnvSpec):
    """Tasks made by a function of a random generator and knobs."""

    make: Callable[..., Task]

    def __call__(self, *args: Any, **kwargs: Any) -> Task:
        """The author's function, so that the decorated name still can be called."""
        return self.make(*args, **kwargs)

    def _draw(self, rng: random.Random, knobs: Mapping[str, Any]) -> Task:
        task = _author(self.id, "its generator", knobs, lambda: self.make(rng, **knobs))
        if not isinstance(task, Task):
            raise EnvironmentFault(
                f"{self.id}: its generator returned {type(task).__name__}, not an rlvr.Task: {task!r:.80}"
            )
        return task


@dataclass(kw_only=True)
class RowsSpec(EnvSpec):
    """Tasks made from the rows of a data set. Rows keep the split their source gave them."""

    rows: RowSource
    prompt: Callable[[Any], str | Sequence[Message]] | str
    answer: Callable[[Any], Any] | str | None
    split: str | None
    _loaded: dict[str, dict[Split, list[Task]]] = field(default_factory=dict, repr=False)

    kind = "rows"

    def task(
        self, index: int, *, split: Split = "train", seed: int | str = 0, knobs: Mapping[str, Any] | None = None
    ) -> Task:
        """Row `index` of the split, in an order shuffled by the seed; seed 0 keeps the source's order. Wraps around."""
        values = self.knobs if knobs is None else knobs
        tasks = self._tasks(values)[split]
        if not tasks:
            raise ConfigError(f"{self.id} has no rows in the split {split!r} with {dict(values)}; use the other split")
        place = index % len(tasks)
        if seed != 0:
            place = _shuffled(self.id, json.dumps(seed), split, len(tasks))[place]
        return tasks[place].placed(index=index, stream=stream_name(seed, split, index, 0))

    def count(self, split: Split, knobs: Mapping[str, Any]) -> int | None:
        """How many rows the split has."""
        return len(self._tasks(knobs)[split])

    def _tasks(self, knobs: Mapping[str, Any]) -> dict[Split, list[Task]]:
        name = json.dumps(knobs, sort_keys=True)
        if name not in self._loaded:
            self._loaded[name] = self._load(knobs)
        return self._loaded[name]

    def _load(self, knobs: Mapping[str, Any]) -> dict[Split, list[Task]]:
        tasks: dict[Split, list[Task]] = {split: [] for split in SPLITS}
        homes: dict[str, tuple[Split, int]] = {}
        for number, row in enumerate(load_rows(self.rows, knobs, env_id=self.id)):
            task = self._task_of(row, number, knobs)
            if self.split is None:
                home = split_of(task.key)
            elif self.split in row:
                home = split_named(row[self.split], where=f"{self.id} row {number}")
            else:
                raise ConfigError(f"{self.id}: row {number} has no field {self.split!r}, which should name its split")
            other, first = homes.setdefault(task.key, (home, number))
            if other != home:
                raise ConfigError(
                    f"{self.id}: rows {first} and {number} ask the same, one in {other} and one in {home}, so training would "
                    f"see an evaluation item: {task.text[:80]!r}. Remove one of them."
                )
            tasks[home].append(task.placed(env_id=self.id, split=home, knobs=dict(knobs)))
        return tasks

    def _task_of(self, row: Any, number: int, knobs: Mapping[str, Any]) -> Task:
        def build() -> Task:
            prompt = self.prompt(row) if callable(self.prompt) else self.prompt.format_map(row)
            if callable(self.answer):
                answer = self.answer(row)
            else:
                answer = row[self.answer] if self.answer is not None else row.get("answer")
            tools = row.get("tools")  # OpenAI definitions, where the data set is about calling them
            return Task(prompt, answer=answer, data=dict(row), tools=tools if isinstance(tools, list) else None)

        return _author(self.id, f"row {number}", knobs, build)


@dataclass(kw_only=True)
class SessionSpec(EnvSpec):
    """Episodes of several turns, played by a class of the author."""

    session: Callable[[], Session]

    kind = "session"

    def open(self, task: Task) -> Any:
        """The session of `task`, set up again from its stream."""
        session = self.session()
        _author(self.id, "start", task.knobs, lambda: session.start(stream(self.id, task.stream), **task.knobs))
        return session

    def _draw(self, rng: random.Random, knobs: Mapping[str, Any]) -> Task:
        session = self.session()
        first = _author(self.id, "start", knobs, lambda: session.start(rng, **knobs))
        if isinstance(first, Task):
            return first
        # Episodes that open with the same words differ in what they hide, so the hidden state is part of the identity.
        return Task(first, key=content_key(str(first) + _canonical_state(self.id, session)))

    def _verdict(self, task: Task, text: str) -> Any:
        return self._play(task, [text])

    def _play(self, task: Task, turns: Sequence[str]) -> Any:
        session = self.open(task)
        for text in turns[: self.max_turns]:
            reply = session.turn(text)
            if not isinstance(reply, str | list):
                return reply
        return Score(0.0, reason="unfinished")

    def judge_turns(self, task: Task, turns: Sequence[str]) -> Score:
        """The verdict on a whole episode, played again turn by turn; 0 with reason `unfinished` if it never ended."""
        return guarded(self.id, lambda: self._play(task, turns))


def exact_match(task: Task, text: str) -> Score:
    """1 if the final answer, stripped, is the gold answer, stripped. The default verifier."""
    if task.answer is None or isinstance(task.answer, list | dict):
        raise EnvironmentFault(
            f"{task.env_id}: exact match needs a text or a number as answer, not {type(task.answer).__name__}; add a verifier"
        )
    given = final_answer(text)
    if given is None:
        return Score(0.0, reason="no_answer")
    right = given == str(task.answer).strip()
    return Score(1.0 if right else 0.0, reason="correct" if right else "wrong")


def guarded(env_id: str, verdict: Callable[[], Any]) -> Score:
    """The Score that `verdict` returns; anything else it does is named in a Score with `error` and reward 0."""
    try:
        value = verdict()
        if isinstance(value, Score):
            return value
        if value is None or isinstance(value, bool) or not isinstance(value, int | float):
            return Score.failure(f"{env_id}: the verifier returned {value!r:.80}, not an rlvr.Score")
        return Score(float(value))
    except RecursionError:
        return Score.failure(f"{env_id}: RecursionError in the verifier")
    except Exception as fault:  # the author's code, on a text that nobody vouches for: a fault is counted, not raised
        return Score.failure(f"{env_id}: {type(fault).__name__}: {str(fault)[:300]}")


ValueT = TypeVar("ValueT")


def _author(env_id: str, what: str, knobs: Mapping[str, Any], call: Callable[[], ValueT]) -> ValueT:
    try:
        return call()
    except RlvrError:
        raise
    except Exception as fault:
        raise EnvironmentFault(
            f"{env_id}: {what} failed with knobs {dict(knobs)!r:.200}: {type(fault).__name__}: {fault}"
        ) from fault


def check_parameters(env_id: str, function: Callable[..., Any], knobs: Mapping[str, Any], skip: int) -> None:
    """Raises ConfigError unless `function` takes exactly the knobs after its first `skip` parameters."""
    parameters = list(inspect.signature(function).parameters.values())[skip:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = {parameter.name for parameter in parameters}
    optional = {parameter.name for parameter in parameters if parameter.default is not parameter.empty}
    if names - optional - set(knobs):
        raise ConfigError(
            f"{env_id}: its function takes {sorted(names - set(knobs))}, which register() gives no default for"
        )
    if set(knobs) - names:
        raise ConfigError(
            f"{env_id}: register() has knobs {sorted(set(knobs) - names)} that its function does not take"
        )


def _check_type(env_id: str, name: str, value: Any, default: Any) -> None:
    if default is None or value is None:
        return
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return
    sequences = (list, tuple)
    if type(value) is not type(default) and not (isinstance(value, sequences) and isinstance(default, sequences)):
        raise ConfigError(
            f"{env_id}: knob {name} is {value!r} ({type(value).__name__}); "
            f"it must be {type(default).__name__} like its default {default!r}"
        )


def _canonical_state(env_id: str, session: Session) -> str:
    state = session.state() if hasattr(session, "state") else vars(session)

    def plain(value: Any) -> Any:
        if isinstance(value, set | frozenset):
            return sorted(json.dumps(item, default=plain, sort_keys=True) for item in value)
        if isinstance(value, random.Random):
            return None
        if isinstance(value, bytes):
            return value.hex()
        raise TypeError(f"{type(value).__name__} {value!r:.60}")

    try:
        return json.dumps(state, default=plain, sort_keys=True)
    except (TypeError, ValueError) as fault:
        raise EnvironmentFault(
            f"{env_id}: cannot tell its episodes apart, because their state holds {fault}. "
            "Give the session a method state() that returns JSON values, or return an rlvr.Task with a key from start()."
        ) from fault


_orders: dict[tuple[str, str, str, int], list[int]] = {}


def _shuffled(env_id: str, seed: str, split: str, count: int) -> list[int]:
    name = (env_id, seed, split, count)
    if name not in _orders:
        order = list(range(count))
        digest = hashlib.sha256("/".join(map(str, name)).encode()).digest()
        random.Random(int.from_bytes(digest, "big")).shuffle(order)
        _orders.clear()  # one order at a time is enough: a run walks one split with one seed
        _orders[name] = order
    return _orders[name]


def _listed(knobs: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in knobs.items()) or "none"
