"""PPO: its five stages do what they say, and a killed run goes on bit for bit."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlvr.errors import CheckpointError, ConfigError
from rlvr.generation.loading import load_model
from rlvr.score import Score
from rlvr.task import Task
from rlvr.tracking import read_metrics, read_rollouts, rollout_files
from rlvr.trajectory import Trajectory
from rlvr_trainers import losses
from rlvr_trainers.batch import Batch
from rlvr_trainers.checkpoint import STATE_FILE, list_checkpoints
from rlvr_trainers.grpo import GRPOConfig, train_grpo
from rlvr_trainers.kl_control import KLController
from rlvr_trainers.policy import Policy
from rlvr_trainers.ppo import PPOConfig, train_ppo
from rlvr_trainers.scalar_model import load_scalar_model
from rlvr_trainers.step_rewards import process_advantages


def small(model: Path, env: str, out: Path, **settings) -> PPOConfig:
    defaults = {
        "steps": 2, "prompts_per_step": 64, "max_tokens": 4, "learning_rate": 1e-2, "critic_learning_rate": 1e-2,
        "scoring_workers": 1, "seed": 1,
    }  # fmt: skip
    return PPOConfig(model=str(model), env=env, out=str(out), **{**defaults, **settings})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def timeless(run: Path) -> list[dict[str, float]]:
    return [
        {k: v for k, v in row.items() if not k.startswith("time/") and k != "tokens_per_s"} for row in read_metrics(run)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["own", "shared"])
def test_a_run_killed_at_any_update_goes_on_bit_for_bit(tiny_model, even_length, tmp_path, critic):
    # 2 steps of 2 passes in 2 minibatches, with everything that has a state: checkpoints stand between all updates.
    config = small(
        tiny_model, even_length, tmp_path / "whole", critic=critic, num_iterations=2, num_minibatches=2,
        checkpoint_every=1, keep_checkpoints=99, kl_coef=0.1, kl_in="reward", kl_kind="k1", kl_target=0.01, kl_horizon=100,
        entropy_coef=0.01, token_budget=200, schedule="linear", eval_tasks=4, eval_every=1,
    )  # fmt: skip
    whole = train_ppo(config, quiet=True)
    assert all(row["reward"] > 0 for row in read_metrics(tmp_path / "whole") if row["step"])
    checkpoints = list_checkpoints(tmp_path / "whole" / "checkpoints")
    assert [path.name for path in checkpoints] == [
        "step-000000-001", "step-000000-002", "step-000000-003", "step-000001",
        "step-000001-001", "step-000001-002", "step-000001-003", "step-000002",
    ]  # fmt: skip
    state = torch.load(whole.model / STATE_FILE, weights_only=True)
    assert set(state["extra"]) == {"critic", "kl"}
    for number, checkpoint in enumerate(checkpoints[:-1]):
        if critic == "shared" and number % 2:
            continue  # the same code stands between the updates; the critic of its own goes through all of them
        out = tmp_path / f"resumed-{number}"
        shutil.copytree(tmp_path / "whole", out)
        for later in list_checkpoints(out / "checkpoints")[number + 1 :]:
            shutil.rmtree(later)
        resumed = train_ppo(replace(config, out=str(out)), resume=True, quiet=True)
        assert same(weights(resumed.model), weights(whole.model)), checkpoint.name
        assert timeless(out) == timeless(tmp_path / "whole"), checkpoint.name
        again = torch.load(resumed.model / STATE_FILE, weights_only=True)
        assert again["extra"]["kl"] == state["extra"]["kl"]
        part = "model" if critic == "own" else "head"
        assert same(again["extra"]["critic"][part], state["extra"]["critic"][part]), checkpoint.name


@pytest.mark.slow
@pytest.mark.parametrize("critic", ["own", "shared"])
def test_micro_batches_change_nothing_but_rounding(tiny_model, even_length, tmp_path, critic):
    outs = []
    for budget in (10_000, 200, 1):
        config = small(
            tiny_model, even_length, tmp_path / str(budget), critic=critic, steps=1, num_minibatches=2,
            entropy_coef=0.01, kl_coef=0.1, token_budget=budget,
        )  # fmt: skip
        outs.append(weights(train_ppo(config, quiet=True).model))
    start = weights(tiny_model)
    moved = max((outs[0][name] - start[name]).abs().max().item() for name in start)
    apart = max((outs[0][name] - other[name]).abs().max().item() for other in outs[1:] for name in start)
    assert moved > 5e-3
    assert apart < 0.02 * moved


def test_value_pretraining_trains_the_critic_alone(tiny_model, even_length, tmp_path):
    for critic in ("own", "shared"):
        config = small(
            tiny_model, even_length, tmp_path / critic, critic=critic, steps=2, value_pretraining_steps=1,
            checkpoint_every=1, keep_checkpoints=9,
        )  # fmt: skip
        result = train_ppo(config, quiet=True)
        first, second = read_metrics(tmp_path / critic)
        assert first["grad_norm"] == 0.0
        assert first["reward"] > 0.0
        assert first["value_grad_norm"] > 0.0
        assert second["grad_norm"] > 0.0
        assert not same(weights(result.model), weights(tiny_model))


def test_a_run_of_nothing_but_pretraining_is_refused(tiny_model, even_length, tmp_path):
    with pytest.raises(ConfigError, match="no policy would be trained"):
        small(tiny_model, even_length, tmp_path, steps=2, value_pretraining_steps=2)


def test_the_kl_starts_at_zero_and_is_charged_on_the_reward(tiny_model, even_length, tmp_path):
    config = small(tiny_model, even_length, tmp_path / "run", steps=3, kl_coef=0.5, kl_in="reward", kl_kind="k1")
    train_ppo(config, quiet=True)
    rows = read_metrics(tmp_path / "run")
    assert rows[0]["kl_from_reference"] == pytest.approx(0.0, abs=1e-6)
    assert rows[0]["kl_coef"] == 0.5
    assert abs(rows[2]["kl_from_reference"]) > 1e-4


@pytest.mark.parametrize("critic", ["own", "shared"])
@pytest.mark.parametrize("kl_in", ["loss", "reward"])
def test_the_kl_can_be_that_of_whole_distributions(tiny_model, even_length, tmp_path, critic, kl_in):
    config = small(
        tiny_model,
        even_length,
        tmp_path / "run",
        critic=critic,
        kl_coef=0.1,
        kl_in=kl_in,
        kl_kind="full",
        token_budget=300,
    )
    train_ppo(config, quiet=True)
    first, second = read_metrics(tmp_path / "run")
    assert first["kl_from_reference"] == pytest.approx(0.0, abs=1e-6)
    assert second["kl_from_reference"] > 1e-4, "a full KL is never negative"


def test_a_policy_measures_its_kl_from_another_as_the_formula_says(tiny_model):
    ours, theirs = (load_model(tiny_model, torch.device("cpu"), torch.float32) for _ in range(2))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    batch = Batch.from_rows([[7, 8, 9, 1], [8, 1]], [[False, True, False, True], [False, True]])
    kl_BT = Policy(ours, chunk_elements=20).full_kl(batch, Policy(theirs), temperature=0.7)
    logits_BTV, ref_logits_BTV = (model(batch.token_ids_BT).logits / 0.7 for model in (ours, theirs))
    expected_BT = torch.zeros(2, 4)
    expected_BT[:, 1:] = losses.full_kl(logits_BTV, ref_logits_BTV)[:, :-1]
    torch.testing.assert_close(kl_BT, torch.where(batch.mask_BT, expected_BT, 0.0), atol=1e-6, rtol=0)
    kl_BT.sum().backward()
    assert all(parameter.grad is None for parameter in theirs.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in ours.parameters())


@pytest.mark.parametrize("critic", ["own", "shared"])
def test_adapters_are_trained_beside_a_critic(tiny_model, even_length, tmp_path, critic):
    pytest.importorskip("peft")
    config = small(tiny_model, even_length, tmp_path / "run", critic=critic, steps=1, lora_rank=2, entropy_coef=0.01)
    result = train_ppo(config, quiet=True)
    assert (result.model / "adapter_model.safetensors").exists()
    assert read_metrics(tmp_path / "run")[0]["grad_norm"] > 0


def test_the_kl_coefficient_follows_its_target_within_a_fifth():
    control = KLController(0.1, target=0.02, horizon=64)
    control.observe(0.022, num_rows=32)  # error 0.1, half a horizon
    assert control.coefficient == pytest.approx(0.105)
    control.observe(1.0, num_rows=64)  # held to 0.2
    assert control.coefficient == pytest.approx(0.126)
    other = KLController(0.1, target=0.02, horizon=64)
    other.load_state_dict(control.state_dict())
    assert other.coefficient == control.coefficient
    fixed = KLController(0.1)
    fixed.observe(9.0, num_rows=999)
    assert fixed.coefficient == 0.1
    with pytest.raises(ConfigError, match="stays 0"):
        KLController(0.0, target=0.1)


@pytest.fixture
def reward_model(tiny_model, tmp_path) -> Path:
    """A reward model with random opinions."""
    from transformers import AutoTokenizer

    model = load_scalar_model(tiny_model, torch.device("cpu"))
    torch.manual_seed(0)
    torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(tmp_path / "judge")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "judge")
    return tmp_path / "judge"


def test_a_reward_model_judges_beside_the_verifier(tiny_model, even_length, tmp_path, reward_model):
    config = small(
        tiny_model, even_length, tmp_path / "run", steps=1, reward_model=str(reward_model),
        part_weights={"reward_model": 1.0},
    )  # fmt: skip
    train_ppo(config, quiet=True)
    (row,) = read_metrics(tmp_path / "run")
    (path,) = rollout_files(tmp_path / "run").values()
    opinions = [t.score.parts["reward_model"] for t in read_rollouts(path)]
    assert row["part/reward_model"] == pytest.approx(sum(opinions) / len(opinions))
    assert len(set(opinions)) > 1
    assert row["reward"] in {n / 64 for n in range(65)}, "the verdict is reported as it was"


def test_groups_compare_a_learned_reward_too(tiny_model, last_letter, tmp_path, reward_model):
    config = GRPOConfig(
        model=str(tiny_model), env=last_letter, out=str(tmp_path / "run"), steps=1, prompts_per_step=4, group_size=4,
        max_tokens=4, scoring_workers=1, reward_model=str(reward_model), part_weights={"reward_model": 1.0},
    )  # fmt: skip
    train_grpo(config, quiet=True)
    (row,) = read_metrics(tmp_path / "run")
    assert row["reward"] < 0.1, "hardly any answer is right"
    assert row["live_groups"] == 4, "and yet the groups differ, in the learned reward"


def test_a_reward_model_can_pay_for_steps(tiny_model, even_length, tmp_path, reward_model):
    config = small(
        tiny_model, even_length, tmp_path / "run", steps=1, reward_model=str(reward_model), process_weight=0.5,
        step_separator="a",
    )  # fmt: skip
    train_ppo(config, quiet=True)
    (row,) = read_metrics(tmp_path / "run")
    assert row["return_mean"] != pytest.approx(row["reward"], abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "pppo"}, "Did you mean 'ppo'"),
        ({"kl_kind": "k4"}, "kl_kind 'k4' is not known"),
        ({"lam": 1.5}, "lam 1.5"),
        ({"kl_coef": -1.0}, "kl_coef is -1.0"),
        ({"critic": "shared", "critic_model": "x"}, "shares the policy's trunk"),
        ({"kl_target": 0.1}, "stays 0"),
        ({"critic_learning_rate": 0.0}, "learning_rate is 0.0"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_starts(settings, message):
    with pytest.raises(ConfigError, match=message):
        PPOConfig(model="m", env="e/e-v0", **settings)


def test_groups_can_be_compared_step_by_step(tiny_model, even_length, tmp_path, reward_model):
    def run(name: str, **settings):
        config = GRPOConfig(
            model=str(tiny_model), env=even_length, out=str(tmp_path / name), steps=1, prompts_per_step=4, group_size=4,
            max_tokens=4, scoring_workers=1, learning_rate=1e-3, reward_model=str(reward_model), step_separator="a", **settings,
        )  # fmt: skip
        return weights(train_grpo(config, quiet=True).model)

    outcome, both, again = run("outcome"), run("both", process_weight=0.5), run("again", process_weight=0.5)
    assert same(both, again)
    assert not same(outcome, both)
    episodes = [list(read_rollouts(*rollout_files(tmp_path / name).values())) for name in ("outcome", "both")]
    assert [t.token_ids for t in episodes[0]] == [t.token_ids for t in episodes[1]]


def test_steps_are_compared_with_those_of_all_answers_to_the_task_in_the_rows_that_are_trained():
    def answer(length: int, finish: str = "stop") -> Trajectory:
        score = Score.failure("no verdict") if finish == "fault" else Score(1.0)
        mask = [False] + [True] * (length - 1)
        return Trajectory(
            Task("q"), [5] * length, mask, [0.0] * length, score, finish, 0, 1, ["a"], [], 0, 0, 1
        )  # fmt: skip

    groups = [
        [answer(4), answer(6, "length"), answer(2, "fault")],
        [answer(3), answer(3)],
        [answer(2), answer(5, "fault"), answer(2, "fault")],
    ]

    def steps(rows):
        assert [len(row.token_ids) for row in rows] == [4, 6, 3, 3, 2]
        rewards_BT, ends_BT = torch.zeros(5, 6), torch.zeros(5, 6, dtype=torch.bool)
        # Task 1: rewards 1 and 0, and 2 in the answer that was cut off: mean 1, deviation 1, normalised 0, -1, +1.
        # Task 2: 5 and 1: mean 3, deviation sqrt 8, normalised +-1 / sqrt 2. Task 3: one step, nothing to compare.
        for row, token, reward in ((0, 1, 1.0), (0, 3, 0.0), (1, 5, 2.0), (2, 2, 5.0), (3, 2, 1.0), (4, 1, 7.0)):
            rewards_BT[row, token], ends_BT[row, token] = reward, True
        return rewards_BT, ends_BT

    half = 0.5**0.5
    torch.testing.assert_close(
        process_advantages(groups, steps, drop_truncated=True),
        torch.tensor([[0, -1, -1, -1], [0, half, half, 0], [0, -half, -half, 0], [0, 0, 0, 0]]),
        atol=2e-4,  # eps = 1e-4 in the deviation
        rtol=0,
    )
    assert process_advantages(groups, steps).shape == (5, 6)


@pytest.mark.parametrize("train", [train_ppo, train_grpo])
@pytest.mark.parametrize("settings", [{"part_weights": {"reward_model": 1.0}}, {"process_weight": 1.0}])
def test_a_weight_for_a_reward_model_that_is_not_there_is_refused(tiny_model, even_length, tmp_path, train, settings):
    kind = PPOConfig if train is train_ppo else GRPOConfig
    with pytest.raises(ConfigError, match="no reward_model is set"):
        train(kind(model=str(tiny_model), env=even_length, out=str(tmp_path / "run"), **settings), quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_run_of_another_algorithm_is_not_taken_up(tiny_model, even_length, tmp_path):
    config = small(tiny_model, even_length, tmp_path / "run", steps=1)
    train_grpo(
        GRPOConfig(
            model=config.model, env=config.env, out=config.out, steps=1, prompts_per_step=16, group_size=8, max_tokens=4,
            learning_rate=1e-2, scoring_workers=1,
        ),
        quiet=True,
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="holds no critic"):
        train_ppo(replace(config, steps=2), resume=True, quiet=True)


def test_stored_answers_can_be_trained_on_again(tiny_model, even_length, tmp_path):
    config = small(tiny_model, even_length, tmp_path / "run", importance="none")
    first = train_ppo(config, quiet=True)
    again = train_ppo(replace(config, out=str(tmp_path / "again"), replay=str(tmp_path / "run")), quiet=True)
    assert same(weights(first.model), weights(again.model))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:all_groups_dead")
def test_groups_too_are_held_near_a_target_and_go_on_from_any_update(tiny_model, last_letter, tmp_path):
    config = GRPOConfig(
        model=str(tiny_model), env=last_letter, out=str(tmp_path / "whole"), steps=2, prompts_per_step=8, group_size=8,
        max_tokens=4, learning_rate=1e-2, scoring_workers=1, num_iterations=2, keep_dead_groups=True, kl_coef=0.1,
        kl_kind="k2", kl_target=0.001, kl_horizon=64, checkpoint_every=1, keep_checkpoints=99,
    )  # fmt: skip
    whole = train_grpo(config, quiet=True)
    first, second = read_metrics(tmp_path / "whole")
    assert first["kl_coef"] != second["kl_coef"]
    out = tmp_path / "resumed"
    shutil.copytree(tmp_path / "whole", out)
    for later in list_checkpoints(out / "checkpoints")[1:]:
        shutil.rmtree(later)
    resumed = train_grpo(replace(config, out=str(out)), resume=True, quiet=True)
    assert same(weights(resumed.model), weights(whole.model))
    assert timeless(out) == timeless(tmp_path / "whole")
