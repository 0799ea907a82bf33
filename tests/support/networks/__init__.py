"""The small network that tests run (tools/make_test_network.py makes it)."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def dense() -> bytes:
    """Return the int8 network."""
    return (FOLDER / "dense.tflite").read_bytes()


def dense_told() -> dict[str, Any]:
    """Return its charts, its card, and rows with what the network of floats makes of them."""
    told: dict[str, Any] = json.loads((FOLDER / "dense.json").read_text(encoding="utf-8"))
    return told
