"""The tutorial's blocks run in order, as a reader would run them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.slow
def test_the_tutorials_blocks_run(tmp_path):
    page = (DOCS / "tutorial.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    script = tmp_path / "tutorial.py"
    script.write_text("\n".join(blocks), "utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=600, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "audit of tutorial/mirror-v0: passed" in done.stdout
    assert "audit of tutorial/multiples-v0: FAILED" in done.stdout
    assert re.search(r"fail +floor", done.stdout)
