"""Wrong answers that look right: what a verifier must refuse, and what a preference pair can reject."""

from __future__ import annotations

from fractions import Fraction

import rlvr
from rlvr_envs.math.asking import rational, split_list
from rlvr_envs.math.matrix import read_matrix


def near_misses(task: rlvr.Task) -> list[str]:
    """Wrong answers close to the gold of a procedural task: off by one, a sign turned, a part missing, two swapped."""
    gold = str(task.answer)
    name = task.env_id.partition("/")[2].rpartition("-v")[0]
    variable = str((task.data or {}).get("name", "x"))
    if name == "factor":
        return _of_products(gold)
    number = rational(gold)
    if name in ("derivative", "integral") and number is None:
        shift = "1" if name == "derivative" else variable
        return [f"{gold} + {shift}", f"-({gold})", f"2({gold})", f"{variable}({gold})"]
    if number is not None:
        wrong = _of_numbers(number)
        return [gold[::-1], *wrong] if name == "base-conversion" and gold != gold[::-1] else wrong
    if name == "base-conversion":
        return [text for text in (gold[::-1], gold[:-1], gold + "0", gold[:-1] + "Z") if text != gold]
    if gold.startswith("[["):
        return _of_matrices(gold)
    parts = split_list(gold)
    if gold.startswith("{"):
        return _of_sets(parts)
    return _of_tuples(parts)


def _of_numbers(number: Fraction) -> list[str]:
    wrong = [number + 1, number - 1, -number, 10 * number, Fraction(number.numerator + 1, number.denominator)]
    if number:
        wrong.append(1 / number)
    return [str(value) for value in dict.fromkeys(wrong) if value != number]


def _of_products(gold: str) -> list[str]:
    first = min((gold.find(sign) for sign in (" + ", " - ") if sign in gold), default=-2)
    turned = gold[: first + 1] + ("-" if gold[first + 1] == "+" else "+") + gold[first + 2 :] if first >= 0 else ""
    wrong = [f"{gold} + 1", f"2{gold}", f"-{gold}" if not gold.startswith("-") else gold[1:], gold[: gold.rindex("(")]]
    return [text for text in (turned, *wrong) if text and text != gold]


def _of_sets(parts: list[str]) -> list[str]:
    values = [Fraction(part) for part in parts]
    sets = [values[:-1], [*values, max(values) + 1], [values[0] + 1, *values[1:]], [-value for value in values]]
    wrong = [found for found in sets if found and set(found) != set(values)]
    return ["{" + ", ".join(map(str, found)) + "}" for found in wrong]


def _of_tuples(parts: list[str]) -> list[str]:
    values = [Fraction(part) for part in parts]
    tuples = [
        values[::-1],
        values[:-1],
        [*values, values[-1]],
        [values[0] + 1, *values[1:]],
        [-value for value in values],
    ]
    return ["(" + ", ".join(map(str, found)) + ")" for found in tuples if found != values]


def _of_matrices(gold: str) -> list[str]:
    rows = read_matrix(gold) or []
    turned = [list(column) for column in zip(*rows, strict=True)]
    shifted = [[rows[0][0] + 1, *rows[0][1:]], *rows[1:]]
    negative = [[-value for value in row] for row in rows]
    wrong = [turned, shifted, negative, rows[:-1], rows[::-1]]
    return [
        "[" + ", ".join("[" + ", ".join(map(str, row)) + "]" for row in found) + "]" for found in wrong if found != rows
    ]
