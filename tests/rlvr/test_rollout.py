from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rlvr
from rlvr.errors import ConfigError, EngineError, StaleWeightsError
from rlvr.generation.engine import Completion, Request, Sampling
from rlvr.generation.scripted import ScriptedEngine
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool
from rlvr.task import Message
from rlvr.trajectory import Trajectory


@rlvr.register("rollouttest/add-v0", digits=2)
def add(rng: random.Random, digits: int) -> rlvr.Task:
    left, right = rng.randrange(10**digits), rng.randrange(10**digits)
    return rlvr.Task(f"{left}+{right}=", answer=str(left + right))


@rlvr.register("rollouttest/hostile-v0")
def hostile(rng: random.Random) -> rlvr.Task:
    return rlvr.Task(f"Say anything, {rng.random()}.", answer="")


@hostile.verifier
def check(task: rlvr.Task, text: str) -> rlvr.Score:
    if text == "hang":
        time.sleep(60)
    if text == "raise":
        raise RuntimeError("the verifier is broken")
    return rlvr.Score(1.0)


@rlvr.register("rollouttest/talk-v0", max_turns=6, length=4)
class Talk:
    """Answers every turn in its own words; pays at the `length`th turn if the model never said no."""

    def start(self, rng: random.Random, length: int) -> str:
        self.length, self.turns, self.refused, self.secret = length, 0, False, rng.random()
        return f"Talk {self.secret}"

    def turn(self, text: str) -> str | list[Message] | rlvr.Score:
        self.turns += 1
        self.refused |= "no" in text
        if self.turns == self.length:
            return rlvr.Score(0.0 if self.refused else 1.0)
        if "tool" in text:
            return [{"role": "tool", "content": f"result {self.turns}"}]
        return f"go on {self.turns}"


class Listening(ScriptedEngine):
    """A scripted engine that remembers what it was given and what it gave."""

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
        answers = super().generate(requests, sampling)
        self.__dict__.setdefault("calls", []).append(
            [(list(request.prompt_ids), answer) for request, answer in zip(requests, answers, strict=True)]
        )
        return answers


@pytest.fixture(scope="module")
def pool() -> Iterator[ScoringPool]:
    with ScoringPool(2, timeout_s=2.0) as shared:
        yield shared


def adding(prompt: str, seed: int) -> str:
    """Right for odd seeds."""
    left, right = prompt.removesuffix("=").split("+")
    return str(int(left) + int(right)) if seed % 2 else f"maybe {seed % 1000}"


def play(engine: Any, tasks: Sequence[rlvr.Task], pool: ScoringPool, **changes: Any) -> list[list[Trajectory]]:
    arguments: dict[str, Any] = {"group_size": 2, "sampling": Sampling(), "seed": 0, "pool": pool, **changes}
    return rollout(engine, tasks, **arguments)


def test_every_task_gets_a_group_of_judged_answers_in_order(pool: ScoringPool) -> None:
    tasks = rlvr.tasks("rollouttest/add-v0", n=5)
    groups = play(ScriptedEngine(adding), tasks, pool, group_size=8)
    assert [[(t.group, t.sample, t.task) for t in group] for group in groups] == [
        [(number, sample, task) for sample in range(8)] for number, task in enumerate(tasks)
    ]
    rewards = [trajectory.reward for group in groups for trajectory in group]
    assert 0.0 < sum(rewards) < len(rewards)
    for trajectory in (trajectory for group in groups for trajectory in group):
        assert trajectory.reward == float(trajectory.texts == [trajectory.task.answer])
        assert (trajectory.finish, trajectory.num_turns) == ("stop", 1)


def test_prompt_and_answer_lie_side_by_side_in_the_tokens(pool: ScoringPool) -> None:
    task = rlvr.Task("2+3=", answer="5", env_id="rollouttest/add-v0")
    [[trajectory]] = play(ScriptedEngine(["5"]), [task], pool, group_size=1)
    assert trajectory.token_ids == [*b"2+3=\n5", 257]
    assert trajectory.loss_mask == [False] * 5 + [True] * 2
    assert trajectory.prompt_length == 5
    assert trajectory.messages == [{"role": "user", "content": "2+3="}, {"role": "assistant", "content": "5"}]
    assert trajectory.score == rlvr.Score(1.0, reason="correct")


