"""The settings that every reinforcement-learning run has, whatever its algorithm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from rlvr.errors import ConfigError
from rlvr.generation.adapters import room_for
from rlvr.generation.engine import Sampling
from rlvr.scoring import Backend
from rlvr_trainers.engines import EngineName
from rlvr_trainers.losses import IMPORTANCE_KINDS
from rlvr_trainers.optimizer import OptimizerConfig, ScheduleKind
from rlvr_trainers.rollouts import RewardTerms
from rlvr_trainers.sampler import EnvConfig, env_mix
from rlvr_trainers.shapes import unknown_name
from rlvr_trainers.thinking import chat_template

InFlight = Literal["off", "recompute", "keep"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What is trained on what, for how long, and what is kept of it."""

    model: str = ""
    """Folder or hub name of the model to start from; the folder of a run stands for its newest checkpoint."""
    out: str = "runs/run"
    """Run folder; must not hold a run already, unless that is resumed."""
    env: str = ""
    """Environment to train on, `namespace/name-vN`."""
    level: int | None = None
    """Its level of difficulty."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    """Its knobs, on top of the level's."""
    envs: tuple[EnvConfig, ...] = ()
    """A mix of environments in place of `env`, with weights, curricula and filters."""
    seed: int = 0
    """Names every random choice of the run."""

    chat_template: str = ""
    """How a prompt is written, where it is not the tokenizer's own way: Jinja text, or `think`, which asks a base model to
    think in tags. It is saved with the model."""
    steps: int = 100
    """Batches of rollouts to train on."""
    prompts_per_step: int = 32
    """P: prompts of a batch."""
    group_size: int = 8
    """G: answers to each prompt."""
    num_iterations: int = 1
    """Passes over a batch before the next one is sampled."""
    num_minibatches: int = 1
    """Optimizer updates that a pass is split into."""

    temperature: float = 1.0
    """Of sampling; the log-probabilities that are trained are of the same distribution."""
    top_p: float = 1.0
    """Nucleus mass. Below 1 the importance weights account for the mass that was cut."""
    top_k: int = 0
    """Likeliest tokens kept; 0 keeps all."""
    min_p: float = 0.0
    """Tokens below this share of the likeliest one's probability are dropped."""
    max_tokens: int = 256
    """Longest turn of the model, in tokens, the end token included."""
    stop: tuple[str, ...] = ()
    """Texts that end a turn."""
    max_turns: int | None = None
    """Fewer turns than the environment allows."""
    engine: EngineName = "auto"
    """What samples: `transformers` in this process, from the weights being trained; `vllm` in this process or `vllm_server`
    beside it; `auto` takes the faster one that is installed, and says why."""
    engine_options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the engine."""
    importance: str = "auto"
    """Weights against the difference between engine and trainer (`losses.importance_weights`). `auto`: none where both are
    the same module, else one truncated ratio a token, which does not shrink long answers."""
    importance_cap: float = 2.0
    """Largest such weight."""

    staleness: int = 0
    """1 samples the next batch while the update on this one runs, from weights one step older than those it is trained on; the
    importance weights are then always on. 0 samples and trains in turn."""
    in_flight: InFlight = "off"
    """With staleness = 1 and vLLM servers: give them new weights while they sample the next batch, and not when it is
    complete. Answers under way go on, with a key-value cache that is made again (`recompute`) or of the old weights (`keep`)."""

    replay: str = ""
    """Train on the rollouts that the run in this folder stored, step by step, and sample none."""

    learning_rate: float = 1e-6
    """Peak step size of AdamW."""
    warmup: int = 0
    """Updates over which the step size rises."""
    schedule: ScheduleKind = "constant"
    """What the step size does after that."""
    weight_decay: float = 0.0
    """Decoupled decay of matrices."""
    max_grad_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it."""
    token_budget: int = 16_384
    """Padded tokens of a micro-batch: memory and speed, not the update."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, a third more time."""
    offload: bool = False
    """On several ranks: keep weights, gradients and moments in main memory and step there, to fit a larger model on the GPUs."""
    lora_rank: int = 0
    """Train adapters of this rank through peft and leave the model's own weights alone; 0 trains all weights."""
    lora_alpha: float = 32.0
    """Scale of the adapters: they are multiplied by lora_alpha / lora_rank."""
    serve_adapters: bool = False
    """Send vLLM the adapters alone after an update and let it add them while it samples: updates cost a fraction, and nothing
    is rounded in half precision. Otherwise they are merged into the weights that are sent, which samples faster."""

    part_weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of named parts of a Score, such as `format`, beside the outcome's 1. Without it only the outcome counts."""
    format_part: bool = False
    """Look whether answers have the form `<think>...</think><answer>...</answer>`, as part `format` of every Score."""
    reward_model: str = ""
    """Folder of a trained reward model that judges beside the verifier, as part `reward_model` of every Score. In a recipe
    with a [reward_model] stage it is the one made there."""
    process_weight: float = 0.0
    """Weight of what each step of reasoning adds to the reward model's score: paid on the step's last token (PPO), or as an
    advantage beside the outcome's, compared within the group (GRPO). The whole answer's weight is in `part_weights`."""
    step_separator: str = "\n"
    """Text that ends a step of reasoning; each of its tokens counts."""
    scoring_workers: int = 2
    """Processes that run verifiers."""
    scoring_timeout_s: float = 10.0
    """Seconds that one verdict may take."""
    scoring_backend: Backend = "processes"
    """Where verifiers run: `processes` of this machine, or `ray` actors wherever the cluster has room (extra `ray`)."""
    max_fault_share: float = 0.1
    """Share of a step's episodes that may lack a verdict before the run is stopped."""

    eval_tasks: int = 0
    """Unseen tasks to evaluate on, before the first and after the last step; 0 for none."""
    eval_every: int = 0
    """Steps between evaluations on the way; 0 for none."""
    eval_temperature: float | None = None
    """Sampling temperature of evaluations, 0 for greedy; None takes `temperature`."""
    checkpoint_every: int = 0
    """Optimizer updates between checkpoints; 0 writes one at the end."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept."""
    rollouts_every: int = 1
    """Steps between stored rollouts; 0 stores none."""
    trackers: tuple[str, ...] = ()
    """Where metrics go beside `metrics.jsonl`: tensorboard, wandb, trackio."""

    def __post_init__(self) -> None:
        for name in ("steps", "prompts_per_step", "group_size", "num_iterations", "num_minibatches", "token_budget"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; nothing would be trained. Give at least 1")
        if not self.temperature > 0:
            raise ConfigError(
                f"temperature is {self.temperature}; without chance all answers of a group are equal. Give 1.0"
            )
        if self.importance not in ("auto", *IMPORTANCE_KINDS):
            raise unknown_name("importance", self.importance, ("auto", *IMPORTANCE_KINDS))
        if not self.sampling().full_distribution and self.importance == "none":
            raise ConfigError(
                f"top_p={self.top_p}, top_k={self.top_k}, min_p={self.min_p} sample from a cut distribution, and importance = "
                "'none' would train as if it were whole. Set importance = 'auto', or sample without cuts"
            )
        if self.staleness not in (0, 1):
            raise ConfigError(f"staleness is {self.staleness}; the next batch is sampled 0 or 1 steps in advance")
        if self.staleness and self.importance == "none":
            raise ConfigError(
                "importance = 'none' with staleness = 1 would train on another policy's rollouts as if they were its own. Set "
                "importance = 'auto', or staleness = 0"
            )
        if self.staleness and self.replay:
            raise ConfigError(
                f"staleness is 1, but the rollouts come from {self.replay!r} and none are sampled; set it to 0"
            )
        if self.serve_adapters:
            self._check_serve_adapters()
        if self.in_flight not in get_args(InFlight):
            raise unknown_name("in_flight", self.in_flight, get_args(InFlight))
        if self.in_flight != "off" and not self.staleness:
            raise ConfigError(
                f"in_flight = {self.in_flight!r} changes weights while the next batch is sampled, and with staleness = 0 none is "
                "sampled in advance. Set staleness = 1, or in_flight = 'off'"
            )
        if self.in_flight != "off" and self.engine not in ("auto", "vllm_server"):
            raise ConfigError(
                f"in_flight = {self.in_flight!r} needs an engine that goes on sampling while its weights change, and engine = "
                f"{self.engine!r} cannot. Set engine = 'vllm_server', or in_flight = 'off'"
            )
        if self.in_flight != "off" and self.serve_adapters:
            raise ConfigError(
                f"in_flight = {self.in_flight!r} lets answers under way go on with new weights, and vLLM ends an answer by the "
                "adapter it began with. Set serve_adapters = false, or in_flight = 'off'"
            )
        if self.keep_checkpoints < 1:
            raise ConfigError(
                f"keep_checkpoints is {self.keep_checkpoints}; the result itself would be removed. Give at least 1"
            )
        if not 0 <= self.max_fault_share <= 1:
            raise ConfigError(f"max_fault_share is {self.max_fault_share}; it is a share, from 0 to 1")
        if self.chat_template:
            chat_template(self.chat_template)
        self.optimizer()

    def _check_serve_adapters(self) -> None:
        if not self.lora_rank:
            raise ConfigError(
                "serve_adapters is set and lora_rank is 0: all weights are trained and there are no adapters to serve. Set "
                "lora_rank, or serve_adapters = false"
            )
        if self.engine == "transformers":
            raise ConfigError(
                "serve_adapters is set, and engine = 'transformers' samples from the trained module itself, adapters and all; "
                "nothing is sent. Set engine = 'vllm' or 'vllm_server', or serve_adapters = false"
            )
        if self.replay:
            raise ConfigError(
                f"serve_adapters is set, but the rollouts come from {self.replay!r} and no vLLM is started; set it to false"
            )
        room_for(self.lora_rank)

    @property
    def updates_per_step(self) -> int:
        """Optimizer updates on each batch."""
        return self.num_iterations * self.num_minibatches

    @property
    def mix(self) -> tuple[EnvConfig, ...]:
        """The environments, however they were named."""
        return env_mix(self.env, self.level, self.knobs, self.envs)

    def sampling(self) -> Sampling:
        """How training answers are drawn."""
        return Sampling(self.temperature, self.top_p, self.top_k, self.min_p, self.max_tokens, tuple(self.stop))

    def eval_sampling(self) -> Sampling:
        """How evaluation answers are drawn: never from a cut distribution."""
        temperature = self.temperature if self.eval_temperature is None else self.eval_temperature
        return Sampling(temperature, max_tokens=self.max_tokens, stop=tuple(self.stop))

    def optimizer(self) -> OptimizerConfig:
        """The settings that the optimizer reads."""
        return OptimizerConfig(
            self.learning_rate,
            self.warmup,
            self.schedule,
            weight_decay=self.weight_decay,
            max_grad_norm=self.max_grad_norm,
        )

    def reward_terms(self) -> RewardTerms:
        """How a Score becomes the number that is trained on."""
        return RewardTerms(self.part_weights)
