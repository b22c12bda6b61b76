"""Registration, look-up, knobs, splits and streams."""

import hashlib
import pickle
import random
import subprocess
import sys

import pytest

import rlvr
from rlvr.errors import ConfigError, EnvironmentFault, UnknownEnvironmentError

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def register_reverse(name="test/reverse-v0", **settings):
    @rlvr.register(name, **{"length": 12, **settings})
    def reverse(rng, length):
        """Reverse a word.

        More about it.
        """
        word = "".join(rng.choices(LETTERS, k=length))
        return rlvr.Task(f"Reverse: {word}", answer=word[::-1])

    return reverse


def test_the_tiny_environment_takes_six_lines():
    @rlvr.register("test/tiny-v0", length=12)
    def tiny(rng, length):
        word = "".join(rng.choices(LETTERS, k=length))
        return rlvr.Task(f"Reverse: {word}", answer=word[::-1])

    task = rlvr.tasks("test/tiny-v0", n=1)[0]
    assert rlvr.spec("test/tiny-v0").judge(task, task.answer).correct
    assert not rlvr.spec("test/tiny-v0").judge(task, task.answer + "x").correct


def test_tasks_know_where_they_come_from():
    register_reverse()
    task = rlvr.tasks("test/reverse-v0", "eval", n=3, seed=7, length=5)[2]
    assert (task.env_id, task.split, task.index, task.knobs) == ("test/reverse-v0", "eval", 2, {"length": 5})
    assert task.id == f"test/reverse-v0#{task.key[:16]}"
    assert len(task.answer) == 5


def test_the_first_paragraph_of_the_docstring_describes_it():
    assert register_reverse().description == "Reverse a word."


def test_streams_are_the_same_twice_and_differ_by_seed_not_by_a_shift():
    register_reverse()
    one = [task.key for task in rlvr.tasks("test/reverse-v0", n=50, seed=1)]
    assert one == [task.key for task in rlvr.tasks("test/reverse-v0", n=50, seed=1)]
    assert not set(one) & {task.key for task in rlvr.tasks("test/reverse-v0", n=50, seed=2)}


def test_no_training_task_is_an_evaluation_task_whatever_the_seeds():
    register_reverse(length=2)  # 676 words: drawn many times over
    train = {task.key for seed in range(5) for task in rlvr.tasks("test/reverse-v0", "train", n=300, seed=seed)}
    evals = {task.key for seed in range(5) for task in rlvr.tasks("test/reverse-v0", "eval", n=300, seed=seed)}
    assert not train & evals
    assert len(train) + len(evals) > 500


def test_the_evaluation_split_holds_about_a_tenth():
    keys = [rlvr.Task(f"prompt {number}").key for number in range(5000)]
    share = sum(rlvr.streams.split_of(key) == "eval" for key in keys) / len(keys)
    assert 0.085 < share < 0.115  # 3.5 standard deviations


def test_a_split_that_cannot_be_filled_is_named():
    @rlvr.register("test/constant-v0")
    def constant(rng):
        return rlvr.Task("always the same", answer="x")

    other = "eval" if rlvr.streams.split_of(rlvr.Task("always the same").key) == "train" else "train"
    with pytest.raises(EnvironmentFault, match="none fell in the split"):
        rlvr.tasks("test/constant-v0", other, n=1)


def test_an_unknown_id_suggests_the_nearest():
    register_reverse()
    with pytest.raises(UnknownEnvironmentError, match="test/reverse-v0"):
        rlvr.make("test/revers-v0")
    with pytest.raises(LookupError, match="has test/reverse-v0"):
        rlvr.make("test/reverse-v3")
    with pytest.raises(UnknownEnvironmentError, match="namespace/name-vN"):
        rlvr.make("reverse")


def test_a_knob_that_does_not_exist_suggests_the_nearest():
    register_reverse()
    with pytest.raises(ConfigError, match="Did you mean 'length'"):
        rlvr.make("test/reverse-v0", lenght=3)


def test_a_knob_of_another_type_is_refused():
    register_reverse()
    with pytest.raises(ConfigError, match="must be int"):
        rlvr.make("test/reverse-v0", length="3")


def test_levels_set_knobs_and_given_knobs_win():
    register_reverse(levels=[{"length": 3}, {"length": 6}])
    assert len(rlvr.tasks("test/reverse-v0", n=1, level=1)[0].answer) == 6
    assert len(rlvr.tasks("test/reverse-v0", n=1, level=1, length=2)[0].answer) == 2
    with pytest.raises(ConfigError, match="levels 0 to 1"):
        rlvr.tasks("test/reverse-v0", n=1, level=2)


def test_a_duplicate_id_names_both_places():
    register_reverse()
    with pytest.raises(ConfigError, match=r"test_registry\.py:\d+ and at .*test_registry\.py:\d+"):
        register_reverse()


@pytest.mark.parametrize("env_id", ["reverse", "Text/reverse-v0", "text/reverse", "text:reverse-v0", "a/b/c-v0", ""])
def test_a_malformed_id_is_refused(env_id):
    with pytest.raises(ConfigError, match="namespace/name-vN"):
        rlvr.register(env_id)


def test_knobs_and_parameters_must_match():
    with pytest.raises(ConfigError, match="takes"):

        @rlvr.register("test/mismatch-v0")
        def needs_length(rng, length):
            return rlvr.Task("x")

    with pytest.raises(ConfigError, match="does not take"):

        @rlvr.register("test/mismatch-v0", size=1)
        def takes_nothing(rng):
            return rlvr.Task("x")


