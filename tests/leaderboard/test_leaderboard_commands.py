"""The commands as a user calls them: results, exit codes, and the example in every help text."""

import json
import re
import shlex
import shutil

import pytest
import typer

from rlvr import cli
from rlvr_leaderboard.board_commands import app as board_app
from rlvr_leaderboard.commands import compare_command, eval_command, score_command, show_command
from rlvr_leaderboard.record import Record


@pytest.fixture
def home(records, tmp_path, monkeypatch):
    """A working folder that has what the examples name."""
    monkeypatch.chdir(tmp_path)
    for name, record in {"eval-after": "strong", "eval-before": "weak"}.items():
        shutil.copytree(records[record], tmp_path / "runs" / name)
    return tmp_path


def rlvr(*words):
    return cli.run([str(word) for word in words])


def test_the_first_result_needs_no_model_and_no_network(home, capsys):
    assert rlvr("eval", "scripted:0.6", "--env", "text/sort-v0", "--n", 10, "--k", 2, "--out", "runs/first") == 0
    shown = capsys.readouterr()
    assert "95 % interval" in shown.out
    assert "text/sort-v0" in shown.out
    assert "rlvr leaderboard build runs/first" in shown.err


def test_an_evaluation_as_json(home, capsys):
    assert (
        rlvr("eval", "scripted:1", "-e", "text/sort-v0,text/count-v0", "-n", 3, "-k", 1, "-o", "runs/j", "--json") == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "rlvr-eval/1"
    assert set(found["environments"]) == {"text/sort-v0", "text/count-v0"}
    assert found["overall"]["mean"] == 1.0


def test_a_gate_on_the_mean_exits_with_3(home):
    words = ["eval", "scripted:0", "-e", "text/sort-v0", "-n", "3", "-k", "1", "-o", "runs/g"]
    assert rlvr(*words, "--fail-under", 0.5) == 3
    assert rlvr(*words, "--fail-under", 0.0) == 0


def test_a_dry_run_shows_the_prompt_and_what_can_be_detected_and_writes_nothing(home, capsys):
    assert rlvr("eval", "scripted:1", "-e", "math/arithmetic-v0", "-n", 50, "-o", "runs/dry", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "50 items x 32 runs = 1600 rollouts" in shown
    assert re.search(r"true difference of about \d+\.\d points", shown)
    assert not (home / "runs" / "dry").exists()


def test_comparing_gates_a_worse_model(home, capsys):
    assert rlvr("compare", "runs/eval-after", "runs/eval-before", "--fail-if-worse") == 0
    assert rlvr("compare", "runs/eval-before", "runs/eval-after", "--fail-if-worse") == 3
    assert "weak is worse than strong" in capsys.readouterr().err
    assert rlvr("compare", "runs/eval-after", "runs/eval-before", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["verdict"] == "better"


def test_verification_exits_with_3_and_names_the_place(home, capsys):
    assert rlvr("leaderboard", "verify", "runs/eval-after", "runs/eval-before") == 0
    path = home / "runs" / "eval-before" / "rollouts.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"reward":1.0', b'"reward":0.0', 1))
    assert rlvr("leaderboard", "verify", "runs/eval-before") == 3
    error = capsys.readouterr().err
    assert re.search(r"rollouts\.jsonl, line \d+, item math/arithmetic-v0#[0-9a-f]{16}: ", error)


def test_a_model_that_does_as_well_on_fresh_items_is_plausible_and_another_is_not(home, capsys):
    words = ["leaderboard", "verify", "runs/eval-after", "--json", "--against"]
    assert rlvr(*words, "scripted:0.05") == 3
    assert "does not fit" in capsys.readouterr().out


def test_judging_again_reports_no_change(home, capsys):
    assert rlvr("score", "runs/eval-before", "--json") == 0
    assert json.loads(capsys.readouterr().out)["agreeing"] == 160


def test_transcripts_are_printed_without_control_characters(home, capsys):
    assert rlvr("show", "runs/eval-before", "--only", "wrong", "--n", 1) == 0
    shown = capsys.readouterr().out
    assert "verifier: " in shown
    assert "I do not see it" in shown
    item = next(Record("runs/eval-before").items()).id
    assert rlvr("show", "runs/eval-before", "--item", item, "--json") == 0
    assert json.loads(capsys.readouterr().out)["item"]["item"] == item
    assert rlvr("show", "runs/eval-before", "--item", "nothing") == 2


def test_escape_sequences_are_shown_and_not_obeyed():
    from rlvr_leaderboard.tables import printable

    assert printable("a\x1b[2Jb\x07\r\nc\td") == "a\\x1b[2Jb\\x07\\x0d\nc\td"


def test_a_board_from_records_to_page(home, capsys):
    assert rlvr("leaderboard", "add", "runs/eval-before", "--board", "board") == 0
    assert rlvr("leaderboard", "submit", "runs/eval-after", "--board", "board") == 0
    assert rlvr("leaderboard", "verify", "board") == 0
    assert rlvr("leaderboard", "build", "board", "-o", "page", "--title", "Ours") == 0
    assert (home / "page" / "index.html").is_file()
    assert rlvr("leaderboard", "add", "runs/eval-before", "--board", "board") == 1
    assert "on the board already" in capsys.readouterr().err


def test_a_damaged_record_is_not_submitted(home, capsys):
    path = home / "runs" / "eval-before" / "summary.json"
    path.write_text(path.read_text().replace("0.", "0.9", 1))
    assert rlvr("leaderboard", "submit", "runs/eval-before", "--board", "board") == 1
    assert "summary.json" in capsys.readouterr().err
    assert not (home / "board").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["eval", "scripted:1"], 2),
        (["eval", "scripted:1", "-e", "math/no-such-thing-v0"], 2),
        (["eval", "scripted:1", "-e", "arithmetic"], 2),
        (["eval", "scripted:1", "--suite", "hard"], 2),
        (["eval", "scripted:1", "-e", "math/arithmetic-v0:termz=3"], 2),
        (["eval", "scripted:1", "-e", "text/sort-v0,text/sort-v0"], 2),
        (["compare", "runs/eval-after", "runs/none"], 1),
        (["compare", "runs/eval-after", "runs/eval-before", "--metric", "pass@9"], 2),
        (["score", "runs"], 1),
        (["show", "runs/eval-after", "--only", "ugly"], 2),
        (["leaderboard", "build", "runs/none"], 1),
        (["leaderboard", "export", "runs/eval-after", "-f", "xml", "-o", "x"], 2),
        (["view", "runs/none"], 2),
    ],
)
def test_bad_input_has_an_exit_code_and_one_line(home, capsys, words, code):
    assert rlvr(*words) == code
    assert capsys.readouterr().err.startswith("rlvr: ")


