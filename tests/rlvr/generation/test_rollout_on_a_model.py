"""Rollouts of a real model: what the learner will compute is what was sampled."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import rlvr
from rlvr.generation.engine import Sampling
from rlvr.generation.transformers import TransformersEngine
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool


@rlvr.register("modeltest/echo-v0", max_turns=4)
class Echo:
    """Repeats how long the last turn was, three times."""

    def start(self, rng: random.Random) -> str:
        self.turns, self.opening = 0, str(rng.randrange(1000))
        return self.opening

    def turn(self, text: str) -> str | rlvr.Score:
        self.turns += 1
        return rlvr.Score(float("1" in text)) if self.turns == 4 else f"{len(text)} letters"


@pytest.fixture(scope="module")
def pool() -> Iterator[ScoringPool]:
    with ScoringPool(1) as shared:
        yield shared


@pytest.mark.parametrize("temperature", [1.0, 0.8])
def test_logprobs_of_an_episode_are_those_of_one_forward_pass_over_its_tokens(
    model: Any, tokenizer: Any, pool: ScoringPool, temperature: float
) -> None:
    engine = TransformersEngine.shared(model, tokenizer)
    tasks = rlvr.tasks("modeltest/echo-v0", n=3)
    sampling = Sampling(max_tokens=60, temperature=temperature)
    groups = rollout(engine, tasks, group_size=6, sampling=sampling, pool=pool, seed=0, max_context=300)
    trajectories = [trajectory for group in groups for trajectory in group]
    assert max(trajectory.num_turns for trajectory in trajectories) > 1
    for trajectory in trajectories:
        ids = torch.tensor([trajectory.token_ids])
        with torch.no_grad():
            logprobs = torch.log_softmax(model(ids).logits[0, :-1] / temperature, -1)
        expected = logprobs.gather(1, ids[0, 1:, None])[:, 0]
        sampled = torch.tensor(trajectory.loss_mask[1:])
        assert torch.tensor(trajectory.logprobs[1:])[sampled] == pytest.approx(expected[sampled], abs=5e-5)
        assert not torch.tensor(trajectory.logprobs[1:])[~sampled].any()


def test_an_episode_does_not_depend_on_the_others_of_the_rollout(model: Any, tokenizer: Any, pool: ScoringPool) -> None:
    engine = TransformersEngine.shared(model, tokenizer)
    tasks = rlvr.tasks("modeltest/echo-v0", n=4)
    together = rollout(engine, tasks, group_size=3, sampling=Sampling(max_tokens=30), pool=pool, seed=5)
    alone = rollout(engine, tasks[2:3], group_size=3, sampling=Sampling(max_tokens=30), pool=pool, seed=5)
    assert [t.token_ids for t in alone[0]] == [t.token_ids for t in together[2]]
