from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.errors import ConfigError, EngineError
from rlvr.generation.byte_tokenizer import ByteTokenizer
from rlvr.generation.engine import Completion, Engine, Request, Sampling
from rlvr.generation.scripted import ScriptedEngine

TOKENIZER = ByteTokenizer()


def ask(
    engine: ScriptedEngine, prompt: str = "hello\n", n: int = 1, seed: int = 0, **sampling: object
) -> list[Completion]:
    request = Request(TOKENIZER.encode(prompt), seed=seed, n=n)
    return engine.generate([request], Sampling(**sampling))[0]  # type: ignore[arg-type]


def texts(completions: list[Completion]) -> list[str]:
    return [TOKENIZER.decode(completion.token_ids, skip_special_tokens=True) for completion in completions]


def test_a_scripted_engine_is_an_engine() -> None:
    assert isinstance(ScriptedEngine(["a"]), Engine)


def test_a_list_is_handed_out_in_order_and_starts_again() -> None:
    engine = ScriptedEngine(["a", "b", "c"])
    assert texts(ask(engine, n=2)) == ["a", "b"]
    assert texts(ask(engine, n=3)) == ["c", "a", "b"]


def test_a_dict_is_looked_up_by_the_prompt() -> None:
    engine = ScriptedEngine({"hello": "world"})
    assert texts(ask(engine, n=2)) == ["world", "world"]
    with pytest.raises(EngineError, match="goodbye"):
        ask(engine, "goodbye\n")


def test_a_function_gets_the_prompt_and_a_seed_of_its_own_for_each_answer() -> None:
    engine = ScriptedEngine(lambda prompt, seed: f"{prompt} {seed}")
    first = texts(ask(engine, n=3, seed=5))
    assert len(set(first)) == 3
    assert all(text.startswith("hello ") for text in first)
    assert texts(ask(engine, n=3, seed=5)) == first


def test_a_function_that_returns_no_text_is_named() -> None:
    with pytest.raises(EngineError, match="None"):
        ask(ScriptedEngine(lambda prompt, seed: None))  # type: ignore[arg-type, return-value]


def test_an_answer_ends_with_the_end_token_and_is_certain() -> None:
    [completion] = ask(ScriptedEngine(["ab"]))
    assert completion == Completion([97, 98, 257], [0.0, 0.0, 0.0], "stop", 0)


def test_long_answers_are_cut_and_say_so() -> None:
    [cut] = ask(ScriptedEngine(["abc"]), max_tokens=3)
    assert (cut.token_ids, cut.finish_reason) == ([97, 98, 99], "length")
    [whole] = ask(ScriptedEngine(["abc"]), max_tokens=4)
    assert whole.finish_reason == "stop"


def test_stop_texts_and_stop_tokens_end_an_answer() -> None:
    assert texts(ask(ScriptedEngine(["a</x>b"]), stop=("</x>",))) == ["a</x>"]
    [completion] = ask(ScriptedEngine(["abc"]), stop_token_ids=(98,))
    assert (completion.token_ids, completion.finish_reason) == ([97, 98], "stop")


def test_scripts_that_are_no_scripts_are_refused() -> None:
    with pytest.raises(ConfigError, match="list of texts"):
        ScriptedEngine("one text")
    with pytest.raises(ConfigError, match="no answers"):
        ScriptedEngine([])


def test_a_prompt_without_room_is_an_error() -> None:
    with pytest.raises(EngineError, match="no room"):
        ask(ScriptedEngine(["a"], max_model_len=6))


def test_equal_scripts_have_equal_fingerprints() -> None:
    assert ScriptedEngine(["a"]).fingerprint() == ScriptedEngine(["a"]).fingerprint()
    assert ScriptedEngine(["a"]).fingerprint() != ScriptedEngine(["b"]).fingerprint()


@given(st.text(alphabet=st.characters()))
def test_any_text_survives_the_byte_tokenizer(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode([*ids, 257], skip_special_tokens=True) == text
    assert all(token_id < 256 for token_id in ids)


def test_lone_surrogates_survive_and_broken_bytes_are_marked() -> None:
    assert TOKENIZER.decode(TOKENIZER.encode("a\ud800b")) == "a\ud800b"
    assert TOKENIZER.decode([97, 0xFF, 98]) == "a\ufffdb"
    assert TOKENIZER.batch_decode([[97, 257], [256]]) == ["a<eos>", "<pad>"]


def test_rollouts_of_a_script_need_no_torch() -> None:
    program = """
import sys
import rlvr
from rlvr.generation.engine import Sampling
from rlvr.generation.scripted import ScriptedEngine
from rlvr.rollout import rollout
from rlvr.scoring import ScoringPool

@rlvr.register("demo/one-v0")
def one(rng):
    return rlvr.Task(f"Say one. {rng.random()}", answer="one")

with ScoringPool(1) as pool:
    groups = rollout(ScriptedEngine(["one", "two"]), rlvr.tasks("demo/one-v0", n=1), group_size=2,
                     sampling=Sampling(), pool=pool, seed=0)
assert [t.reward for t in groups[0]] == [1.0, 0.0], groups
assert not {"torch", "transformers", "vllm"} & set(sys.modules), "heavy"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