def test_draws_follow_from_seed_task_and_number_and_not_from_the_rest_of_the_batch(pool: ScoringPool) -> None:
    tasks = rlvr.tasks("rollouttest/add-v0", n=6)
    texts = [[t.texts for t in group] for group in play(ScriptedEngine(adding), tasks, pool, group_size=3)]
    alone = [[t.texts for t in group] for group in play(ScriptedEngine(adding), tasks[4:5], pool, group_size=3)]
    other = [[t.texts for t in group] for group in play(ScriptedEngine(adding), tasks, pool, group_size=3, seed=1)]
    assert alone[0] == texts[4]
    assert other != texts
    assert [[t.texts for t in group] for group in play(ScriptedEngine(adding), tasks, pool, group_size=3)] == texts


def test_a_task_that_is_given_twice_is_drawn_anew(pool: ScoringPool) -> None:
    task = rlvr.tasks("rollouttest/add-v0", n=1)[0]
    first, second = play(ScriptedEngine(lambda prompt, seed: str(seed)), [task, task], pool, group_size=4)
    assert len({trajectory.texts[0] for trajectory in first + second}) == 8


def test_an_answer_that_ran_out_of_tokens_is_truncated_and_not_judged(pool: ScoringPool) -> None:
    task = rlvr.Task("2+3=", answer="5", env_id="rollouttest/add-v0")
    [[whole, cut]] = play(ScriptedEngine(["5", "5 or so"]), [task], pool, sampling=Sampling(max_tokens=2))
    assert (whole.finish, whole.reward, whole.truncated) == ("stop", 1.0, False)
    assert cut.score == rlvr.Score(0.0, reason="truncated")
    assert (cut.finish, cut.truncated, cut.faulty, cut.texts) == ("length", True, False, ["5 "])


def test_a_broken_verifier_makes_a_fault_and_spares_the_others(pool: ScoringPool) -> None:
    tasks = rlvr.tasks("rollouttest/hostile-v0", n=2)
    [[raised, hung], [fine, also_fine]] = play(ScriptedEngine(["raise", "hang", "a", "b"]), tasks, pool)
    assert raised.score is not None
    assert "the verifier is broken" in (raised.score.error or "")
    assert hung.score is not None
    assert hung.score.timed_out
    assert raised.faulty
    assert hung.faulty
    assert [fine.reward, also_fine.reward] == [1.0, 1.0]
    assert not fine.faulty


def test_a_prompt_that_leaves_no_room_is_a_fault_of_its_own_group(pool: ScoringPool) -> None:
    long = rlvr.Task("1" * 50 + "+1=", answer="x", env_id="rollouttest/add-v0")
    short = rlvr.Task("1+1=", answer="2", env_id="rollouttest/add-v0")
    engine = ScriptedEngine(["2"])
    [[faulty, _], [fine, _]] = play(engine, [long, short], pool, max_context=20)
    assert faulty.faulty
    assert faulty.score is not None
    assert "54 tokens" in (faulty.score.error or "")
    assert fine.reward == 1.0


def test_an_answer_never_outgrows_the_context(pool: ScoringPool) -> None:
    task = rlvr.Task("1+1=", answer="2", env_id="rollouttest/add-v0")
    [[trajectory]] = play(ScriptedEngine(["2" * 99]), [task], pool, group_size=1, max_context=12)
    assert len(trajectory.token_ids) == 12
    assert trajectory.finish == "length"


