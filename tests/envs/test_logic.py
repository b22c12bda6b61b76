"""The puzzles: their rules by hand, other right solutions, near misses, and proofs of uniqueness."""

import itertools
from fractions import Fraction

import pytest

import rlvr
from rlvr_envs.logic import expressions, grids, inference, knights, latin, queens, search, zebra
from rlvr_envs.logic.answers import grid, names, numbers
from rlvr_envs.logic.arithmetic import parse
from rlvr_envs.logic.cryptarithm import adds_up
from rlvr_envs.logic.graphs import shortest

IDS = [env_id for env_id in rlvr.list_envs() if env_id.startswith("logic/")]


def reward(env_id, task, answer):
    score = rlvr.spec(env_id).judge(task, f"<think>hm</think><answer>{answer}</answer>")
    assert score.error is None, score.error
    return score.reward


def test_there_are_eighteen_puzzles():
    assert len(IDS) >= 18


@pytest.mark.parametrize("env_id", IDS)
def test_the_gold_is_right_and_a_changed_gold_is_not(env_id):
    for task in rlvr.tasks(env_id, n=5):
        assert reward(env_id, task, task.answer) == 1.0
        assert reward(env_id, task, f"{task.answer} {task.answer}") == 0.0
        assert reward(env_id, task, str(task.answer)[: len(str(task.answer)) // 2]) == 0.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1+2)*3", 9),
        ("8 / 3 * 3", 8),
        ("2 - 3 - 4", -5),
        ("(7 − 4) × 8 = 24", 24),
        ("1/3", Fraction(1, 3)),
    ],
)
def test_expressions_have_their_exact_value(text, value):
    assert parse(text).value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "-1",
        "1 / 0",
        "2 ** 3",
        "9**9**9",
        "__import__('os')",
        "(" * 500,
        "1" * 10,
        "1.5",
        "(1",
        "1)",
        "a",
        "()",
        "1 2",
    ],
)
def test_what_is_no_expression_is_refused_without_being_run(text):
    assert parse(text) is None


def test_countdown_accepts_another_way_and_refuses_a_number_used_twice():
    task = rlvr.Task("x", answer="(2 + 3) * 5", data={"numbers": [2, 3, 5, 5], "target": 25})
    assert reward("logic/countdown-v0", task, "5 * 5") == 1.0
    assert reward("logic/countdown-v0", task, "5 * 5 * (3 - 2)") == 1.0
    assert reward("logic/countdown-v0", task, "5 * 5 * 5 / 5") == 0.0
    assert reward("logic/countdown-v0", task, "25") == 0.0


def test_game24_needs_all_four_and_exact_division():
    task = rlvr.Task("x", data={"numbers": [3, 3, 8, 8]})
    assert reward("logic/game24-v0", task, "8 / (3 - 8 / 3)") == 1.0
    assert reward("logic/game24-v0", task, "3 * 8") == 0.0
    assert expressions.solve24([(Fraction(1), "1")] * 4) is None


def test_a_sudoku_has_one_solution_and_the_given_cells_stand():
    for task in rlvr.tasks("logic/sudoku-v0", n=5):
        square = latin.Square(4, (2, 2))
        assert len(square.solutions([list(row) for row in task.data["given"]], 2)) == 1
        rows = grid(task.answer)
        assert square.holds(rows)
        rows[0], rows[1] = rows[1], rows[0]
        assert reward("logic/sudoku-v0", task, latin.shown(rows)) == 0.0


def test_a_square_with_a_repeated_number_does_not_hold():
    assert latin.Square(3, None).holds([[1, 2, 3], [2, 3, 1], [3, 1, 2]])
    assert not latin.Square(3, None).holds([[1, 2, 3], [2, 3, 1], [3, 2, 1]])
    assert not latin.Square(3, None, [[[0, 1], [0, 0]]]).holds([[1, 2, 3], [2, 3, 1], [3, 1, 2]])


def test_a_futoshiki_has_one_solution():
    for task in rlvr.tasks("logic/futoshiki-v0", n=5):
        square = latin.Square(4, None, task.data["less"])
        assert len(square.solutions([list(row) for row in task.data["given"]], 2)) == 1


def test_knights_and_knaves_by_hand():
    # Ada: "Ben is a knave." Ben: "Ada and Ben are of the same kind." Only knight, knave fits.
    assert knights.worlds([["is", 1, False], ["same", 0, 1]]) == [(True, False)]
    # "I am a knave" can be said by nobody.
    assert knights.worlds([["is", 0, False]]) == []


def test_zebra_clues_leave_one_world_and_none_is_needless():
    for task in rlvr.tasks("logic/zebra-v0", n=3):
        clues, kinds = task.data["clues"], list(zebra.KINDS)[:3]
        assert len(zebra.worlds(3, kinds, clues, 2)) == 1
        for clue in clues:
            assert len(zebra.worlds(3, kinds, [other for other in clues if other is not clue], 2)) == 2


def test_shortest_paths_by_hand():
    edges = [(1, 2), (2, 3), (3, 4), (1, 4)]
    assert shortest(edges, 1, 3) in ([1, 2, 3], [1, 4, 3])
    task = rlvr.Task("x", answer="1 2 3", data={"edges": edges, "length": 3})
    assert reward("logic/graph-path-v0", task, "1 -> 4 -> 3") == 1.0
    assert reward("logic/graph-path-v0", task, "1 3") == 0.0


