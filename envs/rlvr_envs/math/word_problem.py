"""Word problems of several steps, with facts in them that do not matter."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise

import rlvr
from rlvr_envs.math.asking import ask, bounded, one_kind, verify_answer, worked

NAMES = (
    *("Amara", "Bilal", "Chen", "Dalia", "Emeka", "Farah", "Goran", "Hana", "Ivo", "Jamila", "Kofi", "Lena", "Mateo"),
    *(
        "Nadia",
        "Oskar",
        "Priya",
        "Quentin",
        "Rosa",
        "Sven",
        "Tariq",
        "Uma",
        "Viktor",
        "Wanda",
        "Ximena",
        "Yusuf",
        "Zoe",
    ),
)
ITEMS = (
    *("apples", "stamps", "marbles", "postcards", "seeds", "coins", "stickers", "shells", "nails", "candles", "tiles"),
    *("beads", "books", "pencils", "tickets", "lemons", "bricks", "ribbons", "cups", "plants", "eggs", "keys"),
)
GOODS = ("pens", "notebooks", "lamps", "chairs", "plates", "towels", "brushes", "maps", "caps", "mugs", "pots", "rugs")
DISTRACTORS = (
    "{other} is {a} years old.",
    "The shop next door opened {a} years ago.",
    "It is {a} degrees outside.",
    "{other} lives {a} kilometres away.",
    "The story takes place in the year 19{b}.",
    "{other} has {a} cousins, none of whom takes part.",
    "{other} once climbed a hill of {a}00 metres.",
    "Page {a} of the local paper mentions it.",
)
VEHICLES = (
    *(("by train", 60, 180), ("by car", 30, 120), ("by bicycle", 8, 26), ("by bus", 20, 90), ("by boat", 10, 50)),
    *(("on foot", 4, 8), ("by tram", 14, 60)),
)
"""Each with its slowest and fastest speed in km per hour."""
KINDS = ("stock", "chain", "shopping", "journey", "work", "shares")


@rlvr.register(
    "math/word-problem-v0",
    chance=0.02,
    steps=2,
    distractors=0,
    kinds=list(KINDS),
    levels=[
        {"steps": 2, "distractors": 0},
        {"steps": 3, "distractors": 1},
        {"steps": 5, "distractors": 1},
        {"steps": 7, "distractors": 2},
        {"steps": 10, "distractors": 3},
    ],
)
def word_problem(rng: random.Random, steps: int, distractors: int, kinds: list[str]) -> rlvr.Task:
    """A story of about `steps` steps of arithmetic with `distractors` numbers that do not matter.

    Kinds: stock (things come and go), chain (each has more, fewer, or times as many as the one before), shopping (a bill
    with a discount), journey (legs with different speeds), work (machines that run at rates), shares (parts of what is
    left). The gold follows the events with exact fractions; worked solutions are written line by line beside them.
    """
    bounded("math/word-problem-v0", steps=(steps, 2, 20), distractors=(distractors, 0, 3))
    kind = one_kind(rng, "math/word-problem-v0", kinds, _MAKERS)
    names = rng.sample(NAMES, 14)
    story, question, gold, lines = _MAKERS[kind](rng, steps, names)
    for other in names[11 : 11 + min(distractors, 3)]:
        extra = rng.choice(DISTRACTORS).format(other=other, a=rng.randint(3, 60), b=rng.randint(10, 99))
        story.insert(rng.randint(1, len(story)), extra)
    text = " ".join([*story, question])
    form = "a number" if gold.denominator > 1 else "a whole number"
    return rlvr.Task(ask(text, form), answer=str(gold), data={"steps": lines})


word_problem.verifier(verify_answer)


@word_problem.worked_solution
def _(task: rlvr.Task) -> str:
    lines = (task.data or {})["steps"]
    return worked(lines, lines[-1].rpartition("= ")[2])


Made = tuple[list[str], str, Fraction, list[str]]


def _stock(rng: random.Random, steps: int, names: list[str]) -> Made:
    who, item = names[0], rng.choice(ITEMS)
    count = start = rng.randint(20, 90)
    story = [rng.choice(["{w} has {n} {i}.", "{w} starts with {n} {i}.", "In the morning {w} counts {n} {i}."])]
    story[0] = story[0].format(w=who, n=start, i=item)
    lines = []
    for _ in range(steps):
        friend = rng.choice(names[1:10])
        choices = ["gain", "packs", "give"]
        if count < 150:
            choices.append("times")
        parts = [k for k in (2, 3, 4, 5) if count % k == 0]
        if parts and count > 20:
            choices.append("part")
        event = rng.choice(choices)
        if event == "gain":
            n = rng.randint(5, 60)
            story.append(rng.choice([f"{friend} gives {who} {n} more.", f"Then {who} finds another {n}."]))
            lines.append(f"{count} + {n} = {count + n}")
            count += n
        elif event == "packs":
            n, m = rng.randint(2, 9), rng.randint(3, 12)
            story.append(
                rng.choice(
                    [f"{who} buys {n} boxes of {m} {item} each.", f"{n} bags with {m} {item} each arrive for {who}."]
                )
            )
            lines += [f"{n} * {m} = {n * m}", f"{count} + {n * m} = {count + n * m}"]
            count += n * m
        elif event == "give":
            n = rng.randint(1, count - 1) if count > 1 else 0
            story.append(
                rng.choice(
                    [f"{who} gives {n} to {friend}.", f"{n} of {who}'s {item} get lost.", f"{who} sells {n} of them."]
                )
            )
            lines.append(f"{count} - {n} = {count - n}")
            count -= n
        elif event == "times":
            k = rng.randint(2, 3)
            word = {2: "doubles", 3: "triples"}[k]
            story.append(f"With a lucky trade {who} {word} the number of {item}.")
            lines.append(f"{count} * {k} = {count * k}")
            count *= k
        else:
            k = rng.choice(parts)
            word = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}[k]
            story.append(f"{who} gives {word} of the {item} to {friend}.")
            lines += [f"{count} / {k} = {count // k}", f"{count} - {count // k} = {count - count // k}"]
            count -= count // k
    question = rng.choice([f"How many {item} does {who} have now?", f"How many {item} are left with {who} in the end?"])
    return story, question, Fraction(count), lines


def _chain(rng: random.Random, steps: int, names: list[str]) -> Made:
    item = rng.choice(ITEMS)
    people = names[: max(2, min(steps, 9))]
    counts = [rng.randint(8, 60)]
    story = [f"{people[0]} has {counts[0]} {item}."]
    lines = []
    for before, who in pairwise(people):
        last = counts[-1]
        choice = rng.choice(["more", "fewer", "times"] if last < 120 else ["fewer", "more"])
        if choice == "more":
            n = rng.randint(3, 40)
            story.append(f"{who} has {n} more than {before}.")
            lines.append(f"{who}: {last} + {n} = {last + n}")
            counts.append(last + n)
        elif choice == "fewer":
            n = rng.randint(1, last - 1) if last > 1 else 0
            story.append(f"{who} has {n} fewer than {before}.")
            lines.append(f"{who}: {last} - {n} = {last - n}")
            counts.append(last - n)
        else:
            k = rng.randint(2, 4)
            story.append(f"{who} has {k} times as many as {before}.")
            lines.append(f"{who}: {last} * {k} = {last * k}")
            counts.append(last * k)
    lines.append(f"{' + '.join(map(str, counts))} = {sum(counts)}")
    together = f"{', '.join(people[:-1])} and {people[-1]}"
    return story, f"How many {item} do {together} have together?", Fraction(sum(counts)), lines


def _shopping(rng: random.Random, steps: int, names: list[str]) -> Made:
    who = names[0]
    goods = rng.sample(GOODS, max(1, min(steps - 1, 9)))
    story = [f"{who} goes shopping."]
    costs, lines = [], []
    for good in goods:
        n, price = rng.randint(2, 12), rng.randint(2, 25)
        story.append(
            rng.choice(
                [f"{who} takes {n} {good} at ${price} each.", f"{n} {good} cost ${price} apiece, and {who} buys them."]
            )
        )
        lines.append(f"{good}: {n} * {price} = {n * price}")
        costs.append(n * price)
    total = Fraction(sum(costs))
    if len(costs) > 1:
        lines.append(f"{' + '.join(map(str, costs))} = {total}")
    if rng.random() < 0.6:
        percent = rng.choice([5, 10, 20, 25, 50])
        story.append(f"At the till there is a discount of {percent}% on everything.")
        off = total * percent / 100
        lines += [f"{percent}% of {total} = {_decimal(off)}", f"{total} - {_decimal(off)} = {_decimal(total - off)}"]
        total -= off
    else:
        fee = rng.randint(2, 15)
        story.append(f"Delivery costs another ${fee}.")
        lines.append(f"{total} + {fee} = {total + fee}")
        total += fee
    question = rng.choice([f"How many dollars does {who} pay?", f"What does {who} pay in all, in dollars?"])
    return story, question, total, [*lines[:-1], lines[-1].rpartition("= ")[0] + f"= {total}"]


def _journey(rng: random.Random, steps: int, names: list[str]) -> Made:
    who = names[0]
    story = [f"{who} makes a trip."]
    distances, hours, lines = [], [], []
    for number in range(max(2, steps - 1)):
        half = rng.randint(1, 10)
        time = Fraction(half, 2)
        way, slowest, fastest = rng.choice(VEHICLES)
        speed = 2 * rng.randint(slowest // 2, fastest // 2)
        start = "First" if number == 0 else rng.choice(["Then", "After that", "Next"])
        unit = "hour" if time == 1 else "hours"
        story.append(f"{start} it goes {way} for {_decimal(time)} {unit} at {speed} km per hour.")
        lines.append(f"{_decimal(time)} * {speed} = {time * speed}")
        distances.append(time * speed)
        hours.append(time)
    total = sum(distances, Fraction(0))
    lines.append(f"{' + '.join(map(str, distances))} = {total}")
    if rng.random() < 0.5:
        return story, f"How many kilometres long is {who}'s trip?", total, lines
    time = sum(hours, Fraction(0))
    lines += [f"{' + '.join(map(_decimal, hours))} = {_decimal(time)}", f"{total} / {_decimal(time)} = {total / time}"]
    story.append(f"{who} never stops in between.")
    question = "What is the average speed over the whole trip in km per hour, as an exact number?"
    return story, question, total / time, lines


def _work(rng: random.Random, steps: int, names: list[str]) -> Made:
    item = rng.choice(ITEMS)
    count = max(2, min(steps, 8))
    rates = [rng.randint(4, 40) for _ in range(count)]
    hours = rng.randint(2, 9)
    story = [f"A workshop packs {item}."]
    for name, rate in zip(names, rates, strict=False):
        story.append(f"{name} packs {rate} an hour.")
    total = sum(rates)
    made = total * hours
    lines = [f"{' + '.join(map(str, rates))} = {total}", f"{total} * {hours} = {made}"]
    story.append(f"All of them work for {hours} hours.")
    if rng.random() < 0.5:
        broken = rng.randint(1, made // 3)
        story.append(f"Afterwards {broken} {item} turn out to be broken and are thrown away.")
        lines.append(f"{made} - {broken} = {made - broken}")
        return story, f"How many good {item} are packed?", Fraction(made - broken), lines
    box = rng.choice([d for d in (2, 3, 4, 5, 6, 8, 10, 12) if made % d == 0] or [1])
    lines.append(f"{made} / {box} = {made // box}")
    return story, f"How many boxes of {box} do they fill?", Fraction(made // box), lines


def _shares(rng: random.Random, steps: int, names: list[str]) -> Made:
    item = rng.choice(ITEMS)
    parts = [rng.randint(2, 5) for _ in range(max(2, min(steps - 1, 6)))]
    # Built from the end, so that every share is a whole number: what is left after 1/k was taken is a multiple of k - 1.
    left = rng.randint(1, 12)
    for k in parts:
        left *= k - 1
    start = left
    for k in parts:
        start = start // (k - 1) * k
    story = [rng.choice([f"There are {start} {item} on the table.", f"A crate holds {start} {item}."])]
    lines = []
    now = start
    for k, who in zip(parts, names, strict=False):
        word = {2: "half", 3: "a third", 4: "a quarter", 5: "a fifth"}[k]
        story.append(f"{who} takes {word} of what is there.")
        lines += [f"{now} / {k} = {now // k}", f"{now} - {now // k} = {now - now // k}"]
        now -= now // k
    return story, f"How many {item} are left?", Fraction(now), lines


def _decimal(value: Fraction) -> str:
    """As a decimal where it ends after at most three digits, else as a fraction."""
    if value.denominator == 1 or 1000 % value.denominator:
        return str(value)
    digits = f"{abs(value.numerator) * (1000 // value.denominator):04d}"
    return f"{'-' if value < 0 else ''}{digits[:-3]}.{digits[-3:]}".rstrip("0")


_MAKERS: dict[str, Callable[[random.Random, int, list[str]], Made]] = {
    "stock": _stock,
    "chain": _chain,
    "shopping": _shopping,
    "journey": _journey,
    "work": _work,
    "shares": _shares,
}
