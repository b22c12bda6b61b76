"""TRL's GRPOTrainer plays one of our games of several turns through `environment_factory`, on a CPU.

    pip install 'rlvr[trl]' && python examples/exports/trl_environment.py

A tiny model from nothing is first shown how a tool call is written, with a guess drawn at random; then TRL samples episodes
in which the game answers, and trains on the game's own outcome. The rewards in its log are neither all 0 nor all 1: the game
is really played.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from rlvr_envs.adapters.trl import trl_environment
from rlvr_trainers.tiny import ASCII, build_tiny_model

ASK = [{"role": "user", "content": "Play. "}]
TEMPLATE = Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja"
GAME = {"largest": 4, "spare": 0}


def tiny_chat_model(folder: str) -> tuple[Any, Any]:
    """A model of random weights and a character tokenizer with Qwen3's chat format."""
    build_tiny_model(folder, alphabet=ASCII, layers=2, hidden=64, heads=2, max_length=4096)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"], "eos_token": "<|im_end|>"})
    tokenizer.chat_template = TEMPLATE.read_text()
    model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    return tokenizer, model


def show_tool_calls(tokenizer: Any, model: Any, env: Any, steps: int) -> None:
    """Supervised updates on calls of `act` with random guesses, so that sampling writes calls that can be read."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    rng = random.Random(0)
    for step in range(steps):
        chat: list[dict[str, Any]] = [{"role": "user", "content": ASK[0]["content"] + env.reset(index=1000 + step)}]
        for _ in range(rng.randint(1, 2)):
            if chat[-1]["role"] == "assistant":
                chat.append({"role": "tool", "name": "act", "content": env.act(guess)})  # noqa: F821 (of the turn before)
            guess = str(rng.randint(1, GAME["largest"]))
            call = {"type": "function", "function": {"name": "act", "arguments": {"text": guess}}}
            chat.append({"role": "assistant", "content": "", "tool_calls": [call]})
        text = tokenizer.apply_chat_template(chat, tools=[env.act], tokenize=False).rstrip("\n")
        start = text.rindex("<|im_start|>assistant\n") + len("<|im_start|>assistant\n")
        head, tail = (tokenizer(part, return_tensors="pt").input_ids for part in (text[:start], text[start:]))
        ids = torch.cat([head, tail], 1)
        labels = ids.clone()
        labels[:, : head.shape[1]] = -100
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 49:
            print(f"step {step + 1}: loss {loss.item():.3f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer, model = tiny_chat_model(str(Path(folder, "model")))
        factory = trl_environment("game/guess-number-v0", **GAME)
        show_tool_calls(tokenizer, model, factory(), steps=300)
        trainer = GRPOTrainer(
            model,
            processing_class=tokenizer,
            environment_factory=factory,
            train_dataset=Dataset.from_list([{"prompt": ASK, "index": index} for index in range(64)]),
            args=GRPOConfig(
                output_dir=str(Path(folder, "trl")),
                max_steps=3,
                per_device_train_batch_size=4,
                num_generations=4,
                max_completion_length=400,
                max_tool_calling_iterations=3,
                temperature=0.7,
                logging_steps=1,
                report_to=[],
                use_cpu=True,
            ),
        )
        trainer.train()
        logs = [entry for entry in trainer.state.log_history if "reward" in entry]
        print("rewards by TRL's log:", [round(entry["reward"], 3) for entry in logs])
        print("calls of act an episode:", [round(entry["tools/call_frequency"], 2) for entry in logs])
