"""Start vLLM's API server so that it ends with the process that started it: `python -m rlvr.generation.vllm_launch FLAGS`.

Standard input is a pipe whose other end the starter holds; when that closes, for whatever reason, the server and all its
processes are ended. `python -m` is used because the `vllm` command of the CPU build does not start.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

MODULE = "vllm.entrypoints.openai.api_server"
GRACE_S = 5.0


def _end_with_starter() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgid(0), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(os.getpgid(0), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_starter, daemon=True).start()
    sys.argv[0] = MODULE
    runpy.run_module(MODULE, run_name="__main__")
