"""verifiers plays our tasks, and we play theirs (needs the extra `verifiers`: make exports)."""

import asyncio

import pytest

import rlvr
from rlvr.errors import ConfigError, EnvironmentFault

pytest.importorskip("verifiers.v1", reason="the extra verifiers is not installed")

import verifiers.v1 as vf
from verifiers.v1.utils.loaders import environment_class, taskset_class

import rlvr_envs
from rlvr_envs.adapters.verifiers import RlvrTaskset, RlvrTasksetConfig, _trace, from_verifiers, to_verifiers


class Doubling(vf.Task[vf.TaskData]):
    """A task of theirs: one weighted reward and a metric."""

    @vf.reward(weight=0.5)
    async def right(self, trace):
        return 2.0 * (trace.last_reply == str(2 * int(self.data.name)))

    @vf.metric
    async def length(self, trace):
        return float(len(trace.last_reply))


class DoublingTaskset(vf.Taskset[Doubling, vf.TasksetConfig]):
    def load(self):
        for number in range(40):
            yield Doubling(vf.TaskData(prompt=f"Twice {number}?", name=str(number)), self.config.task)


class Endless(DoublingTaskset):
    INFINITE = True


@pytest.fixture
def forget():
    from rlvr import registry

    yield
    for env_id in ("test/theirs-v0", "test/broken-v0"):
        registry._specs.pop(env_id, None)


def scored(task, text):
    trace = _trace(task, [{"role": "user", "content": task.data.prompt}], text)
    asyncio.run(task.score(trace))
    return trace


def test_the_taskset_is_found_by_the_name_of_our_package():
    assert taskset_class("rlvr_envs") is RlvrTaskset
    assert environment_class("rlvr_envs").__name__ == "RlvrEnv"
    with pytest.raises(AttributeError):
        rlvr_envs.Taskset  # noqa: B018


def test_their_scoring_gives_our_verdict():
    task = next(iter(to_verifiers("text/reverse-v0", n=1)))
    ours = rlvr.tasks("text/reverse-v0", "eval", 1)[0]
    assert task.key == ours.key
    right = scored(task, f"<answer>{ours.answer}</answer>")
    assert right.reward == 1.0
    assert right.info["reason"] == "correct"
    assert scored(task, "no").reward == 0.0


def test_a_failed_verifier_fails_their_rollout_and_pays_nothing(forget):
    @rlvr.register("test/broken-v0")
    def broken(rng):
        return rlvr.Task(f"{rng.random()}", answer="x")

    @broken.verifier
    def judge(task, text):
        raise OSError("disk full")

    task = next(iter(to_verifiers("test/broken-v0", n=1)))
    with pytest.raises((EnvironmentFault, vf.TaskError), match="disk full"):
        scored(task, "x")


def test_their_check_of_gold_answers_passes():
    for task in to_verifiers("logic/countdown-v0", n=3):
        assert asyncio.run(task.validate(None)) is True


def test_their_splits_are_ours_and_share_nothing():
    shown = {
        split: {task.key for task in to_verifiers("text/sort-v0", split=split, n=50)} for split in ("train", "eval")
    }
    assert len(shown["train"] | shown["eval"]) == len(shown["train"]) + len(shown["eval"])
    assert not to_verifiers("text/sort-v0").bounded
    assert to_verifiers("text/sort-v0", n=5).bounded


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({}, "which environment"),
        ({"env": "tools/call-v0", "n": 1}, "tools"),
        ({"env": "text/sort-v0", "split": "x"}, "split"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(config, says):
    with pytest.raises(ConfigError, match=says):
        list(RlvrTaskset(RlvrTasksetConfig(id="rlvr_envs", **config)))


def test_their_taskset_becomes_our_environment(forget):
    from_verifiers("test/theirs-v0", DoublingTaskset(vf.TasksetConfig()))
    task = rlvr.tasks("test/theirs-v0", n=1)[0]
    number = int(task.data["data"]["name"])
    scores = rlvr.score([task] * 2, [str(2 * number), "no idea"])
    assert [(score.reward, score.error) for score in scores] == [(1.0, None), (0.0, None)]
    assert scores[1].parts == {"right": 0.0, "length": 7.0}


def test_an_endless_taskset_of_theirs_needs_a_number(forget):
    with pytest.raises(ConfigError, match="endless"):
        from_verifiers("test/theirs-v0", Endless(vf.TasksetConfig()))
    from_verifiers("test/theirs-v0", Endless(vf.TasksetConfig()), n=30)
    assert rlvr.tasks("test/theirs-v0", n=2)
