"""Log-probabilities are those of the whole softmax, and how a batch is cut changes nothing."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlvr.errors import ConfigError
from rlvr.generation.engine import Sampling
from rlvr_trainers import losses
from rlvr_trainers.batch import Batch
from rlvr_trainers.health import TrainingError
from rlvr_trainers.learner import Learner
from rlvr_trainers.optimizer import OptimizerConfig, scheduled
from rlvr_trainers.policy import Policy


def ragged(rows: int = 12, seed: int = 0) -> Batch:
    """Rows of 3 to 14 tokens whose prompt is two tokens; in every third a tool speaks in the middle."""
    generator = torch.Generator().manual_seed(seed)
    ids, masks = [], []
    for row in range(rows):
        length = int(torch.randint(3, 15, (1,), generator=generator))
        ids.append(torch.randint(3, 12, (length,), generator=generator).tolist())
        masks.append([place >= 2 and not (row % 3 == 0 and 4 <= place < 6) for place in range(length)])
    advantages = torch.randn(rows, generator=generator).tolist()
    return Batch.from_rows(ids, masks, per_row={"advantages": advantages})


def whole_softmax(model, batch: Batch, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by the textbook: every row alone, every logit at once."""
    logprobs_BT, entropy_BT = torch.zeros(batch.token_ids_BT.shape), torch.zeros(batch.token_ids_BT.shape)
    for row, length in enumerate(batch.lengths_B.tolist()):
        ids = batch.token_ids_BT[row : row + 1, :length]
        table = (model(input_ids=ids).logits[0] / temperature).log_softmax(-1)
        for place in range(1, length):
            if batch.mask_BT[row, place]:
                logprobs_BT[row, place] = table[place - 1, ids[0, place]]
                entropy_BT[row, place] = -(table[place - 1].exp() * table[place - 1]).sum()
    return logprobs_BT, entropy_BT


@pytest.fixture
def model(tiny_model):
    return AutoModelForCausalLM.from_pretrained(tiny_model)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("layout", ["whole", "chunked", "packed", "own forward"])
def test_logprobs_and_entropy_are_those_of_the_whole_softmax_in_every_layout(model, temperature, layout):
    batch = ragged()
    policy = Policy(model, chunk_elements=5 * 11 if layout == "chunked" else 1 << 25)
    if layout == "packed":
        policy.pack()
    assert policy._split
    assert policy.packed == (layout == "packed")
    policy._split = layout != "own forward"
    logprobs_BT, entropy_BT = policy(batch, temperature=temperature, entropy="grad")
    expected_BT, expected_entropy_BT = whole_softmax(model, batch, temperature)
    torch.testing.assert_close(logprobs_BT, expected_BT, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(entropy_BT, expected_entropy_BT, atol=1e-5, rtol=1e-5)
    assert not logprobs_BT[~batch.mask_BT].any()


def test_chunks_give_the_gradient_of_the_whole(model):
    batch, gradients = ragged(), []
    for elements in (1 << 25, 3 * 11):
        model.zero_grad()
        logprobs_BT, entropy_BT = Policy(model, chunk_elements=elements)(batch, entropy="grad")
        (logprobs_BT.sum() - entropy_BT.sum()).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=1e-5)


def test_a_model_that_changes_its_logits_after_the_head_is_found_out(model):
    head_forward = type(model).forward

    class Capped(type(model)):
        def forward(self, *args, **kwargs):
            reply = head_forward(self, *args, **kwargs)
            reply.logits = 2.0 * torch.tanh(reply.logits / 2.0)
            return reply

    model.__class__ = Capped
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(10)
    policy, batch = Policy(model), ragged()
    assert not policy._split
    torch.testing.assert_close(policy(batch)[0], whole_softmax(model, batch, 1.0)[0], atol=1e-5, rtol=1e-5)


def test_kept_mass_is_what_top_k_leaves(model):
    batch, learner = ragged(), Learner(model, OptimizerConfig(), total_updates=1)
    mass_BT = learner.kept_log_mass(batch, Sampling(top_k=1))
    best = model(input_ids=batch.token_ids_BT[:1, :4]).logits[0, 1].log_softmax(-1).max()
    assert float(mass_BT[0, 2]) == pytest.approx(float(best.detach()), abs=1e-5)
    assert learner.kept_log_mass(batch, Sampling()).abs().max() < 1e-6


