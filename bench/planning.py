"""A training step as a discrete-event simulation: engines that decode, verifiers that judge, a learner, and who waits for whom.

Answers of random length occupy the slots of an engine; each decode step takes as long as the sequences in it make it. A
finished answer goes to the first free verifier, a group is ready with its last verdict, and the learner begins when all groups
are. What is not modelled: prefix caches, stragglers among machines, failures, several turns.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

Mode = Literal["synchronous", "one_step_off"]


@dataclass(frozen=True)
class Workload:
    """What one step has to do."""

    prompts: int
    group: int
    prompt_tokens: float
    answer_tokens: float
    """Mean length."""
    answer_spread: float
    """Standard deviation of the length over its mean; lengths are log-normal, cut at `max_tokens`."""
    max_tokens: int
    verify_s: float
    """Mean time of a verdict; exponentially distributed."""


@dataclass(frozen=True)
class Machine:
    """What there is to do it, and how fast it is."""

    engines: int
    slots: int
    """Sequences that an engine decodes at a time."""
    step_s: float
    """Of a decode step, whatever is in it: reading the weights, launching kernels."""
    sequence_s: float
    """More for each sequence in it."""
    context_s: float
    """More for each token of context in it: reading the key-value cache."""
    prefill_s: float
    """For each token of a prompt."""
    verifiers: int
    learn_token_s: float
    """Update, for each token of prompts and answers, with what is computed before it (old and reference log-probabilities)."""
    learn_s: float
    """Update, whatever is in it."""
    sync_s: float
    rollout_s: float = 0.0
    """Tokenizing, decoding texts, building trajectories: for each answer, on the driver."""


@dataclass(frozen=True)
class Report:
    """One step on average, in seconds; shares of its time."""

    step_s: float
    rollout_s: float
    """From the first token to the last verdict."""
    update_s: float
    sync_s: float
    engines_idle: float
    learner_idle: float
    verifiers_idle: float
    tokens_per_s: float
    tail_s: float
    """Part of the rollout in which fewer than half the slots, or answers if those are fewer, were decoding."""


@dataclass
class _Rollout:
    ready_s: float
    tokens: float
    engine_busy_s: float
    verifier_busy_s: float
    tail_s: float


def simulate(work: Workload, machine: Machine, mode: Mode = "synchronous", *, steps: int = 12, seed: int = 0) -> Report:
    """Play `steps` steps; the first two of them, which warm an overlapped run up, are left out of the averages."""
    rng = random.Random(seed)
    rollouts = [_roll_out(work, machine, rng) for _ in range(steps + 1)]
    now = 0.0
    ends = []
    for rollout, following in itertools.pairwise(rollouts):
        update_s = _update_s(machine, rollout)
        # One step off, the following batch is sampled meanwhile, and new weights wait until it is complete.
        now += rollout.ready_s + update_s if mode == "synchronous" else max(following.ready_s, update_s)
        now += machine.sync_s
        ends.append(now)
    kept = rollouts[2:steps]
    mean_step_s = (ends[-1] - ends[1]) / len(kept)

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    update_s = mean([_update_s(machine, rollout) for rollout in kept])
    return Report(
        step_s=mean_step_s,
        rollout_s=mean([rollout.ready_s for rollout in kept]),
        update_s=update_s,
        sync_s=machine.sync_s,
        engines_idle=1 - mean([rollout.engine_busy_s for rollout in kept]) / (mean_step_s * machine.engines),
        learner_idle=1 - update_s / mean_step_s,
        verifiers_idle=1 - mean([rollout.verifier_busy_s for rollout in kept]) / (mean_step_s * machine.verifiers),
        tokens_per_s=mean([rollout.tokens for rollout in kept]) / mean_step_s,
        tail_s=mean([rollout.tail_s for rollout in kept]),
    )


def bottlenecks(
    work: Workload, machine: Machine, mode: Mode = "synchronous", **settings: int
) -> list[tuple[str, float]]:
    """What a part that were twice as fast would take off the step, as a share of its time; the largest first."""
    faster = {
        "decoding": replace(
            machine,
            step_s=machine.step_s / 2,
            sequence_s=machine.sequence_s / 2,
            context_s=machine.context_s / 2,
            prefill_s=machine.prefill_s / 2,
        ),
        "verifiers": None,
        "update": replace(machine, learn_s=machine.learn_s / 2, learn_token_s=machine.learn_token_s / 2),
        "sync": replace(machine, sync_s=machine.sync_s / 2),
        "driver": replace(machine, rollout_s=machine.rollout_s / 2),
    }
    base = simulate(work, machine, mode, **settings).step_s
    gains = []
    for name, other in faster.items():
        if other is None:
            step_s = simulate(replace(work, verify_s=work.verify_s / 2), machine, mode, **settings).step_s
        else:
            step_s = simulate(work, other, mode, **settings).step_s
        gains.append((name, 1 - step_s / base))
    return sorted(gains, key=lambda gain: -gain[1])


def _update_s(machine: Machine, rollout: _Rollout) -> float:
    return machine.learn_s + machine.learn_token_s * rollout.tokens


def _roll_out(work: Workload, machine: Machine, rng: random.Random) -> _Rollout:
    lengths = [[_length(work, rng) for _ in range(work.group)] for _ in range(work.prompts)]
    finished: list[tuple[float, int]] = []
    busy_s = tail_s = 0.0
    for engine in range(machine.engines):
        groups = range(engine, work.prompts, machine.engines)
        ends, engine_tail_s = _decode(work, machine, [(number, n) for number in groups for n in lengths[number]])
        finished += ends
        busy_s += max((end for end, _ in ends), default=0.0)
        tail_s = max(tail_s, engine_tail_s)
    free = [0.0] * machine.verifiers
    group_ready = [0.0] * work.prompts
    verifier_busy_s = 0.0
    for end, group in sorted(finished):
        takes = rng.expovariate(1 / work.verify_s) if work.verify_s else 0.0
        verifier_busy_s += takes
        done = max(heapq.heappop(free), end) + takes
        heapq.heappush(free, done)
        group_ready[group] = max(group_ready[group], done)
    answers = work.prompts * work.group
    tokens = sum(map(sum, lengths)) + answers * work.prompt_tokens
    return _Rollout(max(group_ready) + answers * machine.rollout_s, tokens, busy_s, verifier_busy_s, tail_s)


def _decode(work: Workload, machine: Machine, answers: list[tuple[int, int]]) -> tuple[list[tuple[float, int]], float]:
    """When each answer of one engine is finished, with its group, and the length of the tail."""
    waiting = deque(answers)
    running: list[tuple[int, int]] = []
    """(decode step at which it ends, group), as a heap."""
    crowd = min(machine.slots, len(answers)) / 2
    now, step, context, tail_s = 0.0, 0, 0.0, 0.0
    ends = []
    prompts_read: set[int] = set()
    while waiting or running:
        while waiting and len(running) < machine.slots:
            group, length = waiting.popleft()
            if group not in prompts_read:  # the answers of a group share their prompt's cache
                prompts_read.add(group)
                now += machine.prefill_s * work.prompt_tokens
            heapq.heappush(running, (step + length, group))
            context += work.prompt_tokens
        steps = running[0][0] - step
        count = len(running)
        mean_context = context + count * steps / 2
        took = steps * (machine.step_s + machine.sequence_s * count + machine.context_s * mean_context)
        tail_s += took if count < crowd else 0.0
        now, step, context = now + took, step + steps, context + count * steps
        while running and running[0][0] == step:
            _, group = heapq.heappop(running)
            ends.append((now, group))
        # What stays in the cache are those that run on; they have, on average, been running as long as any.
        context *= len(running) / count
    return ends, tail_s


def _length(work: Workload, rng: random.Random) -> int:
    variance = math.log(1 + work.answer_spread**2)
    length = rng.lognormvariate(math.log(work.answer_tokens) - variance / 2, math.sqrt(variance))
    return max(1, min(work.max_tokens, round(length)))
