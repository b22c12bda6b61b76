"""The ladder from raw reward to groups, rung by rung: how noisy the gradient is, and how many steps a goal takes.

    python bench/ladder.py [--seeds 0 1 2 3 4] [--out bench/results/ladder.md] [--picture docs/images/ladder.png]

The task is a toy that needs credit in the right place: four letters are shown, the last one must be said first, and the answer
must end within four tokens. The model has one layer of width 32 and random weights; it starts near 0.03. Every rung sees 128
answers a step. Two tables:

- noise: at two half-trained policies, the gradient of 16 batches of 128 answers by each estimator; the trace of its covariance
  over the squared length of its mean. Half of it is worth twice the answers.
- steps: batches until the mean reward of five of them passes 0.8, for each seed.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import rlvr
from rlvr.generation.loading import load_model, load_tokenizer
from rlvr.generation.transformers import TransformersEngine
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool
from rlvr.tracking import read_metrics
from rlvr_trainers import GRPOConfig, PPOConfig, advantages, build_tiny_model, losses, train_grpo, train_ppo
from rlvr_trainers.checkpoint import list_checkpoints
from rlvr_trainers.critic import Critic
from rlvr_trainers.learner import Learner
from rlvr_trainers.optimizer import OptimizerConfig
from rlvr_trainers.rollouts import RewardTerms, group_rewards, training_batch
from rlvr_trainers.scalar_model import load_scalar_model

ENV, GOAL, WINDOW = "bench/last-letter-v0", 0.8, 5
PROMPTS, GROUP, MAX_TOKENS = 16, 8, 4


@rlvr.register(ENV)
def last_letter(rng: Any) -> rlvr.Task:
    letters = "".join(rng.choice("abcd") for _ in range(4))
    return rlvr.Task(letters, answer=letters[-1])


@last_letter.verifier
def says_it_first(task: rlvr.Task, text: str) -> rlvr.Score:
    return rlvr.Score(float(text.startswith(task.answer)))


COMMON = {"env": ENV, "max_tokens": MAX_TOKENS, "rollouts_every": 0, "scoring_workers": 1, "entropy_coef": 0.03}
GROUPS = {**COMMON, "prompts_per_step": PROMPTS, "group_size": GROUP}
ALONE = {**COMMON, "prompts_per_step": PROMPTS * GROUP, "critic_learning_rate": 2e-3, "whiten": False}
ONCE = {"learning_rate": 6e-3, "steps": 90}
REUSED = {"learning_rate": 4e-3, "steps": 75, "num_iterations": 2, "num_minibatches": 2}

RUNGS: dict[str, tuple[Any, Callable[..., Any], dict[str, Any]]] = {
    "1 REINFORCE, raw reward": (GRPOConfig, train_grpo, {**GROUPS, **ONCE, "loss": "reinforce", "advantage": "raw"}),
    "2 + batch baseline": (GRPOConfig, train_grpo, {**GROUPS, **ONCE, "loss": "reinforce", "advantage": "batch_mean"}),
    "3 + critic baseline": (PPOConfig, train_ppo, {**ALONE, **ONCE, "loss": "reinforce"}),
    "3b batch used 4 times, no clip": (PPOConfig, train_ppo, {**ALONE, **REUSED, "loss": "reinforce"}),
    "4 PPO: used 4 times, clipped": (PPOConfig, train_ppo, {**ALONE, **REUSED}),
    "5 GRPO: groups for a critic": (GRPOConfig, train_grpo, {**GROUPS, **REUSED}),
    "5b RLOO, clipped": (GRPOConfig, train_grpo, {**GROUPS, **REUSED, "loss": "ppo", "advantage": "leave_one_out"}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--out", default="bench/results/ladder.md")
    parser.add_argument("--picture", default="docs/images/ladder.png")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # a solved task has dead groups, and says so
    with tempfile.TemporaryDirectory() as scratch:
        model = build_tiny_model(Path(scratch) / "model", alphabet="abcd\n", layers=1, hidden=32, heads=2)
        noise = {
            level: gradient_noise(path) for level, path in half_trained(model, Path(scratch) / "half", (0.25, 0.75))
        }
        curves: dict[str, list[dict[str, Any]]] = {name: [] for name in RUNGS}
        for seed in args.seeds:  # a seed at a time, so that a run that is cut off leaves whole seeds
            for number, name in enumerate(RUNGS):
                curves[name].append(curve(name, model, Path(scratch) / f"{number}-{seed}", seed))
            Path(args.out).write_text(report(noise, curves), "utf-8")
            draw(curves, args.picture)
    print(report(noise, curves))


def curve(name: str, model: Path, out: Path, seed: int) -> dict[str, Any]:
    """A run's rewards by step, and its processor seconds."""
    config, train, settings = RUNGS[name]
    begin = time.process_time()
    try:
        train(config(model=str(model), out=str(out), seed=seed, **settings), quiet=True)
    except rlvr.RlvrError as fault:  # ten steps without a difference between answers end a run, solved or collapsed
        print(f"{name}, seed {seed}: {fault}", flush=True)
    seconds = time.process_time() - begin
    rewards = [row["reward"] for row in read_metrics(out) if row["step"]]
    print(f"{name}, seed {seed}: {steps_to_goal(rewards)} steps, end {rewards[-1]:.2f}, {seconds:.1f} s", flush=True)
    return {"rewards": rewards, "seconds": seconds}