def test_a_generator_that_raises_is_an_environment_fault_with_its_knobs():
    @rlvr.register("test/broken-v0", size=3)
    def broken(rng, size):
        raise KeyError("nothing here")

    with pytest.raises(EnvironmentFault, match=r"test/broken-v0.*'size': 3.*KeyError"):
        rlvr.tasks("test/broken-v0", n=1)


def test_rows_keep_their_split_and_test_means_evaluation():
    rows = [{"q": f"{n} + 1?", "a": n + 1, "s": "test" if n % 2 else "train"} for n in range(10)]
    rlvr.register("test/rows-v0", rows=rows, prompt="{q}", answer="a", split="s")
    assert [task.answer for task in rlvr.tasks("test/rows-v0", "eval")] == [2, 4, 6, 8, 10]
    assert [task.answer for task in rlvr.tasks("test/rows-v0", "train")] == [1, 3, 5, 7, 9]
    assert sorted(task.answer for task in rlvr.tasks("test/rows-v0", "train", seed=3)) == [1, 3, 5, 7, 9]
    with pytest.raises(ConfigError, match="has 5 tasks"):
        rlvr.tasks("test/rows-v0", "train", n=6)


def test_a_prompt_in_both_splits_is_refused():
    rows = [{"q": "same", "a": 1, "s": "train"}, {"q": "same", "a": 1, "s": "test"}]
    rlvr.register("test/leaky-v0", rows=rows, prompt="{q}", answer="a", split="s")
    with pytest.raises(ConfigError, match="rows 0 and 1 ask the same"):
        rlvr.tasks("test/leaky-v0")


def test_rows_come_from_a_file_and_a_bad_line_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "1+1", "answer": "2"}\n{oops\n')
    rlvr.register("test/file-v0", rows=path, prompt="{question}")
    with pytest.raises(ConfigError, match="line 2"):
        rlvr.tasks("test/file-v0")


def test_rows_of_a_function_take_knobs():
    def rows(subject):
        return [{"question": f"{subject} {n}", "answer": str(n)} for n in range(50)]

    rlvr.register("test/subjects-v0", rows=rows, prompt="{question}", subject="algebra")
    assert rlvr.tasks("test/subjects-v0", subject="logic")[0].text.startswith("logic")


def test_a_session_is_set_up_again_from_its_task():
    @rlvr.register("test/guess-v0", max_turns=3, largest=1000)
    class Guess:
        def start(self, rng, largest):
            self.hidden = rng.randint(1, largest)
            return "Guess."

        def turn(self, text):
            return rlvr.Score(1.0) if text == str(self.hidden) else "no"

    tasks = rlvr.tasks("test/guess-v0", n=5)
    assert len({task.key for task in tasks}) == 5  # the same words, another hidden number
    spec = rlvr.spec("test/guess-v0")
    hidden = spec.open(tasks[3]).hidden
    assert spec.judge_turns(tasks[3], ["0", str(hidden)]).correct
    assert spec.judge_turns(tasks[3], ["0", "0", "0", str(hidden)]).reason == "unfinished"


def test_ids_are_listed_without_importing_the_plugin():
    code = "import rlvr, sys; print('acme/balance-v0' in rlvr.list_envs(), 'acme_envs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_importing_rlvr_imports_nothing_heavy():
    code = (
        "import rlvr, sys; print(sorted({'torch', 'transformers', 'sympy', 'numpy', 'gymnasium'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("order", ["import rlvr, gymnasium", "import gymnasium, rlvr"])
def test_gymnasium_knows_the_ids_whichever_is_imported_first(order):
    code = (
        f"{order}; env = gymnasium.make('acme/odd-units-v0', largest=5); print(env.reset(seed=1)[0][:2], env.spec.id)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["A", "acme/odd-units-v0"]


def test_a_broken_plugin_is_reported_and_the_rest_keeps_working(tmp_path):
    (tmp_path / "broken_envs.py").write_text(
        "import rlvr\nrlvr.register('broken/a-v0')\nraise RuntimeError('no GPU')\n"
    )
    info = tmp_path / "broken_envs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-envs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rlvr.envs]\nbroken = broken_envs\n")
    code = (
        "import rlvr\n"
        "from rlvr import plugins\n"
        "assert 'broken/a-v0' in rlvr.list_envs()\n"
        "assert rlvr.tasks('acme/odd-units-v0', n=1)\n"
        "try: rlvr.make('broken/a-v0')\n"
        "except rlvr.EnvironmentFault as fault: print(fault)\n"
        "print(plugins.broken())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    assert "broken-envs 1.0" in done.stdout
    assert "no GPU" in done.stdout.splitlines()[-1]


def test_a_stream_is_the_mersenne_twister_of_its_sha256():
    digest = hashlib.sha256(b"test/x-v0/0/train/3/0").digest()
    expected = random.Random(int.from_bytes(digest, "big"))
    name = rlvr.streams.stream_name(0, "train", 3, 0)
    made = rlvr.streams.stream("test/x-v0", name)
    assert [made.random() for _ in range(5)] == [expected.random() for _ in range(5)]
    assert made.gauss(0, 1) == expected.gauss(0, 1)
    assert pickle.loads(pickle.dumps(made)).random() == expected.random()
