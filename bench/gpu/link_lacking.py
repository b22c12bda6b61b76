"""Link those packages of a folder that this Python cannot import: `link_lacking.py FOLDER TARGET`.

PYTHONPATH goes before what is installed, so the whole folder on it would shadow packages that the machine has.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path


def lacking(entry: str) -> bool:
    """Whether this package, module or metadata folder is not installed."""
    if entry.endswith(".dist-info"):
        try:
            importlib.metadata.version(entry.split("-")[0])
        except importlib.metadata.PackageNotFoundError:
            return True
        return False
    return importlib.util.find_spec(entry.split(".")[0]) is None


def main(folder: str, target: str) -> None:
    for entry in Path(folder).resolve().iterdir():
        if entry.name != "bin" and lacking(entry.name):
            (Path(target) / entry.name).symlink_to(entry)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
