#!/usr/bin/env bash
# The one call on a GPU machine: everything of bench/gpu_all.py, with what bench/gpu/pack.sh made where that was carried along.
#
#     bench/gpu/run.sh [arguments of bench/gpu_all.py]
#
# It installs nothing. Of what was carried, only packages that the machine lacks are used.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}

if [ -d build/gpu-site ]; then
    lacking=$(mktemp -d)
    trap 'rm -rf "$lacking"' EXIT
    "$python" bench/gpu/link_lacking.py build/gpu-site "$lacking"
    export PYTHONPATH="$lacking${PYTHONPATH:+:$PYTHONPATH}"
fi
"$python" - <<'PYTHON'
import importlib.util
import sys

needed = ("torch", "transformers", "safetensors", "gymnasium", "sympy", "cloudpickle", "typer", "rich", "jsonschema")
if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
    sys.exit(f"{', '.join(missing)} cannot be imported here; make build/gpu-site with bench/gpu/pack.sh and carry it along")
PYTHON
"$python" bench/gpu_all.py "$@"
