"""Greatest common divisors and least common multiples."""

from __future__ import annotations

import random

import rlvr
from rlvr_envs.math.asking import ask, bounded, phrase, verify_answer, worked

GCD = (
    "Find the greatest common divisor of {numbers}.",
    "What is gcd({list})?",
    "Which is the largest whole number that divides {numbers}?",
    "Compute the highest common factor of {numbers}.",
)
LCM = (
    "Find the least common multiple of {numbers}.",
    "What is lcm({list})?",
    "Which is the smallest positive number that {numbers} all divide?",
    "Compute the lowest common multiple of {numbers}.",
)


@rlvr.register(
    "math/gcd-lcm-v0",
    chance=0.02,
    numbers=2,
    divisor=64,
    cofactor=30,
    multiple=False,
    levels=[
        {"numbers": 2, "divisor": 64, "cofactor": 30, "multiple": False},
        {"numbers": 2, "divisor": 90, "cofactor": 60, "multiple": True},
        {"numbers": 3, "divisor": 120, "cofactor": 90, "multiple": True},
        {"numbers": 4, "divisor": 999, "cofactor": 999, "multiple": True},
    ],
)
def gcd_lcm(rng: random.Random, numbers: int, divisor: int, cofactor: int, multiple: bool) -> rlvr.Task:
    """The gcd, or with `multiple` in half of the tasks the lcm, of numbers that share a divisor up to `divisor`.

    Each number is the shared divisor times up to `cofactor`. The gold comes from the numbers' prime factors, not from the
    shared divisor; the worked solution runs Euclid's algorithm.
    """
    bounded(
        "math/gcd-lcm-v0", numbers=(numbers, 2, 8), divisor=(divisor, 2, 10**4), cofactor=(cofactor, numbers + 1, 10**4)
    )
    while True:
        shared = rng.randint(2, divisor)
        values = [shared * rng.randint(2, cofactor) for _ in range(numbers)]
        if len(set(values)) == numbers:
            break
    want_multiple = multiple and rng.random() < 0.5
    gold = 1
    powers = [_prime_powers(value) for value in values]
    for prime in sorted(set().union(*powers)):
        exponents = [found.get(prime, 0) for found in powers]
        gold *= prime ** (max(exponents) if want_multiple else min(exponents))
    listed = ", ".join(map(str, values))
    spoken = ", ".join(map(str, values[:-1])) + f" and {values[-1]}"
    question = phrase(rng, LCM if want_multiple else GCD, numbers=spoken, list=listed)
    return rlvr.Task(ask(question, "a whole number"), answer=str(gold), data={"numbers": values, "lcm": want_multiple})


gcd_lcm.verifier(verify_answer)


@gcd_lcm.worked_solution
def _(task: rlvr.Task) -> str:
    data = task.data or {}
    values: list[int] = data["numbers"]
    lines: list[str] = []
    total = values[0]
    for value in values[1:]:
        a, b = max(total, value), min(total, value)
        while b:
            lines.append(f"{a} = {a // b} * {b} + {a % b}")
            a, b = b, a % b
        lines.append(f"gcd({total}, {value}) = {a}")
        if data["lcm"]:
            lines.append(f"lcm({total}, {value}) = {total} / {a} * {value} = {total // a * value}")
            a = total // a * value
        total = a
    return worked(lines, str(total))


def _prime_powers(number: int) -> dict[int, int]:
    found: dict[int, int] = {}
    prime = 2
    while prime * prime <= number:
        while number % prime == 0:
            found[prime] = found.get(prime, 0) + 1
            number //= prime
        prime += 1 + (prime > 2)
    if number > 1:
        found[number] = found.get(number, 0) + 1
    return found
