"""The estimate of memory against what autograd really keeps, and the recipes against their machines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.memory import RECIPES, learner_bytes, of_recipe
from bench.plan import GPUS
from bench.shapes import Shape

TOKENS = 131  # a prime, so that what has a value for each token is told apart from weights
SMALL = Shape(layers=2, hidden=256, heads=4, kv_heads=2, feed_forward=640, vocabulary=257, tied=True)


def kept_bytes(shape: Shape, *, checkpointing: bool) -> int:
    """Bytes of the activations that a forward pass leaves for the backward pass, under autocast as in the learner."""
    from transformers import Qwen2ForCausalLM

    model = Qwen2ForCausalLM(shape.config()).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    kept: dict[int, int] = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if tensor.numel() % TOKENS == 0:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(storage)  # or its address would be given out again
        return tensor

    alive: list[object] = []
    with (
        torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        hidden = model.get_decoder()(input_ids=torch.arange(TOKENS)[None] % 257, use_cache=False).last_hidden_state
    assert hidden.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize(("checkpointing", "tolerance"), [(False, 0.15), (True, 0.05)])
def test_activations_of_a_layer_are_what_autograd_keeps(checkpointing: bool, tolerance: float) -> None:
    deep = Shape(layers=6, hidden=256, heads=4, kv_heads=2, feed_forward=640, vocabulary=257, tied=True)
    measured = (kept_bytes(deep, checkpointing=checkpointing) - kept_bytes(SMALL, checkpointing=checkpointing)) / 4
    estimates = [
        learner_bytes(shape, token_budget=TOKENS, checkpointing=checkpointing)["activations"] for shape in (SMALL, deep)
    ]
    assert measured == pytest.approx((estimates[1] - estimates[0]) / 4, rel=tolerance)


def test_the_state_of_the_optimizer_is_what_adamw_holds() -> None:
    model = torch.nn.Linear(100, 50, bias=False)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 100)).sum().backward()
    optimizer.step()
    state = [value for values in optimizer.state.values() for value in values.values() if value.ndim]
    held = sum(tensor.nbytes for tensor in [*state, *(t for p in model.parameters() for t in (p, p.grad))])
    assert held == 16 * 5000


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_for_gpus_fits_its_machine_and_says_what_it_takes(path: Path) -> None:
    _, place, parts, cached = of_recipe(path)
    whole = sum(parts.values())
    assert whole < 0.85 * GPUS[place.gpu].memory
    assert f"GPU: {whole / 1e9:.0f} GB (" in path.read_text()
    # All answers of a step that one engine decodes at a time fit into its cache.
    assert cached > 256 * 2048 / 2
