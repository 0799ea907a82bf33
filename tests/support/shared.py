"""Where the reference data stands; never part of the project."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def shared_data() -> Path | None:
    """Return `$WATTWARDEN_SHARED/data`, else `../shared/data`, or None when absent."""
    named = os.environ.get("WATTWARDEN_SHARED")
    base = Path(named) if named else ROOT.parent / "shared"
    data = base / "data"
    return data if data.is_dir() else None
