"""Pairs from verdicts and files, the reward model and DPO that learn from them."""

import json
import math

import pytest
import torch

from rlvr.errors import ConfigError
from rlvr.generation.loading import load_model, load_tokenizer
from rlvr.score import Score
from rlvr.task import Task
from rlvr.tracking import RunFolder, read_metrics
from rlvr.trajectory import Trajectory
from rlvr_trainers.dpo import DPOConfig, train_dpo
from rlvr_trainers.learner import Learner
from rlvr_trainers.optimizer import OptimizerConfig
from rlvr_trainers.preferences import (
    batch_of_pairs,
    load_pairs,
    pairs_from_file,
    pairs_from_rollouts,
    split_pairs,
    whole_pairs,
)
from rlvr_trainers.reward_model import RewardModel, RewardModelConfig, step_ends, train_reward_model
from rlvr_trainers.tiny import build_tiny_model


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preferences") / "model"
    return build_tiny_model(folder, alphabet="0123456789ab\n", layers=1, hidden=32, heads=2)


def episode(tokenizer, prompt: str, text: str, score: Score, finish: str = "stop") -> Trajectory:
    before, answer = tokenizer.encode(prompt + "\n"), [*tokenizer.encode(text), tokenizer.eos_token_id]
    mask = [False] * len(before) + [True] * len(answer)
    return Trajectory(
        Task(prompt, env_id="test/letters-v0"), before + answer, mask, [-1.0 * mine for mine in mask], score, finish,
        0, 1, [text], [], 0, 0, len(before),
    )  # fmt: skip


def verified_run(folder, tokenizer):
    """30 prompts; answers with more a than b are right."""
    texts = ["aaab", "aab", "aaaa", "bbba", "bba", "bb"]
    trajectories = [
        episode(tokenizer, str(number), text, Score(float(text.count("a") > text.count("b"))))
        for number in range(30)
        for text in texts
    ]
    run = RunFolder(folder, config_toml="")
    run.write_rollouts(1, trajectories)
    run.close()
    return folder


def test_pairs_join_right_and_wrong_answers_to_one_task_only(model_folder):
    tokenizer = load_tokenizer(model_folder)
    right, wrong = Score(1.0), Score(0.0)
    episodes = [
        episode(tokenizer, "1", "a", right),
        episode(tokenizer, "1", "a", right),  # the same text again
        episode(tokenizer, "1", "aa", right),
        episode(tokenizer, "1", "b", wrong),
        episode(tokenizer, "1", "bb", wrong, finish="length"),  # cut off: no example of a wrong answer
        episode(tokenizer, "1", "ab", Score(0.5)),
        episode(tokenizer, "2", "b", wrong),
        episode(tokenizer, "3", "b", Score.failure("the verifier died")),
    ]
    pairs = pairs_from_rollouts(episodes)
    said = sorted(
        (tokenizer.decode(pair.chosen.token_ids[2:-1]), tokenizer.decode(pair.rejected.token_ids[2:-1]))
        for pair in pairs
    )
    assert said == [("a", "b"), ("aa", "b")]
    assert len(pairs_from_rollouts(episodes, per_task=1)) == 1


@pytest.mark.parametrize(("width", "height"), [(2, 2), (2, 4), (3, 5), (6, 4), (1, 7)])
def test_every_pair_of_a_task_comes_once_and_both_sides_evenly(model_folder, width, height):
    tokenizer = load_tokenizer(model_folder)
    episodes = [episode(tokenizer, "1", "a" * (n + 1), Score(1.0)) for n in range(width)]
    episodes += [episode(tokenizer, "1", "b" * (n + 1), Score(0.0)) for n in range(height)]
    pairs = pairs_from_rollouts(episodes, per_task=1000)
    assert (
        len({(tuple(p.chosen.token_ids), tuple(p.rejected.token_ids)) for p in pairs}) == len(pairs) == width * height
    )
    few = pairs_from_rollouts(episodes, per_task=max(width, height))
    assert len({tuple(p.chosen.token_ids) for p in few}) == width
    assert len({tuple(p.rejected.token_ids) for p in few}) == height


def test_a_file_of_pairs_is_read_and_a_bad_line_is_named(model_folder, tmp_path):
    tokenizer = load_tokenizer(model_folder)
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "12", "chosen": "a", "rejected": "bb"}) + "\n")
    (pair,) = pairs_from_file(path, tokenizer)
    assert tokenizer.decode(pair.chosen.token_ids) == "12\na<eos>"
    assert pair.rejected.mask == [False, False, False, True, True, True]
    path.write_text('{"prompt": "12", "chosen": "a"}\n')
    with pytest.raises(ConfigError, match=r"line 1 is no pair .*'rejected'"):
        pairs_from_file(path, tokenizer)


def test_a_run_without_both_verdicts_is_refused(model_folder, tmp_path):
    tokenizer = load_tokenizer(model_folder)
    run = RunFolder(tmp_path / "run", config_toml="")
    run.write_rollouts(1, [episode(tokenizer, "1", "a", Score(1.0))])
    with pytest.raises(ConfigError, match="gives no pair"):
        load_pairs(str(tmp_path / "run"), tokenizer, per_task=4, seed=0)
    with pytest.raises(ConfigError, match="neither a run folder nor a file"):
        load_pairs(str(tmp_path / "nothing"), tokenizer, per_task=4, seed=0)