def test_groups_are_reported_once_and_as_soon_as_their_last_score_is_in() -> None:
    short = rlvr.tasks("rollouttest/talk-v0", n=1, length=1)[0]
    long = rlvr.tasks("rollouttest/talk-v0", n=1, length=6)[0]
    engine = Listening(["yes"])
    reported: list[tuple[int, int]] = []

    def on_group(number: int, group: list[Trajectory]) -> None:
        assert all(trajectory.score is not None for trajectory in group)
        reported.append((number, len(engine.__dict__["calls"])))

    with ScoringPool(1) as pool:  # one worker answers in the order it was asked
        play(engine, [long, short], pool, on_group=on_group)
    assert [number for number, _ in reported] == [1, 0]
    assert reported[0][1] < reported[1][1] == 6


def test_an_episode_of_several_turns_ends_with_the_score_of_its_session(pool: ScoringPool) -> None:
    task = rlvr.tasks("rollouttest/talk-v0", n=1, length=3)[0]
    [[polite, rude]] = play(ScriptedEngine(lambda p, s: "yes"), [task], pool, group_size=2)
    assert polite.reward == rude.reward == 1.0
    assert polite.texts == ["yes", "yes", "yes"]
    assert [message["content"] for message in polite.messages[1:]] == ["yes", "go on 1", "yes", "go on 2", "yes"]
    [[refused, _]] = play(ScriptedEngine(lambda p, s: "no"), [task], pool)
    assert (refused.reward, refused.finish) == (0.0, "stop")


def test_an_episode_that_uses_up_its_turns_earns_nothing_and_says_why(pool: ScoringPool) -> None:
    task = rlvr.tasks("rollouttest/talk-v0", n=1, length=5)[0]
    [[trajectory]] = play(ScriptedEngine(["yes"]), [task], pool, group_size=1, max_turns=3)
    assert trajectory.score == rlvr.Score(0.0, reason="turn_limit")
    assert (trajectory.finish, trajectory.num_turns, trajectory.truncated) == ("turn_limit", 3, True)


def test_an_episode_that_outgrows_its_context_between_turns_is_truncated(pool: ScoringPool) -> None:
    task = rlvr.tasks("rollouttest/talk-v0", n=1, length=5)[0]
    [[trajectory]] = play(ScriptedEngine(["yes"]), [task], pool, group_size=1, max_context=len(task.text) + 12)
    assert (trajectory.finish, trajectory.score) == ("length", rlvr.Score(0.0, reason="truncated"))
    assert trajectory.loss_mask[-1]  # the reply that did not fit is not in the buffer


def test_trajectories_survive_json(pool: ScoringPool) -> None:
    tasks = rlvr.tasks("rollouttest/talk-v0", n=2, length=2)
    for trajectory, _ in play(ScriptedEngine(["yes", "no"]), tasks, pool):
        assert Trajectory.from_dict(json.loads(json.dumps(trajectory.to_dict(), allow_nan=False))) == trajectory


def test_tokens_of_weights_that_nobody_served_are_refused(pool: ScoringPool) -> None:
    class Future(ScriptedEngine):
        def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
            return [[Completion([65, 257], [0.0, 0.0], "stop", 9)] * request.n for request in requests]

    with pytest.raises(StaleWeightsError, match="version 9"):
        play(Future(["x"]), rlvr.tasks("rollouttest/add-v0", n=1), pool)


def test_an_aborted_turn_is_no_answer(pool: ScoringPool) -> None:
    class Aborting(ScriptedEngine):
        def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
            return [[Completion([65], [0.0], "abort", 0)] * request.n for request in requests]

    [[trajectory, _]] = play(Aborting(["x"]), rlvr.tasks("rollouttest/add-v0", n=1), pool)
    assert trajectory.faulty


def test_a_turn_that_was_aborted_before_its_first_token_is_no_answer_either(pool: ScoringPool) -> None:
    class Aborting(ScriptedEngine):
        def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
            return [[Completion([], [], "abort", 0)] * request.n for request in requests]

    [[trajectory, _]] = play(Aborting(["x"]), rlvr.tasks("rollouttest/add-v0", n=1), pool)
    assert trajectory.faulty
    assert trajectory.num_sampled == 0


