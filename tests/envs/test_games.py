"""The games: hand-played positions, and solvers that must win."""

import itertools

import pytest

import rlvr
from rlvr_envs.game import bagels, hangman, minesweeper, slide_2048, tic_tac_toe, wordle
from rlvr_envs.game.words import words


@pytest.mark.parametrize(
    ("guess", "secret", "says"),
    [
        ("123", "456", "bagels"),
        ("123", "321", "fermi pico pico"),
        ("120", "123", "fermi fermi"),
        ("912", "129", "pico pico pico"),
    ],
)
def test_bagels_hints(guess, secret, says):
    assert bagels.hint(guess, secret) == says


@pytest.mark.parametrize(
    ("guess", "secret", "marks"),
    [
        ("crane", "crane", "GGGGG"),
        ("speed", "abide", "--Y-Y"),  # one e in the secret: only the first e is marked
        ("allow", "label", "YYY--"),
        ("sleep", "sweet", "G-GG-"),
    ],
)
def test_wordle_marks_each_letter_once(guess, secret, marks):
    assert wordle.marks(guess, secret) == marks


def test_the_word_list_has_distinct_five_letter_words():
    assert len(set(words())) == len(words()) > 400
    assert all(len(word) == 5 and word.isascii() and word.islower() for word in words())


@pytest.mark.parametrize("game", [wordle.WORDLE, hangman.HANGMAN], ids=["wordle", "hangman"])
def test_the_solver_finds_every_word(game):
    for task in rlvr.tasks(game.id, n=100):
        assert game.judge_turns(task, game.solution(task)).correct


def test_rows_of_2048_merge_once():
    assert slide_2048.slide([2, 2, 2, 2]) == [4, 4, 0, 0]
    assert slide_2048.slide([2, 0, 2, 4]) == [4, 4, 0, 0]
    assert slide_2048.slide([4, 4, 8, 0]) == [8, 8, 0, 0]
    assert slide_2048.slide([2, 4, 2, 4]) == [2, 4, 2, 4]


def test_tic_tac_toe_values_by_minimax():
    assert tic_tac_toe.value("." * 9, "x") == 0
    assert tic_tac_toe.value("xx.oo....", "x") == 1
    assert tic_tac_toe.value("x..oo...x", "x") == 0
    positions = tic_tac_toe.won_positions()
    assert all(tic_tac_toe.value(board, "x") == 1 for board in positions)
    assert len(positions) > 50


def test_a_won_position_of_tic_tac_toe_takes_two_moves():
    spec = tic_tac_toe.TIC_TAC_TOE
    for task in rlvr.tasks(spec.id, n=20):
        turns = spec.solution(task)
        assert len(turns) >= 2
        assert spec.judge_turns(task, turns[:1]).reason == "unfinished"


def test_minesweeper_opens_the_neighbours_of_an_empty_cell():
    board = minesweeper.Board(3, {(2, 2)})
    assert board.open((0, 0))
    assert board.opened == dict(zip(itertools.product(range(3), repeat=2), [0, 0, 0, 0, 1, 1, 0, 1], strict=False))
    assert board.cleared
    assert not minesweeper.Board(3, {(2, 2)}).open((2, 2))


def test_what_minesweeper_deduces_is_never_a_mine():
    for task in rlvr.tasks("game/minesweeper-v0", n=20):
        board = minesweeper.MINESWEEPER.open(task).board
        while not board.cleared:
            move = minesweeper.deduced(board)
            assert move is not None
            assert board.open(move)


@pytest.mark.parametrize("knobs", [{"digits": 7}, {"digits": 0}])
def test_a_knob_out_of_range_says_what_is_possible(knobs):
    with pytest.raises(rlvr.ConfigError, match="from 1 to 6"):
        rlvr.tasks("game/bagels-v0", n=1, **knobs)
