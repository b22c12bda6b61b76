"""Doors to other trainers: rows, reward functions and the HTTP service, as those trainers call them."""

import json

import pytest

import rlvr
from rlvr.errors import ConfigError, EnvironmentFault
from rlvr_envs.adapters import rows, trl, verl
from rlvr_envs.adapters.reward_function import from_reward_function


@pytest.fixture
def forget():
    """Takes a test's registration away again."""
    from rlvr import registry

    before = set(registry.registered())
    yield
    for env_id in set(registry.registered()) - before:
        if env_id.startswith("test/"):
            registry._specs.pop(env_id)


def test_rows_carry_the_whole_task_and_splits_share_nothing():
    train = rows.to_rows("text/reverse-v0", 50, level=0)
    held_out = rows.to_rows("text/reverse-v0", 50, split="eval", seed=9, level=0)
    assert rows.task_of(train[3][rows.TASK]) == rlvr.tasks("text/reverse-v0", n=4, level=0)[3]
    assert not {str(row["prompt"]) for row in train} & {str(row["prompt"]) for row in held_out}


def test_rows_survive_jsonl_and_parquet(tmp_path):
    datasets = pytest.importorskip("datasets")
    made = rows.to_rows("logic/countdown-v0", 5)
    rows.write_jsonl(made, tmp_path / "rows.jsonl")
    assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == made
    rows.write_parquet(made, tmp_path / "rows.parquet")
    again = datasets.Dataset.from_parquet(str(tmp_path / "rows.parquet"), cache_dir=str(tmp_path / "cache"))
    assert rows.task_of(again[2][rows.TASK]) == rows.task_of(made[2][rows.TASK])


@pytest.mark.parametrize("chat", [True, False])
def test_the_reward_function_takes_what_trl_passes(chat):
    made, reward = trl.to_trl("text/reverse-v0", 3, timeout_s=2.0)
    columns = {name: [row[name] for row in made for _ in range(2)] for name in made[0] if name != "prompt"}
    answers = [rows.task_of(value).answer for value in columns[rows.TASK]]
    texts = [answer if number % 2 else "wrong" for number, answer in enumerate(answers)]
    completions = [[{"role": "assistant", "content": text}] for text in texts] if chat else texts
    assert reward(prompts=[None] * 6, completions=completions, completion_ids=[[1]] * 6, **columns) == [0.0, 1.0] * 3


def test_a_failed_verifier_is_none_for_trl_and_an_error_for_verl(forget):
    @rlvr.register("test/broken-judge-v0")
    def broken(rng):
        return rlvr.Task(f"{rng.random()}", answer="x")

    @broken.verifier
    def judge(task, text):
        raise OSError("disk full")

    made, reward = trl.to_trl("test/broken-judge-v0", 1)
    assert reward(completions=["x"], **{rows.TASK: [made[0][rows.TASK]]}) == [None]
    with pytest.raises(EnvironmentFault, match="disk full"):
        verl.compute_score("test/broken-judge-v0", "x", made[0][rows.TASK])


def test_a_game_is_played_through_trls_environment_interface():
    factory = trl.trl_environment("game/guess-number-v0", largest=2)
    env, other = factory(), factory()
    assert env.reset(index=7, prompt="ignored") == other.reset(index=7)
    for guess in ("1", "2"):
        env.act(guess)
    assert env.get_reward() == 1.0
    assert env.act("1") == "The episode has ended."
    assert other.get_reward() == 0.0
    assert {name for name in dir(env) if not name.startswith("_")} == {"act", "get_reward", "reset"}


def test_verls_function_is_called_with_its_signature():
    row = verl.to_verl("text/sort-v0", 1)[0]
    assert set(row) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
    truth = row["reward_model"]["ground_truth"]
    right = f"<answer>{rows.task_of(truth).answer}</answer>"
    assert verl.compute_score(row["data_source"], right, truth, row["extra_info"])["score"] == 1.0
    assert verl.compute_score(row["data_source"], "no", truth, extra_info=None)["score"] == 0.0


