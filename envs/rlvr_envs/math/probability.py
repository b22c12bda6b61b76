"""Probabilities as exact fractions: urns, coins, dice, and causes judged from effects."""

from __future__ import annotations

import random
from fractions import Fraction
from math import comb

import rlvr
from rlvr_envs.math.asking import ask, bounded, one_kind, phrase, verify_answer, worked

COLOURS = ("red", "blue", "green", "white", "black", "yellow", "brown", "silver")
CONTAINERS = ("urn", "bag", "box", "jar", "drawer", "hat")
THINGS = ("balls", "marbles", "cards", "chips", "beads", "buttons")
TRIALS = ("trials", "shots", "attempts", "experiments", "throws", "tests", "launches", "calls")
PARTS = ("bulbs", "valves", "chips", "pumps", "fuses", "seals", "bolts", "sensors")
URN = (
    "{A} {box} holds {a} {first} and {b} {second} {things}. {k} are drawn without replacement. "
    "What is the probability that exactly {j} of them are {first}?",
    "From {an} {box} with {a} {first} and {b} {second} {things}, {k} are taken at random, none put back. "
    "Find the probability of exactly {j} {first} ones.",
    "{k} {things} are picked at once from {a} {first} and {b} {second} ones in {an} {box}. "
    "How likely is it that exactly {j} are {first}?",
)
COINS = (
    "A coin shows heads with probability {p}. It is tossed {n} times. What is the probability of {amount} {k} heads?",
    "Each of {n} independent {trials} succeeds with probability {p}. Find the probability of {amount} {k} successes.",
    "A spinner lands on {colour} with probability {p}. How likely is it that {n} spins give {colour} {amount} {k} times?",
    "Any of {n} equal {parts} fails with probability {p}, independently. How likely is it that {amount} {k} of them fail?",
)
DICE = (
    "Three fair dice with {a}, {b} and {c} faces, numbered from 1, are rolled. What is the probability that they sum to {s}?",
    "Find the probability that a {a}-sided, a {b}-sided and a {c}-sided die, all fair and numbered from 1, add up to {s}.",
    "You roll three fair dice with faces 1 to {a}, 1 to {b} and 1 to {c}. How likely is a total of exactly {s}?",
)
CAUSE = (
    "One of {n} {boxes} is chosen at random: {contents}. {draw}. "
    "Given that, what is the probability that it was {box} {label}?",
    "There are {n} {boxes}: {contents}. Somebody picks one of them at random. {draw}. "
    "How likely is it that {box} {label} was picked?",
)


@rlvr.register(
    "math/probability-v0",
    chance=0.03,
    kinds=["urn"],
    size=9,
    levels=[
        {"kinds": ["urn"], "size": 9},
        {"kinds": ["coins"], "size": 9},
        {"kinds": ["cause"], "size": 4},
        {"kinds": ["dice"], "size": 4},
        {"kinds": ["dice", "cause"], "size": 6},
    ],
)
def probability(rng: random.Random, kinds: list[str], size: int) -> rlvr.Task:
    """A probability as a reduced fraction.

    Kinds: urn (draws without replacement), coins (independent trials), dice (the sum of three), cause (Bayes' rule, some draws
    from one of several boxes); `size` bounds their numbers. Golds come from following the experiment step by step, all
    its states with their probabilities; worked solutions use the formulas.
    """
    bounded("math/probability-v0", size=(size, 4, 40))
    kind = one_kind(rng, "math/probability-v0", kinds, _MAKERS)
    question, gold, lines = _MAKERS[kind](rng, size)
    return rlvr.Task(ask(question, "a reduced fraction"), answer=str(gold), data={"steps": lines})


probability.verifier(verify_answer)


@probability.worked_solution
def _(task: rlvr.Task) -> str:
    lines = (task.data or {})["steps"]
    return worked(lines, lines[-1].rpartition("= ")[2])


Made = tuple[str, Fraction, list[str]]


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _urn(rng: random.Random, size: int) -> Made:
    a, b = rng.randint(3, size), rng.randint(3, size)
    k = rng.randint(2, 4)
    j = rng.randint(max(0, k - b), min(k, a))
    # reached[i]: the probability of i wanted ones so far, followed draw by draw.
    reached = [Fraction(1)] + [Fraction(0)] * k
    for draw in range(k):
        left = a + b - draw
        following = [Fraction(0)] * (k + 1)
        for i, p in enumerate(reached):
            if p:
                following[i] += p * Fraction(b - draw + i, left)
                if i < k:
                    following[i + 1] += p * Fraction(a - i, left)
        reached = following
    ways, every = comb(a, j) * comb(b, k - j), comb(a + b, k)
    lines = [
        f"good: C({a}, {j}) * C({b}, {k - j}) = {comb(a, j)} * {comb(b, k - j)} = {ways}",
        f"all: C({a + b}, {k}) = {every}",
        f"{ways}/{every} = {Fraction(ways, every)}",
    ]
    first, second = rng.sample(COLOURS, 2)
    box = rng.choice(CONTAINERS)
    fields = {"box": box, "an": _article(box), "A": _article(box).capitalize(), "things": rng.choice(THINGS)}
    return phrase(rng, URN, a=a, b=b, k=k, j=j, first=first, second=second, **fields), reached[j], lines


