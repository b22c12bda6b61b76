"""The data sets of questions and answers, from files."""

import gzip
import json
import os
from pathlib import Path

import pytest

import rlvr
from rlvr.errors import ConfigError
from rlvr_envs.math.files import last_boxed
from rlvr_envs.sources import Source, load, read_file

needs_data = pytest.mark.skipif(
    not os.environ.get("RLVR_DATA"), reason="RLVR_DATA does not name the folder with gsm8k and MATH"
)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@needs_data
def test_gsm8k_keeps_its_own_split_and_its_calculator_notes_out():
    train, test = rlvr.tasks("math/gsm8k-v0"), rlvr.tasks("math/gsm8k-v0", "eval")
    assert len(test) == 1319
    assert train[0].answer == "72"
    assert train[0].text.startswith("Natalia sold clips to 48 of her friends")
    solution = rlvr.spec("math/gsm8k-v0").solution(train[0])
    assert "48/2 = 24" in solution
    assert "<<" not in solution
    assert all("," not in task.answer for task in test)


@needs_data
def test_golds_of_gsm8k_count_and_their_neighbours_do_not():
    spec = rlvr.spec("math/gsm8k-v0")
    for task in rlvr.tasks("math/gsm8k-v0", "eval", n=100):
        assert spec.judge(task, f"The answer is \\boxed{{{task.answer}}}").correct
        assert spec.judge(task, f"... so\n#### {int(task.answer):,}").correct
        assert not spec.judge(task, f"<answer>{int(task.answer) + 1}</answer>").correct


@needs_data
def test_math_is_chosen_by_level_and_subject():
    every = rlvr.tasks("math/math-v0", "eval")
    assert len(every) == 500
    hard = rlvr.tasks("math/math-v0", "eval", level=5)
    assert len(hard) == 134
    assert {task.data["difficulty"] for task in hard} == {5}
    geometry = rlvr.tasks("math/math-v0", "eval", subject="geometry")
    assert len(geometry) == 41
    assert {task.data["subject"] for task in rlvr.tasks("math/math-v0", subject="Number Theory", level=1)} == {
        "Number Theory"
    }


@needs_data
def test_golds_of_math_are_right():
    spec = rlvr.spec("math/math-v0")
    tasks = rlvr.tasks("math/math-v0", "eval", n=200)
    wrong = [task.answer for task in tasks if not spec.judge(task, f"<answer>{task.answer}</answer>").correct]
    assert wrong == []


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"subject": "knitting"}, "there is no subject 'knitting'; MATH has Algebra"),
        ({"difficulty": 7}, "difficulty is 7; MATH has the levels 1 to 5"),
    ],
)
def test_what_math_does_not_have_is_named(knobs, says):
    with pytest.raises(ConfigError, match=says):
        rlvr.tasks("math/math-v0", **knobs)


def test_math_reads_the_original_fields_too(tmp_path):
    rows = [
        {"problem": "1+1?", "level": "Level 2", "type": "Prealgebra", "solution": "So \\boxed{\\frac{4}{2}}."},
        {"problem": "?", "level": "Level ?", "type": "Geometry", "solution": "none"},
    ]
    path = write(tmp_path / "math.jsonl", rows)
    (task,) = rlvr.tasks("math/math-v0", path=path)
    assert (task.answer, task.data["difficulty"]) == ("\\frac{4}{2}", 2)
    assert rlvr.spec("math/math-v0").judge(task, "<answer>2</answer>").correct


def test_aime_splits_by_year_and_keeps_to_its_range(tmp_path):
    rows = [
        {"Question": "A", "Answer": "073", "Year": 1999},
        {"problem": "B", "answer": 204, "year": "2024"},
        {"ID": "2023-I-2", "Problem": "C", "Answer": 5},
        {"problem": "D", "answer": "7"},
    ]
    path = write(tmp_path / "aime.jsonl", rows)
    train = {task.data["question"]: task.answer for task in rlvr.tasks("math/aime-v0", path=path)}
    assert train == {"A": "73", "C": "5"}
    evaluation = rlvr.tasks("math/aime-v0", "eval", path=path)
    assert [task.data["question"] for task in evaluation] == ["B", "D"]
    judge = rlvr.spec("math/aime-v0").judge
    assert judge(evaluation[0], "So $\\boxed{204}$").correct
    assert not judge(evaluation[0], "So $\\boxed{205}$").correct
    bad = write(tmp_path / "bad.jsonl", [{"problem": "E", "answer": "1000"}])
    with pytest.raises(ConfigError, match="row 0 has the answer '1000'; AIME answers are whole numbers from 0 to 999"):
        rlvr.tasks("math/aime-v0", path=bad)


