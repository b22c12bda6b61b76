#!/usr/bin/env bash
# What a GPU machine without a network lacks beside torch, transformers and numpy, as one folder to carry there.
#
#     bench/gpu/pack.sh [PYTHON] [base|trl]        -> build/gpu-site  (about 20 MB; with TRL about 200 MB)
#
# Only wheels are taken, for PYTHON (default 3.12) on Linux; versions are those that pip finds today.
set -euo pipefail
cd "$(dirname "$0")/../.."

python_version=${1:-3.12}
what=${2:-base}
packages=(gymnasium farama-notifications cloudpickle sympy mpmath typer click shellingham rich markdown-it-py mdurl pygments
    annotated-doc jsonschema jsonschema-specifications referencing rpds-py attrs typing-extensions pytest pluggy iniconfig packaging httpx
    httpcore h11 anyio idna certifi sniffio)
if [ "$what" = trl ]; then
    packages+=(trl accelerate datasets psutil pyarrow pandas dill multiprocess xxhash fsspec aiohttp aiohappyeyeballs
        aiosignal frozenlist multidict propcache yarl jinja2 markupsafe python-dateutil pytz tzdata six)
fi
rm -rf build/gpu-site
"${PYTHON:-python3}" -m pip install --quiet --no-deps --target build/gpu-site --only-binary=:all: \
    --python-version "$python_version" --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
    --platform manylinux2014_x86_64 --platform any "${packages[@]}"
find build/gpu-site -name __pycache__ -prune -exec rm -rf {} +
du -sh build/gpu-site
