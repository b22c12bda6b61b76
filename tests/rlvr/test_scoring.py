"""Verdicts in processes that are killed on time."""

import asyncio
import os
import threading
import time

import pytest

import rlvr
from rlvr.errors import ConfigError


@pytest.fixture
def moody():
    @rlvr.register("test/moody-v0")
    def moody(rng):
        return rlvr.Task(f"Say {rng.randint(0, 10**9)}", answer="yes")

    @moody.verifier
    def judge(task, text):
        if text == "hang":
            while True:
                pass
        if text == "sleep":
            time.sleep(60)
        if text == "die":
            os._exit(3)
        if text == "raise":
            raise KeyError("missing")
        if text == "memory":
            return rlvr.Score(float(len(bytearray(64 << 30)) > 0))
        if text == "print":
            print("[[0, 'score', {'reward': 1.0}]]", flush=True)
            os.write(1, b"noise\n")
        if text == "stdin":
            return rlvr.Score(1.0 if os.read(0, 10) == b"" else 0.0)
        wrong = {"nan": float("nan"), "none": None, "true": True, "two": 2.0, "text": "1.0"}
        return wrong[text] if text in wrong else rlvr.Score(float(text == task.answer))

    return rlvr.tasks("test/moody-v0", n=40)


@pytest.fixture
def pool():
    with rlvr.ScoringPool(workers=2, timeout_s=0.5) as pool:
        yield pool


def test_verdicts_come_in_order(moody, pool):
    texts = ["yes" if number % 3 else "no" for number in range(40)]
    assert [score.reward for score in pool.score(moody, texts)] == [float(text == "yes") for text in texts]


@pytest.mark.parametrize("trouble", ["hang", "sleep"])
def test_a_hanging_item_costs_its_own_deadline_and_nothing_else(moody, pool, trouble):
    texts = ["yes"] * 40
    texts[7] = texts[20] = trouble
    scores = pool.score(moody, texts)
    assert [number for number, score in enumerate(scores) if score.timed_out] == [7, 20]
    assert sum(score.correct for score in scores) == 38
    assert "0.5 s" in scores[7].error
    assert pool.num_timeouts == 2


def test_a_verifier_that_kills_its_process_is_named_and_the_rest_is_scored(moody, pool):
    texts = ["yes"] * 40
    texts[11] = "die"
    scores = pool.score(moody, texts)
    assert "died" in scores[11].error
    assert sum(score.correct for score in scores) == 39


@pytest.mark.parametrize(
    ("text", "names"),
    [("nan", "nan"), ("none", "None"), ("true", "True"), ("two", "2.0"), ("text", "'1.0'"), ("raise", "KeyError")],
)
def test_what_is_no_reward_is_a_counted_named_error(moody, pool, text, names):
    score = pool.score(moody[:1], [text])[0]
    assert score.reward == 0.0
    assert names in score.error
    assert pool.num_faults == 1


def test_memory_is_bounded(moody, pool):
    assert "MemoryError" in pool.score(moody[:1], ["memory"])[0].error


def test_what_a_verifier_prints_or_reads_does_not_reach_the_pool(moody, pool):
    assert [score.reward for score in pool.score(moody[:3], ["print", "stdin", "yes"])] == [0.0, 1.0, 1.0]


def test_it_works_from_threads_and_from_asyncio(moody, pool):
    found = {}

    def ask(name):
        found[name] = pool.score(moody, ["yes"] * 40)

    threads = [threading.Thread(target=ask, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(score.correct for scores in found.values() for score in scores)
    assert len(found) == 4
    assert all(score.correct for score in asyncio.run(pool.score_async(moody, ["yes"] * 40)))


def test_a_session_is_not_taken_for_that_of_another_level_with_the_same_stream():
    @rlvr.register("scoringtest/count-v0", max_turns=4, length=2)
    class Count:
        def start(self, rng, length):
            self.left = length
            return "Count"

        def turn(self, text):
            self.left -= 1
            return f"{self.left} left" if self.left else rlvr.Score(1.0)

    [short], [long] = (rlvr.tasks("scoringtest/count-v0", n=1, length=length) for length in (2, 3))
    assert short.stream == long.stream
    with rlvr.ScoringPool(1) as pool:
        assert pool.turn(long, ["on"]).result() == "2 left"
        assert pool.turn(short, ["on"]).result() == "1 left"
        assert pool.turn(long, ["on", "on"]).result() == "1 left"
        assert pool.turn(long, ["on", "on", "on"]).result().correct


def test_a_session_goes_on_or_is_played_again(pool):
    @rlvr.register("test/count-v0", max_turns=5)
    class Count:
        def start(self, rng):
            self.hidden, self.seen = rng.randint(0, 10**6), []
            return "go"

        def turn(self, text):
            self.seen.append(text)
            return rlvr.Score(1.0) if len(self.seen) == 3 else " ".join(self.seen)

    task = rlvr.tasks("test/count-v0", n=1)[0]
    assert pool.turn(task, ["a"]).result() == "a"
    assert pool.turn(task, ["a", "b"]).result() == "a b"
    assert pool.turn(task, ["a", "c"]).result() == "a c"  # another sample of the same task, never seen by this worker
    assert pool.turn(task, ["a", "b", "d"]).result().correct
    scores = pool.score([task, task], [["x", "y", "z"], ["x"]])
    assert [score.reward for score in scores] == [1.0, 0.0]


def test_an_environment_by_entry_point_is_found_in_the_worker(pool):
    tasks = rlvr.tasks("acme/odd-units-v0", n=4)
    assert all(score.correct for score in pool.score(tasks, [task.answer for task in tasks]))


def test_unequal_lengths_and_bad_settings_are_refused(moody, pool):
    with pytest.raises(ConfigError, match="40 tasks and 1 texts"):
        pool.score(moody, ["yes"])
    with pytest.raises(ConfigError, match="workers is 0"):
        rlvr.ScoringPool(workers=0)
    with pytest.raises(ConfigError, match="timeout_s"):
        rlvr.ScoringPool(timeout_s=0)


def test_a_verifier_that_cannot_travel_says_so(pool):
    lock = threading.Lock()

    @rlvr.register("test/locked-v0")
    def locked(rng):
        return rlvr.Task(f"{rng.random()}", answer="a")

    @locked.verifier
    def judge(task, text):
        with lock:
            return rlvr.Score(0.0)

    with pytest.raises(rlvr.EnvironmentFault, match="cannot be sent"):
        pool.score(rlvr.tasks("test/locked-v0", n=1), ["a"])


def test_closing_ends_the_workers(moody):
    pool = rlvr.ScoringPool(workers=2, timeout_s=0.5)
    pool.score(moody, ["yes"] * 40)
    pool.close()
    assert not any(thread.is_alive() for thread in pool._threads)
    with pytest.raises(ConfigError, match="closed"):
        pool.submit(moody[0], "yes")


def test_rlvr_score_keeps_its_pool(moody):
    first = rlvr.score(moody, ["yes"] * 40, workers=1, timeout_s=1.0)
    began = time.monotonic()
    assert rlvr.score(moody, ["yes"] * 40, workers=1, timeout_s=1.0) == first
    assert time.monotonic() - began < 5
