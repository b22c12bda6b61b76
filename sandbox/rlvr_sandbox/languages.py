"""Programs in other languages through the same cell, with a compile step where the language has one."""

from __future__ import annotations

import os
import shutil
from typing import Any, Literal

from rlvr.errors import ConfigError
from rlvr_sandbox.execute import Execution, run_program
from rlvr_sandbox.limits import Limits
from rlvr_sandbox.worker import Worker

Language = Literal["python", "cpp", "javascript", "bash"]
LANGUAGES: tuple[Language, ...] = ("python", "cpp", "javascript", "bash")

_TOOLS: dict[str, tuple[str, ...]] = {"cpp": ("g++", "clang++"), "javascript": ("node", "nodejs"), "bash": ("bash",)}
_FILES = {"cpp": "main.cpp", "javascript": "main.js", "bash": "main.sh"}
_COMPILE_LIMITS = Limits(timeout_s=30.0, memory_mb=2048, output_bytes=64 << 20)


def check_language(name: str) -> Language:
    """The language of this name. Raises ConfigError."""
    for language in LANGUAGES:
        if language == name:
            return language
    raise ConfigError(f"there is no language {name!r}; there are {', '.join(LANGUAGES)}. Nothing was run.")


def tool(language: Language) -> str:
    """Path of the compiler or interpreter. Raises ConfigError if it is not where a cell can see it."""
    for name in _TOOLS[language]:
        found = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
        if found and os.path.realpath(found).startswith(("/usr/", "/bin/")):
            return found
    raise ConfigError(
        f"language {language!r} needs {' or '.join(_TOOLS[language])} below /usr, which this machine has not. Nothing was run."
    )


def compile_job(worker: Worker, code: str, language: Language) -> dict[str, bytes] | Execution:
    """The files a run needs; the failed compilation if it is no program of the language."""
    source = code.encode("utf-8", "surrogatepass")
    name = _FILES[language]
    program = tool(language)
    if language != "cpp":
        return {name: source}
    command = f"{program} -O2 -std=c++17 -pipe -o program {name} && exec cat program"
    job = {"kind": "command", "argv": ["/bin/sh", "-c", command], "files": {name: source}, "memory_mb": 0}
    # The binary leaves as the standard output of its compilation, so no file is ever shared between runs.
    done = run_program(worker, job, b"", _COMPILE_LIMITS)
    if done.verdict != "OK":
        return done
    return {"program": done.stdout}


def run_job(language: Language, files: dict[str, bytes]) -> dict[str, Any]:
    """The job that runs what `compile_job` made."""
    if language == "cpp":
        return {"kind": "command", "argv": ["./program"], "files": files}
    job: dict[str, Any] = {"kind": "command", "argv": [tool(language), _FILES[language]], "files": files}
    if language == "javascript":
        job["memory_mb"] = 0  # V8 reserves address space by the gigabyte; resident memory is watched all the same
    return job
