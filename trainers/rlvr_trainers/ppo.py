"""PPO with a critic: generate, score, advantages, policy update, critic update.

`train_ppo` is the whole algorithm, in the order in which a step happens. Schulman et al. 2017 (arXiv:1707.06347); for
language models Ziegler et al. 2019 (arXiv:1909.08593) and Ouyang et al. 2022 (arXiv:2203.02155). What is maximised is

    clipped surrogate + entropy_coef * entropy - kl_coef * KL(policy || reference) - value_coef * value loss

where the last term is a separate update if the critic has a trunk of its own, and the KL may be charged on the rewards instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from rlvr.errors import ConfigError
from rlvr.generation.engine import Engine
from rlvr_trainers import advantages, losses
from rlvr_trainers.batch import Batch
from rlvr_trainers.critic import Critic, ValueHead, explained_variance, value_loss
from rlvr_trainers.kl_control import KL_CHOICES, KLController
from rlvr_trainers.learner import Metrics
from rlvr_trainers.loading import open_scalar_model
from rlvr_trainers.objective import Objective, policy_objective
from rlvr_trainers.opening import open_run
from rlvr_trainers.optimizer import OptimizerConfig
from rlvr_trainers.policy import Policy
from rlvr_trainers.reference import open_reference
from rlvr_trainers.rollouts import (
    Collected,
    RewardTerms,
    episode_metrics,
    group_rewards,
    trained_rows,
    training_batch,
)
from rlvr_trainers.run import Run, TrainResult
from rlvr_trainers.run_config import RunConfig
from rlvr_trainers.shapes import unknown_name
from rlvr_trainers.starting import with_model_folders
from rlvr_trainers.step_rewards import judged_steps

__all__ = ["PPOConfig", "TrainResult", "train_ppo"]


@dataclass(frozen=True, kw_only=True)
class PPOConfig(RunConfig):
    """A PPO run: the settings of every run, and the algorithm's own."""

    group_size: int = 1
    """Answers to each prompt; PPO compares with the critic, not within a group, and needs no more than one."""
    loss: str = "ppo"
    """Policy loss, one of `losses.POLICY_LOSSES`; `reinforce` with this critic is the step before the clip."""
    clip_low: float = 0.2
    """The ratio of new to old probability is held above 1 - clip_low."""
    clip_high: float = 0.2
    """And below 1 + clip_high."""
    dual_clip: float | None = None
    """Floor under the objective of bad tokens, in units of their advantage; the loss `dual_clip` uses 3."""
    gamma: float = 1.0
    """Discount of what comes later, a token."""
    lam: float = 1.0
    """GAE's lambda: 1 trusts the reward, 0 the critic's next value. At 0.95 a reward 100 tokens on counts 0.6 %."""
    horizon: int | None = None
    """TD errors that an advantage sums; None sums to the end of the answer."""
    whiten: bool = True
    """Give the advantages of a batch mean 0 and variance 1 over its tokens."""
    mask_truncated: bool = False
    """Leave answers that were cut off out of the batch."""

    critic: Literal["own", "shared"] = "own"
    """`own`: a second transformer with its own optimizer. `shared`: a second head on the policy's trunk."""
    critic_model: str = ""
    """What a critic of its own starts from, for instance a reward model; empty takes `model`."""
    critic_learning_rate: float = 1e-5
    """Peak step size of the critic (of its head, where the trunk is shared)."""
    value_clip: float | None = 0.2
    """How far a value may move from its old one in the updates on one batch; None does not clip."""
    value_coef: float = 0.5
    """Weight of the value loss in the loss of a shared trunk."""
    value_pretraining_steps: int = 0
    """First steps in which only the critic learns, so that the policy's first advantages mean something."""

    entropy_coef: float = 0.0
    """Weight of the entropy that the loss rewards."""
    kl_coef: float = 0.0
    """Weight of the KL divergence from the starting model. 0 loads no reference."""
    kl_in: Literal["loss", "reward"] = "loss"
    """Whether the KL is a term of the loss or is taken off the reward of each token."""
    kl_kind: str = "k3"
    """k1, k2 or k3, estimated from the sampled tokens, or `full`, over the whole vocabulary at the price of another pass. In
    the reward k1 is unbiased, in the loss k2 has the right gradient."""
    kl_target: float | None = None
    """KL in nats a token that the coefficient is steered to; None keeps it fixed."""
    kl_horizon: int = 10_000
    """Rows that the steering takes to follow."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in losses.POLICY_LOSSES:
            raise unknown_name("loss", self.loss, tuple(losses.POLICY_LOSSES))
        if self.kl_kind not in KL_CHOICES:
            raise unknown_name("kl_kind", self.kl_kind, KL_CHOICES)
        if not (0 <= self.gamma <= 1 and 0 <= self.lam <= 1):
            raise ConfigError(f"gamma is {self.gamma}, lam {self.lam}; both lie in [0, 1]")
        for name in ("kl_coef", "entropy_coef", "value_coef", "value_pretraining_steps"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it cannot be negative")
        if self.value_pretraining_steps >= self.steps:
            raise ConfigError(
                f"value_pretraining_steps is {self.value_pretraining_steps} of {self.steps} steps; no policy would be trained"
            )
        if self.critic == "shared" and self.critic_model:
            raise ConfigError(
                f"critic_model is {self.critic_model!r} but the critic shares the policy's trunk; say critic = 'own'"
            )
        self.kl_controller()
        self.critic_optimizer()

    def kl_controller(self) -> KLController:
        """The coefficient of the KL penalty and how it moves."""
        return KLController(self.kl_coef, target=self.kl_target, horizon=self.kl_horizon)

    def critic_optimizer(self) -> OptimizerConfig:
        """The settings that the critic's optimizer reads."""
        return replace(self.optimizer(), learning_rate=self.critic_learning_rate)

    def reward_terms(self) -> RewardTerms:
        """How a Score becomes the number that is trained on."""
        return RewardTerms(self.part_weights)


