"""Real weights: a checkpoint folder, a LoRA adapter, and the check of a record against them."""

import json

import pytest

torch = pytest.importorskip("torch", reason="rlvr[train] is not installed")
peft = pytest.importorskip("peft", reason="rlvr[peft] is not installed")

from rlvr.generation.engine import Sampling  # noqa: E402
from rlvr.generation.transformers import TransformersEngine  # noqa: E402
from rlvr_leaderboard import plausible  # noqa: E402
from rlvr_leaderboard.evaluate import evaluate  # noqa: E402
from rlvr_leaderboard.models import open_model  # noqa: E402
from rlvr_leaderboard.verify import VERIFIED, verify  # noqa: E402
from rlvr_trainers.tiny import build_tiny_model  # noqa: E402

SHORT = Sampling(max_tokens=12)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A small model with random weights, in a training run's folder."""
    run = tmp_path_factory.mktemp("run") / "demo"
    folder = run / "checkpoints" / "step-000010"
    build_tiny_model(folder)
    (run / "config.toml").write_text("seed = 0\n")
    return folder


@pytest.mark.slow
def test_a_checkpoint_is_known_by_its_weights_and_its_training_run(checkpoint, tmp_path):
    record = evaluate(
        checkpoint, "math/arithmetic-v0", out=tmp_path / "r", n=6, k=2, sampling=SHORT, keep_tokens=True, quiet=True
    )
    facts = record.header["model"]
    assert record.name == "demo@10"
    assert facts["training"]["step"] == 10
    assert len(facts["weights_sha256"]) == len(facts["tokenizer_sha256"]) == 64
    assert not facts["source"].startswith("/")
    assert verify(record).level == VERIFIED
    assert len({tuple(rollout.turns) for rollout in record.rollouts()}) > 1

    assert plausible.check_tokens(record, TransformersEngine(checkpoint), 0)[0][0]
    other = TransformersEngine(checkpoint)
    with torch.no_grad():
        for parameter in other._model.parameters():
            parameter.mul_(1.5)
    assert not plausible.check_tokens(record, other, 0)[0][0]


@pytest.mark.slow
def test_an_adapter_is_evaluated_on_its_base(checkpoint, tmp_path):
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(checkpoint)
    wrapped = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    wrapped.save_pretrained(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": str(checkpoint)})
    )
    opened = open_model(tmp_path / "adapter", "transformers", [])
    plain = open_model(checkpoint, "transformers", [])
    assert opened.facts["fingerprint"] != plain.facts["fingerprint"]
    assert opened.name == "adapter"
    assert opened.facts["base"].endswith("step-000010")
    record = evaluate(
        tmp_path / "adapter",
        "math/arithmetic-v0",
        out=tmp_path / "r",
        n=2,
        k=1,
        sampling=SHORT,
        engine="transformers",
        quiet=True,
    )
    assert sum(1 for _ in record.rollouts()) == 2
