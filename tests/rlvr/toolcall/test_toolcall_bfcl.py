"""The verdicts on BFCL's data, changed in some eighty ways and written in thirteen formats."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.toolcall_cases import cases, load_rows
from rlvr.verifiers.toolcall import match, verify


def test_every_verdict_is_the_known_one(bfcl: Path) -> None:
    count = 0
    for case in cases(bfcl, every=29):
        score = verify(case.response, case.tools, case.gold, case.format)
        assert score.correct is case.expected, (case.kind, case.format, case.row, case.response, score.reason)
        count += 1
    assert count > 5_000


def test_the_gold_of_every_row_passes_its_own_check(bfcl: Path) -> None:
    rows = load_rows(bfcl)
    assert len(rows) == 283 + 151 + 138
    assert [row.id for row in rows if not match(row.calls, row.gold, row.tools).ok] == []


def test_importing_the_verifier_brings_no_model_library() -> None:
    code = (
        "import sys; import rlvr.verifiers.toolcall; "
        "bad = {'torch', 'transformers', 'vllm', 'jsonschema'} & set(sys.modules); "
        "assert not bad, bad; print('clean')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), timeout=120
    )
    assert done.stdout.strip() == "clean", done.stderr
