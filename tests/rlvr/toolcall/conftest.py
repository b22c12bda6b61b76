"""A tool set and one right call, shared by the tests of the tool-call verifier."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def tools() -> list[dict[str, Any]]:
    """Two tools: one with every kind of argument, one with a single number."""
    properties = {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"type": "string", "enum": ["celsius", "kelvin"], "default": "celsius"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "place": {"type": "object", "properties": {"lat": {"type": "number"}, "name": {"type": "string"}}},
        "hourly": {"type": "boolean"},
    }
    weather = {"type": "object", "properties": properties, "required": ["city"]}
    return [
        {"type": "function", "function": {"name": "geo.weather", "description": "Forecast", "parameters": weather}},
        {
            "name": "square_root",
            "parameters": {"type": "dict", "properties": {"x": {"type": "float"}}, "required": ["x"]},
        },
    ]


@pytest.fixture
def gold() -> list[dict[str, Any]]:
    """The wanted call, with a dotted name and nested values."""
    place = {"lat": 59.5, "name": "Zürich"}
    return [{"name": "geo.weather", "arguments": {"city": "Oslo", "days": 3, "tags": ["rain", "wind"], "place": place}}]


@pytest.fixture(scope="session")
def bfcl() -> Path:
    """The folder of BFCL's rows, which is not part of the repository."""
    folder = Path(os.environ.get("RLVR_DATA", "")) / "bfcl"
    if "RLVR_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("RLVR_DATA does not point to a folder with bfcl/")
    return folder
