"""The critic reads the state before a token, learns returns, and goes on from its state."""

import copy

import pytest
import torch
from torch import Tensor

from rlvr.errors import ConfigError
from rlvr.generation.loading import load_model
from rlvr_trainers.batch import Batch
from rlvr_trainers.critic import Critic, ValueHead, explained_variance, value_loss
from rlvr_trainers.learner import Learner
from rlvr_trainers.optimizer import OptimizerConfig
from rlvr_trainers.scalar_model import before_tokens, load_scalar_model, row_scores
from rlvr_trainers.tiny import build_tiny_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    return build_tiny_model(tmp_path_factory.mktemp("critic") / "model", alphabet="ab", layers=1, hidden=32, heads=2)


def batch_of_rows() -> Batch:
    # Row 0: prompt 7, answer 8 7, a tool's 8, answer 7. Row 1: prompt 8, answer 8.
    batch = Batch.from_rows([[7, 8, 7, 8, 7], [8, 8]], [[False, True, True, False, True], [False, True]], pad_id=0)
    returns_BT = torch.tensor([[0.0, 1.0, 0.5, 0.0, 0.25], [0.0, -1.0, 0.0, 0.0, 0.0]])
    return batch.with_fields(returns=returns_BT, old_values=torch.zeros(2, 5))


def make_critic(folder, token_budget: int = 1000) -> Critic:
    config = OptimizerConfig(learning_rate=3e-3)
    return Critic(load_scalar_model(folder, CPU), config, total_updates=100, token_budget=token_budget, device=CPU)


def test_a_value_belongs_to_the_state_in_which_its_token_was_chosen():
    scores_BT = torch.tensor([[10.0, 20.0, 30.0, 40.0]])
    mask_BT = torch.tensor([[False, True, False, True]])
    assert before_tokens(scores_BT, mask_BT).tolist() == [[0.0, 10.0, 0.0, 30.0]]


def test_a_new_critic_says_zero_and_leaves_the_global_generator_alone(model_folder):
    before = torch.get_rng_state()
    critic = make_critic(model_folder)
    assert torch.equal(before, torch.get_rng_state())
    assert not critic.values(batch_of_rows()).any()


def test_a_value_does_not_depend_on_its_own_token_or_on_padding(model_folder):
    critic = make_critic(model_folder)
    torch.nn.init.normal_(critic.model.score.weight, generator=torch.Generator().manual_seed(0))
    values_BT = critic.values(batch_of_rows())
    alone = Batch.from_rows([[8, 7]], [[False, True]])
    assert critic.values(alone)[0, 1] == pytest.approx(values_BT[1, 1].item(), abs=1e-4)
    assert values_BT[0, 1] != values_BT[1, 1]


def test_the_critic_learns_the_returns(model_folder):
    critic, batch = make_critic(model_folder), batch_of_rows()
    losses = [critic.update(batch, clip=None)["value_loss"] for _ in range(60)]
    assert losses[0] == pytest.approx((1 + 0.25 + 0.0625 + 1) / 2 / 4, abs=1e-6)
    assert losses[-1] < 0.01
    values_BT, returns_BT = critic.values(batch), batch.fields["returns"]
    assert explained_variance(values_BT, returns_BT, batch.mask_BT) > 0.95


def test_micro_batches_make_the_same_critic(model_folder):
    critics = [make_critic(model_folder, budget) for budget in (1000, 1)]
    for critic in critics:
        for _ in range(3):
            critic.update(batch_of_rows(), clip=0.2)
    values = [critic.values(batch_of_rows()) for critic in critics]
    torch.testing.assert_close(*values, atol=1e-5, rtol=0)


def test_a_critic_goes_on_from_its_state_bit_for_bit(model_folder):
    first, second = make_critic(model_folder), make_critic(model_folder)
    first.update(batch_of_rows(), clip=None)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for critic in (first, second):
        critic.update(batch_of_rows(), clip=None)
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name


def test_a_value_head_shares_the_policys_trunk(model_folder):
    learner = Learner(load_model(model_folder, CPU, torch.float32), OptimizerConfig(), total_updates=1)
    head = ValueHead(learner, OptimizerConfig(), total_updates=1)
    batch = batch_of_rows()
    assert not head.values(batch).any()
    torch.nn.init.normal_(head.head.weight)
    loss = value_loss(head.of_hidden(learner.policy.hidden(batch), batch), batch, clip=None, num_tokens=4)
    loss.backward()
    reached = [name for name, parameter in learner.model.named_parameters() if parameter.grad is not None]
    assert any("layers.0" in name for name in reached)
    assert head.head.weight.grad is not None


def test_explained_variance_of_a_constant_return_is_zero():
    ones: Tensor = torch.ones(2, 3)
    assert explained_variance(ones, ones, ones.bool()) == 0.0


def test_a_row_is_scored_after_its_last_token(model_folder):
    model = load_scalar_model(model_folder, CPU)
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(0))
    together = row_scores(model, batch_of_rows())
    alone = row_scores(model, Batch.from_rows([[8, 8]], [[False, True]]))
    assert alone[0].item() == pytest.approx(together[1].item(), abs=1e-4)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ConfigError, match="gives no model with a scalar head"):
        load_scalar_model(tmp_path, CPU)
