"""Pictures of a board for the README, made by headless Chromium from a real page.

python bench/screenshots.py BOARD_FOLDER docs/images            # a page that exists
python bench/screenshots.py --demo docs/images                  # a demonstration with scripted models
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rlvr_leaderboard import build_board
from rlvr_leaderboard.evaluate import evaluate
from rlvr_leaderboard.verify import store, verify

ENVS = ["math/arithmetic-v0", "text/sort-v0", "text/reverse-v0"]


def demo(home: Path) -> Path:
    """A page of four scripted models, verified."""
    records = []
    for accuracy in (0.35, 0.6, 0.65, 0.9):
        record = evaluate(f"scripted:{accuracy}", ENVS, out=home / str(accuracy), n=100, k=8)
        store(record, verify(record))
        records.append(record.path)
    return build_board(records, [], home / "board", title="Leaderboard").parent


def shoot(browser: str, url: str, out: Path, width: int, height: int) -> None:
    """One picture."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ]
        command += [
            "--virtual-time-budget=5000",
            f"--window-size={width},{height}",
            f"--screenshot={out.resolve()}",
            url,
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    print(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("board", nargs="?", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--demo", action="store_true")
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.exit("no Chromium on this machine; apt-get install chromium")
    if not options.demo and options.board is None:
        sys.exit("name the folder of a page, or give --demo")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        board = demo(Path(folder)) if options.demo else options.board
        index = (board / "index.html").resolve()
        text = (board / "data" / "m0.js").read_text("ascii")
        found = re.fullmatch(r'rlvrData\("m0",(.*)\);\n', text, re.S)
        assert found is not None
        items = json.loads(found[1])["items"][0]
        # An item that the first model sometimes solves shows more than one that it always does.
        mixed = next((item for item, _, n, c, _ in items if 0 < c < n), items[0][0])
        other = "&m2=1" if (board / "data" / "m1.js").is_file() else ""
        shoot(browser, index.as_uri(), options.out / "board.png", 1280, 1000)
        shoot(browser, index.as_uri() + "#/compare?a=0&b=1", options.out / "compare.png", 1280, 420)
        shoot(browser, index.as_uri() + f"#/item?env=0&item={mixed}&m=0{other}", options.out / "item.png", 1280, 800)


if __name__ == "__main__":
    main()