def test_only_the_turns_of_one_task_are_one_conversation(pool: ScoringPool) -> None:
    class Noting(ScriptedEngine):
        def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
            named.extend(request.conversation for request in requests)
            return super().generate(requests, sampling)

    named: list[str] = []
    play(Noting(["yes"]), rlvr.tasks("rollouttest/talk-v0", n=2, length=3), pool)
    assert len(named) == 2 + 4 + 4  # a first turn is one request for its whole group
    assert len(set(named)) == 2
    named.clear()
    play(Noting(["1"]), rlvr.tasks("rollouttest/add-v0", n=2), pool)
    assert named == ["", ""]


def test_an_engine_that_loses_answers_is_an_error(pool: ScoringPool) -> None:
    class Losing(ScriptedEngine):
        def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[list[Completion]]:
            return [answers[1:] for answers in super().generate(requests, sampling)]

    with pytest.raises(EngineError, match="3 completions for 6"):
        play(Losing(["x"]), rlvr.tasks("rollouttest/add-v0", n=3), pool)


def test_a_group_of_none_is_a_wrong_setting(pool: ScoringPool) -> None:
    with pytest.raises(ConfigError, match="group_size is 0"):
        play(ScriptedEngine(["x"]), [], pool, group_size=0)


WORDS = st.sampled_from(["yes", "a tool", "<think>\nhm\n</think>\n\nyes", "  tool <b> ", "no\n", "é<|im_end|>x", ""])


@pytest.mark.parametrize("family", ["plain", "qwen", "llama3", "mistral", "deepseek"])
@settings(max_examples=25, deadline=None)
@given(spoken=st.lists(WORDS, min_size=1, max_size=7), limit=st.integers(3, 40))
def test_the_input_of_every_turn_is_exactly_the_buffer(
    family: str, spoken: list[str], limit: int, pool: ScoringPool, chat_tokenizers: dict[str, Any]
) -> None:
    engine = Listening(spoken, chat_tokenizers.get(family))  # plain: one token a byte, no template
    tasks = rlvr.tasks("rollouttest/talk-v0", n=2, length=4)
    groups = play(engine, tasks, pool, group_size=2, sampling=Sampling(max_tokens=limit))
    heard = [pair for call in engine.__dict__["calls"] for pair in call]
    trajectories = [trajectory for group in groups for trajectory in group]
    sampled = sum(len(answer.token_ids) for _, answers in heard for answer in answers)
    assert sum(trajectory.num_sampled for trajectory in trajectories) == sampled
    for sample in (sample for trajectory in trajectories for sample in trajectory.samples):
        assert sample.loss_mask.index(True) == sample.prompt_length
        for span in sample.spans:
            turn = (sample.token_ids[: span.start], sample.token_ids[span.start : span.end])
            assert any(turn == (ids, answer.token_ids) for ids, answers in heard for answer in answers)
        chosen = [place for span in sample.spans for place in range(span.start, span.end)]
        assert chosen == [place for place, mask in enumerate(sample.loss_mask) if mask]


def test_a_template_that_rewrites_history_splits_the_episode_into_samples(
    pool: ScoringPool, chat_tokenizers: dict[str, Any]
) -> None:
    task = rlvr.tasks("rollouttest/talk-v0", n=1, length=3)[0]
    engine = ScriptedEngine(["<think>\nhm\n</think>\n\nyes"], chat_tokenizers["qwen"])
    [[trajectory]] = play(engine, [task], pool, group_size=1)
    assert len(trajectory.samples) == 3
    assert [len(sample.spans) for sample in trajectory.samples] == [1, 1, 1]
    assert {sample.reward for sample in trajectory.samples} == {1.0}
    texts = [engine.tokenizer.decode(sample.token_ids) for sample in trajectory.samples]
    assert [text.count("hm") for text in texts] == [1, 1, 1]  # each sees only its own reasoning
    [[kept]] = play(ScriptedEngine(["a tool"], chat_tokenizers["qwen"]), [task], pool, group_size=1)
    assert len(kept.samples) == 1
    assert Trajectory.from_dict(trajectory.to_dict()) == trajectory
