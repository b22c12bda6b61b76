"""The tasks of reasoning-gym that are not offered, and why (reasoning-gym 0.1.25)."""

REFUSED = {
    "acre": "makes its whole data set at the start",
    "boxnet": "has no gold answer, and its scorer raises on ordinary text",
    "codeio": "its stream depends on the process",
    "composite": "is a mix of the others",
    "futoshiki": "takes a fifth of a second a task, and an evaluation task is drawn ten times; see logic/futoshiki",
    "graph_color": "its graphs are so sparse that one fixed colouring is right a third of the time; see logic/graph-color",
    "intermediate_integration": "takes about half a second a task",
    "isomorphic_strings": "its stream depends on the process",
    "knight_swap": "its stream depends on the process, and a task takes a third of a second",
    "list_functions": "its stream depends on the process",
    "needle_haystack": "the answer stands in the prompt by design, which the audit cannot tell from a leak",
    "polynomial_multiplication": "its stream depends on the process",
    "propositional_logic": "a premise copied from the question is a valid conclusion with full marks",
    "puzzle24": "takes a sixteenth of a second a task, and an evaluation task is drawn ten times; see logic/game24",
    "ransom_note": "its stream depends on the process",
    "rush_hour": "has no gold answer",
    "sokoban": "takes a twentieth of a second a task, and an evaluation task is drawn ten times; see logic/sokoban",
    "word_ladder": "its stream depends on the process",
    "zebra_puzzles": "takes a fourteenth of a second a task, and an evaluation task is drawn ten times; see logic/zebra",
}
"""The reason by the task's name in reasoning-gym."""


def refusal(env_id: str) -> str | None:
    """Why a reasoning-gym task is not offered, or None if nothing is held against it."""
    return REFUSED.get(env_id.removeprefix("rg/").rpartition("-v")[0])