def test_any_file_with_two_fields_is_an_environment(tmp_path):
    rows = [{"q": f"What is {n} + {n}?", "gold": 2 * n, "part": "test" if n % 5 == 0 else "train"} for n in range(50)]
    knobs = {"path": write(tmp_path / "sums.jsonl", rows), "question_field": "q", "answer_field": "gold"}
    train = rlvr.tasks("math/jsonl-v0", split_field="part", **knobs)
    evaluation = rlvr.tasks("math/jsonl-v0", "eval", split_field="part", **knobs)
    assert (len(train), len(evaluation)) == (40, 10)
    assert rlvr.spec("math/jsonl-v0").judge(train[0], f"<answer>{train[0].answer}</answer>").correct
    by_content = [len(rlvr.tasks("math/jsonl-v0", split, **knobs)) for split in ("train", "eval")]
    assert sum(by_content) == 50
    assert by_content[1] > 0
    shown = rlvr.tasks("math/jsonl-v0", template="Q: {question}\nA:", **knobs)[0]
    assert shown.text == "Q: What is 0 + 0?\nA:" or shown.text.startswith("Q: What is")


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl.gz", "parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path, ending):
    path = tmp_path / f"rows.{ending}"
    rows = [{"question": "a, b", "answer": "1"}, {"question": 'c "d"\u2028', "answer": "2"}]
    if ending in ("csv", "tsv"):
        mark = "," if ending == "csv" else "\t"
        path.write_text(f'question{mark}answer\n"a, b"{mark}1\n"c ""d""\u2028"{mark}2\n')
    elif ending == "json":
        path.write_text(json.dumps(rows))
    elif ending == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    assert [dict(row) for row in read_file(path, env_id="math/jsonl-v0")] == rows


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({}, "give path='problems.jsonl'"),
        ({"path": "nowhere.jsonl"}, "cannot read its rows from 'nowhere.jsonl'"),
        ({"path": "rows.xls"}, "ends in '.xls'; give a file of jsonl, json, csv"),
        (
            {"path": "{rows}", "question_field": "prompt"},
            "row 0 has none of the fields prompt; it has question, answer",
        ),
        ({"path": "{rows}", "template": "Solve!"}, "never shows the"),
        ({"path": "{rows}", "split_field": "part"}, "row 0 has none of the fields part"),
        ({"path": "{broken}"}, "line 2 is no JSON"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, knobs, says):
    rows = write(tmp_path / "rows.jsonl", [{"question": "1+1?", "answer": "2"}])
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"question": "1+1?", "answer": "2"}\n{"question": \n')
    filled = {
        name: value.replace("{rows}", rows).replace("{broken}", str(broken)) if name == "path" else value
        for name, value in knobs.items()
    }
    with pytest.raises(ConfigError, match=says):
        rlvr.tasks("math/jsonl-v0", **filled)


def test_a_question_in_both_splits_is_refused(tmp_path):
    rows = [{"question": "1+1?", "answer": "2", "split": name} for name in ("train", "test")]
    with pytest.raises(ConfigError, match="ask the same"):
        rlvr.tasks("math/jsonl-v0", path=write(tmp_path / "rows.jsonl", rows), split_field="split")


def test_the_local_copy_comes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("RLVR_DATA", str(tmp_path))
    write(tmp_path / "some.jsonl", [{"question": "here"}])
    source = Source("some.jsonl", "nobody/nothing")
    assert load(source, env_id="x/y-v0") == [{"question": "here"}]


def test_without_a_copy_the_datasets_package_is_asked(tmp_path, monkeypatch):
    """A folder of files stands for a repository of the hub; `datasets` loads both by the same call."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    folder = tmp_path / "repository"
    folder.mkdir()
    write(folder / "train.jsonl", [{"question": "from afar", "answer": "3"}])
    assert load(Source("absent.jsonl", str(folder)), env_id="x/y-v0") == [{"question": "from afar", "answer": "3"}]


def test_where_nothing_is_to_be_had_the_remedies_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("RLVR_DATA", str(tmp_path))
    with pytest.raises(ConfigError) as fault:
        load(Source("absent.jsonl"), env_id="x/y-v0")
    assert "x/y-v0 has no rows" in str(fault.value)
    assert str(Path(tmp_path, "absent.jsonl")) in str(fault.value)
    assert "set RLVR_DATA" in str(fault.value)


def test_the_last_box_of_a_solution_is_its_answer():
    assert last_boxed("first \\boxed{1}, then \\boxed{\\frac{1}{2}} done") == "\\frac{1}{2}"
    assert last_boxed("no box") == ""
    assert last_boxed("\\boxed{1") == ""
