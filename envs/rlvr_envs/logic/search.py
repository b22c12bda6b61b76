"""Puzzles solved by a row of moves: mazes, water jugs, towers of Hanoi, sokoban. Any row of moves that gets there counts."""

# ruff: noqa: B023 (the functions made in the loops are called before the next round)

from __future__ import annotations

import collections
import random
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import rlvr
from rlvr_envs.logic.answers import TAGS, answered, judged, names, numbers, require

StateT = TypeVar("StateT", bound=Hashable)
STEPS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
MAX_MOVES = 500


def shortest(
    start: StateT,
    done: Callable[[StateT], bool],
    moves: Callable[[StateT], Iterable[tuple[str, StateT]]],
    limit: int = 50_000,
) -> list[str] | None:
    """A shortest row of moves from `start` to a state that is `done`, by breadth-first search over at most `limit` states."""
    came: dict[StateT, tuple[StateT, str] | None] = {start: None}
    waiting = collections.deque([start])
    while waiting and len(came) <= limit:
        here = waiting.popleft()
        if done(here):
            path: list[str] = []
            step = came[here]
            while step is not None:
                path.append(step[1])
                step = came[step[0]]
            return path[::-1]
        for name, there in moves(here):
            if there not in came:
                came[there] = (here, name)
                waiting.append(there)
    return None


# Mazes ------------------------------------------------------------------------------------------------------------


