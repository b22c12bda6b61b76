"""Simultaneous congruences."""

from __future__ import annotations

import random
from math import gcd

import rlvr
from rlvr_envs.math.asking import ask, bounded, phrase, verify_answer, worked

PHRASINGS = (
    "Find the smallest nonnegative integer x with {system}.",
    "Solve the system of congruences {system} for the least x >= 0.",
    "What is the least nonnegative x such that {system}?",
    "A number leaves {remainders}. What is the smallest such number, zero allowed?",
    "Determine the smallest x >= 0 that satisfies {system}.",
)


@rlvr.register(
    "math/crt-v0",
    chance=0.01,
    congruences=2,
    modulus=40,
    coprime=True,
    levels=[
        {"congruences": 2, "modulus": 40, "coprime": True},
        {"congruences": 3, "modulus": 20, "coprime": True},
        {"congruences": 3, "modulus": 60, "coprime": False},
        {"congruences": 4, "modulus": 60, "coprime": False},
        {"congruences": 6, "modulus": 60, "coprime": False},
    ],
)
def crt(rng: random.Random, congruences: int, modulus: int, coprime: bool) -> rlvr.Task:
    """The least x >= 0 with x = r_i modulo m_i, for moduli up to `modulus`, which may share factors if not `coprime`.

    The residues come from a number drawn below the least common multiple; the gold is put together again from the
    residues with the inverse of one modulus in the other; the worked solution searches upwards in steps (a sieve).
    """
    bounded("math/crt-v0", congruences=(congruences, 2, 6), modulus=(modulus, 5 * congruences, 10**4))
    while True:
        moduli = [rng.randint(3, modulus) for _ in range(congruences)]
        if len(set(moduli)) == congruences and (not coprime or _pairwise_coprime(moduli)):
            break
    whole = 1
    for m in moduli:
        whole = whole * m // gcd(whole, m)
    x = rng.randrange(whole)
    residues = [x % m for m in moduli]
    gold, step = 0, 1
    for r, m in zip(residues, moduli, strict=True):
        shared = gcd(step, m)
        factor = (r - gold) // shared * pow(step // shared, -1, m // shared) % (m // shared)
        gold, step = gold + step * factor, step * m // shared
    parts = [f"x = {r} (mod {m})" for r, m in zip(residues, moduli, strict=True)]
    left = [f"remainder {r} when divided by {m}" for r, m in zip(residues, moduli, strict=True)]
    question = phrase(rng, PHRASINGS, system=", ".join(parts), remainders=", ".join(left))
    prompt = ask(question, "a whole number")
    return rlvr.Task(prompt, answer=str(gold % step), data={"residues": residues, "moduli": moduli})


crt.verifier(verify_answer)


@crt.worked_solution
def _(task: rlvr.Task) -> str:
    data = task.data or {}
    lines: list[str] = []
    x, step = data["residues"][0], data["moduli"][0]
    for r, m in zip(data["residues"][1:], data["moduli"][1:], strict=True):
        tried = [x]
        while tried[-1] % m != r:
            tried.append(tried[-1] + step)
        left = ", ".join(f"{value}: {value % m}" for value in tried)
        lines.append(f"{x} + {step}k modulo {m} must be {r}. {left}")
        x, step = tried[-1], step * m // gcd(step, m)
    lines.append(f"x = {x} (mod {step})")
    return worked(lines, str(x))


def _pairwise_coprime(moduli: list[int]) -> bool:
    return all(gcd(a, b) == 1 for place, a in enumerate(moduli) for b in moduli[:place])
