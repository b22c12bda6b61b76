"""The scripts for a GPU walk through on a CPU, so that a lent machine is not spent on finding out that they do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import gpu_all
from bench.gpu import common, one_size
from bench.shapes import SHAPES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return common.build_model("tiny", tmp_path_factory.mktemp("gpu"))


def test_a_size_is_measured_part_by_part(folder: Path) -> None:
    sizes = common.sizes(tiny=True)
    generated = one_size.generation("tiny", folder, sizes)
    assert float(generated["generated tokens per s"].replace(",", "")) > 0
    assert float(generated["difference of fixed tokens in nats"]) < 5e-5
    updated = one_size.update("tiny", folder, sizes)
    assert float(updated["update tokens per s"].replace(",", "")) > 0
    stepped = one_size.grpo_steps("tiny", folder, sizes)
    assert any(name.startswith("step: rollout") for name in stepped)
    assert float(stepped["largest mismatch"]) < 1e-4


def test_the_model_that_is_built_has_the_weights_that_are_counted(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    assert sum(parameter.numel() for parameter in model.parameters()) == SHAPES["tiny"].parameters


def test_the_report_holds_what_a_phase_printed_or_how_it_failed(tmp_path: Path) -> None:
    report = gpu_all.Report(tmp_path / "deep" / "report.md")
    python = gpu_all.sys.executable
    said = gpu_all.RESULT + json.dumps({"tokens per s": "7"})
    report.add(gpu_all.run("good", [python, "-c", f"print('hello'); print({said!r})"], 60))
    report.add(gpu_all.run("bad", [python, "-c", "raise SystemExit('no GPU here')"], 60))
    report.add(gpu_all.run("slow", [python, "-c", "import time; print('so far', flush=True); time.sleep(60)"], 1))
    text = report.path.read_text()
    assert "hello" in text
    assert "| tokens per s | 7 |" in text
    assert "## bad\n\nFailed" in text
    assert "no GPU here" in text
    assert "Stopped after 1 s" in text
    assert "so far" in text
