#!/bin/bash
# Makes an environment of its own with Home Assistant core and what its MQTT integration,
# recorder and energy need: they ask for exact versions that differ from ours.
# Usage: make_ha_venv.sh PYTHON DIRECTORY
set -eu -o pipefail
python=$1
directory=$2
# The newest one that runs on Python 3.11.
version=2024.3.3
[ -x "$directory/bin/python" ] || "$python" -m venv "$directory"
"$directory/bin/pip" install --quiet --disable-pip-version-check "homeassistant==$version"
mapfile -t wanted < <("$directory/bin/python" - <<'PYTHON'
"""Print what some integrations and those they depend on require."""
import json
from pathlib import Path

import homeassistant.components

folder = Path(homeassistant.components.__path__[0])
seen, waiting = set(), ["mqtt", "recorder", "sensor", "binary_sensor", "http", "energy"]
while waiting:
    domain = waiting.pop()
    if domain not in seen:
        seen.add(domain)
        manifest = json.loads((folder / domain / "manifest.json").read_text())
        waiting += manifest.get("dependencies", [])
        for requirement in manifest.get("requirements", []):
            print(requirement)
PYTHON
)
"$directory/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}"
