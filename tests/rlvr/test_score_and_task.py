"""Score and Task: what they refuse, and that they survive JSON and pickling."""

import dataclasses
import json
import pickle

import pytest

import rlvr
from rlvr.errors import EnvironmentFault


@pytest.mark.parametrize("reward", [float("nan"), float("inf"), -0.1, 1.0001, -1, 2])
def test_a_reward_outside_zero_to_one_is_refused(reward):
    with pytest.raises(ValueError, match="reward"):
        rlvr.Score(reward)


@pytest.mark.parametrize("reward", [True, False, None, "1", [1.0]])
def test_a_reward_that_is_no_number_is_refused(reward):
    with pytest.raises(TypeError, match="must be a number"):
        rlvr.Score(reward)


def test_whole_numbers_become_floats_and_only_one_is_correct():
    assert type(rlvr.Score(1).reward) is float
    assert rlvr.Score(1).correct
    assert not rlvr.Score(0.999).correct


def test_parts_must_be_finite_numbers():
    with pytest.raises(ValueError, match="'format'"):
        rlvr.Score(1.0, parts={"format": float("nan")})


def test_a_failed_check_pays_nothing():
    assert rlvr.Score.failure("boom").reward == 0.0
    with pytest.raises(ValueError, match="pays nothing"):
        rlvr.Score(0.5, error="boom")


def test_a_score_survives_json_and_pickle():
    score = rlvr.Score(0.25, {"tests": 0.25}, "wrong", None, False, {"extracted": "\ud800 7", "span": [1, 2]})
    assert rlvr.Score.from_json(score.to_json()) == score
    assert pickle.loads(pickle.dumps(score)) == score


def test_a_task_survives_json_with_lone_surrogates():
    task = rlvr.Task("say \ud800", answer=["a", 1, None], data={"rows": [1.5]}, tools=[{"name": "f"}])
    again = rlvr.Task.from_json(task.to_json())
    assert again == task
    assert again.id == task.id


def test_a_task_is_frozen_and_hashable():
    task = rlvr.Task("p", answer="a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.answer = "b"
    assert len({task, rlvr.Task("p", answer="a")}) == 1


def test_the_key_is_the_sha256_of_the_prompt():
    # printf 'abc' | sha256sum
    assert rlvr.Task("abc").key == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_tools_are_part_of_the_key_and_the_answer_is_not():
    assert rlvr.Task("p", tools=[{"name": "f"}]).key != rlvr.Task("p").key
    assert rlvr.Task("p", answer="1").key == rlvr.Task("p", answer="2").key


def test_a_task_that_is_no_json_says_so_when_it_is_written():
    with pytest.raises(EnvironmentFault, match="cannot be written as JSON"):
        rlvr.Task("p", answer={1, 2}).to_json()


def test_the_public_task_has_no_answer():
    public = rlvr.Task("p", answer="secret", data={"tests": "secret"}).public()
    assert "secret" not in json.dumps(public.to_dict())


def test_every_error_pickles_and_keeps_its_message():
    for name in rlvr.__all__:
        value = getattr(rlvr, name)
        if isinstance(value, type) and issubclass(value, rlvr.RlvrError):
            again = pickle.loads(pickle.dumps(value("what, why, remedy")))
            assert type(again) is value
            assert str(again) == "what, why, remedy"
