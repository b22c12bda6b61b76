"""What becomes of a step's episodes: refills, rewards, rows, metrics."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

import rlvr
from rlvr import registry
from rlvr.generation.engine import Sampling
from rlvr.generation.scripted import ScriptedEngine
from rlvr.rollout import rollout
from rlvr.score import Score
from rlvr.scoring import ScoringPool
from rlvr.task import Task
from rlvr.tracking import RunFolder, read_metrics, read_rollouts, rollout_files
from rlvr.trajectory import Trajectory
from rlvr_trainers.grpo import GRPOConfig, train_grpo
from rlvr_trainers.rollouts import (
    RewardTerms,
    collect,
    episode_metrics,
    group_rewards,
    replayed,
    training_batch,
)
from rlvr_trainers.sampler import EnvConfig, TaskSampler


def episode(reward: float, length: int, *, env: str = "test/a-v0", finish: str = "stop", **parts: float) -> Trajectory:
    """An episode of two prompt tokens and `length` sampled ones."""
    score = Score.failure("the verifier died") if finish == "fault" else Score(reward, parts=parts)
    return Trajectory(
        Task("q", env_id=env), [7, 8, *range(1, length + 1)], [False] * 2 + [True] * length, [0.0] * 2 + [-0.5] * length,
        score, finish, 0, 1, ["a"], [], 0, 0, 2,
    )  # fmt: skip


def test_metrics_are_told_for_every_environment_and_every_part_of_the_score():
    groups = [
        [episode(1.0, 2, form=1.0), episode(0.0, 4, form=0.0, finish="length")],
        [episode(0.5, 6, env="test/b-v0", steps=0.25), episode(0.0, 8, env="test/b-v0", finish="fault")],
    ]
    metrics = episode_metrics(groups)
    assert metrics["reward"] == 1.5 / 4
    # 1, 0, 0.5, 0 around 0.375: squares 0.390625, 0.140625, 0.015625, 0.140625; their mean is 0.171875.
    assert metrics["reward_std"] == pytest.approx(0.171875**0.5)
    assert metrics["accuracy"] == 0.25
    assert (metrics["length_mean"], metrics["length_max"]) == (5.0, 8.0)
    assert (metrics["truncated_share"], metrics["fault_share"]) == (0.25, 0.25)
    assert (metrics["part/form"], metrics["part/steps"]) == (0.5, 0.25)  # of those that have it and a verdict
    assert metrics["test/a-v0/accuracy"] == 0.5
    assert metrics["test/a-v0/part/form"] == 0.5
    assert metrics["test/b-v0/reward"] == 0.25
    assert metrics["test/b-v0/fault_share"] == 0.5
    assert "test/a-v0/part/steps" not in metrics
    assert not any("/" in name for name in episode_metrics(groups[:1]) if not name.startswith("part/"))


def test_a_reward_is_the_outcome_its_weighted_parts_and_what_length_costs():
    group = [episode(1.0, 6, form=1.0), episode(0.0, 9, form=0.5), episode(1.0, 3, finish="fault")]
    terms = RewardTerms({"form": 0.2, "absent": 5.0}, overlong_buffer=4, max_tokens=10)
    rewards_PG, valid_PG = group_rewards([group], terms)
    # 1 + 0.2, free up to six tokens; 0 + 0.1 less 3/4; nothing where there is no verdict.
    assert rewards_PG[0].tolist() == pytest.approx([1.2, -0.65, 0.0])
    assert valid_PG.tolist() == [[True, True, False]]


def test_rows_leave_out_faults_and_where_asked_what_was_cut_off_but_keep_every_sample_of_an_episode():
    split = replace(episode(1.0, 3), earlier=(episode(1.0, 1),))
    group = [split, episode(0.0, 2, finish="length"), episode(0.0, 5, finish="fault")]
    values_PG = torch.tensor([[0.5, -0.25, 9.0]])
    whole = training_batch([group], values_PG, pad_id=0)
    assert whole.lengths_B.tolist() == [3, 5, 4]
    assert whole.fields["advantages"].tolist() == [0.5, 0.5, -0.25]
    assert whole.mask_BT.sum(-1).tolist() == [1, 3, 2]
    assert training_batch([group], values_PG, pad_id=0, drop_truncated=True).lengths_B.tolist() == [3, 5]
    assert training_batch([group[1:]], values_PG[:, 1:], pad_id=0, drop_truncated=True) is None


@pytest.fixture
def half_dead() -> Iterator[str]:
    """An environment whose prompts begin with a, where every answer is wrong, or with b, where b is right."""

    @rlvr.register("test/half-dead-v0")
    def half_dead_task(rng):
        return rlvr.Task(rng.choice("ab") + str(rng.randrange(10**6)))

    @half_dead_task.verifier
    def check(task, text):
        return rlvr.Score(float(text == "b" and task.text.startswith("b")))

    yield "test/half-dead-v0"
    registry._specs.pop("test/half-dead-v0")


def test_dead_groups_are_drawn_again_within_the_budget_counted_and_stored_in_order(half_dead, tmp_path):
    engine = ScriptedEngine(["a", "b"])
    settings = {
        "prompts": 8, "group_size": 2, "sampling": Sampling(max_tokens=4), "seed": 0, "terms": RewardTerms(),
    }  # fmt: skip
    with ScoringPool(1) as pool:
        once, more = (
            collect(engine, pool, TaskSampler([EnvConfig(half_dead)], seed=1), step=1, refill_rounds=rounds, **settings)
            for rounds in (0, 9)
        )
        kept = collect(engine, pool, TaskSampler([EnvConfig(half_dead)], seed=1), step=1, keep_dead=True, **settings)
    assert once.dead
    assert (len(once.live) + len(once.dead), once.refilled) == (8, 0)
    assert (len(more.live), more.refilled) == (8, len(more.dead))
    assert {group[0].task.text[0] for group in more.live} == {"b"}
    assert {group[0].task.text[0] for group in more.dead} == {"a"}
    assert more.live[: len(once.live)] == once.live, "the first draw is the same"
    assert (len(kept.live), kept.dead) == (8, [])
    run = RunFolder(tmp_path / "run", config_toml="")
    run.write_rollouts(1, (t for group in more.groups for t in group))
    run.close()
    again = replayed(str(tmp_path / "run"), 1, RewardTerms())
    assert (again.live, again.dead) == (more.live, more.dead)


@pytest.fixture
def two_turns() -> Iterator[str]:
    """An environment that asks, answers with a tool's words, and pays if the second turn says b."""

    @rlvr.register("test/two-turns-v0", max_turns=3)
    class TwoTurns:
        def start(self, rng: random.Random) -> str:
            self.first = True
            return "".join(rng.choice("abcd") for _ in range(4))

        def turn(self, text: str) -> str | list[dict[str, str]] | Score:
            if self.first:
                self.first = False
                return [{"role": "tool", "content": "dddd"}]
            return Score(float(text.startswith("b")))

    yield "test/two-turns-v0"
    registry._specs.pop("test/two-turns-v0")