def test_held_out_pairs_share_no_prompt_with_the_others(model_folder, tmp_path):
    tokenizer = load_tokenizer(model_folder)
    run = verified_run(tmp_path / "run", tokenizer)
    pairs = load_pairs(str(run), tokenizer, per_task=4, seed=0)
    train, held = split_pairs(pairs, 0.3, seed=0)
    prompts = [{tuple(p.chosen.token_ids[: p.chosen.mask.index(True)]) for p in side} for side in (train, held)]
    assert len(train) + len(held) == len(pairs) == 120
    assert held
    assert not prompts[0] & prompts[1]


def test_micro_batches_keep_pairs_whole_within_the_budget(model_folder, tmp_path):
    tokenizer = load_tokenizer(model_folder)
    pairs = load_pairs(str(verified_run(tmp_path / "run", tokenizer)), tokenizer, per_task=4, seed=0)
    groups = whole_pairs(pairs, 64)
    assert sum(len(group) for group in groups) == len(pairs)
    assert all(batch_of_pairs(group, pad_id=0).token_ids_BT.numel() <= 64 for group in groups)
    assert [len(group) for group in whole_pairs(pairs[:3], 1)] == [1, 1, 1]


@pytest.mark.slow
def test_a_reward_model_learns_the_verdicts_and_judges_beside_them(model_folder, tmp_path):
    tokenizer = load_tokenizer(model_folder)
    run = verified_run(tmp_path / "run", tokenizer)
    folder = train_reward_model(
        RewardModelConfig(
            model=str(model_folder), pairs=str(run), out=str(tmp_path / "rm"), steps=40, batch_size=16,
            learning_rate=3e-3, held_out=0.2, token_budget=256,
        ),
        quiet=True,
    )  # fmt: skip
    metrics = read_metrics(tmp_path / "rm")
    assert metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)  # a new head says 0 to everything
    assert metrics[-1]["eval/accuracy"] >= 0.95
    judge = RewardModel(folder)
    right = episode(tokenizer, "17", "aab", Score(1.0))
    wrong = episode(tokenizer, "17", "bba", Score(0.0))
    fault = episode(tokenizer, "17", "abb", Score.failure("the verifier died"), finish="fault")
    judged = judge.judge([right, wrong, fault])
    # Pairs tell how far two scores are apart, not where zero is.
    assert judged[0].score.parts["reward_model"] > judged[1].score.parts["reward_model"] + 0.2
    assert judged[0].score.reward == 1.0, "the verdict stays what it was"
    assert judged[2] is fault
    # As a process reward the steps add up to what the whole answer added.
    (step_id,) = tokenizer.encode("b")
    ends_BT = step_ends([right, wrong], [step_id])
    assert ends_BT.sum(-1).tolist() == [2, 3]  # a a [b] [eos]; [b] [b] a [eos]
    scores_BT, rewards_BT = judge.scores([right, wrong]), judge.step_rewards([right, wrong], ends_BT)
    added = scores_BT[0, len(right.token_ids) - 1] - scores_BT[0, right.prompt_length - 1]
    assert rewards_BT[0].sum().item() == pytest.approx(added.item(), abs=1e-5)
    assert not rewards_BT[~ends_BT].any()


@pytest.mark.slow
def test_dpo_moves_probability_from_wrong_answers_to_right_ones(model_folder, tmp_path):
    tokenizer = load_tokenizer(model_folder)
    run = verified_run(tmp_path / "run", tokenizer)
    folder = train_dpo(
        DPOConfig(
            model=str(model_folder), pairs=str(run), out=str(tmp_path / "dpo"), steps=30, batch_size=16,
            learning_rate=1e-3, held_out=0.2, beta=0.5, token_budget=256,
        ),
        quiet=True,
    )  # fmt: skip
    metrics = read_metrics(tmp_path / "dpo")
    assert metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-5)  # the policy is the reference
    assert metrics[-1]["eval/accuracy"] >= 0.95
    pair = load_pairs(str(run), tokenizer, per_task=1, seed=0)[0]
    chosen, rejected = (
        Learner(load_model(path, torch.device("cpu"), torch.float32), OptimizerConfig(), total_updates=1)
        .logprobs(batch_of_pairs([pair], pad_id=0))
        .sum(-1)
        for path in (folder, model_folder)
    )
    assert (chosen - rejected)[0] > (chosen - rejected)[1]


def test_settings_that_learn_nothing_are_refused(model_folder, tmp_path):
    with pytest.raises(ConfigError, match="nothing would be learned"):
        RewardModelConfig(steps=0)
    with pytest.raises(ConfigError, match="beta is 0"):
        DPOConfig(beta=0.0)
    tokenizer = load_tokenizer(model_folder)
    run = verified_run(tmp_path / "run", tokenizer)
    with pytest.raises(ConfigError, match="batch_size is 999"):
        train_dpo(
            DPOConfig(model=str(model_folder), pairs=str(run), out=str(tmp_path / "d"), batch_size=999), quiet=True
        )
