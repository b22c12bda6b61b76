"""Episodes in a world: the prompt, the model's turns, the budget, and the verdict at the end.

One step is one turn of the model. Its calls run one after another, in their order, each answered by one tool message. A
call that cannot be read or carried out is answered by an error, costs budget, and ends nothing. The episode ends with
`submit`, with a turn without calls (unless a user is there to answer it), or when the budget is used up.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from rlvr.errors import ConfigError
from rlvr.score import Score
from rlvr.task import Message, Task, content_key
from rlvr.verifiers.toolcall import ParsedCall, check_call, parse, write
from rlvr.verifiers.toolcall.schema import ToolSet
from rlvr_envs.tools import disguise
from rlvr_envs.tools.scenario import Scenario, draw, same_answer
from rlvr_envs.tools.store import Diff, Store, diff
from rlvr_envs.tools.tool import Tool, ToolError, schema_of
from rlvr_envs.tools.user import ScriptedUser
from rlvr_envs.tools.world import Request, World, judge

MAX_RESULT_CHARS = 4_000
"""Characters of one tool message; longer results are cut and say so."""

KNOBS: dict[str, Any] = {
    "size": 40,
    "writes": 2,
    "kinds": "",
    "distractor_tools": 0,
    "scramble": "none",
    "failures": 0.0,
    "refuse": 0.0,
    "user": False,
    "max_calls": 40,
    "format": "hermes",
    "show_tools": False,
}
"""Knobs of every world.

`size`: rows in the largest table. `writes`: changes a plan takes, about. `kinds`: only these kinds of request, such as
`sort,fill` (docs/worlds.md names them; empty takes all). `distractor_tools`: tools that have nothing to
do with the task. `scramble`: `none`, `names` (tools are called tool_1, ...), `arguments` (so are their arguments too)
or `descriptions` (and nothing is described). `failures`: share of calls that fail once for no reason. `refuse`: share of
tasks that must be refused, because a rule forbids them or the tool is missing. `user`: facts are left out of the
instruction, and a scripted user tells them when asked. `max_calls`: calls an episode may make. `format`: how the model
writes calls. `show_tools`: describe tools and format in the system prompt, for chat templates that do not.
"""

LEVELS: tuple[dict[str, Any], ...] = (
    {"size": 12, "writes": 1},
    {"size": 40, "writes": 2},
    {"size": 120, "writes": 4, "distractor_tools": 3, "max_calls": 60},
    {"size": 250, "writes": 6, "distractor_tools": 3, "failures": 0.1, "refuse": 0.1, "max_calls": 80},
    {"size": 500, "writes": 9, "distractor_tools": 10, "failures": 0.1, "refuse": 0.2, "user": True, "max_calls": 120},
    {
        "size": 1000,
        "writes": 12,
        "distractor_tools": 10,
        "failures": 0.15,
        "refuse": 0.2,
        "user": True,
        "scramble": "names",
        "max_calls": 160,
    },
)


_scenarios: OrderedDict[Any, tuple[Scenario, disguise.Disguise]] = OrderedDict()
"""The latest scenarios by stream and knobs. Drawing a task and then playing it needs the same one several times over."""
_MAX_SCENARIOS = 64


def submit_tool(request: Request) -> Tool:
    """The tool that ends an episode, with the type of this task's answer."""
    lines = {"status": "string(done|refused): whether the task was carried out"}
    if request.answer:
        lines["answer"] = request.answer.replace(":", "?:", 1)
    lines["detail"] = "string?: if refused, the rule (such as 'rule 2') or the operation that is missing"
    text = "End the task. Nothing can be done after it."
    return Tool("submit", text, schema_of(lines), lambda store: None, False)