@dataclass
class Parts:
    """What PPO has beside the parts of every run."""

    critic: Critic | ValueHead
    kl: KLController
    reference: Policy | None


def train_ppo(
    config: PPOConfig, *, resume: bool = False, engine: Engine | None = None, quiet: bool = False
) -> TrainResult:
    """Train until `config.steps`, or until all tasks are solved, and return where everything lies.

    `resume` goes on from the last checkpoint in `out`.

    Raises ConfigError for settings that cannot work, CheckpointError, EngineError or EnvironmentFault where the machine
    fails, TrainingError where nothing would be learned. Warnings are TrainingWarnings.
    """
    config = with_model_folders(config)
    with open_run(config, stage="ppo", resume=resume, engine=engine, quiet=quiet) as run:
        parts = open_parts(config, run)
        run.evaluate_start()
        while run.going:
            run.clock.restart()
            if run.state.buffer is None:  # else a resumed run stands between two updates of a step
                # 1. Generate: tasks, and an answer to each.  2. Score: the verifier's verdict, and a learned one beside it.
                collected = run.sample(keep_dead=True)
                run.clock.lap("rollout")
                # 3. Advantages: the reward of each token, its value by the critic, and how much better it was than that.
                run.begin_step(*estimate_advantages(config, run, parts, collected))
                run.clock.lap("prepare")
            run.sample_ahead()  # only with staleness: the next step's answers, while the updates run
            if (batch := run.batch) is not None:
                while run.state.update < config.updates_per_step:
                    part = run.minibatch(batch, run.state.update)
                    # 4. Policy update, and 5. critic update: one loss where they share a trunk, else one after the other.
                    if isinstance(parts.critic, ValueHead):
                        measured = update_shared_trunk(config, run, parts, parts.critic, part)
                    else:
                        measured = update_policy(config, run, parts, part)
                        measured |= parts.critic.update(part, clip=config.value_clip)
                    run.end_update(measured)
                run.clock.lap("update")
                run.sync()
                run.clock.lap("sync")
            run.end_step()
        return run.result()


def open_parts(config: PPOConfig, run: Run) -> Parts:
    """The critic, the KL controller and the reference; as the checkpoint left them in a resumed run."""
    device, total = run.learner.device, config.steps * config.updates_per_step
    critic: Critic | ValueHead
    if config.critic == "shared":
        critic = ValueHead(run.learner, config.critic_optimizer(), total_updates=total)
    else:
        critic = Critic(
            open_scalar_model(config.critic_model or config.model, run.ranks, device),
            config.critic_optimizer(),
            total_updates=total,
            token_budget=config.token_budget,
            device=device,
            ranks=run.ranks,
            offload=config.offload,
        )
    kl = config.kl_controller()
    run.attach("critic", critic)
    run.attach("kl", kl)
    reference = None
    if config.kl_coef:
        reference = open_reference(config.model, run.ranks, device, whole=config.kl_kind == "full")
    return Parts(critic, kl, reference)


