"""Remembers what the installer wrote, so that people's own edits are never overwritten."""

import hashlib
import json
from pathlib import Path

from gateway.adapters.installer.layout import Layout


class Record:
    """File names with the sha256 of what we put there (`/opt/wattwarden/installed.json`)."""

    def __init__(self, layout: Layout) -> None:
        """Read what an earlier installation noted; a damaged record counts as none."""
        self._layout = layout
        self.files: dict[str, str] = {}
        self.facts: dict[str, str] = {}
        try:
            kept = json.loads(layout.record.read_text())
            self.files = {str(name): str(found) for name, found in kept["files"].items()}
            self.facts = {str(name): str(value) for name, value in kept["facts"].items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            self.files = {}
            self.facts = {}

    def note(self, path: Path, content: bytes) -> None:
        """Remember what we have just written."""
        self.files[self._layout.shown(path)] = hashlib.sha256(content).hexdigest()

    def changed(self, path: Path) -> bool:
        """Tell whether somebody has changed a file since we wrote it, or wrote it before us."""
        ours = self.files.get(self._layout.shown(path))
        return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() != ours

    def text(self) -> bytes:
        """Return it as it is kept on disk."""
        kept = {"files": dict(sorted(self.files.items())), "facts": self.facts}
        return json.dumps(kept, indent=1).encode() + b"\n"
