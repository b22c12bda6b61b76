"""Our losses against TRL's own code, value and gradient, in float64 on random batches.

    pip install trl; python bench/loss_parity.py

TRL's `GRPOTrainer._compute_loss` is called as it is, with a stand-in for everything but the arithmetic. Prints the largest
difference for each loss. SAPO differs by 1e-7 because TRL makes its temperatures in float32.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from trl.trainer.grpo_trainer import GRPOTrainer

from rlvr_trainers import losses

ROWS, LENGTH, TRIALS = 6, 9, 20
KINDS: dict[str, dict[str, Any]] = {
    # ours: TRL's loss_type, its other settings, ours
    "grpo": {"theirs": {"loss_type": "grpo"}},
    "bnpo": {"theirs": {"loss_type": "bnpo"}},
    "dapo": {"theirs": {"loss_type": "dapo"}},
    "dr_grpo": {"theirs": {"loss_type": "dr_grpo"}, "ours": {"max_length": 16}},
    "two_sided": {"theirs": {"loss_type": "dapo"}, "ours": {"delta": 1.5}},
    "gspo": {"theirs": {"loss_type": "grpo", "importance_sampling_level": "sequence"}},
    "cispo": {"theirs": {"loss_type": "cispo", "epsilon_high": 1.7}, "ours": {"weight_cap": 1.7}},
    "sapo": {"theirs": {"loss_type": "sapo"}},
}


class _Accelerator:
    num_processes = 1
    sync_gradients = True

    def gather(self, value: Tensor) -> Tensor:
        return value

    def reduce(self, value: Tensor, reduction: str = "sum") -> Tensor:
        return value


def their_loss(
    batch: dict[str, Tensor], logprobs_BT: Tensor, settings: dict[str, Any], delta: float | None, beta: float
) -> Tensor:
    """TRL's loss on these log-probabilities."""
    mask_BT = batch["mask_BT"].double()
    trainer = SimpleNamespace(
        loss_type="dapo", importance_sampling_level="token", epsilon_low=0.2, epsilon_high=0.3, beta=beta,
        top_entropy_quantile=1.0, off_policy_mask_threshold=None, aux_loss_enabled=False, use_vllm=False,
        vllm_importance_sampling_correction=False, _entropy_bonus_enabled=False, max_completion_length=16,
        current_gradient_accumulation_steps=1, accelerator=_Accelerator(), model=SimpleNamespace(training=True),
        args=SimpleNamespace(
            delta=delta, sapo_temperature_pos=1.0, sapo_temperature_neg=1.05, use_bias_correction_kl=False,
            steps_per_generation=1,
        ),
        _metrics={"train": __import__("collections").defaultdict(list)},
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs_BT, torch.zeros_like(logprobs_BT), None),
    )  # fmt: skip
    for name, value in settings.items():
        setattr(trainer, name, value)
    tokens = torch.zeros(ROWS, LENGTH, dtype=torch.int64)
    inputs = {
        "prompt_ids": tokens[:, :1], "prompt_mask": tokens[:, :1] + 1, "completion_ids": tokens, "completion_mask": mask_BT,
        "advantages": batch["advantages"], "old_per_token_logps": batch["old_logprobs_BT"],
        "ref_per_token_logps": batch["ref_logprobs_BT"], "num_items_in_batch": mask_BT.sum(),
    }  # fmt: skip
    loss: Tensor = GRPOTrainer._compute_loss(trainer, None, inputs)
    return loss


def main() -> None:
    print(f"{'loss':10} {'value':>9} {'gradient':>9}   largest difference over {TRIALS} batches, with and without KL")
    for kind, how in KINDS.items():
        ours, worst = how.get("ours", {}), [0.0, 0.0]
        for trial in range(TRIALS):
            generator = torch.Generator().manual_seed(trial)
            base_BT = -3 * torch.rand(ROWS, LENGTH, generator=generator, dtype=torch.float64)
            mask_BT = torch.rand(ROWS, LENGTH, generator=generator) < 0.7
            mask_BT[:, 0] = True
            batch = {
                "old_logprobs_BT": base_BT + 0.4 * torch.randn(ROWS, LENGTH, generator=generator, dtype=torch.float64),
                "ref_logprobs_BT": base_BT + 0.4 * torch.randn(ROWS, LENGTH, generator=generator, dtype=torch.float64),
                "advantages": torch.randn(ROWS, generator=generator, dtype=torch.float64),
                "mask_BT": mask_BT,
            }
            beta = 0.0 if trial % 2 or kind == "gspo" else 0.05
            results = []
            for who in ("ours", "theirs"):
                logprobs_BT = base_BT.clone().requires_grad_()
                if who == "theirs":
                    loss = their_loss(batch, logprobs_BT, how["theirs"], ours.get("delta"), beta)
                else:
                    loss = losses.policy_loss(
                        kind, logprobs_BT=logprobs_BT, old_logprobs_BT=batch["old_logprobs_BT"],
                        advantages=batch["advantages"], mask_BT=mask_BT, clip_high=0.3, **ours,
                    )  # fmt: skip
                    if beta:  # TRL averages the KL as it averages the loss
                        how_averaged = {"grpo": "row_mean", "sapo": "row_mean", "dr_grpo": "constant_length"}
                        kl_BT = losses.kl("k3", logprobs_BT, batch["ref_logprobs_BT"], mask_BT)
                        average = how_averaged.get(kind, "token_mean")
                        loss = loss + beta * losses.aggregate(
                            kl_BT, mask_BT, average, max_length=ours.get("max_length")
                        )
                loss.backward()
                results.append((loss.detach(), logprobs_BT.grad))
            (value, gradient), (their_value, their_gradient) = results
            worst[0] = max(worst[0], float((value - their_value).abs()))
            worst[1] = max(worst[1], float((gradient - their_gradient).abs().max()))
        print(f"{kind:10} {worst[0]:9.1e} {worst[1]:9.1e}", flush=True)


if __name__ == "__main__":
    main()
