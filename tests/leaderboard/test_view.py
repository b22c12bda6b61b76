"""The live view: the same page, from folders that grow."""

import json
import shutil

import pytest

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.scripted import ScriptedEngine
from rlvr_leaderboard.evaluate import evaluate
from rlvr_leaderboard.view import LiveBoard, application, serve

testclient = pytest.importorskip("starlette.testclient", reason="rlvr[view] is not installed")


def test_a_running_evaluation_is_shown_and_its_end_too(tmp_path):
    count = 0

    def answer(prompt, seed):
        nonlocal count
        count += 1
        if count == 4:
            raise EngineError("stopped")
        return prompt.split()[-1]

    client = testclient.TestClient(application(LiveBoard([tmp_path])))
    assert client.get("/index.json").json()["rows"] == []
    with pytest.raises(EngineError):
        evaluate(
            ScriptedEngine(answer), "leaderboard/fragile-v0", out=tmp_path / "r", n=3, k=2, batch_size=1, quiet=True
        )
    first = client.get("/index.json").json()
    assert first["live"]
    assert first["rows"][0]["problems"] == ["the evaluation is not finished"]
    assert first["rows"][0]["rank"] is None
    evaluate(ScriptedEngine(answer), "leaderboard/fragile-v0", out=tmp_path / "r", n=3, k=2, quiet=True)
    assert client.get("/version").json()["version"] != first["version"]
    assert client.get("/index.json").json()["rows"][0]["rank"] == [1, 1]


def test_data_is_made_when_it_is_asked_for(records):
    home = records["weak"].parent
    client = testclient.TestClient(application(LiveBoard([home])))
    page = client.get("/")
    assert "connect-src 'self'" in page.text
    model = client.get("/data/m0.js").text
    assert model.startswith('rlvrData("m0",')
    items = json.loads(model[len('rlvrData("m0",') : -3])["items"][0]
    assert client.get(f"/data/t0-{items[0][4]}.js").status_code == 200


@pytest.mark.parametrize("path", ["m9", "t0-99", "t0", "m0-1", "r0", "..%2f..%2frecord", "m0.json", "x"])
def test_no_other_file_is_served(records, path):
    client = testclient.TestClient(application(LiveBoard([records["weak"]])))
    assert client.get(f"/data/{path}.js").status_code == 404


def test_a_record_that_breaks_while_it_is_watched_does_not_end_the_view(records, tmp_path):
    shutil.copytree(records["weak"], tmp_path / "r")
    client = testclient.TestClient(application(LiveBoard([tmp_path])), raise_server_exceptions=False)
    assert client.get("/index.json").status_code == 200
    path = tmp_path / "r" / "rollouts.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"reward":1.0', b'"reward":0.0', 1))
    reply = client.get("/index.json")
    assert reply.status_code == 500
    assert "rollouts.jsonl, line" in reply.text
    shutil.copytree(records["weak"], tmp_path / "r", dirs_exist_ok=True)
    assert client.get("/index.json").status_code == 200


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no folder"):
        serve([tmp_path / "none"], host="127.0.0.1", port=0, title="x")