def _coins(rng: random.Random, size: int) -> Made:
    down = rng.randint(3, 12)
    p = Fraction(rng.randint(1, down - 1), down)
    n = rng.randint(4, size)
    k = rng.randint(1, n - 1)
    amount, counted = rng.choice([("exactly", [k]), ("at least", [*range(k, n + 1)]), ("at most", [*range(k + 1)])])
    if len(counted) > 3:
        amount, counted = "exactly", [k]
    reached = [Fraction(1)] + [Fraction(0)] * n
    for _ in range(n):
        reached = [reached[i] * (1 - p) + (reached[i - 1] * p if i else 0) for i in range(n + 1)]
    terms = [comb(n, i) * p**i * (1 - p) ** (n - i) for i in counted]
    lines = [
        f"{i}: C({n}, {i}) * ({p})^{i} * ({1 - p})^{n - i} = {comb(n, i)} * {p**i} * {(1 - p) ** (n - i)} = {term}"
        for i, term in zip(counted, terms, strict=True)
    ]
    if len(terms) > 1:
        lines.append(f"{' + '.join(map(str, terms))} = {sum(terms, Fraction(0))}")
    gold = sum((reached[i] for i in counted), Fraction(0))
    fields = {"colour": rng.choice(COLOURS), "trials": rng.choice(TRIALS), "parts": rng.choice(PARTS)}
    return phrase(rng, COINS, p=p, n=n, k=k, amount=amount, **fields), gold, lines


def _dice(rng: random.Random, size: int) -> Made:
    """Three dice of several kinds; the sizes of their faces grow with `size`."""
    faces = [rng.randint(4, 4 * size) for _ in range(3)]
    s = rng.randint(6, sum(faces) - 3)
    counts = {0: 1}
    for most in faces:
        following: dict[int, int] = {}
        for total, ways in counts.items():
            for face in range(1, most + 1):
                following[total + face] = following.get(total + face, 0) + ways
        counts = following
    good, lines = 0, []
    for last in range(1, faces[2] + 1):
        # The first die shows d, the second s - last - d: both must be possible.
        pairs = min(faces[0], s - last - 1) - max(1, s - last - faces[1]) + 1
        if pairs > 0:
            good += pairs
            lines.append(f"last die {last}, the others {s - last}: {pairs}")
    every = faces[0] * faces[1] * faces[2]
    lines += [f"good: {good}", f"all: {faces[0]} * {faces[1]} * {faces[2]} = {every}"]
    lines.append(f"{good}/{every} = {Fraction(good, every)}")
    return phrase(rng, DICE, a=faces[0], b=faces[1], c=faces[2], s=s), Fraction(counts[s], every), lines


def _cause(rng: random.Random, size: int) -> Made:
    n = min(max(2, size - rng.randint(0, 1)), 9)
    draws = rng.randint(1, min(size - 1, 5))
    first, second = rng.sample(COLOURS, 2)
    things = rng.choice(THINGS)
    holds = [(rng.randint(max(2, draws), 9), rng.randint(1, 9)) for _ in range(n)]
    asked = rng.randrange(n)
    labels = "ABCDEFGHI"
    box = rng.choice(CONTAINERS)
    if draws == 1:
        draw = f"One of its {things} is drawn and is {first}"
    else:
        draw = f"{draws} of its {things} are drawn without replacement and all are {first}"
    contents = ", ".join(
        f"{label} holds {a} {first} and {b} {second} {things}" for label, (a, b) in zip(labels, holds, strict=False)
    )
    # Followed as a tree: every box is one branch, every draw another factor.
    branches = []
    for a, b in holds:
        p = Fraction(1, n)
        for drawn in range(draws):
            p *= Fraction(a - drawn, a + b - drawn)
        branches.append(p)
    gold = branches[asked] / sum(branches, Fraction(0))
    likelihoods = [Fraction(comb(a, draws), comb(a + b, draws)) for a, b in holds]
    lines = [
        f"{label}: {_product(a, a + b, draws)} = {p}"
        for label, (a, b), p in zip(labels, holds, likelihoods, strict=False)
    ]
    total = sum(likelihoods, Fraction(0))
    lines.append(f"sum: {' + '.join(map(str, likelihoods))} = {total}")
    lines.append(f"{likelihoods[asked]} / ({total}) = {likelihoods[asked] / total}")
    plural = "boxes" if box == "box" else f"{box}s"
    fields = {"boxes": plural, "box": box, "label": labels[asked], "contents": contents, "draw": draw}
    return phrase(rng, CAUSE, n=n, **fields), gold, lines


def _product(a: int, whole: int, draws: int) -> str:
    return " * ".join(f"{a - drawn}/{whole - drawn}" for drawn in range(draws))


_MAKERS = {"urn": _urn, "coins": _coins, "dice": _dice, "cause": _cause}
