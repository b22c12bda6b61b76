"""What each rank of a sharded learner runs in test_vllm_transfer: `python sending_ranks.py MODEL URL TRANSFER`."""

from __future__ import annotations

import sys

import torch
from transformers import AutoModelForCausalLM

from rlvr.generation.vllm_server import VLLMServerEngine
from rlvr_trainers.distributed import close_ranks, open_ranks
from rlvr_trainers.sharding import Spread
from rlvr_trainers.weight_sync import sync_weights

if __name__ == "__main__":
    folder, url, transfer = sys.argv[1:]
    ranks = open_ranks()
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    spread = Spread(model, ranks)
    engine = VLLMServerEngine(url, folder, transfer=transfer) if ranks.main else None  # type: ignore[arg-type]
    for version in (31, 32):
        sync_weights(engine, model, version=version, spread=spread)  # raises unless the server's answers prove it
        print("served", version, flush=True)
    if engine is not None:
        engine.close()
    close_ranks()