def test_another_colouring_counts():
    task = rlvr.Task("x", data={"edges": [[0, 1]], "nodes": 2, "colours": ["red", "green"]})
    assert reward("logic/graph-color-v0", task, "green red") == 1.0
    assert reward("logic/graph-color-v0", task, "red red") == 0.0
    assert reward("logic/graph-color-v0", task, "red blue") == 0.0


def test_send_more_money():
    words = ["SEND", "MORE", "MONEY"]
    digits = dict(zip("SENDMORY", "95671082", strict=True))
    assert adds_up(words, digits)
    assert not adds_up(words, {**digits, "S": "8"})
    assert not adds_up(words, {**digits, "Y": "5"})


def test_queens_that_attack_are_refused():
    assert queens.complete(4, {0: 1}) == [1, 3, 0, 2]
    assert queens.complete(4, {0: 0}) is None
    task = rlvr.Task("x", data={"size": 4, "placed": {}})
    assert reward("logic/n-queens-v0", task, "3 1 4 2") == 1.0
    assert reward("logic/n-queens-v0", task, "1 2 3 4") == 0.0
    assert reward("logic/n-queens-v0", task, "1 3 2 4") == 0.0


def test_a_maze_refuses_walls_and_accepts_a_longer_way():
    task = rlvr.Task("x", data={"maze": ["#####", "#S.G#", "#...#", "#####"]})
    assert reward("logic/maze-v0", task, "right right") == 1.0
    assert reward("logic/maze-v0", task, "down right right up") == 1.0
    assert reward("logic/maze-v0", task, "up right") == 0.0
    assert reward("logic/maze-v0", task, "right") == 0.0


def test_hanoi_refuses_a_larger_disk_on_a_smaller_one():
    task = rlvr.Task("x", data={"start": [0, 0], "goal": [2, 2]})
    assert reward("logic/tower-of-hanoi-v0", task, "12 13 23") == 1.0
    assert reward("logic/tower-of-hanoi-v0", task, "13 13") == 0.0


def test_four_litres_from_three_and_five():
    moves = search.shortest((0, 0), lambda state: 4 in state, lambda state: search._pour([3, 5], state))
    assert len(moves) == 6
    task = rlvr.Task("x", data={"sizes": [3, 5], "target": 4, "most": 12})
    assert reward("logic/water-jugs-v0", task, "fb pba ea pba fb pba") == 1.0
    assert reward("logic/water-jugs-v0", task, "fb pba") == 0.0


def test_sokoban_pushes_one_box_and_never_into_a_wall():
    task = rlvr.Task("x", data={"room": ["######", "#PB.G#", "######"]})
    assert reward("logic/sokoban-v0", task, "right right") == 1.0
    assert reward("logic/sokoban-v0", task, "right") == 0.0
    assert reward("logic/sokoban-v0", task, "right right right") == 0.0


def test_changes_of_grids_by_hand():
    rows = [[1, 2], [0, 3]]
    assert grids.apply(["turned right"], rows) == [[0, 1], [3, 2]]
    assert grids.apply(["mirrored left to right"], rows) == [[2, 1], [3, 0]]
    assert grids.apply(["fallen to the bottom"], rows) == [[0, 2], [1, 3]]


def test_what_follows_by_truth_table():
    p, q = ["atom", "p"], ["atom", "q"]
    assert inference.follows([["if", p, q], p], q, "pq")  # modus ponens
    assert not inference.follows([["if", p, q], q], p, "pq")  # affirming the consequent
    assert inference.follows([["or", p, q], ["not", p]], q, "pq")


@pytest.mark.parametrize(
    ("premises", "conclusion", "valid"),
    [
        ((("All {a} are {b}", 0, 1), ("All {a} are {b}", 1, 2)), ("All {a} are {b}", 0, 2), True),  # Barbara
        ((("All {a} are {b}", 0, 1), ("No {a} are {b}", 1, 2)), ("No {a} are {b}", 2, 0), True),
        (
            (("All {a} are {b}", 1, 0), ("All {a} are {b}", 1, 2)),
            ("Some {a} are {b}", 0, 2),
            True,
        ),  # Darapti: groups have members
        (
            (("All {a} are {b}", 0, 1), ("All {a} are {b}", 2, 1)),
            ("Some {a} are {b}", 0, 2),
            False,
        ),  # undistributed middle
        ((("Some {a} are {b}", 0, 1), ("Some {a} are {b}", 1, 2)), ("Some {a} are {b}", 0, 2), False),
    ],
)
def test_syllogisms_of_the_books(premises, conclusion, valid):
    assert inference.valid(premises, conclusion) is valid


def test_one_wrong_judgement_of_six_earns_nothing():
    for task in itertools.islice(rlvr.tasks("logic/syllogism-v0", n=3), 3):
        answers = task.answer.split()
        answers[2] = "no" if answers[2] == "yes" else "yes"
        assert reward("logic/syllogism-v0", task, " ".join(answers)) == 0.0


def test_lists_are_read_strictly():
    assert numbers("1, 2 -3; 4") == [1, 2, -3, 4]
    assert numbers("1 -> 2->3") == [1, 2, 3]
    assert numbers("1 two") is None
    assert names("A -> b, c") == ["a", "b", "c"]
    assert names("a and (b)") is None
    assert grid("12\n34") == [[1, 2], [3, 4]]
    assert grid("1 2\nx") is None


@pytest.mark.parametrize("env_id", IDS)
def test_a_knob_out_of_range_is_a_config_error(env_id):
    spec = rlvr.spec(env_id)
    name = next(name for name, value in spec.knobs.items() if isinstance(value, int))
    with pytest.raises(rlvr.ConfigError, match=env_id):
        rlvr.tasks(env_id, n=1, **{name: 10_000})
