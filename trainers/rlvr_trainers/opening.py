"""How a run is opened: from its config, or from its last checkpoint; and how its parts are closed again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlvr.errors import CheckpointError, ConfigError
from rlvr.generation.engine import Engine
from rlvr.generation.loading import load_tokenizer
from rlvr.generation.replicas import ReplicatedEngine
from rlvr.generation.vllm_server import VLLMServerEngine
from rlvr.scoring import open_pool
from rlvr.tracking import rollout_files
from rlvr_trainers.ahead import Ahead
from rlvr_trainers.checkpoint import TrainerState, latest_checkpoint, load_state, restore_random_states
from rlvr_trainers.distributed import Ranks, open_ranks
from rlvr_trainers.engines import open_engine
from rlvr_trainers.evaluation import eval_tasks
from rlvr_trainers.health import TrainingWarning
from rlvr_trainers.learner import Learner, best_device
from rlvr_trainers.loading import open_model, without_weights
from rlvr_trainers.lora import add_adapters, load_adapters
from rlvr_trainers.progress import Progress
from rlvr_trainers.recipe_tables import recipe_toml
from rlvr_trainers.reward_model import RewardModel
from rlvr_trainers.run import Run
from rlvr_trainers.run_config import RunConfig
from rlvr_trainers.run_folder import open_folder
from rlvr_trainers.sampler import TaskSampler
from rlvr_trainers.thinking import chat_template


@contextmanager
def open_run(
    config: RunConfig, *, stage: str, resume: bool = False, engine: Engine | None = None, quiet: bool = False
) -> Iterator[Run]:
    """Everything a run needs, from its config or from its last checkpoint; closed again at the end.

    `stage` names the table of `config.toml` that the settings are written to. Where torchrun started this process beside
    others, all of them open the run together; the first one writes to its folder.
    """
    out, ranks = Path(config.out), open_ranks()
    if not config.model:
        raise ConfigError("model is not set; give the folder or hub name of the model to start from")
    if "reward_model" in config.part_weights and not config.reward_model:
        raise ConfigError("part_weights gives reward_model a weight, but no reward_model is set; give its folder")
    if config.process_weight and not config.reward_model:
        raise ConfigError(f"process_weight is {config.process_weight}, but no reward_model is set; give its folder")
    if config.offload and ranks.size == 1:
        raise ConfigError(
            "offload is set, but one process trains, whose weights are not sharded; start several with --nproc, or set "
            "gradient_checkpointing or lora_rank to save memory"
        )
    checkpoint = ranks.on_main(lambda: latest_checkpoint(out)) if resume else None
    sampler = TaskSampler(config.mix, seed=config.seed)
    sampler.check(config.prompts_per_step)
    unseen = eval_tasks(config.mix, config.eval_tasks) if config.eval_tasks else []
    tokenizer = load_tokenizer(config.model if checkpoint is None else checkpoint)
    if config.chat_template:
        tokenizer.chat_template = chat_template(config.chat_template)
    learner = _open_learner(config, checkpoint, ranks)
    state = TrainerState() if checkpoint is None else load_state(checkpoint, learner.model, ranks)
    if "ended" in state.counters:
        raise ConfigError(
            f"the run in {str(out)!r} ended at step {state.step} with all its tasks solved: nothing is left to do. Start a new "
            "run on a harder level or another environment"
        )
    if state.step >= config.steps:
        raise ConfigError(
            f"the run in {str(out)!r} has made {state.step} steps and steps is {config.steps}: nothing is left to do. Raise steps"
        )
    if config.replay and (missing := set(range(state.step + 1, config.steps + 1)) - set(rollout_files(config.replay))):
        raise ConfigError(
            f"{config.replay!r} stored no rollouts of {len(missing)} of the steps to replay, first of step {min(missing)}; set "
            f"steps to {min(missing) - 1} or fewer, or replay a run with rollouts_every = 1"
        )
    folder = open_folder(
        out, ranks, config_toml=recipe_toml(**{stage: config}), trackers=config.trackers, resume=resume
    )
    if not ranks.main:
        warnings.filterwarnings("ignore", category=TrainingWarning)  # the first rank says it for all
    pool = open_pool(config.scoring_backend, config.scoring_workers, config.scoring_timeout_s)
    progress = Progress(stage, config.steps, done=state.step, quantity="reward", quiet=quiet or not ranks.main)
    owned, ahead = engine is None, None
    try:
        if engine is None:
            # A replay samples nothing, and what it evaluates the policy itself can answer.
            name, options = ("transformers", {}) if config.replay else (config.engine, dict(config.engine_options))
            engine, shared = open_engine(
                name,
                learner.model,
                tokenizer,
                path=config.model,
                options=options,
                ranks=ranks,
                own_weights=config.staleness > 0,
                lora_rank=config.lora_rank if config.serve_adapters else 0,
                in_flight=config.in_flight != "off",
                quiet=quiet,
            )
        else:
            shared = False
            if config.in_flight != "off" and not isinstance(engine, VLLMServerEngine | ReplicatedEngine):
                raise ConfigError(
                    f"in_flight = {config.in_flight!r} needs an engine whose weights may change while it samples, and the run "
                    f"was given a {type(engine).__name__}. Give it vLLM servers, or set in_flight = 'off'"
                )
        if config.chat_template and engine is not None:
            engine.tokenizer.chat_template = tokenizer.chat_template
        run = Run(config, state, tokenizer, learner, engine, shared, pool, sampler, folder, unseen, progress)
        if config.reward_model:
            run.judge = RewardModel(config.reward_model, device=learner.device, token_budget=config.token_budget)
        if checkpoint is not None:
            _restore(run, checkpoint)
        if config.staleness:
            run.ahead = ahead = Ahead()
            run.attach("ahead", ahead)
        run.sync()
        with ranks.together():
            yield run
    finally:
        progress.close()
        if ahead is not None:
            ahead.close()
        pool.close()
        folder.close()
        if owned and engine is not None:
            engine.close()


def _open_learner(config: RunConfig, checkpoint: Path | None, ranks: Ranks) -> Learner:
    device = best_device()
    if config.lora_rank:
        base = open_model(config.model, ranks, device)
        with without_weights(ranks):
            if checkpoint is None:
                model = add_adapters(base, rank=config.lora_rank, alpha=config.lora_alpha, seed=config.seed)
            else:
                model = load_adapters(base, checkpoint)
    else:
        model = open_model(config.model if checkpoint is None else checkpoint, ranks, device)
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
        model.train()
    return Learner(
        model,
        config.optimizer(),
        total_updates=config.steps * config.updates_per_step,
        token_budget=config.token_budget,
        device=device,
        ranks=ranks,
        offload=config.offload,
    )


def _restore(run: Run, checkpoint: Path) -> None:
    state = run.state
    try:
        run.learner.load_state_dict(state.learner)
        run.sampler.load_state_dict(state.sampler)
        run.alarms.load_state_dict(state.counters["alarms"])
        restore_random_states(state.random)
    except (KeyError, ValueError, RuntimeError) as fault:
        raise CheckpointError(
            f"the state in {str(checkpoint)!r} does not fit this run ({fault}); resume with the config in the run folder"
        ) from fault
    state.counters["saved_at"] = run.learner.optimizer.updates
    run.saved = checkpoint
    run.folder.forget_after(state.step, sampled=state.step + (state.buffer is not None))
