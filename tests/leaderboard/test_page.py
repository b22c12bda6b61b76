"""The page: what is in it, that it opens from disk in a real browser, and that no text of a model does anything."""

import json
import re
import shutil
import subprocess

import pytest

from rlvr.errors import RecordError
from rlvr.generation.scripted import ScriptedEngine
from rlvr_leaderboard import build_board
from rlvr_leaderboard.board import make_board
from rlvr_leaderboard.evaluate import evaluate
from rlvr_leaderboard.pages import page_html
from rlvr_leaderboard.payloads import MAX_TEXT, clipped, index_payload

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine; apt-get install chromium")
HOSTILE = [
    "<script>document.title = 'taken'; window.taken = 1</script>",
    "<img src=x onerror=\"document.title='taken'\">",
    "</script><script>document.title='taken'</script>",
    "\u2028\u2029]]>--></style><!--",
    "javascript:alert(1) \x1b[31m \x00 \ud800",
]


@pytest.fixture(scope="module")
def page(records, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs") / "demo"
    runs.mkdir()
    (runs / "config.toml").write_text("seed = 1\n")
    (runs / "metrics.jsonl").write_text("".join(json.dumps({"step": n, "reward": n / 10}) + "\n" for n in range(10)))
    return build_board(records.values(), [runs], tmp_path_factory.mktemp("page") / "out", title="Tom & <Jerry>")


def browse(url, tmp_path, shows=""):
    """The document after its scripts have run, what the console said, and the requests that left for a network.

    On a loaded machine the browser's virtual time may be over before it has read the page's files; it gets three tries to
    show `shows`.
    """
    for attempt in range(3):
        found = browse_once(url, tmp_path / f"try{attempt}")
        if shows in found[0]:
            break
    return found


def browse_once(url, tmp_path):
    assert BROWSER is not None
    tmp_path.mkdir()
    log = tmp_path / "net.json"
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--enable-logging=stderr", f"--log-net-log={log}", "--virtual-time-budget=6000", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    # The browser's own services call home as well; a request of the page names the page's site.
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    network = [line for line in lines if "{site=file://" in line and '"url":"http' in line]
    return done.stdout, console, network


def data(folder, name):
    text = (folder / "data" / f"{name}.js").read_text("ascii")
    return json.loads(re.fullmatch(r'rlvrData\("[a-z0-9-]+",(.*)\);\n', text, re.S)[1])


def test_the_index_holds_what_the_board_says(page, records):
    index = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text())[1])
    board = make_board(records.values())
    assert [row["name"] for row in index["rows"]] == ["strong", "weak"]
    for shown, row in zip(index["rows"], board.rows, strict=True):
        assert shown["rank"] == list(row.rank)
        assert shown["overall"]["mean"] == pytest.approx(row.summary["overall"]["mean"], abs=1e-4)
        assert [cell["k"] for cell in shown["cells"]] == [4, 4]
    assert [run["name"] for run in index["runs"]] == ["demo"]


def test_every_transcript_is_in_a_file_beside_the_page(page, records):
    folder = page.parent
    model = data(folder, "m0")
    for column in (0, 1):
        assert len(model["items"][column]) == 20
        for item, mean, n, c, chunk in model["items"][column]:
            shown = data(folder, f"t0-{chunk}")[f"{column}/{item}"]
            assert n == len(shown["runs"]) == 4
            assert sum(run["reward"] for run in shown["runs"]) / 4 == pytest.approx(mean, abs=1e-4)
            assert sum(run["reward"] == 1 for run in shown["runs"]) == c
    assert (folder / "uPlot-LICENSE").read_text().startswith("The MIT License")


def test_titles_and_data_cannot_break_out_of_the_page(page):
    text = page.read_text()
    assert "<title>Tom &amp; &lt;Jerry&gt;</title>" in text
    assert text.count("</script>") == 3
    assert "<Jerry>" not in text


def test_only_the_pages_own_scripts_may_run(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page.read_text())[1]
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "http" not in policy


def test_a_page_replaces_a_page_and_nothing_else(records, tmp_path):
    out = tmp_path / "out"
    first = build_board([records["weak"]], [], out)
    (out / "data" / "stale.js").touch()
    assert build_board(records.values(), [], out) == first
    assert not (out / "data" / "stale.js").exists()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(RecordError, match="was left alone"):
        build_board(records.values(), [], tmp_path / "home")
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "out"]


def test_a_long_text_is_cut_in_the_middle_and_says_so():
    text = clipped("a" * MAX_TEXT + "b" * MAX_TEXT)
    assert len(text) < MAX_TEXT + 100
    assert f"{MAX_TEXT} letters are left out" in text
    assert text.startswith("a")
    assert text.endswith("b")


def test_the_index_stays_small_at_fifty_models_and_ten_environments(records):
    board = make_board(records.values())
    board.rows = [board.rows[number % 2] for number in range(50)]
    board.columns = [board.columns[number % 2] for number in range(10)]
    index = index_payload(board)
    assert all(cell is not None for row in index["rows"] for cell in row["cells"])
    assert len(page_html(index)) < 300_000


@needs_browser
@pytest.mark.slow
def test_a_request_to_a_network_would_be_noticed(tmp_path):
    (tmp_path / "index.html").write_text('<img src="http://127.0.0.1:9/x.png">')
    _, _, network = browse((tmp_path / "index.html").as_uri(), tmp_path)
    assert network


@needs_browser
@pytest.mark.slow
def test_the_page_opens_from_disk_without_a_network(page, tmp_path):
    document, console, network = browse(page.as_uri(), tmp_path, shows="<canvas")
    assert console == []
    assert network == []
    assert (
        int(re.search(r'data-ready="(\d+)"', document)[1]) < 10_000
    )  # a loaded machine; bench/board.py has the figure
    for text in ("strong is better", "Training", "pass@k", "What changed", "I do not see it"):
        assert text in document
    assert document.count("<canvas") >= 2
    assert 'aria-busy="true"' not in document
    assert len(re.findall(r'<th [^>]*aria-sort="ascending"', document)) == 1


@needs_browser
@pytest.mark.slow
def test_what_a_model_writes_is_shown_as_text(tmp_path):
    engine = ScriptedEngine(HOSTILE)
    record = evaluate(engine, "leaderboard/fragile-v0", out=tmp_path / "r", name="<b>bold</b>", n=5, k=1, quiet=True)
    index = build_board([record.path], [], tmp_path / "page", title="kept")
    items = [item for item, *_ in data(index.parent, "m0")["items"][0]]
    shown = ""
    for number, item in enumerate(items[:3]):
        (tmp_path / str(number)).mkdir()
        document, console, _ = browse(f"{index.as_uri()}#/item?env=0&item={item}&m=0", tmp_path / str(number))
        assert "<title>kept</title>" in document
        assert console == []
        shown += document
    assert "&lt;script&gt;document.title = 'taken'" in shown
    assert "&lt;img src=x" in shown
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown
    assert "<img" not in shown


@needs_browser
@pytest.mark.slow
def test_an_address_that_anybody_may_write_shows_a_page(page, tmp_path):
    address = page.as_uri() + "#/item?m=99&env=-1&item=%3Cscript%3Ealert(1)%3C/script%3E&m2=x"
    document, console, _ = browse(address, tmp_path)
    assert "There is no such item here" in document
    assert console == []
