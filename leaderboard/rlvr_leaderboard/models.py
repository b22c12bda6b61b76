"""From what a user names to an engine that answers, and to the facts by which it is known."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rlvr
from rlvr.chat import prompt_text
from rlvr.errors import ConfigError
from rlvr.generation.byte_tokenizer import ByteTokenizer
from rlvr.generation.engine import Engine
from rlvr.generation.scripted import ScriptedEngine, next_turn
from rlvr.generation.seeds import derive_seed
from rlvr.task import Task
from rlvr_leaderboard import provenance

ENGINES = ("auto", "vllm", "transformers", "openai", "scripted")


@dataclass(frozen=True)
class OpenModel:
    """An engine and what the record says about it."""

    engine: Engine
    name: str
    facts: dict[str, Any]


def open_model(model: Any, kind: str, tasks: Iterable[Task], *, served_name: str | None = None) -> OpenModel:
    """An engine for what a user names: a checkpoint's folder, a training run's (its last checkpoint), a hub name, a LoRA
    adapter's folder, an endpoint's address, a script, or an engine.

    `kind` is one of `ENGINES`. `served_name` is the model's name at an endpoint. Raises ConfigError with the remedy.
    """
    if kind not in ENGINES:
        raise ConfigError(f"there is no engine {kind!r}; known: {', '.join(ENGINES)}")
    if not isinstance(model, str | Path):
        return _given(model)
    text = str(model)
    if kind == "scripted" or (kind == "auto" and text.partition(":")[0] == "scripted"):
        return _scripted(text, tasks)
    if kind == "openai" or (kind == "auto" and text.startswith(("http://", "https://"))):
        return _endpoint(text, served_name)
    if kind == "auto":
        kind = "vllm" if _vllm_fits() else "transformers"
    return _local(text, kind)


def _given(engine: Any) -> OpenModel:
    if not isinstance(engine, Engine):
        raise ConfigError(
            f"the model is {type(engine).__name__}; give a folder, a hub name, an address, or an engine of rlvr"
        )
    kind = type(engine).__name__.removesuffix("Engine").lower()
    facts = {"source": "an engine in memory", "engine": kind, "fingerprint": engine.fingerprint()}
    return OpenModel(engine, kind, facts | _tokenizer_facts(engine))


def _scripted(text: str, tasks: Iterable[Task]) -> OpenModel:
    words = text.removeprefix("scripted").removeprefix(":") or "1"
    if Path(words).is_file():
        try:
            answers = {
                str(row["prompt"]).strip(): str(row["answer"])
                for row in map(json.loads, Path(words).read_text("utf-8").splitlines())
            }
        except (ValueError, KeyError, TypeError) as fault:
            raise ConfigError(
                f"{words} is no script: every line must be an object with prompt and answer ({fault})"
            ) from fault
        engine = ScriptedEngine(answers)
        return OpenModel(
            engine,
            f"scripted:{Path(words).name}",
            {"source": "script", "engine": "scripted"} | _tokenizer_facts(engine),
        )
    try:
        accuracy = float(words)
    except ValueError as fault:
        raise ConfigError(
            f"scripted model {text!r}: {words!r} is neither a file nor a share of right answers. Write scripted:0.6, or "
            "scripted:answers.jsonl with lines of prompt and answer."
        ) from fault
    if not 0.0 <= accuracy <= 1.0:
        raise ConfigError(f"scripted model {text!r}: the share of right answers must lie in [0, 1]")
    engine = ScriptedEngine(scripted_answers(tasks, accuracy))
    facts = {"source": f"scripted:{accuracy:g}", "engine": "scripted", "fingerprint": engine.fingerprint()}
    return OpenModel(engine, f"scripted:{accuracy:g}", facts | _tokenizer_facts(engine))


_LOST = "<think>I do not see it.</think><answer>unknown</answer>"


def scripted_answers(tasks: Iterable[Task], accuracy: float) -> Callable[[str, int], str]:
    """A model without weights that knows the answers and gives them in a share of its runs.

    Right answers are the environment's worked solutions, or the gold answer in its tag; items differ in difficulty, with mean
    `accuracy`. It shows what an evaluation looks like where there is neither a model nor a network.
    """
    tokenizer = ByteTokenizer()
    by_prompt = {prompt_text(tokenizer, task.messages, task.tools).strip(): task for task in tasks}
    ease: dict[str, float] = {}

    def answer(prompt: str, seed: int) -> str:
        # A later turn is asked for with all that was said before it; only the first one is drawn.
        first = prompt if prompt in by_prompt else next((each for each in by_prompt if prompt.startswith(each)), None)
        if first is None or (first == prompt and not _share(prompt, seed, accuracy, ease)):
            return _LOST
        task = by_prompt[first]
        solution = rlvr.spec(task.env_id).solution
        said = f"<answer>{task.answer}</answer>" if solution is None else solution(task)
        return said if isinstance(said, str) else next_turn(said, prompt[len(first) :]) or _LOST

    answer.__qualname__ = f"scripted:{accuracy:g}"  # an engine with a script is known by the script's name
    return answer


def _share(prompt: str, seed: int, accuracy: float, ease: dict[str, float]) -> bool:
    if accuracy in (0.0, 1.0):
        return accuracy == 1.0
    if prompt not in ease:
        # Beta with mean `accuracy` and the spread of real evaluations: most items are nearly always right or wrong.
        digest = int.from_bytes(hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest(), "big")
        ease[prompt] = random.Random(digest).betavariate(1.5 * accuracy, 1.5 * (1 - accuracy))
    return random.Random(derive_seed("scripted", seed)).random() < ease[prompt]


def _endpoint(address: str, served_name: str | None) -> OpenModel:
    from rlvr.generation.openai import OpenAIEngine

    base, _, named = address.partition("#")
    name = served_name or named
    if not name:
        raise ConfigError(
            f"endpoint {address!r}: which of its models? Append it, {base}#MODEL, or give --served-name MODEL."
        )
    engine = OpenAIEngine(base, name)
    facts = {"source": f"{base}#{name}", "engine": "openai", "fingerprint": engine.fingerprint()}
    return OpenModel(engine, name, facts | _tokenizer_facts(engine))


def _local(text: str, kind: str) -> OpenModel:
    from rlvr_trainers.starting import model_folder

    text = model_folder(text)
    folder = Path(text)
    if text.startswith(("/", ".", "~")) and not folder.is_dir():  # said at once, not after torch was imported
        raise ConfigError(
            f"model folder {text!r} does not exist; give a folder or a hub name such as 'Qwen/Qwen2.5-0.5B'"
        )
    is_adapter = (folder / "adapter_config.json").is_file()
    facts: dict[str, Any] = {"source": _shown(folder), "engine": kind}
    if folder.is_dir():
        facts |= provenance.folder_hashes(folder)
        training = provenance.training_run(folder.resolve())
        if training:
            facts["training"] = training
    engine = _with_adapter(folder, kind, facts) if is_adapter else _engine(text, kind)
    if not folder.is_dir():
        facts["revision"] = _revision(text)
    facts["fingerprint"] = engine.fingerprint()
    return OpenModel(engine, _short_name(folder, facts), facts | _tokenizer_facts(engine))


def _engine(path: Any, kind: str) -> Engine:
    if kind == "vllm":
        try:
            from rlvr.generation.vllm import VLLMEngine
        except ImportError as fault:
            raise ConfigError(
                f"vLLM is not usable here ({fault}); pip install 'rlvr[vllm]', or --engine transformers"
            ) from fault
        vllm: Engine = VLLMEngine(path)
        return vllm
    try:
        from rlvr.generation.transformers import TransformersEngine
    except ImportError as fault:
        raise ConfigError(f"a local model needs torch and transformers ({fault}); pip install 'rlvr[train]'") from fault
    return TransformersEngine(path)


def _with_adapter(folder: Path, kind: str, facts: dict[str, Any]) -> Engine:
    """The base model with a LoRA adapter merged into it: merged weights run at full speed on every engine."""
    try:
        from peft import PeftModel
    except ImportError as fault:
        raise ConfigError(f"{str(folder)!r} is a LoRA adapter; it needs peft: pip install 'rlvr[peft]'") from fault
    import torch

    from rlvr.generation.loading import load_model, load_tokenizer

    base = json.loads((folder / "adapter_config.json").read_text("utf-8")).get("base_model_name_or_path")
    if not base:
        raise ConfigError(f"{folder / 'adapter_config.json'} names no base model, so the adapter fits nothing")
    facts["base"] = _shown(Path(base))
    own_tokenizer = any((folder / name).is_file() for name in provenance.TOKENIZER_FILES)
    tokenizer = load_tokenizer(folder if own_tokenizer and (folder / "config.json").is_file() else base)
    device = torch.device("cuda" if torch.cuda.is_available() and kind != "vllm" else "cpu")
    merged = PeftModel.from_pretrained(load_model(base, device, None), str(folder)).merge_and_unload().eval()
    if kind == "transformers":
        from rlvr.generation.transformers import TransformersEngine

        return TransformersEngine(merged, tokenizer)
    place = Path(tempfile.mkdtemp(prefix="rlvr-merged-"))
    merged.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return _engine(str(place), kind)


def _tokenizer_facts(engine: Any) -> dict[str, Any]:
    template = provenance.template_sha256(engine.tokenizer)
    return {"chat_template_sha256": template, "max_model_len": engine.max_model_len}


def _vllm_fits() -> bool:
    if importlib.util.find_spec("vllm") is None or importlib.util.find_spec("rlvr.generation.vllm") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _revision(name: str) -> str | None:
    """The commit of a hub model that was just loaded from the hub's cache."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent.name if isinstance(found, str) else None


def _short_name(folder: Path, facts: dict[str, Any]) -> str:
    if "training" in facts:
        return f"{facts['training']['run']}@{facts['training']['step']}"
    return folder.name if folder.is_dir() else str(folder)


def _shown(folder: Path) -> str:
    """A model's place as a record may show it: a hub name as it is, of a folder on this machine only the last parts."""
    return "/".join(folder.parts[-3:]) if folder.is_absolute() or folder.is_dir() else str(folder)
