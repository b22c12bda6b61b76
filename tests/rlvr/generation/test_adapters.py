"""Adapters before vLLM is touched: which are complete, which fit, how long their files stay."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.adapters import (
    AdapterFiles,
    AdapterSettings,
    CurrentAdapter,
    ServedAdapter,
    check_adapter,
    checked_adapter,
    room_for,
)
from rlvr.generation.weights import WeightShapes

UP, DOWN = "model.layers.0.mlp.up_proj", "model.layers.1.mlp.down_proj"
SETTINGS = AdapterSettings(rank=3, alpha=6.0, modules=(UP, DOWN))


@pytest.fixture(scope="module")
def shapes(model: Any) -> WeightShapes:
    return WeightShapes(model)


def adapter() -> dict[str, torch.Tensor]:
    """Hidden size 64, feed-forward size 128."""
    return {
        f"base_model.model.{UP}.lora_A.weight": torch.ones(3, 64),
        f"base_model.model.{UP}.lora_B.weight": torch.ones(128, 3),
        f"base_model.model.{DOWN}.lora_A.weight": torch.ones(3, 128),
        f"base_model.model.{DOWN}.lora_B.weight": torch.ones(64, 3),
    }


def test_ranks_are_rounded_up_to_those_vllm_has_room_for() -> None:
    assert [room_for(rank) for rank in (1, 2, 8, 9, 33, 300, 512)] == [1, 8, 8, 16, 64, 320, 512]
    for rank in (-1, 0, 513):
        with pytest.raises(ConfigError, match=f"lora_rank is {rank}; .* 1 to 512"):
            room_for(rank)


def test_a_complete_adapter_passes_as_it_is(shapes: WeightShapes) -> None:
    given = adapter()
    checked = checked_adapter(given.items(), SETTINGS, shapes)
    assert checked.keys() == given.keys()
    assert all(checked[name] is tensor for name, tensor in given.items())


@pytest.mark.parametrize("name", adapter())
def test_half_an_adapter_is_refused_whichever_half_is_missing(shapes: WeightShapes, name: str) -> None:
    half = {other: tensor for other, tensor in adapter().items() if other != name}
    with pytest.raises(EngineError, match="1 tensors of the adapter were not given"):
        checked_adapter(half.items(), SETTINGS, shapes)


def test_tensors_that_do_not_fit_are_refused_by_name(shapes: WeightShapes) -> None:
    name = f"base_model.model.{UP}.lora_B.weight"
    with pytest.raises(EngineError, match=r"up_proj.lora_B.weight' has shape \(128, 2\); the model needs \(128, 3\)"):
        checked_adapter((adapter() | {name: torch.ones(128, 2)}).items(), SETTINGS, shapes)
    with pytest.raises(EngineError, match="belongs to none of the 1 layers"):
        checked_adapter(adapter().items(), AdapterSettings(3, 6.0, (UP,)), shapes)


@pytest.mark.parametrize("module", ["model.layers.9.mlp.up_proj", "model.norm", "up_proj"])
def test_layers_that_the_model_does_not_have_are_refused(shapes: WeightShapes, module: str) -> None:
    with pytest.raises(EngineError, match="no linear layer of the model served"):
        checked_adapter([], AdapterSettings(3, 6.0, (module,)), shapes)


def test_an_adapter_of_nothing_is_refused(shapes: WeightShapes) -> None:
    with pytest.raises(EngineError, match="adapts no layer"):
        checked_adapter([], AdapterSettings(3, 6.0, ()), shapes)


def test_an_engine_that_was_not_started_for_an_adapter_is_named_with_the_remedy() -> None:
    check_adapter(SETTINGS, lora_rank=3, adaptable=["up_proj", "down_proj", "qkv_proj"])
    with pytest.raises(ConfigError, match="rank 3, and the engine was started without lora_rank"):
        check_adapter(SETTINGS, lora_rank=0, adaptable=[])
    with pytest.raises(ConfigError, match=r"started with lora_rank = 2\. Start it with lora_rank = 3"):
        check_adapter(SETTINGS, lora_rank=2, adaptable=["up_proj", "down_proj"])
    with pytest.raises(ConfigError, match="cannot adapt down_proj of this model, only up_proj"):
        check_adapter(SETTINGS, lora_rank=3, adaptable=["up_proj"])


def test_files_are_those_that_peft_writes_and_go_with_their_last_user(tmp_path: Path) -> None:
    files = AdapterFiles.write(adapter(), SETTINGS, tmp_path)
    assert {path.name for path in files.path.iterdir()} == {"adapter_model.safetensors", "adapter_config.json"}
    config = json.loads((files.path / "adapter_config.json").read_text())
    assert {
        "peft_type": "LORA",
        "r": 3,
        "lora_alpha": 6.0,
        "target_modules": ["down_proj", "up_proj"],
    }.items() <= config.items()
    assert {name: tensor.tolist() for name, tensor in files} == {n: t.tolist() for n, t in adapter().items()}
    files.hold()
    files.release()
    assert files.path.exists()
    files.release()
    assert not list(tmp_path.iterdir())


def test_peft_reads_the_files_as_the_adapter_they_were_written_from(tmp_path: Path, tiny: Any) -> None:
    peft = pytest.importorskip("peft", reason="the extra peft is not installed")
    from rlvr_trainers.lora import adapter_settings, add_adapters, named_adapters

    adapted = add_adapters(tiny(), rank=4, alpha=8.0, seed=1)
    with torch.no_grad():
        for name, tensor in adapted.named_parameters():
            if "lora_B" in name:
                tensor.normal_(0, 0.1)
    settings = adapter_settings(adapted)
    tensors = checked_adapter(named_adapters(adapted), settings, WeightShapes(tiny()))
    files = AdapterFiles.write(tensors, settings, tmp_path)
    again = peft.PeftModel.from_pretrained(tiny(), str(files.path))
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(again(ids).logits, adapted(ids).logits)


def test_a_folder_that_cannot_be_written_to_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="could not be written"):
        AdapterFiles.write(adapter(), SETTINGS, tmp_path / "none")


def test_an_adapter_is_freed_when_it_is_replaced_and_its_last_answer_has_ended() -> None:
    freed: list[str] = []
    current = CurrentAdapter()
    with current.used() as none:
        assert none is None
    current.replace(ServedAdapter("a", 1, lambda: freed.append("a")))
    with current.used() as first, current.used() as second:
        assert first is second
        current.replace(ServedAdapter("b", 2, lambda: freed.append("b")))
        with current.used() as newer:
            assert newer is not None
            assert newer.version == 2
        assert freed == []
    assert freed == ["a"]
    current.replace(None)
    assert freed == ["a", "b"]


def test_a_process_that_fails_leaves_no_files(tmp_path: Path) -> None:
    program = (
        "import sys, torch\n"
        "from rlvr.generation.adapters import AdapterFiles, AdapterSettings\n"
        "from rlvr.generation.weight_files import WeightFiles\n"
        "settings = AdapterSettings(1, 1.0, ('a',))\n"
        "adapter = AdapterFiles.write({'base_model.model.a.lora_A.weight': torch.zeros(1, 2)}, settings, sys.argv[1])\n"
        "weights = WeightFiles.write([('a.weight', torch.zeros(2, 2))], sys.argv[1])\n"
        "assert adapter.path.exists() and weights.paths\n"
        "raise RuntimeError('before anything was closed')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "before anything was closed" in done.stderr
    assert list(tmp_path.iterdir()) == []