@pytest.mark.parametrize("export", [trl.to_trl, verl.to_verl])
def test_several_turns_are_refused_where_a_trainer_sees_one_text(export):
    with pytest.raises(ConfigError, match="several turns"):
        export("game/bagels-v0", 1)


def test_a_column_that_is_no_task_is_named():
    with pytest.raises(ConfigError, match=rows.TASK):
        rows.task_of("42")
    _, reward = trl.to_trl("text/reverse-v0", 1)
    with pytest.raises(ConfigError, match=rows.TASK):
        reward(completions=["x"])


@pytest.mark.parametrize("prompt", ["What is {n}+1?", [{"role": "user", "content": "What is {n}+1?"}]])
def test_a_trl_reward_function_becomes_an_environment(forget, prompt):
    def right(completions, answer, **columns):
        texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
        return [
            None if text == "skip" else float(text.strip() == wanted)
            for text, wanted in zip(texts, answer, strict=True)
        ]

    asked = json.dumps(prompt)
    made = [{"prompt": json.loads(asked.replace("{n}", str(n))), "answer": str(n + 1)} for n in range(40)]
    from_reward_function("test/wrapped-v0", made, right)
    task = rlvr.tasks("test/wrapped-v0", n=1)[0]
    scores = rlvr.score([task] * 3, [task.data["answer"], "no", "skip"])
    assert [score.reward for score in scores] == [1.0, 0.0, 0.0]
    assert scores[1].error is None
    assert "None" in scores[2].error


@pytest.fixture(scope="module")
def client():
    pytest.importorskip("httpx")
    from starlette.testclient import TestClient

    from rlvr_envs.adapters.service import make_app

    with rlvr.ScoringPool(2, 2.0) as pool, TestClient(make_app(pool, token="secret")) as client:
        client.headers["authorization"] = "Bearer secret"
        yield client


def test_the_service_gives_tasks_and_verdicts(client):
    made = client.post("/tasks", json={"env_id": "text/reverse-v0", "n": 3, "knobs": {"length": 4}}).json()["tasks"]
    items = [{"task": task, "text": task["answer"]} for task in made] + [{"task": made[0], "text": "no"}]
    scores = client.post("/score", json={"items": items}).json()["scores"]
    assert [score["reward"] for score in scores] == [1.0, 1.0, 1.0, 0.0]
    assert client.get("/health").json()["waiting"] == 0
    assert "text/reverse-v0" in client.get("/envs").json()["environments"]


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/score", b"x" * (10 << 20), 413, "4 MiB"),
        ("/score", b"{", 400, "no JSON"),
        ("/score", b"[]", 400, "object"),
        ("/score", b"[" * 100_000, 400, "no JSON"),
        ("/score", b'{"items": []}', 400, "items"),
        ("/score", b'{"items": [{"text": "x"}]}', 400, "item 0"),
        ("/score", b'{"items": [{"task": {"prompt": "p", "env_id": "no/such-v0"}, "text": "x"}]}', 400, "no/such-v0"),
        ("/tasks", b'{"env_id": "text/revers-v0"}', 404, "text/reverse-v0"),
        ("/tasks", b'{"env_id": "text/reverse-v0", "knobs": {"size": 1}}', 400, "size"),
        ("/tasks", b'{"env_id": "text/reverse-v0", "n": 1000000}', 400, "n is"),
    ],
)
def test_a_bad_request_gets_a_sentence_and_the_service_goes_on(client, path, body, status, says):
    answer = client.post(path, content=body)
    assert answer.status_code == status
    assert says in answer.json()["error"]
    assert client.get("/health").status_code == 200


def test_a_wrong_token_is_refused(client):
    assert client.get("/health", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_listening_beyond_this_machine_needs_a_token():
    from rlvr_envs.adapters.service import serve

    with pytest.raises(ConfigError, match="token"):
        serve(host="0.0.0.0", token=None)