@rlvr.register("logic/maze-v0", size=7, levels=[{"size": 5}, {"size": 7}, {"size": 11}, {"size": 15}])
def maze(rng: random.Random, size: int) -> rlvr.Task:
    """Walk from S to G in a maze with one way between any two places. `size` is odd: its height and width in cells."""
    require(
        "logic/maze-v0", 5 <= size <= 31 and size % 2 == 1, f"size is {size}; it must be an odd number from 5 to 31"
    )
    rows = [["#"] * size for _ in range(size)]
    here = (1, 1)
    rows[1][1] = "."
    trail = [here]
    while trail:
        here = trail[-1]
        ways = [(2 * r, 2 * c) for r, c in STEPS.values()]
        open_ways = [
            (r, c)
            for r, c in ways
            if 0 < here[0] + r < size and 0 < here[1] + c < size and rows[here[0] + r][here[1] + c] == "#"
        ]
        if not open_ways:
            trail.pop()
            continue
        r, c = rng.choice(open_ways)
        rows[here[0] + r // 2][here[1] + c // 2] = rows[here[0] + r][here[1] + c] = "."
        trail.append((here[0] + r, here[1] + c))
    places = [(r, c) for r in range(size) for c in range(size) if rows[r][c] == "."]
    while True:
        start, goal = rng.sample(places, 2)
        moves = shortest(start, lambda at: at == goal, lambda at: _walk(rows, at))
        if moves is not None and len(moves) >= size // 2:
            break
    rows[start[0]][start[1]], rows[goal[0]][goal[1]] = "S", "G"
    picture = "\n".join("".join(row) for row in rows)
    prompt = (
        f"Find a way from S to G through this maze; # is a wall, . is free.\n{picture}\n{TAGS} "
        "Write the moves up, down, left, right in order, separated by spaces."
    )
    return rlvr.Task(prompt, answer=" ".join(moves), data={"maze": picture.split("\n")})


def _walk(rows: list[list[str]] | list[str], at: tuple[int, int]) -> Iterable[tuple[str, tuple[int, int]]]:
    for name, (r, c) in STEPS.items():
        if rows[at[0] + r][at[1] + c] != "#":
            yield name, (at[0] + r, at[1] + c)


@maze.verifier
def arrives(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the moves lead from S to G and never into a wall."""
    rows = task.data["maze"]
    start = next((r, row.index("S")) for r, row in enumerate(rows) if "S" in row)

    def right(moves: list[str]) -> bool:
        at = start
        for move in moves[:MAX_MOVES]:
            ways = dict(_walk(rows, at))
            if move not in ways:
                return False
            at = ways[move]
        return len(moves) <= MAX_MOVES and rows[at[0]][at[1]] == "G"

    return judged(text, names, right)


# Water jugs -------------------------------------------------------------------------------------------------------


@rlvr.register(
    "logic/water-jugs-v0",
    largest=9,
    jugs=2,
    levels=[{"largest": 5}, {"largest": 9}, {"largest": 12, "jugs": 3}, {"largest": 20, "jugs": 3}],
)
def water_jugs(rng: random.Random, largest: int, jugs: int) -> rlvr.Task:
    """Measure an amount with jugs without marks, by filling, emptying and pouring; at least three steps are needed."""
    require(
        "logic/water-jugs-v0",
        4 <= largest <= 40 and 2 <= jugs <= 3,
        f"largest is {largest} (4 to 40), jugs is {jugs} (2 or 3)",
    )
    while True:
        sizes = rng.sample(range(2, largest + 1), jugs)
        target = rng.randint(1, max(sizes) - 1)
        moves = shortest((0,) * jugs, lambda state: target in state, lambda state: _pour(sizes, state))
        if moves is not None and len(moves) >= 3:
            break
    letters = "abc"[:jugs]
    listed = ", ".join(f"{letter} holds {size} litres" for letter, size in zip(letters, sizes, strict=True))
    most = 2 * len(moves)
    prompt = (
        f"There are empty jugs without marks: {listed}. Get exactly {target} litres into one of them in at most {most} steps. "
        f"The steps are: fill a jug (fa), empty a jug (ea), pour one into another until one is empty or the other is full "
        f"(pab pours a into b). {TAGS} Write the steps in order, separated by spaces, like: fa pab ea."
    )
    return rlvr.Task(prompt, answer=" ".join(moves), data={"sizes": sizes, "target": target, "most": most})


def _pour(sizes: list[int], state: tuple[int, ...]) -> Iterable[tuple[str, tuple[int, ...]]]:
    for one in range(len(sizes)):
        yield f"f{'abc'[one]}", (*state[:one], sizes[one], *state[one + 1 :])
        yield f"e{'abc'[one]}", (*state[:one], 0, *state[one + 1 :])
        for two in range(len(sizes)):
            if one != two:
                amount = min(state[one], sizes[two] - state[two])
                after = list(state)
                after[one] -= amount
                after[two] += amount
                yield f"p{'abc'[one]}{'abc'[two]}", tuple(after)


@water_jugs.verifier
def measured(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if every step is possible and the target stands in a jug at the end."""
    sizes = task.data["sizes"]

    def right(moves: list[str]) -> bool:
        state: tuple[int, ...] = (0,) * len(sizes)
        for move in moves[: task.data["most"]]:
            after = dict(_pour(sizes, state))
            if move not in after:
                return False
            state = after[move]
        return len(moves) <= task.data["most"] and task.data["target"] in state

    return judged(text, names, right)


# Towers of Hanoi --------------------------------------------------------------------------------------------------


@rlvr.register("logic/tower-of-hanoi-v0", disks=3, levels=[{"disks": 2}, {"disks": 3}, {"disks": 4}, {"disks": 5}])
def tower_of_hanoi(rng: random.Random, disks: int) -> rlvr.Task:
    """Bring disks from one arrangement to another, never a larger one onto a smaller one."""
    require("logic/tower-of-hanoi-v0", 2 <= disks <= 7, f"disks is {disks}; it must be from 2 to 7")
    while True:
        start, goal = (tuple(rng.randrange(3) for _ in range(disks)) for _ in range(2))
        moves = shortest(start, lambda state: state == goal, _lift)
        if moves is not None and len(moves) >= 2:
            break
    pegs = [
        "; ".join(
            f"peg {peg + 1}: {' '.join(str(disk + 1) for disk in reversed(range(disks)) if state[disk] == peg) or 'nothing'}"
            for peg in range(3)
        )
        for state in (start, goal)
    ]
    prompt = (
        f"Disks 1 (smallest) to {disks} lie on three pegs, listed from bottom to top. Now: {pegs[0]}. Wanted: {pegs[1]}. Move "
        f"one top disk at a time and never onto a smaller one. {TAGS} Write each move as the peg it leaves and the peg it goes "
        "to, like: 13 21."
    )
    return rlvr.Task(prompt, answer=" ".join(moves), data={"start": start, "goal": goal})


def _lift(state: tuple[int, ...]) -> Iterable[tuple[str, tuple[int, ...]]]:
    top = {peg: disk for disk, peg in reversed(list(enumerate(state)))}
    for source, disk in top.items():
        for target in range(3):
            if target != source and top.get(target, len(state)) > disk:
                yield f"{source + 1}{target + 1}", (*state[:disk], target, *state[disk + 1 :])


@tower_of_hanoi.verifier
def arranged(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if every move is allowed and the wanted arrangement is reached."""

    def right(moves: list[int]) -> bool:
        state = tuple(task.data["start"])
        for move in moves[:MAX_MOVES]:
            after = dict(_lift(state))
            if str(move) not in after:
                return False
            state = after[str(move)]
        return len(moves) <= MAX_MOVES and list(state) == list(task.data["goal"])

    return judged(text, numbers, right)


# Sokoban ----------------------------------------------------------------------------------------------------------

Pushed = tuple[tuple[int, int], frozenset[tuple[int, int]]]


@rlvr.register(
    "logic/sokoban-v0",
    size=6,
    boxes=1,
    levels=[{"size": 5, "boxes": 1}, {"size": 6, "boxes": 1}, {"size": 6, "boxes": 2}, {"size": 7, "boxes": 2}],
)
def sokoban(rng: random.Random, size: int, boxes: int) -> rlvr.Task:
    """Push boxes onto goals in a walled room with pillars; solvable, in no fewer than four moves."""
    require(
        "logic/sokoban-v0", 5 <= size <= 9 and 1 <= boxes <= 3, f"size is {size} (5 to 9), boxes is {boxes} (1 to 3)"
    )
    while True:
        inside = [(r, c) for r in range(1, size - 1) for c in range(1, size - 1)]
        walls = {(r, c) for r in range(size) for c in range(size)} - set(inside)
        pillars = set(rng.sample(inside, rng.randint(0, size - 4)))
        free = [place for place in inside if place not in pillars]
        places = rng.sample(free, 2 * boxes + 1)
        goals, start = frozenset(places[:boxes]), (places[-1], frozenset(places[boxes:-1]))
        blocked = walls | pillars
        moves = shortest(start, lambda state: state[1] == goals, lambda state: _push(blocked, state), 20_000)
        if moves is not None and len(moves) >= 4:
            break
    marks = {**dict.fromkeys(blocked, "#"), **dict.fromkeys(goals, "G"), **dict.fromkeys(start[1], "B"), start[0]: "P"}
    picture = "\n".join("".join(marks.get((r, c), ".") for c in range(size)) for r in range(size))
    prompt = (
        f"You are P and push the boxes B onto the goals G, one box at a time, never pulling; # is a wall, . is free.\n{picture}\n"
        f"{TAGS} Write the moves up, down, left, right in order, separated by spaces."
    )
    return rlvr.Task(prompt, answer=" ".join(moves), data={"room": picture.split("\n")})


def _push(blocked: set[tuple[int, int]], state: Pushed) -> Iterable[tuple[str, Pushed]]:
    (row, column), boxes = state
    for name, (r, c) in STEPS.items():
        there, beyond = (row + r, column + c), (row + 2 * r, column + 2 * c)
        if there in blocked:
            continue
        if there not in boxes:
            yield name, (there, boxes)
        elif beyond not in blocked and beyond not in boxes:
            yield name, (there, boxes - {there} | {beyond})


@sokoban.verifier
def all_on_goals(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if every move is possible and all boxes stand on goals at the end."""
    where = collections.defaultdict(set)
    for r, row in enumerate(task.data["room"]):
        for c, mark in enumerate(row):
            where[mark].add((r, c))

    def right(moves: list[str]) -> bool:
        state: Pushed = (min(where["P"]), frozenset(where["B"]))
        for move in moves[:MAX_MOVES]:
            after = dict(_push(where["#"], state))
            if move not in after:
                return False
            state = after[move]
        return len(moves) <= MAX_MOVES and state[1] == where["G"]

    return judged(text, names, right)


@maze.worked_solution
@water_jugs.worked_solution
@tower_of_hanoi.worked_solution
@sokoban.worked_solution
def shortest_way(task: rlvr.Task) -> str:
    """A shortest row of moves."""
    return answered(task.answer)
