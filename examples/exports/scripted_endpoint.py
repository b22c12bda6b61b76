"""An OpenAI-compatible endpoint whose model is a Python function, so that the examples beside this file need no GPU."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def endpoint(reply: Callable[[list[dict[str, Any]]], str]) -> Iterator[str]:
    """Serves chat completions made by `reply(messages)` on a free port of this machine; gives the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = {"role": "assistant", "content": reply(body["messages"])}
            common = {"id": "scripted", "created": int(time.time()), "model": body["model"]}
            if body.get("stream"):
                chunks = [{"delta": message, "finish_reason": None}, {"delta": {}, "finish_reason": "stop"}]
                lines = [
                    json.dumps({**common, "object": "chat.completion.chunk", "choices": [{"index": 0, **chunk}]})
                    for chunk in chunks
                ]
                self.send("text/event-stream", "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"]))
            else:
                choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
                self.send("application/json", json.dumps({**common, "object": "chat.completion", "choices": choices}))

        def send(self, kind: str, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
