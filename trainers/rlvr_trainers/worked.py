"""Episodes to imitate: an environment's worked solutions, as tokens in the format of rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import rlvr
from rlvr.answers import after_thinking
from rlvr.chat import encode, prompt_ids, prompt_text
from rlvr.errors import ConfigError
from rlvr.generation.engine import Sampling
from rlvr.generation.scripted import ScriptedEngine, episodes
from rlvr.generation.seeds import derive_seed
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool
from rlvr.task import Task
from rlvr.trajectory import Trajectory
from rlvr_trainers.sampler import EnvConfig


@dataclass(frozen=True)
class Example:
    """An episode to imitate."""

    token_ids: list[int]
    """Prompt and answer; an answer ends with the end token."""
    loss_mask: list[bool]
    """True for the tokens to learn: what the model says, in every turn."""


def worked_examples(
    mix: Sequence[EnvConfig], tokenizer: Any, *, count: int, bare_share: float = 0.0, seed: int = 0
) -> list[Example]:
    """About `count` worked solutions of training tasks, shared out by the weights of the environments.

    `bare_share` of them are shown without what makes them right: a text without its reasoning, several turns as the last one
    alone. Solutions of several turns are played, so that the environment's replies stand between them as they do in
    rollouts. Raises ConfigError if an environment writes no solutions, or a whole one of several turns does not earn its
    reward.
    """
    examples: list[Example] = []
    total_weight = sum(env.weight for env in mix)
    for env in mix:
        solution = rlvr.spec(env.id).solution
        if solution is None:
            raise ConfigError(
                f"{env.id} writes no worked solutions to learn from; give rollouts = a run folder with correct answers, or an "
                "environment with @spec.worked_solution"
            )
        share = round(count * env.weight / total_weight)
        tasks = rlvr.tasks(env.id, "train", share, f"sft/{seed}", level=env.level, **env.knobs)
        several = []
        for task in tasks:
            said, bare = solution(task), derive_seed("bare", seed, task.key) < bare_share * 2.0**63
            if isinstance(said, list):
                several.append(_Episode(task, said[-1:] if bare else said, bare))
                continue
            if bare:
                said = after_thinking(said) or said
            prompt = prompt_ids(tokenizer, task.messages, task.tools)
            answer = [*encode(tokenizer, said), tokenizer.eos_token_id]
            examples.append(Example([*prompt, *answer], [False] * len(prompt) + [True] * len(answer)))
        if several:
            examples += _played(several, tokenizer)
    return examples


@dataclass(frozen=True)
class _Episode:
    task: Task
    turns: list[str]
    bare: bool
    """Its turns are the last one alone, which need not be right."""


def _played(left: Sequence[_Episode], tokenizer: Any) -> list[Example]:
    examples: list[Example] = []
    with ScoringPool() as pool:
        while left:
            # A script knows an episode by its prompt, so two with the same prompt are played one after the other.
            script: dict[str, _Episode] = {}
            later = []
            for episode in left:
                prompt = prompt_text(tokenizer, episode.task.messages, episode.task.tools).strip()
                if script.setdefault(prompt, episode) is not episode:
                    later.append(episode)
            engine = ScriptedEngine(episodes({prompt: episode.turns for prompt, episode in script.items()}), tokenizer)
            tasks, sampling = [episode.task for episode in script.values()], Sampling(max_tokens=engine.max_model_len)
            groups = rollout(engine, tasks, group_size=1, sampling=sampling, pool=pool, seed=0)
            for (trajectory,), episode in zip(groups, script.values(), strict=True):
                if not episode.bare:
                    _demand_right(trajectory)
                examples += [Example(part.token_ids, part.loss_mask) for part in trajectory.samples]
            left = later
    return examples


def _demand_right(trajectory: Trajectory) -> None:
    score, task = trajectory.score, trajectory.task
    if score is None or not score.correct:
        earned = "nothing" if score is None else f"{score.reward:g} ({score.error or score.reason})"
        raise ConfigError(
            f"the worked solution of {task.id} earns {earned} and would teach the wrong thing. Either the tokenizer cannot "
            f"write it, for lack of characters, or the environment is wrong: see `rlvr audit {task.env_id}`"
        )
