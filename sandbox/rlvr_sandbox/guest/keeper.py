"""Keeps one fork server alive exactly as long as its host: started as a script, one per worker.

It makes the cell, starts the fork server in it and waits for the first of: the host's word or hang-up on the leash, the
host's death (by pidfd, because the death signal of prctl(2) would follow the thread that happened to start us), the
fork server's end. Then it ends everything below it. argv[1] is JSON, see `worker.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import sys
from typing import Any

sys.path.insert(0, json.loads(sys.argv[1])["package"])

from rlvr_sandbox.guest import cell, linux, usage


def main() -> None:
    config: dict[str, Any] = json.loads(sys.argv[1])
    # Thread stacks are as large as this at exec; smaller ones let honest programs have a hundred threads.
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, hard))
    os.setsid()  # Ctrl-C at the host's terminal is the host's to handle
    if sys.platform == "linux":
        linux.adopt_orphans()
    for entrance in config["cgroups"]:
        with contextlib.suppress(OSError), open(entrance, "w") as file:
            file.write("0")
    process = cell.start(config)
    os.close(config["control"])
    os.close(config["jobs"])
    watched = select.poll()
    watched.register(config["leash"], select.POLLIN)
    if config["host"] >= 0:
        watched.register(config["host"], select.POLLIN)
    ended = os.pidfd_open(process) if hasattr(os, "pidfd_open") else -1
    if ended >= 0:
        watched.register(ended, select.POLLIN)
    while not watched.poll(None if ended >= 0 else 200) and (ended >= 0 or os.waitpid(process, os.WNOHANG)[0] == 0):
        pass
    with contextlib.suppress(OSError):
        os.kill(process, signal.SIGKILL)
    if sys.platform == "linux":
        usage.sweep(os.getpid())
    shutil.rmtree(config["folder"], ignore_errors=True)


if __name__ == "__main__":
    main()
