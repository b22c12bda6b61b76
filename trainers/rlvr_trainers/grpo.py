"""GRPO: sample groups of answers, score them, make those likelier that beat their group's mean.

`train_grpo` is the whole algorithm, in the order in which a step happens. Shao et al. 2024 (DeepSeekMath,
arXiv:2402.03300, section 4.1), with DAPO's token mean, clip-higher, dynamic sampling and overlong handling
(Yu et al. 2025, arXiv:2503.14476) as settings, and process supervision (DeepSeekMath, section 4.1.3) beside the outcome's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from rlvr.errors import ConfigError
from rlvr.generation.engine import Engine
from rlvr_trainers import advantages, losses
from rlvr_trainers.advantages import GROUPED, AdvantageKind
from rlvr_trainers.batch import Batch
from rlvr_trainers.kl_control import KLController
from rlvr_trainers.objective import Objective, policy_objective
from rlvr_trainers.opening import open_run
from rlvr_trainers.policy import Policy
from rlvr_trainers.reference import open_reference
from rlvr_trainers.rollouts import (
    Collected,
    RewardTerms,
    episode_metrics,
    group_rewards,
    training_batch,
)
from rlvr_trainers.run import Run, TrainResult
from rlvr_trainers.run_config import RunConfig
from rlvr_trainers.shapes import unknown_name
from rlvr_trainers.starting import with_model_folders
from rlvr_trainers.step_rewards import judged_steps, process_advantages

__all__ = ["GRPOConfig", "TrainResult", "train_grpo"]


@dataclass(frozen=True, kw_only=True)
class GRPOConfig(RunConfig):
    """A GRPO run: the settings of every run, and the algorithm's own."""

    loss: str = "dapo"
    """Policy loss, one of `losses.POLICY_LOSSES`: dapo, grpo, dr_grpo, gspo, cispo and so on."""
    clip_low: float = 0.2
    """The ratio of new to old probability is held above 1 - clip_low."""
    clip_high: float = 0.2
    """And below 1 + clip_high; DAPO's clip-higher is 0.28."""
    delta: float | None = None
    """Largest ratio that a negative advantage may push with; the `two_sided` loss needs it."""
    advantage: AdvantageKind = "std"
    """Reward minus the group's mean, over the group's or the batch's standard deviation or neither; or RLOO's baseline
    (`leave_one_out`). Without groups: the reward minus the batch's mean (`batch_mean`), or as it is (`raw`)."""
    kl_coef: float = 0.0
    """Weight of the KL divergence from the starting model, in the loss. 0 loads no reference."""
    kl_kind: str = "k3"
    """Its estimator, one of `losses.KL_KINDS`; k2 has the KL's own gradient."""
    kl_target: float | None = None
    """KL in nats a token that kl_coef is steered to, starting from its value; None keeps it fixed."""
    kl_horizon: int = 10_000
    """Rows that the steering takes to follow."""
    entropy_coef: float = 0.0
    """Weight of the entropy that the loss rewards."""
    keep_dead_groups: bool = False
    """Train on groups whose rewards are all equal: no advantage but that of their steps (`process_weight`), yet KL, entropy and
    a share of the token mean."""
    refill_rounds: int = 0
    """Rounds in which dead groups are replaced by new prompts before a step goes on with what it has."""
    mask_truncated: bool = False
    """Leave answers that were cut off out of the loss; they still count in their group's mean."""
    overlong_buffer: int = 0
    """Tokens below max_tokens from which a penalty grows to -1; 0 for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss not in losses.POLICY_LOSSES:
            raise unknown_name("loss", self.loss, tuple(losses.POLICY_LOSSES))
        if self.group_size < 2 and self.advantage in GROUPED:
            raise ConfigError(
                f"group_size is {self.group_size}; an answer has nothing to be compared with, and every advantage is 0. "
                "Give at least 2"
            )
        if self.overlong_buffer and not 0 < self.overlong_buffer <= self.max_tokens:
            raise ConfigError(
                f"overlong_buffer is {self.overlong_buffer}; it lies between 0 and max_tokens = {self.max_tokens}"
            )
        if self.kl_coef < 0 or self.entropy_coef < 0:
            raise ConfigError(f"kl_coef is {self.kl_coef}, entropy_coef {self.entropy_coef}; neither can be negative")
        if self.kl_kind not in losses.KL_KINDS:
            raise unknown_name("kl_kind", self.kl_kind, losses.KL_KINDS)
        self.kl_controller()

    def kl_controller(self) -> KLController:
        """The weight of the KL and how it moves."""
        return KLController(self.kl_coef, target=self.kl_target, horizon=self.kl_horizon)

    def reward_terms(self) -> RewardTerms:
        """How a Score becomes the number that is trained on."""
        return RewardTerms(self.part_weights, self.overlong_buffer, self.max_tokens)


def train_grpo(
    config: GRPOConfig, *, resume: bool = False, engine: Engine | None = None, quiet: bool = False
) -> TrainResult:
    """Train until `config.steps`, or until all tasks are solved, and return where everything lies.

    `resume` goes on from the last checkpoint in `out`.

    Raises ConfigError for settings that cannot work, CheckpointError, EngineError or EnvironmentFault where the machine
    fails, TrainingError where nothing would be learned. Warnings are TrainingWarnings.
    """
    config = with_model_folders(config)
    with open_run(config, stage="grpo", resume=resume, engine=engine, quiet=quiet) as run:
        reference = open_reference(config.model, run.ranks, run.learner.device) if config.kl_coef else None
        kl = config.kl_controller()
        if config.kl_target is not None:
            run.attach("kl", kl)
        run.evaluate_start()
        while run.going:
            run.clock.restart()
            if run.state.buffer is None:  # else a resumed run stands between two updates of a step
                # 1 and 2. Tasks, and a group of answers to each, scored as they come in.
                # 3. Groups that teach nothing are drawn again within a budget, or dropped.
                keep_dead = config.keep_dead_groups or config.advantage not in GROUPED
                collected = run.sample(refill_rounds=config.refill_rounds, keep_dead=keep_dead)
                run.clock.lap("rollout")
                # 4. Advantages, and the probabilities that the updates are measured against.
                run.begin_step(prepare(config, run, collected, reference), step_metrics(collected, run))
                run.clock.lap("prepare")
            run.sample_ahead()  # only with staleness: the next step's groups, while the update runs
            # 5. Passes over the batch in minibatches, each the sum of its micro-batches.
            if (batch := run.batch) is not None:
                while run.state.update < config.updates_per_step:
                    run.end_update(update(config, run, kl, run.minibatch(batch, run.state.update)))
                run.clock.lap("update")
                # 6. The engine gets the new weights, and proves that it serves them.
                run.sync()
                run.clock.lap("sync")
            # 7. Metrics, evaluation, checkpoint.
            run.end_step()
        return run.result()


def prepare(config: GRPOConfig, run: Run, collected: Collected, reference: Policy | None) -> Batch | None:
    """The live groups as rows with their advantages and the log-probabilities that stay fixed; None if nothing is left."""
    if not collected.live:
        return None
    rewards_PG, valid_PG = group_rewards(collected.live, config.reward_terms())
    advantages_PG = advantages.outcome(config.advantage, rewards_PG, valid_PG=valid_PG)
    batch = training_batch(collected.live, advantages_PG, pad_id=run.pad_id, drop_truncated=config.mask_truncated)
    if batch is None:
        return None
    if run.judge is not None and config.process_weight:
        process_BT = process_advantages(
            collected.live, partial(judged_steps, run), drop_truncated=config.mask_truncated
        )
        outcome_B1 = batch.fields["advantages"][:, None]
        batch = batch.with_fields(advantages=outcome_B1 + config.process_weight * process_BT)
    if config.updates_per_step > 1:
        batch = batch.with_fields(old_logprobs=run.learner.logprobs(batch, temperature=config.temperature))
    if not config.sampling().full_distribution:
        batch = batch.with_fields(kept_log_mass=run.learner.kept_log_mass(batch, config.sampling()))
    if reference is not None:
        ref_logprobs_BT = run.learner.logprobs(batch, temperature=config.temperature, policy=reference)
        batch = batch.with_fields(ref_logprobs=ref_logprobs_BT)
    return batch


def update(config: GRPOConfig, run: Run, kl: KLController, batch: Batch) -> Mapping[str, float]:
    """One optimizer step on these rows; the weight of the KL then follows what it was."""
    objective = Objective(
        loss=config.loss,
        num_items=float(losses.denominator(config.loss, batch.mask_BT)),
        num_tokens=batch.num_answer_tokens,
        max_length=config.max_tokens,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        delta=config.delta,
        kl_coef=kl.coefficient,
        kl_kind=config.kl_kind,
        entropy_coef=config.entropy_coef,
        importance=run.importance,
        importance_cap=config.importance_cap,
        full_distribution=config.sampling().full_distribution,
    )

    def loss(micro: Batch, logprobs_BT: Tensor, entropy_BT: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        return policy_objective(objective, micro, logprobs_BT, entropy_BT)

    measured = run.learner.update(
        batch, loss, temperature=config.temperature, entropy="grad" if config.entropy_coef else "metric"
    )
    if config.kl_coef:
        measured["kl_coef"] = kl.coefficient
        kl.observe(measured["kl"], batch.num_rows)
    return measured


def step_metrics(collected: Collected, run: Run) -> dict[str, float]:
    """What a step's episodes were like, and how many groups taught something."""
    groups = collected.groups
    return {
        **episode_metrics(groups),
        **run.sampler.metrics(),
        "live_groups": float(len(collected.live)),
        "dead_group_share": len(collected.dead) / len(groups),
        "refilled_prompts": float(collected.refilled),
        "tokens": float(sum(len(t.token_ids) for group in groups for t in group)),
    }
