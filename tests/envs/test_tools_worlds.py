"""The six worlds: every task proves itself, and an episode behaves as it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

import rlvr
from rlvr.errors import ConfigError, EnvironmentFault
from rlvr.spec import SessionSpec
from rlvr.verifiers.toolcall import write
from rlvr_envs.tools.disguise import DISTRACTORS
from rlvr_envs.tools.proof import play, prove, random_reward
from rlvr_envs.tools.session import WorldSession
from rlvr_envs.tools.store import diff

WORLDS = ("files", "booking", "bank", "inventory", "sheet", "transit")


def spec_of(world: str) -> SessionSpec:
    spec = rlvr.spec(f"tools/{world}-v0")
    assert isinstance(spec, SessionSpec)
    return spec


def open_session(world: str, index: int = 0, **knobs: Any) -> tuple[rlvr.Task, WorldSession]:
    (task,) = rlvr.tasks(f"tools/{world}-v0", n=index + 1, **knobs)[index:]
    return task, spec_of(world).open(task)


def call(name: str, **arguments: Any) -> str:
    return write([{"name": name, "arguments": arguments}])


def content(reply: Any, place: int = 0) -> str:
    assert isinstance(reply, list), reply
    return str(reply[place]["content"])


@pytest.mark.parametrize("world", WORLDS)
def test_every_task_proves_itself(world: str) -> None:
    spec = spec_of(world)
    for index in range(50):
        task = spec.task(index, seed="proof", knobs=spec.resolve_knobs((0, 1, 2)[index % 3], {}))
        assert prove(spec, task, index) == []


@pytest.mark.parametrize("world", WORLDS)
def test_tasks_of_the_hard_levels_prove_themselves(world: str) -> None:
    spec = spec_of(world)
    for index in range(2):
        for level in (3, 4, 5):
            task = spec.task(index, seed="hard", knobs=spec.resolve_knobs(level, {}))
            assert prove(spec, task, index) == []


def test_kinds_of_request_can_be_chosen() -> None:
    spec = spec_of("sheet")
    tasks = rlvr.tasks("tools/sheet-v0", n=30, level=0, kinds="fill,sort")
    assert {spec.open(task).scenario.request.kind for task in tasks} == {"fill", "sort"}
    with pytest.raises(EnvironmentFault, match=r"kinds='sorted' .* it has the kinds fill, fix, groups, sort"):
        rlvr.tasks("tools/sheet-v0", n=1, level=0, kinds="sorted")


@pytest.mark.parametrize("world", WORLDS)
def test_random_calls_win_nothing(world: str) -> None:
    spec = spec_of(world)
    tasks = [spec.task(index, seed="random", knobs=spec.resolve_knobs(0, {})) for index in range(40)]
    assert sum(random_reward(spec, task, seed) for seed, task in enumerate(tasks)) == 0


@pytest.mark.parametrize("world", WORLDS)
def test_refusals_earn_the_reward_only_with_their_reason_and_an_untouched_state(world: str) -> None:
    refused = 0
    for index in range(12):
        task, session = open_session(world, index, refuse=1.0)
        assert prove(spec_of(world), task) == []
        wrong = call("submit", status="refused", detail="rule 9")
        assert play(spec_of(world).open(task), [wrong]).reward == 0.0
        refused += 1
        # The tool that was taken away is really gone.
        if session.scenario.removed_tool:
            assert session.scenario.removed_tool not in session.disguise.tools
    assert refused == 12


@pytest.mark.parametrize("world", WORLDS)
def test_a_user_tells_what_the_instruction_leaves_out_and_only_when_asked(world: str) -> None:
    for index in range(6):
        task, session = open_session(world, index, user=True)
        request = session.scenario.request
        told = [slot.sentence for slot in request.slots]
        assert told
        assert task.messages[-1]["content"] == request.open_text != request.text
        assert play(spec_of(world).open(task), session.gold_turns()).correct
        reply = session.turn("Hm, let me see.")
        assert isinstance(reply, str)
        assert not any(sentence in reply for sentence in told)
        for slot in request.slots:
            answer = session.turn(f"Please tell me about this: {slot.keywords[0]}?")
            assert isinstance(answer, str)
            assert slot.sentence in answer


def test_a_user_leaves_when_he_is_bothered_for_nothing() -> None:
    _, session = open_session("files", user=True)
    for _ in range(2):
        assert isinstance(session.turn("..."), str)
    assert isinstance(session.turn("..."), rlvr.Score)


@pytest.mark.parametrize("world", WORLDS)
def test_scrambled_tools_still_work_and_say_less(world: str) -> None:
    for scramble in ("names", "arguments", "descriptions"):
        task, session = open_session(world, scramble=scramble, distractor_tools=10)
        own = {tool.name for tool in session.world.tools}
        shown = {tool["function"]["name"]: tool["function"] for tool in task.tools or ()}
        assert len(shown) == len(own) + 1 + len(DISTRACTORS)
        assert not own & set(shown)
        described = ["description" in function for name, function in shown.items() if name != "submit"]
        assert all(described) if scramble != "descriptions" else not any(described)
        assert play(spec_of(world).open(task), session.gold_turns()).correct


@pytest.mark.parametrize("world", WORLDS)
def test_calls_that_fail_for_no_reason_can_be_made_again(world: str) -> None:
    surplus = 0
    for index in range(4):
        _, session = open_session(world, index, failures=0.5, writes=4, size=120)
        turns = session.gold_turns()
        surplus += len(turns) - len(session.scenario.plan)
        assert play(session, turns).correct
    assert surplus > 0


@pytest.mark.parametrize("world", WORLDS)
def test_the_same_stream_gives_the_same_task_and_another_one_another(world: str) -> None:
    one, two = (rlvr.tasks(f"tools/{world}-v0", n=5, seed=3) for _ in range(2))
    assert [task.to_json() for task in one] == [task.to_json() for task in two]
    other = rlvr.tasks(f"tools/{world}-v0", n=5, seed=4)
    assert not {task.key for task in one} & {task.key for task in other}
    assert not {task.key for task in one} & {task.key for task in rlvr.tasks(f"tools/{world}-v0", "eval", n=5, seed=3)}


@pytest.mark.parametrize("world", WORLDS)
def test_snapshot_restore_fork_and_diff(world: str) -> None:
    _, session = open_session(world, writes=3, size=120)
    turns = session.gold_turns()
    session.turn(turns[0])
    middle = session.snapshot()
    twin = session.fork()
    assert play(twin, turns[1:]).correct
    assert session.diff() == diff_of_first_call(world, turns[0])
    play(session, turns[1:])
    session.restore(middle)
    assert session.num_calls == 1
    assert play(session, turns[1:]).correct


def diff_of_first_call(world: str, turn: str) -> Any:
    _, fresh = open_session(world, writes=3, size=120)
    before = fresh.store.fork()
    fresh.turn(turn)
    return diff(before, fresh.store)


def test_errors_are_messages_cost_budget_and_end_nothing() -> None:
    _, session = open_session("files")
    broken = session.turn('<tool_call>{"name": "ls", "arguments": {"path": "/"}</tool_call>')
    assert content(broken).startswith("error: bad_json")
    assert "Did you mean 'mv'" in content(session.turn(call("mv2", source="/a", target="/b")))
    assert "$.path is missing" in content(session.turn(call("ls")))
    assert content(session.turn(call("ls", path="/nowhere"))) == "error: /nowhere does not exist"
    assert (session.num_calls, session.num_errors) == (4, 4)
    assert json.loads(content(session.turn(call("ls", path="/"))))
    assert session.diff() == {}


def test_calls_of_one_turn_run_in_their_order_and_each_is_answered() -> None:
    _, session = open_session("files")
    calls = [
        ("mkdir", {"path": "/new"}),
        ("write", {"path": "/new/a", "content": "x"}),
        ("cat", {"path": "/new/a"}),
        ("rm", {"path": "/new"}),
    ]
    replies = session.turn(write([{"name": name, "arguments": arguments} for name, arguments in calls]))
    assert [content(replies, place) for place in range(4)] == ['"made"', '"written"', '"x"', "error: /new is not empty"]
    assert [message["name"] for message in replies] == ["mkdir", "write", "cat", "rm"]
    assert all(message["role"] == "tool" for message in replies)


def test_the_budget_of_calls_ends_the_episode_without_the_reward() -> None:
    _, session = open_session("files", max_calls=3)
    score = session.turn(call("ls", path="/") * 5)
    assert isinstance(score, rlvr.Score)
    assert score.reason == "the budget of 3 calls is used up"
    assert not score.correct


def test_long_results_are_cut_and_say_so() -> None:
    _, session = open_session("files", size=1000)
    text = content(session.turn(call("find", text="doc")))
    assert text.endswith("ask for less)")
    assert len(text) < 4_100


def test_a_failed_call_leaves_no_trace() -> None:
    _, session = open_session("bank")
    first = session.store.one("SELECT id, balance FROM accounts ORDER BY id")
    other = session.store.all("SELECT id FROM accounts ORDER BY id")[1]["id"]
    assert first is not None
    reply = session.turn(call("transfer", source=first["id"], target=other, amount=first["balance"] + 1))
    assert content(reply).startswith("error:")
    reply = session.turn(call("transfer", source=first["id"], target=other, amount=2**70))
    assert content(reply).startswith("error:")
    assert session.diff() == {}


def test_money_is_neither_made_nor_lost() -> None:
    for index in range(10):
        _, session = open_session("bank", index, writes=4, size=120)
        start = sum(row["balance"] for row in session.store.all("SELECT balance FROM accounts"))
        play(session, session.gold_turns()[:-1])
        end = sum(row["balance"] for row in session.store.all("SELECT balance FROM accounts"))
        changed = session.diff()["ledger"].added.values()
        inward = sum(row["amount"] for row in changed if row["credit"].startswith("A"))
        outward = sum(row["amount"] for row in changed if row["debit"].startswith("A"))
        assert end - start == inward - outward


def test_an_episode_goes_through_gymnasium_and_through_the_worker_processes() -> None:
    env = rlvr.make("tools/sheet-v0", level=0)
    text, info = env.reset(options={"index": 3})
    turns = env.unwrapped.task.data["turns"]  # type: ignore[attr-defined]
    assert "spreadsheet" in text
    for turn in turns[:-1]:
        _, reward, terminated, _, info = env.step(turn)
        assert (reward, terminated, info["messages"][-1]["role"]) == (0.0, False, "tool")
    assert env.step(turns[-1])[1:3] == (1.0, True)
    tasks = rlvr.tasks("tools/transit-v0", n=4)
    with rlvr.ScoringPool(workers=1) as pool:
        scores = pool.score([*tasks, *tasks], [list(task.data["turns"]) for task in tasks] + [["no"]] * 4)
    assert [score.reward for score in scores] == [1.0] * 4 + [0.0] * 4


def test_other_formats_and_parallel_calls_work_as_well() -> None:
    for format in ("qwen3_coder", "llama3_json", "mistral", "openai"):
        _, session = open_session("bank", format=format, writes=3, size=120)
        plan = [session.disguise.cover(each) for each in session.scenario.plan]
        assert play(session, [write(plan, format)]).correct, format


def test_tools_and_format_can_be_described_in_the_prompt() -> None:
    task, _ = open_session("files", show_tools=True)
    assert '"name": "mkdir"' in task.messages[0]["content"]
    assert "<tool_call>" in task.messages[0]["content"]


def test_knobs_out_of_range_are_named() -> None:
    for knob, value in (("writes", 0), ("refuse", 2.0), ("scramble", "x"), ("size", 3), ("distractor_tools", 11)):
        with pytest.raises(ConfigError, match=f"{knob} is {value!r}"):
            rlvr.tasks("tools/files-v0", n=1, **{knob: value})


def test_the_answer_must_be_submitted_with_its_type() -> None:
    for index in range(60):
        task, session = open_session("inventory", index)
        if session.scenario.request.kind == "worth":
            break
    turns = session.gold_turns()
    gold = session.scenario.expected.answer
    for answer, right in ((gold, 1.0), (gold + 1, 0.0), (float(gold) + 0.5, 0.0)):
        end = call("submit", status="done", answer=answer)
        score = play(spec_of("inventory").open(task), [*turns[:-1], end])
        assert score.reward == right
    # The answer as a text breaks the type: that is an error, which ends nothing.
    reply = play_reply(spec_of("inventory").open(task), [*turns[:-1], call("submit", status="done", answer=str(gold))])
    assert "must be integer" in content(reply)


def play_reply(session: WorldSession, turns: list[str]) -> Any:
    for turn in turns:
        reply = session.turn(turn)
    return reply
