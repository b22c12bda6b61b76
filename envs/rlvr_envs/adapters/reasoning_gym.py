"""`rg/NAME-v0`: the tasks of reasoning-gym, with our streams, splits and scoring (extra `reasoning-gym`).

What changes: a task is drawn by a hashed stream and not by `seed + index`, so two seeds share nothing; a split is decided by
content; scoring runs in our worker processes under a deadline; the reward is 1 for full marks and else 0, so its partial
credits and reward floors pay nothing. Tasks whose scorer executes the answer, pays constants, has no gold answer, raises on
ordinary text, or whose stream depends on the process are refused with that reason.
"""

from __future__ import annotations

import functools
import random
from typing import Any

import reasoning_gym

import rlvr
from rlvr.answers import final_answer

LARGEST_INDEX = 1 << 20
MAX_LENGTH = 20_000
TAGS = "\n\nGive the final answer inside <answer></answer>."


@functools.cache
def dataset(name: str) -> Any:
    """The reasoning-gym data set with its default settings; items are made when they are asked for."""
    return reasoning_gym.create_dataset(name, size=LARGEST_INDEX, seed=0)


@functools.lru_cache(256)
def item(name: str, index: int) -> dict[str, Any]:
    """One question; kept, because a group of answers is scored against the same one."""
    return dict(dataset(name)[index])


def register(env_id: str, chance: float = 0.0) -> None:
    """Registers one task under its id. The ids below are written out so that they are listed without importing this."""
    name = env_id.removeprefix("rg/").removesuffix("-v0")

    @rlvr.register(env_id, chance=chance, description=f"reasoning-gym's {name}: 1 for full marks, else 0.")
    def make(rng: random.Random) -> rlvr.Task:
        index = rng.randrange(LARGEST_INDEX)
        question = item(name, index)
        return rlvr.Task(
            question["question"] + TAGS, answer=str(question["answer"]), data={"name": name, "index": index}
        )

    make.verifier(full_marks)


def full_marks(task: rlvr.Task, text: str) -> rlvr.Score:
    """1 if reasoning-gym's scorer gives the final answer full marks. Its partial credit is the part `credit`."""
    given = final_answer(text)
    if not given:
        return rlvr.Score(0.0, reason="no_answer")
    if len(given) > MAX_LENGTH or "\x00" in given:
        return rlvr.Score(0.0, reason="too_long")
    name = task.data["name"]
    credit = float(dataset(name).score_answer(given, item(name, task.data["index"])))
    right = credit >= 1.0
    return rlvr.Score(float(right), {"credit": min(max(credit, 0.0), 1.0)}, reason="correct" if right else "wrong")


REFUSED = {
    "acre": "makes its whole data set at the start",
    "binary_matrix": "its scorer evaluates the answer as Python",
    "boxnet": "has no gold answer, and its scorer raises on ordinary text",
    "circuit_logic": "a two-way question that a fixed guess answers half the time",
    "codeio": "its stream depends on the process",
    "coin_flip": "0 earns full marks",
    "complex_arithmetic": "pays full marks to nan",
    "countdown": "its scorer parses the answer with sympy, which executes it",
    "course_schedule": "a two-way question that a fixed guess answers half the time",
    "futoshiki": "takes most of a second a task",
    "game_of_life": "an empty board earns nearly full marks",
    "game_of_life_halting": "pays full marks to any text",
    "gcd": "1 is right four times in ten",
    "graph_color": "has no gold answer",
    "intermediate_integration": "its scorer parses the answer with sympy, which executes it",
    "isomorphic_strings": "a two-way question that a fixed guess answers half the time",
    "knight_swap": "its stream depends on the process",
    "mahjong_puzzle": "one word is right more than half the time",
    "maze": "one number is right more than half the time",
    "n_queens": "its scorer evaluates the answer as Python",
    "polynomial_equations": "0 earns full marks on a quarter of the items",
    "polynomial_multiplication": "its scorer parses the answer with sympy, which executes it",
    "prime_factorization": "its scorer raises on ordinary text",
    "propositional_logic": "has no gold answer",
    "puzzle24": "its scorer parses the answer with sympy, which executes it, and never checks the numbers used",
    "ransom_note": "a two-way question that a fixed guess answers half the time",
    "rectangle_count": "pays for being near",
    "rubiks_cube": "has no gold answer",
    "rush_hour": "has no gold answer",
    "simple_integration": "its scorer parses the answer with sympy, which executes it",
    "spiral_matrix": "its scorer evaluates the answer as Python",
    "string_insertion": "its scorer evaluates the answer as Python",
    "syllogism": "a two-way question that a fixed guess answers half the time",
    "word_ladder": "its stream depends on the process",
}
"""Tasks that are not offered, and why (reasoning-gym 0.1.25)."""


def refusal(env_id: str) -> str | None:
    """Why a reasoning-gym task is not offered, or None if nothing is held against it."""
    return REFUSED.get(env_id.removeprefix("rg/").rpartition("-v")[0])


register("rg/ab-v0")
register("rg/advanced_geometry-v0")
register("rg/aiw-v0", chance=0.4)
register("rg/arc_1d-v0")
register("rg/arc_agi-v0")
register("rg/base_conversion-v0")
register("rg/basic_arithmetic-v0")
register("rg/bf-v0")
register("rg/binary_alternation-v0", chance=0.4)
register("rg/bitwise_arithmetic-v0")
register("rg/caesar_cipher-v0")
register("rg/calendar_arithmetic-v0", chance=0.3)
register("rg/chain_sum-v0")
register("rg/color_cube_rotation-v0", chance=0.3)
register("rg/count_bits-v0", chance=0.3)
register("rg/count_primes-v0")
register("rg/cryptarithm-v0")
register("rg/decimal_arithmetic-v0")
register("rg/decimal_chain_sum-v0")
register("rg/emoji_mystery-v0")
register("rg/family_relationships-v0", chance=0.4)
register("rg/figlet_font-v0")
register("rg/fraction_simplification-v0")
register("rg/group_anagrams-v0")
register("rg/gsm_symbolic-v0")
register("rg/jugs-v0", chance=0.3)
register("rg/kakurasu-v0")
register("rg/knights_knaves-v0")
register("rg/largest_island-v0", chance=0.3)
register("rg/lcm-v0")
register("rg/leg_counting-v0")
register("rg/letter_counting-v0", chance=0.4)
register("rg/letter_jumble-v0")
register("rg/list_functions-v0")
register("rg/manipulate_matrix-v0")
register("rg/mini_sudoku-v0", chance=0.3)