def examples():
    found = []
    commands = [eval_command, score_command, compare_command, show_command]
    commands += [command.callback for command in board_app.registered_commands]
    for command in commands:
        (line,) = re.findall(r"Example: rlvr (.*)", command.__doc__)
        found.append(line)
    return found


@pytest.mark.parametrize("line", examples())
def test_the_example_in_a_help_text_works(home, line):
    for name in ("eval-demo", "quickstart"):
        shutil.copytree(home / "runs" / "eval-before", home / "runs" / name)
    (home / "our-board").mkdir()
    if "quickstart" in line or "overlap" in line:
        shutil.rmtree(home / "runs" / "quickstart")
        (home / "runs" / "quickstart").mkdir()
        (home / "runs" / "quickstart" / "metrics.jsonl").write_text('{"step": 1, "reward": 0.5}\n')
    if line.startswith("eval "):
        shutil.rmtree(home / "runs" / "eval-demo")
        line = line.replace("--n 50", "--n 3")
    assert rlvr(*shlex.split(line.replace("../our-board", "our-board"))) == 0


def test_every_command_has_help(home, capsys):
    command = typer.main.get_command(board_app)
    for words in [
        ["eval"],
        ["score"],
        ["compare"],
        ["show"],
        ["view"],
        *(["leaderboard", name] for name in command.commands),
    ]:
        assert rlvr(*words, "--help") == 0
        assert "Example" in capsys.readouterr().out
