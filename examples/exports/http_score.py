"""The scoring service as another program uses it: `rlvr serve`, tasks, verdicts, a request that is far too large.

pip install 'rlvr[view]' && python examples/exports/http_score.py
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import httpx


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(client: httpx.Client) -> None:
    """Prints what the service answers."""
    for _ in range(600):
        try:
            print("GET  /health", client.get("/health").json())
            break
        except httpx.ConnectError:
            time.sleep(0.1)
    asked = {"env_id": "logic/countdown-v0", "split": "train", "n": 3, "level": 0}
    tasks = client.post("/tasks", json=asked).json()["tasks"]
    print("POST /tasks ", tasks[0]["prompt"][:70], "...")
    texts = [f"<answer>{tasks[0]['answer']}</answer>", "<answer>1 + 1</answer>", "__import__('os').system('true')"]
    items = [{"task": task, "text": text} for task, text in zip(tasks, texts, strict=True)]
    scores = client.post("/score", json={"items": items}).json()["scores"]
    print("POST /score ", [(score["reward"], score["reason"]) for score in scores])
    large = client.post("/score", content=b"x" * (10 << 20))
    print("10 MB       ", large.status_code, large.json()["error"])
    print("after that  ", client.post("/score", json={"items": items[:1]}).json()["scores"][0]["reward"])


if __name__ == "__main__":
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "rlvr", "serve", "--port", str(port)])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            main(client)
    finally:
        server.terminate()
        server.wait()
