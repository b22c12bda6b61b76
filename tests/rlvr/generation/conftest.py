"""A tiny random-weight model and a character tokenizer, made from nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHARACTERS = "0123456789+-*/=()., abcdefghijklmnopqrstuvwxyz<>/\n?:"


def build_tokenizer(characters: str = CHARACTERS) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", "<unk>", *dict.fromkeys(characters)]
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    core.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")


def build_model(vocabulary: int, *, seed: int = 0, tied: bool = True, scale: float = 3.0, layers: int = 2) -> Any:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from rlvr_trainers.tiny import draw_weights

    with torch.random.fork_rng():
        model = Qwen2ForCausalLM(
            Qwen2Config(
                vocab_size=vocabulary,
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=layers,
                num_attention_heads=2,  # 32 dimensions a head, the fewest that vLLM serves on a CPU
                num_key_value_heads=1,
                max_position_embeddings=512,
                tie_word_embeddings=tied,
                eos_token_id=1,
                pad_token_id=0,
                bos_token_id=None,
            )
        )
    draw_weights(model, scale=0.02 * scale, seed=seed)  # peaked distributions, nearer to a trained model's
    return model.eval()


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return build_tokenizer()


@pytest.fixture(scope="session")
def tiny(tokenizer: Any) -> Callable[..., Any]:
    """Makes a model of its own: `tiny(seed=..., tied=...)`."""
    return lambda **settings: build_model(len(tokenizer), **settings)


@pytest.fixture(scope="session")
def model(tokenizer: Any) -> Any:
    return build_model(len(tokenizer))


@pytest.fixture(scope="session")
def model_folder(model: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def vllm_engine(model_folder: Path) -> Iterator[Any]:
    """One vLLM in this process for all tests; those that change its weights put the first ones back."""
    from rlvr.generation.vllm import VLLMEngine

    engine = VLLMEngine(model_folder, max_num_seqs=64)
    yield engine
    engine.close()
    engine.close()


@pytest.fixture(scope="session")
def vllm_server(model_folder: Path) -> Iterator[Any]:
    """One vLLM server for all tests."""
    from rlvr.generation.vllm_server import VLLMServerEngine

    engine = VLLMServerEngine.launch(model_folder, max_num_seqs=64, start_timeout_s=1500)
    yield engine
    engine.close()
    engine.close()


class HeldStream:
    """Weights whose stream stops before the sixth tensor until it is told to go on."""

    def __init__(self) -> None:
        self.half, self.go_on = threading.Event(), threading.Event()

    def of(self, model: Any) -> Iterator[tuple[str, Any]]:
        for number, pair in enumerate(model.named_parameters()):
            if number == 5:
                self.half.set()
                assert self.go_on.wait(60)
            yield pair


@pytest.fixture
def held_stream() -> HeldStream:
    return HeldStream()
