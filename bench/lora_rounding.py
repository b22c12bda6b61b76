"""What is left of an adapter that is merged into half-precision weights: python bench/lora_rounding.py

Weights as a bfloat16 checkpoint stores them (1024 x 1024, spread 0.02), adapters of rank 16 with alpha 32 as peft draws them,
and updates of AdamW's size: each moves a number of B by about the learning rate, up or down by chance. `unchanged` is the
share of merged weights that are the base's bit for bit, `lost` the norm of what rounding took from the adapter's product.
"""

from __future__ import annotations

import torch

SIZE, RANK, ALPHA, SPREAD = 1024, 16, 32, 0.02


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    base = (torch.randn(SIZE, SIZE) * SPREAD).bfloat16()
    down = torch.empty(RANK, SIZE).uniform_(-(SIZE**-0.5), SIZE**-0.5)
    print(f"{'learning rate':<16}{'updates':>8}{'unchanged':>12}{'lost':>8}")
    for learning_rate in (1e-6, 1e-5, 1e-4):
        for updates in (1, 10, 100):
            up = learning_rate * torch.randint(0, 2, (updates, SIZE, RANK)).mul(2).sub(1).sum(0).float()
            delta = ALPHA / RANK * (up @ down)
            merged = (base.float() + delta).bfloat16()
            unchanged = (merged == base).float().mean()
            lost = (merged.float() - base.float() - delta).norm() / delta.norm()
            print(f"{learning_rate:<16g}{updates:>8}{unchanged:>12.1%}{lost:>8.0%}")


if __name__ == "__main__":
    main()
