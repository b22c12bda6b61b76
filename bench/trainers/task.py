"""The task that every trainer of the benchmark learns: one-digit addition as characters, rewarded by exact match.

One model, one warm start, one set of settings: only the trainer differs between two runs.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from pathlib import Path
from typing import Any

ALPHABET = "0123456789+="
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
MAX_TOKENS = 4
"""The longest sum of two digits, its end token, and one to go wrong."""
SETTINGS: dict[str, Any] = {
    "prompts_per_step": 32,
    "group_size": 8,
    "learning_rate": 3e-4,
    "max_grad_norm": 1.0,
    "max_steps": 110,
    "goal": 0.9,
    "goal_window": 5,
}


def problems() -> list[dict[str, str]]:
    """The 80 training problems: all pairs of digits but 20."""
    pairs = [(a, b) for a in range(10) for b in range(10)]
    random.Random(0).shuffle(pairs)
    return [{"prompt": f"{a}+{b}=", "answer": str(a + b)} for a, b in pairs[20:]]


def score(completion: str, answer: str) -> float:
    """1.0 if the decoded completion is the answer."""
    return 1.0 if completion == answer else 0.0


def make_model(folder: Path, *, target: float = 0.3, seed: int = 0) -> float:
    """Write a tiny model, trained on answers until `target` of those it samples are right; returns that share."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlvr_trainers.tiny import build_tiny_model

    build_tiny_model(folder, alphabet=ALPHABET, seed=seed, max_length=64, chat_template=CHAT_TEMPLATE)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    rng, rows, share = random.Random(seed), problems(), 0.0
    torch.manual_seed(seed)
    while share < target:
        texts = [row["prompt"] + row["answer"] + tokenizer.eos_token for row in rng.choices(rows, k=256)]
        batch = tokenizer(texts, return_tensors="pt", padding=True)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        equals = tokenizer.convert_tokens_to_ids("=")
        after = (batch["input_ids"] == equals).long().cumsum(1) - (batch["input_ids"] == equals).long()
        labels = labels.masked_fill(after == 0, -100)
        model(**batch, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        share = sampled_accuracy(model, tokenizer)
    model.save_pretrained(folder)
    return share


def sampled_accuracy(model: Any, tokenizer: Any) -> float:
    """Share of right answers when each training problem is sampled eight times."""
    import torch

    rows = [row for row in problems() for _ in range(8)]
    prompts = tokenizer([row["prompt"] for row in rows], return_tensors="pt", padding=True)
    with torch.no_grad():
        out = model.generate(**prompts, max_new_tokens=MAX_TOKENS, do_sample=True, top_k=0)
    texts = tokenizer.batch_decode(out[:, prompts["input_ids"].shape[1] :], skip_special_tokens=True)
    return statistics.mean(score(text, row["answer"]) for text, row in zip(texts, rows, strict=True))


class Recorder:
    """One row an optimizer step: reward, and processor and wall seconds since the start."""

    def __init__(self) -> None:
        self.rewards: list[float] = []
        self.processor_s: list[float] = []
        self.wall_s: list[float] = []

    def start(self) -> None:
        """Training begins."""
        self._processor, self._wall = time.process_time(), time.perf_counter()

    def step(self, reward: float) -> None:
        """An optimizer step is done."""
        self.rewards.append(reward)
        self.processor_s.append(time.process_time() - self._processor)
        self.wall_s.append(time.perf_counter() - self._wall)

    def save(self, path: str, **facts: Any) -> None:
        """Write what was recorded for the table."""
        Path(path).write_text(json.dumps({**vars(self), **facts}))
