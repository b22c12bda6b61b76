"""`rg/NAME-v0`: the tasks of reasoning-gym, with our streams, splits and scoring (extra `reasoning-gym`).

What changes: a task is drawn by a hashed stream and not by `seed + index`, so two seeds share nothing; a split is decided by
content; scoring runs in our worker processes under a deadline; the reward is 1 for full marks and else 0, so its partial
credits and reward floors pay nothing. Where its scorer executes the answer, raises on ordinary text or takes a beginning for
the whole, `verdicts` has a strict check of ours. Questions with two or three possible answers are asked several at a time,
and all must be right. Tasks without a checkable answer, or whose stream depends on the process, are refused (`REFUSED`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import rlvr
from rlvr.spec import Verifier
from rlvr_envs.adapters.reasoning_gym import verdicts
from rlvr_envs.adapters.reasoning_gym.items import LARGEST_INDEX, dataset, item
from rlvr_envs.adapters.reasoning_gym.refused import REFUSED, refusal
from rlvr_envs.adapters.reasoning_gym.verdicts import full_marks, full_marks_at_size, strict
from rlvr_envs.logic.arithmetic import parse

__all__ = ["REFUSED", "dataset", "full_marks", "item", "refusal"]

TAGS = "\n\nGive the final answer inside <answer></answer>."
Question = dict[str, Any]


def _answer(question: Question) -> str | None:
    return None if question["answer"] is None else str(question["answer"])


def register(
    env_id: str,
    *,
    chance: float = 0.0,
    together: int = 1,
    verify: Verifier = full_marks,
    gold: Callable[[Question], str | None] = _answer,
    facts: Sequence[str] = (),
    asked: Callable[[Question], bool] = lambda question: True,
) -> None:
    """Registers one task under its id, which is written out so that it is listed without importing this.

    `together` questions are one task, all of which must be right: for questions with few possible answers. `gold` finds a
    full answer in a question, `facts` names metadata that `verify` needs, and questions that are not `asked`, such as
    those with an empty answer, are drawn again.
    """
    name = env_id.removeprefix("rg/").removesuffix("-v0")
    several = f"{together} questions of " if together > 1 else ""
    description = f"{several}reasoning-gym's {name}: 1 for full marks{' on all' if several else ''}, else 0."

    @rlvr.register(env_id, chance=chance, description=description)
    def make(rng: random.Random) -> rlvr.Task:
        if together > 1:
            return _bundle([_draw(rng, name, asked)[1] for _ in range(together)])
        index, question = _draw(rng, name, asked)
        data = {"name": name, "index": index, **{fact: question["metadata"][fact] for fact in facts}}
        return rlvr.Task(question["question"] + TAGS, answer=gold(question), data=data)

    make.verifier(strict(verdicts.each_right) if together > 1 else verify)


def _bundle(questions: Sequence[Question]) -> rlvr.Task:
    parts = [f"Question {place}:\n{question['question'].strip()}" for place, question in enumerate(questions, 1)]
    prompt = (
        f"Answer each of these {len(questions)} questions.\n\n" + "\n\n".join(parts) + f"\n\nGive the {len(questions)} "
        "answers inside <answer></answer>, in order, each on a line of its own and nothing else."
    )
    return rlvr.Task(prompt, answer="\n".join(str(question["answer"]).strip() for question in questions))


def _draw(rng: random.Random, name: str, asked: Callable[[Question], bool]) -> tuple[int, Question]:
    while True:
        index = rng.randrange(LARGEST_INDEX)
        try:
            question = item(name, index)
        except RuntimeError:  # of some numbers reasoning-gym cannot make a question
            continue
        if asked(question):
            return index, question


def _not_shown(question: Question) -> bool:
    """Whether the answer differs from what is given: else copying the question would be right."""
    return str(question["answer"]) not in question["question"]


def _in_plain_signs(question: Question) -> bool:
    return parse(str(question["answer"])) is not None


SAME_TEXT = strict(verdicts.same_text)
SAME_NUMBER = strict(verdicts.same_number)

register("rg/ab-v0", chance=0.03)
register("rg/advanced_geometry-v0", chance=0.03, verify=full_marks_at_size)
register("rg/aiw-v0", chance=0.25)
register("rg/arc_1d-v0")
register("rg/arc_agi-v0")
register("rg/base_conversion-v0", chance=0.03)
register("rg/basic_arithmetic-v0", chance=0.05)
register("rg/bf-v0", chance=0.03)
register("rg/binary_alternation-v0", chance=0.25)
register("rg/binary_matrix-v0", chance=0.03, verify=SAME_TEXT)
register("rg/bitwise_arithmetic-v0")
register("rg/caesar_cipher-v0", chance=0.03)
register("rg/calendar_arithmetic-v0", chance=0.15)
register("rg/chain_sum-v0", chance=0.05)
register("rg/circuit_logic-v0", chance=0.05, together=6)
register("rg/coin_flip-v0", chance=0.08, verify=strict(verdicts.near_probability), facts=["rational"])
register("rg/color_cube_rotation-v0", chance=0.15)
register("rg/complex_arithmetic-v0", chance=0.03, verify=strict(verdicts.same_complex))
register("rg/count_bits-v0", chance=0.2)
register("rg/count_primes-v0", chance=0.03)
register("rg/countdown-v0", verify=strict(verdicts.makes_target), facts=["numbers", "target"], asked=_in_plain_signs)
register("rg/course_schedule-v0", chance=0.05, together=6)
register("rg/cryptarithm-v0")
register("rg/decimal_arithmetic-v0")
register("rg/decimal_chain_sum-v0")
register("rg/dice-v0", chance=0.03)
register("rg/emoji_mystery-v0", chance=0.03)
register("rg/family_relationships-v0", chance=0.25)
register("rg/figlet_font-v0", verify=SAME_TEXT)
register("rg/fraction_simplification-v0", chance=0.03, verify=strict(verdicts.same_fraction))
register("rg/game_of_life-v0", chance=0.12, verify=strict(verdicts.same_grid))
register("rg/game_of_life_halting-v0", chance=0.05, together=6)
register("rg/gcd-v0", chance=0.03, together=4)
register("rg/group_anagrams-v0")
register("rg/gsm_symbolic-v0", chance=0.03, verify=SAME_NUMBER)
register("rg/jugs-v0", chance=0.08)
register("rg/kakurasu-v0", chance=0.03, verify=full_marks_at_size)
register("rg/knights_knaves-v0", verify=full_marks_at_size)
register("rg/largest_island-v0", chance=0.25)
register("rg/lcm-v0", chance=0.03)
register("rg/leg_counting-v0", chance=0.03)
register("rg/letter_counting-v0", chance=0.08, together=3)
register("rg/letter_jumble-v0", verify=SAME_TEXT)
register("rg/mahjong_puzzle-v0", chance=0.03, together=4)
register("rg/manipulate_matrix-v0", chance=0.08)
register("rg/maze-v0", chance=0.03, together=3)
register("rg/mini_sudoku-v0", chance=0.03)
register("rg/modulo_grid-v0", chance=0.05)
register("rg/n_queens-v0", chance=0.08, verify=strict(verdicts.queens), facts=["puzzle"])
register("rg/number_filtering-v0")
register("rg/number_format-v0")
register("rg/number_sequence-v0", chance=0.15)
register("rg/number_sorting-v0")
register("rg/palindrome_generation-v0", chance=0.03)
register("rg/palindrome_partitioning-v0")
register("rg/path_star-v0")
register(
    "rg/polynomial_equations-v0",
    chance=0.05,
    verify=strict(verdicts.same_decimals),
    asked=lambda question: str(question["answer"]) not in ("", "0.0"),
)
register("rg/pool_matrix-v0")
register("rg/power_function-v0", chance=0.1)
register("rg/prime_factorization-v0", chance=0.03, verify=strict(verdicts.same_factors))
register("rg/products-v0", chance=0.05)
register("rg/quantum_lock-v0", chance=0.08, verify=full_marks_at_size)
register("rg/rearc-v0", chance=0.03)
register("rg/rectangle_count-v0", chance=0.15)
register("rg/rotate_matrix-v0", asked=_not_shown)
register("rg/rotten_oranges-v0", chance=0.3, asked=lambda question: question["answer"] != "-1")
register("rg/rubiks_cube-v0", chance=0.03, gold=lambda question: str(question["metadata"]["example_correct_answer"]))
register("rg/self_reference-v0", chance=0.05, together=4)
register("rg/sentence_reordering-v0", chance=0.03)
register("rg/shortest_path-v0", chance=0.05, asked=lambda question: question["answer"] != "infeasible")
register("rg/simple_equations-v0", chance=0.05)
register("rg/simple_geometry-v0", chance=0.03)
register("rg/simple_integration-v0", verify=strict(verdicts.antiderivative), facts=["integrand", "variable"])
register("rg/spell_backward-v0", verify=SAME_TEXT)
register("rg/spiral_matrix-v0", verify=SAME_TEXT)
register("rg/string_insertion-v0", verify=SAME_TEXT, asked=_not_shown)
register("rg/string_manipulation-v0", chance=0.03, asked=_not_shown)
register("rg/string_splitting-v0", chance=0.05)
register("rg/string_synthesis-v0", chance=0.03)
register("rg/sudoku-v0", chance=0.03)
register("rg/survo-v0", verify=full_marks_at_size)
register("rg/syllogism-v0", chance=0.05, together=10)
register("rg/time_intervals-v0", chance=0.03, verify=SAME_TEXT)
register("rg/tower_of_hanoi-v0", chance=0.05)
register("rg/tsumego-v0", chance=0.05)
register("rg/word_sequence_reversal-v0")
register("rg/word_sorting-v0", verify=full_marks_at_size)
