"""The Gymnasium side of an environment."""

import json
import warnings

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import rlvr
from rlvr.errors import ConfigError


@pytest.fixture
def reverse():
    @rlvr.register("test/reverse-v0", length=8)
    def reverse(rng, length):
        word = "".join(rng.choices("abcdefgh", k=length))
        return rlvr.Task(f"Reverse: {word}", answer=word[::-1])

    return "test/reverse-v0"


@pytest.fixture
def guess():
    @rlvr.register("test/guess-v0", max_turns=2)
    class Guess:
        def start(self, rng):
            self.hidden = rng.randint(1, 1000)
            return [{"role": "system", "content": "A game."}, {"role": "user", "content": "Guess."}]

        def turn(self, text):
            if text == "crash":
                raise ZeroDivisionError
            return (
                rlvr.Score(1.0)
                if text == str(self.hidden)
                else [{"role": "tool", "content": "no", "tool_call_id": "1"}]
            )

    return "test/guess-v0"


@pytest.mark.parametrize("kind", ["reverse", "guess"])
def test_the_checker_of_gymnasium_has_nothing_to_say(kind, request):
    env_id = request.getfixturevalue(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(rlvr.make(env_id))
        check_env(gymnasium.make(env_id).unwrapped)


def test_a_vector_of_environments_works(reverse):
    envs = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make(reverse)] * 3)
    observations, _ = envs.reset(seed=5)
    assert len(set(observations)) == 3
    right = tuple(text.removeprefix("Reverse: ")[::-1] for text in observations)
    _, rewards, terminated, truncated, _ = envs.step(right)
    assert rewards.tolist() == [1.0, 1.0, 1.0]
    assert terminated.all()
    assert not truncated.any()


def test_an_index_chooses_the_task_that_tasks_gives(reverse):
    env = rlvr.make(reverse, split="eval", length=5)
    observation, _ = env.reset(options={"index": 3})
    assert observation == rlvr.tasks(reverse, "eval", n=4, length=5)[3].text


def test_the_gold_answer_is_in_neither_observation_nor_info(reverse):
    env = rlvr.make(reverse)
    observation, info = env.reset(seed=1)
    answer = env.task.answer
    _, _, _, _, last = env.step("wrong")
    assert answer not in observation + json.dumps([info, last])


def test_messages_are_fresh_copies(reverse):
    env = rlvr.make(reverse)
    _, info = env.reset(seed=1)
    info["messages"][0]["content"] = "spoilt"
    assert env.step("x")[4]["messages"][0]["content"].startswith("Reverse")


def test_turns_used_up_truncate_with_reward_zero(guess):
    env = rlvr.make(guess)
    observation, _ = env.reset(seed=0)
    assert observation == "A game.\n\nGuess."
    assert env.step("0")[:4] == ("no", 0.0, False, False)
    _, reward, terminated, truncated, info = env.step("0")
    assert (reward, terminated, truncated, info["score"]["reason"]) == (0.0, False, True, "turn_limit")
    assert [message["role"] for message in info["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
    ]


def test_a_session_that_raises_ends_the_episode_with_a_named_error(guess):
    env = rlvr.make(guess)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step("crash")
    assert (reward, terminated) == (0.0, True)
    assert "ZeroDivisionError" in info["score"]["error"]


def test_a_step_after_the_end_is_an_error_that_says_reset(reverse):
    env = rlvr.make(reverse)
    with pytest.raises(ConfigError, match="reset"):
        env.step("x")
    env.reset(seed=0)
    env.step("x")
    with pytest.raises(ConfigError, match="reset"):
        env.step("x")


def test_an_action_that_is_too_long_earns_nothing(reverse):
    env = rlvr.make(reverse)
    env.reset(seed=0)
    assert env.step("x" * 1_000_001)[4]["score"]["reason"] == "too_long"


@pytest.mark.parametrize("option", [{"index": -1}, {"index": "3"}, {"split": "trian"}, {"size": 3}])
def test_bad_options_are_refused_by_name(reverse, option):
    with pytest.raises(ConfigError, match=str(next(iter(option)))):
        rlvr.make(reverse).reset(options=option)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("hgfe", True),
        (" hgfe\n", True),
        ("<think>efgh?</think> hgfe", True),
        ("so it is efgh</think><answer>hgfe</answer>", True),
        ("<answer>no</answer> <answer> hgfe </answer>", True),
        ("<think>hgfe", False),
        ("<answer>hgfe", False),
        ("hgfe or efgh", False),
        ("<answer>hgfe</answer> <answer>efgh</answer>", False),
        ("", False),
    ],
)
def test_exact_match_judges_the_final_answer(text, right):
    from rlvr.spec import exact_match

    assert exact_match(rlvr.Task("Reverse: efgh", answer="hgfe"), text).correct is right