def steps_to_goal(rewards: list[float]) -> int | None:
    """The step at which the mean of the last WINDOW rewards first passes GOAL."""
    for step in range(WINDOW, len(rewards) + 1):
        if sum(rewards[step - WINDOW : step]) / WINDOW >= GOAL:
            return step
    return None


def half_trained(model: Path, out: Path, levels: tuple[float, ...]) -> list[tuple[float, Path]]:
    """Checkpoints of one GRPO run, the first at each mean reward."""
    settings = {**GROUPS, **REUSED, "steps": 60, "checkpoint_every": 4, "keep_checkpoints": 999}
    train_grpo(GRPOConfig(model=str(model), out=str(out), seed=99, **settings), quiet=True)
    rewards = {row["step"]: row["reward"] for row in read_metrics(out)}
    reached = [(level, min(step for step, reward in rewards.items() if reward >= level)) for level in levels]
    # A step without a live group changes no weight and writes no checkpoint: the one before it holds the same.
    checkpoints = list_checkpoints(out / "checkpoints")
    return [(level, [path for path in checkpoints if int(path.name[5:11]) <= step][-1]) for level, step in reached]


def gradient_noise(trained: Path, batches: int = 16) -> dict[str, tuple[float, float]]:
    """Estimator to (noise over signal of its gradient, cosine of its mean with RLOO's)."""
    device = torch.device("cpu")
    tokenizer = load_tokenizer(trained)
    learner = Learner(load_model(trained, device, torch.float32), OptimizerConfig(), total_updates=1)
    engine = TransformersEngine.shared(learner.model, tokenizer)
    critic = Critic(
        load_scalar_model(trained, device), OptimizerConfig(learning_rate=2e-3), total_updates=400, token_budget=16_384,
        device=device,
    )  # fmt: skip
    spec, terms = rlvr.spec(ENV), RewardTerms()
    rewards = []

    def sampled(number: int) -> tuple[Any, Tensor]:
        tasks = [spec.task(number * PROMPTS + i, seed="noise") for i in range(PROMPTS)]
        groups = rollout(engine, tasks, group_size=GROUP, sampling=rlvr_sampling(), pool=pool, seed=number)
        rewards_PG, _ = group_rewards(groups, terms)
        batch = training_batch(groups, rewards_PG, pad_id=tokenizer.pad_token_id)
        assert batch is not None
        return batch, rewards_PG.float()

    found: dict[str, list[Tensor]] = {}
    with ScoringPool(1) as pool:
        for number in range(16):  # the critic learns on batches of its own
            batch, rewards_PG = sampled(10_000 + number)
            returns_BT = advantages.discounted_final(batch.fields["advantages"], batch.mask_BT)
            fitted = batch.with_fields(returns=returns_BT, old_values=critic.values(batch))
            for _ in range(8):
                critic.update(fitted, clip=None)
        for number in range(batches):
            batch, rewards_PG = sampled(number)
            rewards.append(float(rewards_PG.mean()))
            rewards_BT = advantages.place_final_reward(batch.fields["advantages"], batch.mask_BT)
            estimates = {
                "raw reward": advantages.outcome("raw", rewards_PG).flatten(),
                "batch baseline": advantages.outcome("batch_mean", rewards_PG).flatten(),
                "critic baseline (lambda 1)": advantages.critic_baseline(
                    rewards_BT, critic.values(batch), batch.mask_BT
                ),
                "group mean": advantages.outcome("none", rewards_PG).flatten(),
                "leave one out (RLOO)": advantages.outcome("leave_one_out", rewards_PG).flatten(),
                "group mean and deviation (GRPO)": advantages.outcome("std", rewards_PG).flatten(),
            }
            for name, values in estimates.items():
                logprobs_BT, _ = learner.policy(batch)
                loss = losses.policy_loss(
                    "reinforce",
                    logprobs_BT=logprobs_BT,
                    advantages=values,
                    mask_BT=batch.mask_BT,
                    aggregation="row_sum",
                )
                gradient = torch.autograd.grad(loss, learner.optimizer.parameters)
                found.setdefault(name, []).append(torch.cat([part.flatten() for part in gradient]).double())
    print(f"noise measured at mean reward {statistics.mean(rewards):.2f}", flush=True)
    signal = torch.stack(found["leave one out (RLOO)"]).mean(0)  # unbiased, and the least noisy of the unbiased ones
    table = {}
    for name, gradients in found.items():
        stacked = torch.stack(gradients)
        mean = stacked.mean(0)
        variance = float((stacked - mean).square().sum() / (len(stacked) - 1))
        # The squared mean of the sample contains variance / n of noise.
        length = max(float(mean.square().sum()) - variance / len(stacked), 1e-12)
        table[name] = (variance / length, float(torch.cosine_similarity(mean, signal, dim=0)))
    return table