def estimate_advantages(
    config: PPOConfig, run: Run, parts: Parts, collected: Collected
) -> tuple[Batch | None, dict[str, float]]:
    """The episodes as rows with `advantages`, `returns` and `old_values` for each token, and the step's metrics."""
    rewards_PG, _ = group_rewards(collected.live, config.reward_terms())
    metrics = {
        **episode_metrics(collected.groups),
        **run.sampler.metrics(),
        "tokens": float(sum(len(t.token_ids) for group in collected.groups for t in group)),
        "final_reward_std": float(rewards_PG.std(correction=0)),
    }
    batch = training_batch(collected.live, rewards_PG, pad_id=run.pad_id, drop_truncated=config.mask_truncated)
    if batch is None:
        return None, {**metrics, "live_groups": 0.0}
    rewards_BT = advantages.place_final_reward(batch.fields["advantages"], batch.mask_BT)
    if run.judge is not None and config.process_weight:
        rows = trained_rows(collected.live, drop_truncated=config.mask_truncated)
        rewards_BT = rewards_BT + config.process_weight * judged_steps(run, rows)[0]
    if config.updates_per_step > 1 or parts.reference is not None:
        batch = batch.with_fields(old_logprobs=run.learner.logprobs(batch, temperature=config.temperature))
    if not config.sampling().full_distribution:
        batch = batch.with_fields(kept_log_mass=run.learner.kept_log_mass(batch, config.sampling()))
    if parts.reference is not None:
        if config.kl_kind == "full":
            kl_BT = run.learner.full_kl(batch, parts.reference, temperature=config.temperature)
        else:
            ref_logprobs_BT = run.learner.logprobs(batch, temperature=config.temperature, policy=parts.reference)
            kl_BT = losses.kl(config.kl_kind, batch.fields["old_logprobs"], ref_logprobs_BT, batch.mask_BT)
            if config.kl_in == "loss":
                batch = batch.with_fields(ref_logprobs=ref_logprobs_BT)
        if config.kl_in == "reward":
            rewards_BT = advantages.kl_in_reward(rewards_BT, kl_BT, batch.mask_BT, parts.kl.coefficient)
        metrics["kl_from_reference"] = float(kl_BT.sum() / batch.num_answer_tokens)
        metrics["kl_coef"] = parts.kl.coefficient
        parts.kl.observe(metrics["kl_from_reference"], batch.num_rows)
    values_BT = parts.critic.values(batch)
    advantages_BT, returns_BT = advantages.gae(
        rewards_BT, values_BT, batch.mask_BT, config.gamma, config.lam, config.horizon
    )
    metrics |= {
        "value_mean": float(values_BT.sum() / batch.num_answer_tokens),
        "return_mean": float(returns_BT.sum() / batch.num_answer_tokens),
        "explained_variance": explained_variance(values_BT, returns_BT, batch.mask_BT),
        "advantage_std": float(advantages_BT[batch.mask_BT].std(correction=0)),
    }
    if config.whiten:
        advantages_BT = advantages.whiten(advantages_BT, batch.mask_BT)
    return batch.with_fields(advantages=advantages_BT, returns=returns_BT, old_values=values_BT), metrics


def objective_of(config: PPOConfig, run: Run, parts: Parts, batch: Batch) -> Objective:
    """What one update on these rows minimises."""
    return Objective(
        loss=config.loss,
        num_items=float(losses.denominator(config.loss, batch.mask_BT)),
        num_tokens=batch.num_answer_tokens,
        max_length=config.max_tokens,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        dual_clip=config.dual_clip,
        kl_coef=parts.kl.coefficient,
        kl_kind=config.kl_kind,
        entropy_coef=config.entropy_coef,
        importance=run.importance,
        importance_cap=config.importance_cap,
        full_distribution=config.sampling().full_distribution,
    )


def policy_share(
    config: PPOConfig, run: Run, parts: Parts, objective: Objective, micro: Batch, hidden_BTH: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """A micro-batch's share of what the policy minimises, and of its metrics."""
    policy, temperature = run.learner.policy, config.temperature
    logprobs_BT, entropy_BT = policy(
        micro, temperature=temperature, entropy="grad" if config.entropy_coef else "metric", hidden_BTH=hidden_BTH
    )
    kl_BT = None
    if parts.reference is not None and config.kl_kind == "full" and config.kl_in == "loss":
        kl_BT = policy.full_kl(micro, parts.reference, temperature=temperature, hidden_BTH=hidden_BTH)
    return policy_objective(objective, micro, logprobs_BT, entropy_BT, kl_BT)


def update_policy(config: PPOConfig, run: Run, parts: Parts, batch: Batch) -> Metrics:
    """One step of the policy's optimizer; none while only the critic learns."""
    if run.state.step < config.value_pretraining_steps:
        return {"grad_norm": 0.0, "learning_rate": 0.0}
    learner, objective = run.learner, objective_of(config, run, parts, batch)

    def micro_loss(micro: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return policy_share(config, run, parts, objective, micro)

    return {**learner.accumulate(batch, micro_loss), **learner.optimizer.step()}


def update_shared_trunk(config: PPOConfig, run: Run, parts: Parts, critic: ValueHead, batch: Batch) -> Metrics:
    """One step on policy and value loss together; while only the critic learns, of its head alone."""
    learner, objective = run.learner, objective_of(config, run, parts, batch)
    only_critic = run.state.step < config.value_pretraining_steps

    def micro_loss(micro: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        hidden_BTH = learner.policy.hidden(micro)
        values_BT = critic.of_hidden(hidden_BTH.detach() if only_critic else hidden_BTH, micro)
        value = value_loss(values_BT, micro, clip=config.value_clip, num_tokens=objective.num_tokens)
        if only_critic:
            return value, {"value_loss": value}
        loss, metrics = policy_share(config, run, parts, objective, micro, hidden_BTH)
        return loss + config.value_coef * value, {**metrics, "value_loss": value}

    metrics = learner.accumulate(batch, micro_loss)
    metrics["value_grad_norm"] = critic.optimizer.step()["grad_norm"]
    return {**metrics, **({"grad_norm": 0.0, "learning_rate": 0.0} if only_critic else learner.optimizer.step())}
