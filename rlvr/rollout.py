"""Play many episodes at once: tasks and an engine in, groups of trajectories out.

Each round continues every episode whose environment has answered, in one call of the engine. Finished turns and answers
go to the scoring pool at once, and are judged while the others go on. Text is decoded to be judged and never encoded back.

What an episode earns: the verdict of its environment if it came to its end. A model that runs out of tokens in the middle
of a turn has not answered: 0 with reason `truncated`. One that uses up its turns: 0 with reason `turn_limit`. Both are marked in
`finish`, so that metrics can keep them apart from wrong answers. Where something broke there is no verdict at all.
"""

from __future__ import annotations

import concurrent.futures
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr import registry
from rlvr.chat import Conversation
from rlvr.errors import ConfigError, EngineError, StaleWeightsError
from rlvr.generation.engine import Completion, Engine, Request, Sampling
from rlvr.generation.seeds import derive_seed
from rlvr.score import Score
from rlvr.scoring import ScoringPool
from rlvr.task import Message, Task
from rlvr.tokens import TokenBuffer
from rlvr.trajectory import Finish, Trajectory

__all__ = ["Trajectory", "rollout"]

TURN_GRACE_S = 0.1
"""How long a round waits for slow environments once some episodes could go on."""

OnGroup = Callable[[int, list[Trajectory]], None]
_Pending = concurrent.futures.Future[Any]


def rollout(
    engine: Engine,
    tasks: Sequence[Task],
    *,
    group_size: int,
    sampling: Sampling,
    pool: ScoringPool,
    seed: int,
    max_turns: int | None = None,
    max_context: int | None = None,
    occurrences: Sequence[int] | None = None,
    on_group: OnGroup | None = None,
) -> list[list[Trajectory]]:
    """Sample `group_size` episodes of each task: P lists of G trajectories, in order.

    An episode's draws follow from `seed`, the task and the answer's number, not from what else is in the batch; a task
    that is given twice is drawn differently each time (`occurrences` says which time each one is, where a caller counts
    them over several calls; else they are counted here). `max_turns` and `max_context` (tokens, prompt included) tighten
    what the environment and the model allow. `on_group(number, trajectories)` is called, in this thread, as soon as
    the last Score of a group is in.

    Raises EngineError if the engine fails, ConfigError if the chat template cannot render an environment's messages. A
    verifier that fails raises nothing: its trajectories have `finish == "fault"` and a Score with `error`.
    """
    if group_size < 1:
        raise ConfigError(f"group_size is {group_size}; it must be at least 1")
    context = engine.max_model_len if max_context is None else min(max_context, engine.max_model_len)
    play = _Play(engine, sampling, pool, seed, context)
    seen: Counter[str] = Counter()
    for number, task in enumerate(tasks):
        turns = _turn_limit(task)
        occurrence = seen[task.id] if occurrences is None else occurrences[number]
        play.open(number, task, group_size, occurrence, turns if max_turns is None else min(turns, max_turns))
        seen[task.id] += 1
    left = dict(enumerate(play.groups))
    while play.round():
        _report(left, on_group, wait=False)
    _report(left, on_group, wait=True)
    return [[episode.trajectory() for episode in group] for group in play.groups]


