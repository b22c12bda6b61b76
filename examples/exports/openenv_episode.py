"""An episode of one of our games over OpenEnv's protocol: their server, their client, our environment.

pip install 'rlvr[openenv]' && python examples/exports/openenv_episode.py
"""

from __future__ import annotations

import re
import threading
import time

import uvicorn
from openenv import GenericEnvClient

from rlvr import ScoringPool
from rlvr_envs.adapters.openenv import make_openenv


def play(url: str, index: int) -> float:
    """Guesses a number by halving the interval; the reward."""
    with GenericEnvClient(base_url=url).sync() as env:
        result = env.reset(index=index, split="eval")
        prompt = result.observation["text"]
        print(f"{env.state()['task_id']}: {prompt}")
        low, high = 1, int(re.search(r"from 1 to (\d+)", prompt)[1])
        while not result.done:
            guess = (low + high) // 2
            result = env.step({"text": str(guess)})
            hint = result.observation["text"] or f"reward {result.reward:g}, {result.observation['reason']}"
            print(f"  {guess}: {hint}")
            low, high = (guess + 1, high) if hint.startswith("higher") else (low, guess - 1)
        return float(result.reward)


if __name__ == "__main__":
    with ScoringPool(2, 5.0) as pool:
        config = uvicorn.Config(make_openenv("game/guess-number-v0", pool=pool), port=0, log_level="warning")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        rewards = [play(f"http://127.0.0.1:{port}", index) for index in range(3)]
        server.should_exit = True
        thread.join()
    print("rewards", rewards)