@pytest.mark.parametrize("kind", sorted(losses.POLICY_LOSSES))
def test_one_update_is_the_same_in_one_micro_batch_or_in_many(tiny_model, kind):
    updated, metrics = [], []
    for token_budget in (10_000, 60, 40, 1):
        model = AutoModelForCausalLM.from_pretrained(tiny_model)
        # Plain gradient size matters here, not Adam's division by it, so the step is kept linear in the gradient.
        learner = Learner(model, OptimizerConfig(learning_rate=1e-2), total_updates=1, token_budget=token_budget)
        batch = ragged()
        assert len(batch.micro_batches(token_budget)) == {10_000: 1, 60: 2, 40: 4, 1: 12}[token_budget]
        old_BT = learner.logprobs(batch) + torch.where(batch.mask_BT, 0.1, 0.0)
        batch = batch.with_fields(old_logprobs=old_BT)
        num_items = float(losses.denominator(kind, batch.mask_BT))

        def loss(micro, logprobs_BT, entropy_BT, kind=kind, num_items=num_items):
            value = losses.policy_loss(
                kind, logprobs_BT=logprobs_BT, old_logprobs_BT=micro.fields["old_logprobs"], num_items=num_items,
                advantages=micro.fields["advantages"], mask_BT=micro.mask_BT, max_length=16,
                delta=3.0 if kind == "two_sided" else None,
            )  # fmt: skip
            return value, {"entropy": entropy_BT.sum()}

        metrics.append(learner.update(batch, loss))
        updated.append(learner.optimizer._adamw.state_dict()["state"])
    for other, measured in zip(updated[1:], metrics[1:], strict=True):
        assert measured == pytest.approx(metrics[0], rel=1e-4, abs=1e-6)
        for key, moments in other.items():  # the first moment is a tenth of the gradient
            torch.testing.assert_close(moments["exp_avg"], updated[0][key]["exp_avg"], atol=1e-7, rtol=1e-4)


def test_a_micro_batch_never_exceeds_the_token_budget_unless_one_row_does():
    batch = ragged(40)
    for budget in (1, 14, 33, 70):
        parts = batch.micro_batches(budget)
        assert sorted(torch.cat(parts).tolist()) == list(range(40))
        for rows in parts:
            assert len(rows) == 1 or len(rows) * int(batch.lengths_B[rows].max()) <= budget


def test_a_gradient_that_is_not_finite_stops_the_run_and_leaves_the_weights(model):
    learner = Learner(model, OptimizerConfig(learning_rate=1.0), total_updates=1)
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(TrainingError, match="norm nan"):
        learner.update(ragged(), lambda micro, logprobs_BT, _: (logprobs_BT.sum() * float("nan"), {}))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_schedule_warms_up_in_a_line_and_falls_to_its_final_share():
    config = OptimizerConfig(learning_rate=1.0, warmup=4, schedule="linear", final_share=0.2)
    assert [scheduled(config, update, 12) for update in (0, 1, 3, 4, 8, 12)] == pytest.approx(
        [0.25, 0.5, 1.0, 1.0, 0.6, 0.2]
    )
    cosine = OptimizerConfig(learning_rate=1.0, schedule="cosine", final_share=0.0)
    assert [scheduled(cosine, update, 4) for update in (0, 2, 4)] == pytest.approx([1.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("rows", "masks", "named"),
    [
        ([], [], "0 rows"),
        ([[1, 2]], [[True, True]], "row 0"),
        ([[1], []], [[False], []], "row 1"),
        ([[1, 2]], [[False]], "row 0"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_named(rows, masks, named):
    with pytest.raises(ConfigError, match=named):
        Batch.from_rows(rows, masks)


@pytest.mark.parametrize(
    "settings", [{"learning_rate": 0.0}, {"max_grad_norm": 0.0}, {"warmup": -1}, {"schedule": "step"}]
)
def test_optimizer_settings_that_train_nothing_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        OptimizerConfig(**settings)