@dataclass(slots=True)
class _Episode:
    task: Task
    group: int
    sample: int
    occurrence: int
    turns_left: int
    """0 in a single-turn task, whose answer goes straight to the verifier."""
    conversation: Conversation
    buffer: TokenBuffer
    prompt_length: int
    texts: list[str] = field(default_factory=list)
    closed: list[tuple[TokenBuffer, int]] = field(default_factory=list)
    finish: Finish | None = None
    score: Score | None = None
    pending: _Pending | None = None
    """The Score of a finished episode, or the environment's reply to a turn."""
    finished: Trajectory | None = None

    def end(self, finish: Finish, score: Score) -> None:
        self.finish, self.score, self.pending = finish, score, None

    def settled(self, wait: bool) -> bool:
        """True once the Score is in."""
        if self.finish is not None and self.pending is not None and (wait or self.pending.done()):
            score = self.pending.result()
            self.end(self.finish if score.error is None else "fault", score)
        return self.finish is not None and self.pending is None

    def trajectory(self) -> Trajectory:
        if self.finished is None:
            assert self.finish is not None
            earlier = tuple(self._part(buffer, length, ()) for buffer, length in self.closed)
            self.finished = self._part(self.buffer, self.prompt_length, earlier)
        return self.finished

    def _part(self, buffer: TokenBuffer, prompt_length: int, earlier: tuple[Trajectory, ...]) -> Trajectory:
        assert self.finish is not None
        return Trajectory(
            self.task,
            buffer.ids,
            buffer.mask,
            buffer.logprobs,
            self.score,
            self.finish,
            buffer.weight_version,
            len(self.texts),
            self.texts,
            self.conversation.messages,
            self.group,
            self.sample,
            prompt_length,
            buffer.spans,
            earlier,
        )


