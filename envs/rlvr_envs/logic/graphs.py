"""`logic/graph-path-v0` and `logic/graph-color-v0`."""

from __future__ import annotations

import collections
import itertools
import random

import rlvr
from rlvr_envs.logic.answers import TAGS, answered, judged, names, numbers, require


@rlvr.register("logic/graph-path-v0", nodes=8, levels=[{"nodes": 6}, {"nodes": 8}, {"nodes": 12}, {"nodes": 20}])
def graph_path(rng: random.Random, nodes: int) -> rlvr.Task:
    """Find a shortest path between two nodes that are at least two steps apart; any shortest path counts."""
    require("logic/graph-path-v0", 5 <= nodes <= 60, f"nodes is {nodes}; it must be from 5 to 60")
    while True:
        edges = _edges(rng, nodes, int(1.5 * nodes))
        start, goal = rng.sample(range(1, nodes + 1), 2)
        path = shortest(edges, start, goal)
        if path is not None and len(path) > 2:
            break
    listed = ", ".join(f"{a}-{b}" for a, b in edges)
    prompt = (
        f"A graph has these edges, which go both ways: {listed}. Find a shortest path from {start} to {goal}. {TAGS} "
        "Write the nodes in order, separated by spaces, the first and the last included."
    )
    return rlvr.Task(prompt, answer=" ".join(map(str, path)), data={"edges": edges, "length": len(path)})


def _edges(rng: random.Random, nodes: int, count: int) -> list[tuple[int, int]]:
    every = [(a, b) for a in range(1, nodes + 1) for b in range(a + 1, nodes + 1)]
    return sorted(rng.sample(every, min(count, len(every))))


def shortest(edges: list[tuple[int, int]], start: int, goal: int) -> list[int] | None:
    """A shortest path by breadth-first search, or None."""
    near = collections.defaultdict(list)
    for a, b in edges:
        near[a].append(b)
        near[b].append(a)
    came = {start: start}
    waiting = collections.deque([start])
    while waiting:
        here = waiting.popleft()
        for there in near[here]:
            if there not in came:
                came[there] = here
                waiting.append(there)
    if goal not in came:
        return None
    path = [goal]
    while path[-1] != start:
        path.append(came[path[-1]])
    return path[::-1]


@graph_path.verifier
def is_shortest(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if the path starts and ends right, follows edges, and is as short as the shortest."""
    edges = {frozenset(edge) for edge in task.data["edges"]}
    gold = [int(node) for node in task.answer.split()]

    def right(path: list[int]) -> bool:
        ends = len(path) == task.data["length"] and path[0] == gold[0] and path[-1] == gold[-1]
        return ends and all(frozenset(step) in edges for step in itertools.pairwise(path))

    return judged(text, numbers, right)


@graph_path.worked_solution
def path(task: rlvr.Task) -> str:
    """A shortest path."""
    return answered(task.answer)


COLOURS = ("red", "green", "blue", "yellow", "black", "white")


@rlvr.register(
    "logic/graph-color-v0",
    nodes=8,
    colours=3,
    levels=[{"nodes": 6}, {"nodes": 8}, {"nodes": 12}, {"nodes": 16, "colours": 4}],
)
def graph_color(rng: random.Random, nodes: int, colours: int) -> rlvr.Task:
    """Colour a graph so that no edge joins equal colours. It is built around a colouring; any valid one counts."""
    require(
        "logic/graph-color-v0",
        4 <= nodes <= 40 and 2 <= colours <= 6,
        f"nodes is {nodes} (4 to 40), colours is {colours} (2 to 6)",
    )
    hidden = [place % colours for place in range(nodes)]
    rng.shuffle(hidden)
    possible = [(a, b) for a in range(nodes) for b in range(a + 1, nodes) if hidden[a] != hidden[b]]
    edges = sorted(rng.sample(possible, min(2 * nodes, len(possible))))
    listed = ", ".join(f"{a + 1}-{b + 1}" for a, b in edges)
    prompt = (
        f"Colour the nodes 1 to {nodes} of a graph with {', '.join(COLOURS[:colours])} so that no edge joins two nodes of the "
        f"same colour. Its edges: {listed}. {TAGS} Write the {nodes} colours in the order of the nodes, separated by spaces."
    )
    answer = " ".join(COLOURS[colour] for colour in hidden)
    return rlvr.Task(prompt, answer=answer, data={"edges": edges, "nodes": nodes, "colours": list(COLOURS[:colours])})


@graph_color.verifier
def is_coloured(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if every node has an allowed colour and no edge joins equal ones."""

    def right(given: list[str]) -> bool:
        allowed = len(given) == task.data["nodes"] and set(given) <= set(task.data["colours"])
        return allowed and all(given[a] != given[b] for a, b in task.data["edges"])

    return judged(text, names, right)


@graph_color.worked_solution
def coloured(task: rlvr.Task) -> str:
    """The colouring the graph was built around."""
    return answered(task.answer)
