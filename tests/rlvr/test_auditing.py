"""The audit finds planted faults by name, and finds none where there is none."""

import itertools
import re
import time

import pytest

import rlvr
from rlvr.auditing import audit_all

_numbers = itertools.count()


def plant(judge=None, answer=None, make=None, **settings):
    """An addition environment with one fault in it."""

    def honest(rng):
        a, b = rng.randint(100, 10**6), rng.randint(100, 10**6)
        return rlvr.Task(f"What is {a} + {b}?", answer=str(a + b) if answer is None else answer(a, b))

    spec = rlvr.register(f"test/planted{next(_numbers)}-v0", **settings)(make or honest)
    if judge is not None:
        spec.verifier(judge)
    return spec.id


def failed(env_id, **settings):
    return {check.name: check.says for check in rlvr.audit(env_id, n=12, timeout_s=0.5, **settings).failures}


def exact(task, text):
    return rlvr.Score(float(text.strip() == task.answer))


def test_an_honest_environment_passes_every_check():
    report = rlvr.audit(plant(exact), n=12)
    assert report.passed, report.text()
    assert {check.status for check in report.checks} == {"pass"}


def test_a_scorer_that_pays_any_text_fails_the_floor():
    assert "floor" in failed(plant(lambda task, text: rlvr.Score(1.0)))


def test_a_scorer_that_pays_any_number_fails_the_floor():
    def judge(task, text):
        return rlvr.Score(1.0 if re.search(r"\d", text) else 0.0)

    assert "floor" in failed(plant(judge))


def test_a_scorer_that_finds_the_gold_anywhere_pays_hedges_and_fails_the_floor():
    assert "golds" in failed(plant(lambda task, text: rlvr.Score(float(task.answer in text))))["floor"]


def test_two_programs_in_one_text_are_one_program_and_no_hedge():
    def runs(task, text):  # stands for running the text: every line of it has its effect
        return rlvr.Score(float(task.answer in text.split("\n")))

    assert "golds" in failed(plant(runs))["floor"]
    assert "floor" not in failed(plant(runs, answer_is_program=True))


def test_a_program_that_is_right_for_another_task_still_fails_the_floor():
    def pays_any_long_number(task, text):
        return rlvr.Score(float(text.isdigit() and len(text) > 2))

    assert "another" in failed(plant(pays_any_long_number, answer_is_program=True))["floor"]


def test_a_scorer_that_pays_nan_fails_by_name():
    def judge(task, text):
        return float("nan") if text.strip() == "nan" else exact(task, text)

    assert "nan" in failed(plant(judge))["faults"]


def test_a_scorer_that_raises_on_an_answer_fails_by_name():
    def judge(task, text):
        return rlvr.Score(float(int(text) == int(task.answer)))

    assert "ValueError" in failed(plant(judge))["faults"]


def test_a_scorer_that_hangs_on_hostile_text_fails_by_name():
    def judge(task, text):
        if text.count("(") > 1000:
            time.sleep(60)
        return exact(task, text)

    assert "open brackets" in failed(plant(judge))["hostile"]


def test_a_scorer_that_evaluates_the_answer_is_caught_executing_it():
    def judge(task, text):
        if "**" in text or "!" in text:  # it even guards against towers
            return rlvr.Score(0.0)
        try:
            return rlvr.Score(float(eval(text) == int(task.answer)))  # noqa: S307 (the fault that is planted)
        except Exception:  # so that only its execution can give it away
            return rlvr.Score(0.0)

    assert "a file written" in failed(plant(judge))["execution"]


def test_a_leaking_split_fails():
    def leaky(rng):
        number = rng.randint(0, 30)
        return rlvr.Task(f"Double {number}.", answer=str(2 * number), key=f"{rng.getrandbits(256):064x}")

    assert "both splits" in failed(plant(exact, make=leaky))["splits"]


def test_an_unstable_stream_fails():
    def unstable(rng):
        names = list({"ann", "bob", "cid", "dan", "eve", "fay"})  # the order of a set of texts depends on the hash seed
        return rlvr.Task(f"{rng.random()}: first of {names}?", answer=names[0] + "!")

    assert "PYTHONHASHSEED" in failed(plant(exact, make=unstable))["stream"]


def test_a_gold_that_scores_0_fails():
    assert "gold" in failed(plant(exact, answer=lambda a, b: f" {a + b}\n"))


def test_a_prompt_that_shows_its_answer_fails():
    def shown(rng):
        secret = f"{rng.getrandbits(64):016x}"
        return rlvr.Task(f"The code is {secret}. What is the code?", answer=secret)

    assert "leak" in failed(plant(exact, make=shown))


def test_a_game_won_by_silence_fails_the_floor():
    @rlvr.register("test/lazy-game-v0", max_turns=3)
    class Lazy:
        def start(self, rng):
            self.hidden, self.turns = rng.randint(0, 10**6), 0
            return "Wait."

        def turn(self, text):
            self.turns += 1
            return rlvr.Score(1.0) if self.turns == 2 else "..."

    assert "floor" in failed("test/lazy-game-v0")


def test_the_page_shows_hostile_text_as_text():
    report = rlvr.auditing.AuditReport(
        "test/x-v0", {}, [rlvr.auditing.Check("gold", "fail", "<script>alert(1)</script>")]
    )
    assert "<script>" not in report.page()
    assert "FAILED" in report.text()


def test_environments_audited_together_keep_their_own_faults():
    def unstable(rng):
        return rlvr.Task(f"{id(object())} {time.time()}", answer="1")

    def empty(rng):
        raise ValueError("no tasks today")

    ids = [
        plant(exact),
        plant(exact, make=unstable),
        plant(exact, make=empty),
        plant(lambda task, text: rlvr.Score(1.0)),
    ]
    reports = audit_all(ids, n=12, timeout_s=0.5)
    assert [report.env_id for report in reports] == ids
    assert reports[0].passed, reports[0].text()
    assert reports[0].to_dict()["checks"] == rlvr.audit(ids[0], n=12).to_dict()["checks"]
    faults = [{check.name for check in report.failures} for report in reports[1:]]
    assert "stream" in faults[0]
    assert faults[1] == {"generate"}
    assert "no tasks today" in reports[2].failures[0].says
    assert "floor" in faults[2]
    assert "stream" not in faults[2]


def test_a_generator_that_prints_does_not_garble_the_audit():
    def talkative(rng):
        print("...", end="")
        number = rng.randrange(10**9)
        return rlvr.Task(f"Say {number} backwards.", answer=str(number)[::-1])

    assert "stream" not in failed(plant(exact, make=talkative))


@pytest.mark.parametrize(("chance", "n", "at_least"), [(0.0, 50, 0.0), (0.5, 50, 0.7), (0.02, 50, 0.1)])
def test_luck_is_allowed_for(chance, n, at_least):
    assert at_least <= rlvr.auditing._luck(chance, n) <= at_least + 0.12
