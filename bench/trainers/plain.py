"""The update as one plain PyTorch loop: the floor that a trainer's overhead is held to."""

from __future__ import annotations

import random
import resource
import sys
from typing import Any

import torch
from task import MAX_TOKENS, SETTINGS, Recorder, problems, score
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer


@torch.no_grad()
def sample(model: Any, ids: Tensor, mask: Tensor, pad_id: int, eos_id: int) -> tuple[Tensor, Tensor]:
    """Multinomial sampling with a key-value cache: completions and their mask."""
    tokens, masks = [], []
    alive = torch.ones(len(ids), dtype=torch.bool)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    past, step_ids = None, ids
    for _ in range(MAX_TOKENS):
        reply = model(
            input_ids=step_ids, attention_mask=mask, position_ids=positions, past_key_values=past, use_cache=True
        )
        past = reply.past_key_values
        token = torch.multinomial(torch.softmax(reply.logits[:, -1], -1), 1).squeeze(1)
        token = torch.where(alive, token, pad_id)
        tokens.append(token)
        masks.append(alive.clone())
        alive = alive & (token != eos_id)
        if not alive.any():
            break
        step_ids, positions = token[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, torch.ones_like(step_ids)], 1)
    return torch.stack(tokens, 1), torch.stack(masks, 1)


def main(folder: str, out: str, seed: int) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = random.Random(seed)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=SETTINGS["learning_rate"], weight_decay=0.0)
    group, train, recorder = SETTINGS["group_size"], problems(), Recorder()
    recorder.start()
    for _ in range(SETTINGS["max_steps"]):
        rows = [row for row in rng.sample(train, SETTINGS["prompts_per_step"]) for _ in range(group)]
        encoded = tokenizer([row["prompt"] for row in rows], return_tensors="pt", padding=True)
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        completions, kept = sample(model, ids, mask, tokenizer.pad_token_id, tokenizer.eos_token_id)
        texts = tokenizer.batch_decode(completions, skip_special_tokens=True)
        rewards = torch.tensor([score(text, row["answer"]) for text, row in zip(texts, rows, strict=True)])
        grouped = rewards.view(-1, group)
        advantages = (grouped - grouped.mean(1, keepdim=True)) / (grouped.std(1, keepdim=True) + 1e-4)
        full, full_mask = torch.cat([ids, completions], 1), torch.cat([mask, kept.long()], 1)
        logits = model(input_ids=full, attention_mask=full_mask).logits[:, ids.shape[1] - 1 : -1]
        logprobs = torch.log_softmax(logits, -1).gather(-1, completions[..., None]).squeeze(-1)
        ratio = torch.exp(logprobs - logprobs.detach())
        (-(ratio * advantages.view(-1, 1) * kept).sum() / kept.sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["max_grad_norm"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        recorder.step(rewards.mean().item())
    recorder.save(out, peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
