"""Three environments, one of each kind: a generator, a data set and a game."""

import rlvr
from rlvr.answers import final_answer

UNITS = {"glim": 1, "snorp": 7, "quozz": 12}


@rlvr.register("acme/odd-units-v0", largest=9, levels=[{"largest": 9}, {"largest": 99}])
def odd_units(rng, largest):
    """Convert between units that nobody has seen before."""
    big, count = rng.choice(["snorp", "quozz"]), rng.randint(2, largest) * rng.randint(2, largest)
    question = f"A {big} is {UNITS[big]} glims. How many glims are {count} {big}s? Answer with the number."
    return rlvr.Task(question, answer=str(count * UNITS[big]))


def balance(task, text):
    """1 if the final answer names the heavier side, else 0."""
    return rlvr.Score(float((final_answer(text) or "").lower() == task.answer))


rlvr.register(
    "acme/balance-v0",
    rows="acme_envs:balance.jsonl",
    prompt="On the left: {left}. On the right: {right}. All weights in grams. By how many grams does the heavier side win, "
    "and which is it? Answer like: 3 left.",
    verify=balance,
    split="split",
)


@rlvr.register("acme/shelf-robot-v0", max_turns=8, chance=0.02, shelves=50)
class ShelfRobot:
    """Find the hidden shelf; after each guess the robot says whether to go up or down."""

    def start(self, rng, shelves):
        self.hidden, self.shelves = rng.randint(1, shelves), shelves
        return f"A parcel lies on one of {shelves} shelves. Name a shelf by its number; I will say up, down or here."

    def turn(self, text):
        guess = (final_answer(text) or "").strip()
        if not (guess.isascii() and guess.isdigit() and len(guess) < 9):
            return "Name a shelf by its number."
        if int(guess) == self.hidden:
            return rlvr.Score(1.0, reason="found")
        return "up" if int(guess) < self.hidden else "down"


@ShelfRobot.worked_solution
def halve(task):
    """The turns of a player who halves what is left."""
    session = ShelfRobot.open(task)
    low, high, turns = 1, session.shelves, []
    while True:
        turns.append(str((low + high) // 2))
        reply = session.turn(turns[-1])
        if isinstance(reply, rlvr.Score):
            return turns
        low, high = (int(turns[-1]) + 1, high) if reply == "up" else (low, int(turns[-1]) - 1)