def test_only_what_the_model_said_in_any_of_its_turns_is_trained_on(two_turns):
    with ScoringPool(1) as pool:
        groups = rollout(
            ScriptedEngine(["call", "b"]), rlvr.tasks(two_turns, "train", 1), group_size=1, pool=pool, seed=0,
            sampling=Sampling(max_tokens=9),
        )  # fmt: skip
    batch = training_batch(groups, torch.tensor([[1.0]]), pad_id=0)
    ((first,),) = groups
    assert (first.num_turns, first.reward) == (2, 1.0)
    said = [token for token, mine in zip(first.token_ids, first.loss_mask, strict=True) if mine]
    assert len(said) == len("call") + len("b") + 2  # and an end token each
    assert batch.token_ids_BT[0][batch.mask_BT[0]].tolist() == said
    reply = "".join(map(chr, first.token_ids)).find("dddd")
    assert reply > 0
    assert not batch.mask_BT[0, reply : reply + 4].any()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:all_groups_dead")
def test_an_episode_of_several_turns_is_learned_with_overlong_answers_left_out(tiny_model, two_turns, tmp_path):
    config = GRPOConfig(
        model=str(tiny_model), env=two_turns, out=str(tmp_path / "run"), steps=2, prompts_per_step=16, group_size=16,
        max_tokens=12, learning_rate=4e-3, scoring_workers=1, mask_truncated=True, overlong_buffer=4,
    )  # fmt: skip
    train_grpo(config, quiet=True)
    rows = read_metrics(tmp_path / "run")
    assert all(row["turns_mean"] > 1 for row in rows)
    assert all(row["grad_norm"] > 0 for row in rows if row["live_groups"])
    assert any(row["live_groups"] for row in rows)
    episodes = list(read_rollouts(rollout_files(tmp_path / "run")[1]))
    assert {t.finish for t in episodes} >= {"stop", "length"}