def rlvr_sampling() -> Any:
    """How the toy is sampled."""
    from rlvr.generation.engine import Sampling

    return Sampling(max_tokens=MAX_TOKENS)


def report(noise: dict[float, dict[str, tuple[float, float]]], curves: dict[str, list[dict[str, Any]]]) -> str:
    """Both tables as Markdown."""
    heads = "".join(f" noise / signal at reward {level} | cosine with RLOO |" for level in noise)
    lines = [
        "# The ladder, measured",
        "",
        f"`python bench/ladder.py`, {time.strftime('%Y-%m-%d')}, one CPU thread, torch {torch.__version__}, 128 answers a step.",
        "",
        f"| estimator |{heads}",
        "|---" * (1 + 2 * len(noise)) + "|",
        *(
            f"| {name} |" + "".join(f" {table[name][0]:.2f} | {table[name][1]:.2f} |" for table in noise.values())
            for name in next(iter(noise.values()))
        ),
        "",
        f"| rung | steps to {GOAL} by seed | reached | median | spread of the end reward | processor s a step | to the goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in curves.items():
        steps = [steps_to_goal(run["rewards"]) for run in runs]
        ends = [statistics.mean(run["rewards"][-WINDOW:]) for run in runs]
        reached = [step for step in steps if step is not None]
        median = statistics.median([math.inf if step is None else step for step in steps])
        cost = statistics.median(run["seconds"] / len(run["rewards"]) for run in runs)
        by_seed = " ".join("-" if step is None else str(step) for step in steps)
        goal, price = ("-", "-") if math.isinf(median) else (f"{median:g}", f"{cost * median:.1f}")
        lines.append(
            f"| {name} | {by_seed} | {len(reached)} of {len(runs)} | {goal} | {min(ends):.2f} to {max(ends):.2f} | {cost:.3f} | "
            f"{price} |"
        )
    return "\n".join(lines) + "\n"


def draw(curves: dict[str, list[dict[str, Any]]], path: str) -> None:
    """Mean reward by step, one panel a rung, one thin line a seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, 4, figsize=(13, 5), sharey=True, layout="constrained")
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, (name, runs) in zip(axes.flat, curves.items(), strict=False):
        axis.set_visible(True)
        for run in runs:
            axis.plot(range(1, len(run["rewards"]) + 1), run["rewards"], linewidth=1)
        axis.axhline(GOAL, color="grey", linewidth=0.7, linestyle=":")
        axis.set_title(name, fontsize=9)
        axis.set_ylim(0, 1.02)
        axis.set_xlabel("step")
    axes[0, 0].set_ylabel("mean reward")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