class _Play:
    """The episodes of one rollout and where each of them stands."""

    def __init__(self, engine: Engine, sampling: Sampling, pool: ScoringPool, seed: int, context: int) -> None:
        self.groups: list[list[_Episode]] = []
        self._engine = engine
        self._sampling = sampling
        self._pool = pool
        self._seed = seed
        self._context = context
        self._ready: list[list[_Episode]] = []
        """Episodes to continue; those in one list have the same buffer and go to the engine as one request."""
        self._waiting: list[_Episode] = []

    def open(self, number: int, task: Task, group_size: int, occurrence: int, turns: int) -> None:
        conversation = Conversation(self._engine.tokenizer, task.messages, task.tools)
        ids = conversation.prompt_ids()
        group = []
        for sample in range(group_size):
            buffer = TokenBuffer()
            buffer.append_prompt(ids)
            fork = conversation.fork()
            group.append(_Episode(task, number, sample, occurrence, turns, fork, buffer, len(ids)))
        self.groups.append(group)
        if len(ids) >= self._context:
            fault = Score.failure(
                f"the prompt has {len(ids)} tokens and leaves no room for an answer in {self._context}; "
                "shorten it or raise max_context"
            )
            for episode in group:
                episode.end("fault", fault)
        else:
            self._ready.append(group)

    def round(self) -> bool:
        """One call of the engine, and what follows from it. False when no episode is left to continue."""
        self._collect_replies()
        if not self._ready:
            return False
        batch, self._ready = self._ready, []
        requests = [self._request(episodes) for episodes in batch]
        newest = self._engine.weight_version
        answers = self._engine.generate(requests, self._sampling)
        newest = max(newest, self._engine.weight_version)
        episodes = [episode for group in batch for episode in group]
        completions = [completion for answer in answers for completion in answer]
        if len(completions) != len(episodes):
            raise EngineError(f"the engine gave {len(completions)} completions for {len(episodes)} episodes")
        texts = turn_texts(self._engine.tokenizer, completions)
        judged: list[_Episode] = []
        for episode, completion, text in zip(episodes, completions, texts, strict=True):
            if completion.finish_reason != "abort" and not 0 <= completion.weight_version <= newest:
                raise StaleWeightsError(
                    f"a completion names weight version {completion.weight_version}; the engine has been given none "
                    f"above {newest}. The rollout is refused: nobody knows which weights sampled it."
                )
            self._take(episode, completion, text, judged)
        futures = self._pool.submit_all([e.task for e in judged], [e.texts[-1] for e in judged])
        for episode, future in zip(judged, futures, strict=True):
            episode.finish, episode.pending = "stop", future
        return True

    def _request(self, episodes: list[_Episode]) -> Request:
        first = episodes[0]
        # The engine tells the answers to one request apart by their number; later turns have a request of their own.
        own = "group" if len(first.texts) == 0 else first.sample
        seed = derive_seed("rollout", self._seed, first.task.id, first.occurrence, own, len(first.texts))
        room = self._context - len(first.buffer)
        # All episodes of a group go on from one prompt, and each of them from its own first turn.
        conversation = f"{self._seed}/{first.task.id}/{first.occurrence}" if first.turns_left else ""
        limit = min(self._sampling.max_tokens, room)
        return Request(first.buffer.ids, seed, len(episodes), limit, conversation)

    def _take(self, episode: _Episode, completion: Completion, text: str, judged: list[_Episode]) -> None:
        if completion.token_ids or completion.finish_reason != "abort":
            episode.buffer.append_sampled(completion)
        episode.texts.append(text)
        episode.conversation.speak(text)
        if completion.finish_reason == "abort":
            episode.end("fault", Score.failure("generation was aborted before the turn was over"))
        elif completion.finish_reason == "length":
            episode.end("length", Score(0.0, reason="truncated"))
        elif episode.turns_left:
            episode.turns_left -= 1
            episode.pending = self._pool.turn(episode.task, list(episode.texts))
            self._waiting.append(episode)
        else:
            judged.append(episode)

    def _collect_replies(self) -> None:
        """Take what environments have answered. Blocks until at least one episode can go on or none is waiting."""
        while self._waiting:
            pending = [episode.pending for episode in self._waiting if episode.pending is not None]
            concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
            concurrent.futures.wait(pending, timeout=TURN_GRACE_S)
            still = []
            for episode in self._waiting:
                assert episode.pending is not None
                if episode.pending.done():
                    self._reply(episode, episode.pending.result())
                else:
                    still.append(episode)
            self._waiting = still
            if self._ready:
                return

    def _reply(self, episode: _Episode, reply: Score | str | list[Message]) -> None:
        if isinstance(reply, Score):
            episode.end("stop" if reply.error is None else "fault", reply)
            return
        if episode.turns_left == 0:
            episode.end("turn_limit", Score(0.0, reason="turn_limit"))
            return
        messages = [{"role": "user", "content": reply}] if isinstance(reply, str) else reply
        turn = episode.conversation.reply(messages, last_id=episode.buffer.ids[-1])
        if turn.rewritten:
            episode.closed.append((episode.buffer, episode.prompt_length))
            episode.buffer, episode.prompt_length = TokenBuffer(), len(turn.ids)
        if len(episode.buffer) + len(turn.ids) >= self._context:
            if turn.rewritten:
                episode.buffer, episode.prompt_length = episode.closed.pop()
            episode.end("length", Score(0.0, reason="truncated"))
            return
        episode.buffer.append_prompt(turn.ids)
        self._ready.append([episode])


def turn_texts(tokenizer: Any, completions: Sequence[Completion]) -> list[str]:
    """What the model said in each completion. The special token that ended a turn is no part of its text; others are."""
    ends: dict[int, bool] = {}
    bodies = []
    for completion in completions:
        ids = completion.token_ids
        if completion.finish_reason == "stop":
            last = ids[-1]
            if last not in ends:
                ends[last] = tokenizer.decode([last], skip_special_tokens=True) == ""
            if ends[last]:
                ids = ids[:-1]
        bodies.append(ids)
    return list(tokenizer.batch_decode(bodies, skip_special_tokens=False))


def _turn_limit(task: Task) -> int:
    """Turns an episode may take; 0 if its answer goes straight to a verifier."""
    if not task.env_id:
        return 0
    spec = registry.spec(task.env_id)
    return spec.max_turns if spec.kind == "session" else 0


def _report(left: dict[int, list[_Episode]], on_group: OnGroup | None, *, wait: bool) -> None:
    for number, group in list(left.items()):
        if all(episode.settled(wait) for episode in group):
            del left[number]
            if on_group is not None:
                on_group(number, [episode.trajectory() for episode in group])
