"""The planning simulation on cases small enough to be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.planning import Machine, Workload, bottlenecks, simulate
from bench.shapes import SHAPES

# Answers of exactly 10 tokens: no spread.
WORK = Workload(prompts=4, group=2, prompt_tokens=5, answer_tokens=10, answer_spread=0.0, max_tokens=99, verify_s=0.0)
MACHINE = Machine(
    engines=1, slots=8, step_s=0.1, sequence_s=0.01, context_s=0.0, prefill_s=0.02, verifiers=2,
    learn_token_s=0.01, learn_s=0.5, sync_s=0.25,
)  # fmt: skip


def test_a_synchronous_step_is_the_sum_of_its_phases() -> None:
    report = simulate(WORK, MACHINE)
    # 4 prompts of 5 tokens at 0.02 s, then 10 decode steps of 8 sequences at 0.1 + 8 * 0.01 s
    assert report.rollout_s == pytest.approx(0.4 + 10 * 0.18)
    # 8 answers of 10 tokens and 8 prompts of 5
    assert report.update_s == pytest.approx(0.5 + 0.01 * 120)
    assert report.step_s == pytest.approx(report.rollout_s + report.update_s + 0.25)
    assert report.engines_idle == pytest.approx(1 - 2.2 / report.step_s)
    assert report.tail_s == 0.0


def test_answers_that_find_no_slot_wait_for_one() -> None:
    report = simulate(WORK, replace(MACHINE, slots=4, prefill_s=0.0))
    assert report.rollout_s == pytest.approx(2 * 10 * (0.1 + 4 * 0.01))


def test_two_engines_share_the_prompts() -> None:
    report = simulate(WORK, replace(MACHINE, engines=2, prefill_s=0.0))
    assert report.rollout_s == pytest.approx(10 * (0.1 + 4 * 0.01))


def test_context_costs_what_is_read_of_it() -> None:
    machine = replace(MACHINE, step_s=0.0, sequence_s=0.0, context_s=1e-3, prefill_s=0.0)
    # 8 sequences with 5 tokens before and 10 while they run: 10 steps over 8 * (5 + 10 / 2) tokens
    assert simulate(WORK, machine).rollout_s == pytest.approx(10 * 80 * 1e-3)


def test_one_step_off_hides_the_shorter_of_rollout_and_update() -> None:
    # Once warm, a step takes as long as the longer of the two, and the sync stands between updates and sampling.
    slow_learner = replace(MACHINE, learn_s=10.0, prefill_s=0.0)
    report = simulate(WORK, slow_learner, "one_step_off")
    assert report.step_s == pytest.approx(10.0 + 1.2, rel=0.1)
    assert report.learner_idle == pytest.approx(0.0, abs=0.03)
    slow_engine = replace(MACHINE, step_s=5.0)
    report = simulate(WORK, slow_engine, "one_step_off")
    assert report.step_s == pytest.approx(report.rollout_s + MACHINE.sync_s)
    assert simulate(WORK, slow_engine).step_s == pytest.approx(report.step_s + report.update_s)


def test_slow_verifiers_are_named_as_the_bottleneck() -> None:
    work = replace(WORK, verify_s=5.0)
    [(name, gain), *_] = bottlenecks(work, MACHINE)
    assert name == "verifiers"
    assert gain > 0.3
    assert bottlenecks(WORK, replace(MACHINE, learn_s=50.0))[0][0] == "update"


def test_uneven_lengths_leave_a_tail() -> None:
    even = simulate(WORK, MACHINE)
    uneven = simulate(replace(WORK, answer_spread=1.5, max_tokens=400), MACHINE, steps=40)
    assert uneven.tail_s > 0.1 * uneven.rollout_s
    assert uneven.rollout_s > even.rollout_s


@pytest.mark.parametrize(("name", "millions"), [("0.5b", 494), ("1.5b", 1544), ("3b", 3086), ("7b", 7616)])
def test_shapes_count_what_the_published_models_have(name: str, millions: int) -> None:
    assert SHAPES[name].parameters / 1e6 == pytest.approx(millions, abs=1)


def test_shapes_count_what_transformers_builds() -> None:
    import torch
    from transformers import Qwen2ForCausalLM

    for name in ("tiny", "7b"):
        with torch.device("meta"):
            model = Qwen2ForCausalLM(SHAPES[name].config())
        assert SHAPES[name].parameters == sum(parameter.numel() for parameter in model.parameters())
