"""Packs the built app into the wheel, so that the gateway needs no Node.js."""

import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILD = "tools/build_dashboard.sh"
INSIDE = "gateway/web/static/app"


class AppHook(BuildHookInterface):
    """Adds dashboard/dist to wheels; an editable installation serves that folder itself."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to pack; build them first where they are missing (needs Node.js)."""
        if version == "editable":
            return
        built = Path(self.root) / "dashboard" / "dist"
        if not (built / "index.html").is_file():
            subprocess.run([Path(self.root) / BUILD], check=True)  # noqa: S603 - the project's own
        target = "dashboard/dist" if self.target_name == "sdist" else INSIDE
        for path in sorted(built.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                inside = f"{target}/{path.relative_to(built).as_posix()}"
                build_data["force_include"][str(path)] = inside
