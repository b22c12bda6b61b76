"""Each alarm sounds for what it is named after, once, and keeps quiet where training goes well."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import pytest
import torch

from rlvr_trainers.health import DEAD_STEPS, RECENT, Alarms, TrainingError, TrainingWarning, WeightWatch


def metrics(step: int, **values: float) -> dict[str, float]:
    return {
        "step": step,
        "reward": 0.3 + 0.001 * step,
        "accuracy": 0.3,
        "length_mean": 10.0,
        "live_groups": 4.0,
        **values,
    }


def names(rows: Iterable[dict[str, float]], alarms: Alarms | None = None, **options) -> list[str]:
    """The alarms that a run of these steps sounds, in order."""
    alarms = alarms or Alarms()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for row in rows:
            alarms.after_step(row, max_tokens=100, **options)
    assert all(issubclass(warning.category, TrainingWarning) for warning in caught)
    return [str(warning.message).partition(":")[0] for warning in caught]


def test_a_run_that_goes_well_sounds_nothing():
    rows = [
        metrics(step, accuracy=0.3 + 0.01 * step, **{"part/format": min(1.0, 0.2 + 0.02 * step)}) for step in range(60)
    ]
    assert names(rows) == []


@pytest.mark.parametrize("steps", [20, 200], ids=["a jump", "a creep"])
def test_form_that_rises_while_accuracy_does_not_is_named(steps):
    rows = [metrics(step, **{"part/format": min(1.0, 0.2 + 0.8 * step / steps)}) for step in range(steps)]
    assert names(rows) == ["part/format_without_accuracy"]


def test_a_part_that_comes_late_is_compared_with_nothing():
    assert names(metrics(step, **({"part/late": 1.0} if step > 15 else {})) for step in range(40)) == []


def test_length_that_grows_to_the_cap_is_named_and_length_that_was_always_there_is_not():
    assert names(metrics(step, length_mean=min(97.0, 10.0 + 2 * step)) for step in range(60)) == ["length_at_cap"]
    assert names(metrics(step, length_mean=99.0) for step in range(60)) == []


@pytest.mark.parametrize(
    ("reward", "advice"), [(0.5, r"was 0\.5 in each .* rlvr audit"), (1.0, "was 1 in each .* nothing left to learn")]
)
def test_a_constant_reward_is_named_with_what_to_do(reward, advice):
    alarms, row = Alarms(), metrics(1, reward=reward, accuracy=reward)
    for _ in range(RECENT - 1):
        alarms.after_step(row, max_tokens=100)
    with pytest.warns(TrainingWarning, match="constant_reward: the mean reward " + advice):
        alarms.after_step(row, max_tokens=100)


def test_a_step_without_groups_whose_answers_all_earned_the_same_is_named():
    assert names([metrics(1, reward=0.0, accuracy=0.0, final_reward_std=0.0)]) == ["equal_rewards"]
    assert names([metrics(1, final_reward_std=0.2)]) == []
    assert names([metrics(1, reward=1.0, accuracy=1.0, final_reward_std=0.0)]) == []


def test_answers_without_a_token_are_named():
    assert names([metrics(1, length_mean=1.0, accuracy=0.0)]) == ["empty_answers"]
    assert names([metrics(1, length_mean=1.0, accuracy=0.5)]) == []


def test_reward_that_rises_while_evaluation_falls_is_named():
    alarms = Alarms()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number, (reward, accuracy) in enumerate([(0.3, 0.5), (0.4, 0.48), (0.6, 0.4)]):
            for step in range(RECENT):
                alarms.after_step(metrics(number * RECENT + step, reward=reward + 0.001 * step), max_tokens=100)
            alarms.after_eval({"eval/accuracy": accuracy})
    assert [str(warning.message).partition(":")[0] for warning in caught] == ["reward_without_accuracy"]
    good = Alarms()
    for reward, accuracy in [(0.3, 0.4), (0.4, 0.5), (0.6, 0.6)]:
        good.after_step(metrics(1, reward=reward), max_tokens=100)
        good.after_eval({"eval/accuracy": accuracy})  # any warning here is an error


def test_each_alarm_sounds_once_and_a_resumed_run_goes_on_watching_where_it_was():
    rows = [metrics(step, **{"part/format": step / 30}) for step in range(30)]
    whole, cut = Alarms(), Alarms()
    assert names(rows, whole) == ["part/format_without_accuracy"]
    assert names(rows[:15], cut) == []
    resumed = Alarms()
    resumed.load_state_dict(cut.state_dict())
    assert names(rows[15:], resumed) == ["part/format_without_accuracy"]
    assert resumed.state_dict() == whole.state_dict()


def test_dead_steps_end_a_run_as_solved_or_as_an_error_and_a_moving_curriculum_waits():
    dead = metrics(1, live_groups=0.0)
    solved, stuck, moving = Alarms(), Alarms(), Alarms()
    assert names([{**dead, "accuracy": 1.0}] * DEAD_STEPS, solved) == []
    assert solved.solved
    assert names([dead] * (DEAD_STEPS - 1), stuck) == ["all_groups_dead"]
    with pytest.raises(TrainingError, match="10 steps in a row"):
        stuck.after_step(dead, max_tokens=100)
    names([dead] * (2 * DEAD_STEPS), moving, moving=True)
    assert not moving.solved
    # One step that teaches something begins the count again.
    again = Alarms()
    names([*[{**dead, "accuracy": 1.0}] * (DEAD_STEPS - 1), metrics(1), {**dead, "accuracy": 1.0}], again)
    assert not again.solved


def test_an_update_that_changes_nothing_is_an_error_unless_there_was_no_gradient():
    weight = torch.ones(3, requires_grad=True)
    watch = WeightWatch([weight])
    watch.check(grad_norm=0.0, learning_rate=1e-3)
    with pytest.raises(TrainingError, match="left the weights as they were"):
        watch.check(grad_norm=0.5, learning_rate=1e-9)
    with torch.no_grad():
        weight += 1
    watch.check(grad_norm=0.5, learning_rate=1e-3)