class WorldSession:
    """One episode. Subclasses set `world`; `rlvr.register` makes an environment of them."""

    world: World

    def start(
        self,
        rng: random.Random,
        size: int,
        writes: int,
        kinds: str,
        distractor_tools: int,
        scramble: str,
        failures: float,
        refuse: float,
        user: bool,
        max_calls: int,
        format: str,
        show_tools: bool,
    ) -> Task:
        """Draw a state and a request; the Task holds the prompt, the tools and, hidden, the gold plan."""
        check_knobs(self.world.name, size, writes, failures, refuse, max_calls)
        stamp = (self.world.name, rng.getstate(), size, writes, kinds, distractor_tools, scramble, failures, refuse, user)
        found = _scenarios.get(stamp)
        if found is None:
            scenario = draw(self.world, rng, size, writes, failures, refuse, kinds)
            kept = [tool for tool in self.world.tools if tool.name != scenario.removed_tool]
            found = scenario, disguise.make(rng, [*kept, submit_tool(scenario.request)], distractor_tools, scramble)
            _scenarios[stamp] = found
            if len(_scenarios) > _MAX_SCENARIOS:
                _scenarios.popitem(last=False)
        self.scenario, self.disguise = found
        self.format, self.max_calls = format, max_calls
        self.may_refuse = refuse > 0
        self.tools = ToolSet(self.disguise.definitions)
        self.store = Store.open(self.scenario.snapshot, self.world.ddl, self.world.tables)
        self.num_calls = self.num_errors = 0
        request = self.scenario.request
        self.user = ScriptedUser(request.slots) if user and request.slots else None
        prompt = self._prompt(show_tools)
        # SQLite's bytes differ between its versions, so the identity goes by the rows.
        key = content_key(json.dumps(prompt) + self.scenario.digest, self.disguise.definitions)
        return Task(prompt, data={"turns": self.gold_turns()}, tools=self.disguise.definitions, key=key)

    def turn(self, text: str) -> str | list[Message] | Score:
        """Carry out one turn of the model."""
        parsed = parse(text, self.format, self.tools)
        if not parsed.calls:
            said = self.user.reply(text) if self.user is not None else None
            return said if said is not None else self.leave()
        replies: list[Message] = []
        for call in parsed.calls:
            result = self.act(call)
            if isinstance(result, Score):
                return result
            replies.append(_message(call, result))
        return replies

    def act(self, call: ParsedCall) -> str | Score:
        """Carry out one call: what its tool message says, or the Score that ends the episode."""
        if self.num_calls >= self.max_calls:
            return self._end(None, f"the budget of {self.max_calls} calls is used up", exhausted=True)
        self.num_calls += 1
        problem = check_call(call, self.tools)
        if problem:
            self.num_errors += 1
            return f"error: {problem}"
        name, arguments = self.disguise.reveal(call.name, call.arguments)
        return self._end(arguments, "") if name == "submit" else self._carry_out(name, arguments)

    def _carry_out(self, name: str, arguments: Mapping[str, Any]) -> str:
        number = self.num_calls - 1
        if number in self.scenario.failing_calls:
            return "error: temporarily unavailable, nothing was done; try again"
        tool = self.disguise.tools[name]
        self.store.run("SAVEPOINT call")
        try:
            result = tool.run(self.store, **arguments)
        except ToolError as refusal:
            self.store.run("ROLLBACK TO call")
            self.num_errors += 1
            return f"error: {refusal}"[:MAX_RESULT_CHARS]
        except (sqlite3.Error, OverflowError) as fault:  # an integer past SQLite's range, a query too large
            self.store.run("ROLLBACK TO call")
            self.num_errors += 1
            return f"error: {fault}"[:MAX_RESULT_CHARS]
        finally:
            self.store.run("RELEASE call")
        text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
        if len(text) > MAX_RESULT_CHARS:
            text = text[:MAX_RESULT_CHARS] + f"... (cut at {MAX_RESULT_CHARS:,} characters; ask for less)"
        return text

    def _end(self, submitted: Mapping[str, Any] | None, why: str, exhausted: bool = False) -> Score:
        """The verdict on the state as it is and on what was submitted."""
        scenario = self.scenario
        with_submit = dict(submitted or {})
        first = Store.open(scenario.snapshot, self.world.ddl, self.world.tables)
        difference = diff(scenario.contents, self.store)
        if scenario.refusal:
            named = with_submit.get("status") == "refused" and _names(with_submit.get("detail"), scenario.refusal)
            missing = "" if named else why or "this should have been refused, with the reason"
            surplus = "something was changed" if difference else ""
            answered = named
        else:
            missing, surplus = judge(scenario.expected, first, self.store, difference)
            wanted = scenario.expected.answer
            answered = with_submit.get("status") == "done" and same_answer(with_submit.get("answer"), wanted)
            if submitted is None and wanted is None:
                answered = True  # acting was all that was asked for
            if not answered and not missing:
                missing = why or "the answer is not the one the data give"
        first.close()
        right = answered and not missing and not surplus and not exhausted
        parts = {"required": float(not missing), "frame": float(not surplus), "answer": float(answered)}
        detail = {"calls": self.num_calls, "errors": self.num_errors}
        reason = "done" if right else (why if exhausted else missing or surplus)
        return Score(float(right), parts, reason, detail=detail)

    def leave(self) -> Score:
        """The verdict if the model says and does no more."""
        return self._end(None, "the episode ended without submit")

    def snapshot(self) -> bytes:
        """The whole episode so far, to be given to `restore` of a session of the same task."""
        head = {
            "num_calls": self.num_calls,
            "num_errors": self.num_errors,
            "empty_answers": self.user.empty_answers if self.user else 0,
        }
        return json.dumps(head).encode() + b"\n" + self.store.snapshot()

    def restore(self, snapshot: bytes) -> None:
        """Go back to a snapshot."""
        head, _, state = snapshot.partition(b"\n")
        values = json.loads(head)
        self.num_calls, self.num_errors = values["num_calls"], values["num_errors"]
        if self.user:
            self.user.empty_answers = values["empty_answers"]
        self.store.restore(state)

    def fork(self) -> WorldSession:
        """An episode that goes its own way from here."""
        twin = type(self)()
        twin.__dict__.update(self.__dict__)
        twin.store = self.store.fork()
        if self.user:
            twin.user = ScriptedUser(self.user.slots)
        twin.restore(self.snapshot())
        return twin

    def diff(self) -> Diff:
        """What the episode has changed so far."""
        return diff(self.scenario.contents, self.store)

    def gold_turns(self) -> list[str]:
        """Turns of a model that earn the reward: questions if a user holds facts back, then one call a turn."""
        turns: list[str] = []
        if self.user is not None:
            asked = " ".join(slot.keywords[0] for slot in self.user.slots)
            turns.append(f"Before I begin, please tell me: {asked}?")
        number = 0
        for call in self.scenario.plan:
            text = write([self.disguise.cover(call)], self.format)
            while number in self.scenario.failing_calls and call["name"] != "submit":
                turns.append(text)  # it fails once and is made again
                number += 1
            turns.append(text)
            number += 1
        return turns

    def _prompt(self, show_tools: bool) -> list[Message]:
        request = self.scenario.request
        rules = "\n".join(f"Rule {i}: {rule}" for i, rule in enumerate(self.world.rules, 1))
        system = (
            f"{self.world.about}\nRules of the house:\n{rules}\n"
            "Use the tools to do what the user asks, all of it and nothing else. "
            "If it breaks a rule or a tool that it needs is missing, change nothing and submit status refused, with the rule "
            "or the name of the missing operation as detail. When all is done, call submit."
        )
        if self.may_refuse:
            system += f" The operations of the house are {', '.join(tool.name for tool in self.world.tools)}."
        if self.user is not None:
            system += " The user may have left something out; ask him in a message without a call."
        if show_tools:
            listed = "\n".join(json.dumps(tool["function"]) for tool in self.disguise.definitions)
            example = write([{"name": "submit", "arguments": {"status": "done"}}], self.format)
            system += f"\nTools:\n{listed}\nWrite a call like this:\n{example}"
        text = request.open_text if self.user is not None and request.open_text else request.text
        return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def worked_turns(task: Task) -> list[str]:
    """The turns of a model that carries out the gold plan, for `worked_solution`."""
    return list(task.data["turns"])


def _names(detail: Any, wanted: str) -> bool:
    if not isinstance(detail, str):
        return False
    return detail.strip().casefold().rstrip(".") == wanted.casefold()


def _message(call: ParsedCall, content: str) -> Message:
    message: Message = {"role": "tool", "name": call.name or "unknown", "content": content}
    if call.call_id:
        message["tool_call_id"] = call.call_id
    return message


def check_knobs(name: str, size: int, writes: int, failures: float, refuse: float, max_calls: int) -> None:
    """Raise ConfigError for a knob out of its range."""
    for knob, value, low, high in (
        ("size", size, 6, 20_000),
        ("writes", writes, 1, 12),
        ("failures", failures, 0, 0.5),
        ("refuse", refuse, 0, 1),
        ("max_calls", max_calls, 1, 400),
    ):
        if not low <= value <= high:
            raise ConfigError(f"tools/{name}-v0: {knob} is {value}; it must be from {low} to {high}")
