"""Rows end to end: the same numbers as row by row, for every family and window, and nothing at all where a family has more to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlvr_trainers.batch import Batch
from rlvr_trainers.learner import Learner
from rlvr_trainers.optimizer import OptimizerConfig
from rlvr_trainers.packed_attention import NAME, use_packed_attention
from rlvr_trainers.policy import Policy

SHAPE: dict[str, Any] = {
    "vocab_size": 31,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
WINDOW = {"sliding_window": 4, "use_sliding_window": True, "layer_types": ["sliding_attention", "full_attention"]}


def build(family: str, **more: Any) -> Any:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**SHAPE | more)
    return getattr(transformers, f"{family}ForCausalLM")(config).eval()


def ragged() -> Batch:
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(31, (n,), generator=generator).tolist() for n in (9, 3, 12, 1, 7)]
    return Batch.from_rows(rows, [[False] + [True] * (len(row) - 1) for row in rows])


@pytest.mark.parametrize(
    ("family", "more"),
    [("Qwen2", {}), ("Llama", {}), ("Qwen3", {}), ("Qwen2", WINDOW), ("Mistral", {"sliding_window": 4})],
    ids=["qwen2", "llama", "qwen3", "qwen2 with a window", "mistral with a window"],
)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_rows_have_the_values_and_gradients_of_padded_ones(
    family: str, more: dict[str, Any], checkpointing: bool
) -> None:
    values, gradients = [], []
    for packed in (False, True):
        model = build(family, **more)
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.train()
        policy = Policy(model)
        if packed:
            policy.pack()
            assert policy.packed
        logprobs_BT, _ = policy(ragged())
        logprobs_BT.sum().backward()
        values.append(logprobs_BT.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(values[1], values[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=1e-4)


def test_no_row_sees_another() -> None:
    policy = Policy(build("Llama"))
    policy.pack()
    batch = ragged()
    before = policy(batch)[0]
    batch.token_ids_BT[0] = (batch.token_ids_BT[0] + 1) % 31
    after = policy(batch)[0]
    assert not torch.equal(after[0], before[0])
    assert torch.equal(after[1:], before[1:])


def test_a_model_that_packs_still_samples_with_its_cache() -> None:
    model = build("Qwen2")
    ids = torch.tensor([[1, 2, 3, 4]])
    mask = torch.tensor([[0, 1, 1, 1]])
    plain = model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False)
    assert use_packed_attention(model)
    assert model.config._attn_implementation == NAME
    assert torch.equal(model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False), plain)
    assert NAME not in model.config.to_json_string()


def test_a_family_whose_scores_are_capped_keeps_its_own_attention() -> None:
    model = build("Gemma2", attn_logit_softcapping=1.0, query_pre_attn_scalar=8, attn_implementation="sdpa")
    batch, expected = ragged(), None
    expected = Policy(model)(batch)[0]
    policy = Policy(model)
    policy.pack()
    assert not policy.packed
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(policy(batch)[0], expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_learner_packs_and_the_kernel_agrees_with_padded_rows() -> None:
    learner = Learner(build("Qwen2"), OptimizerConfig(), total_updates=1, device="cuda")
    assert learner.policy.packed
    packed = learner.logprobs(ragged())
    learner.policy.packed = False
    padded = learner.logprobs(ragged())
    torch.testing.assert_close(packed, padded, atol=0.03, rtol=0.03)
