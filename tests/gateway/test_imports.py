"""What a gateway without cloud and without addresses must not import."""

import json
import subprocess
import sys

HEAVY = (
    "apprise", "firebase_admin", "google.auth", "google.cloud.firestore", "google.protobuf", "grpc",
    "httpx", "pyarrow", "pandas", "tuf",
)  # fmt: skip
PROGRAM = """
import json, sys
from pathlib import Path
from gateway.app import build, _stages
from gateway.adapters.store.database import Database
from gateway.settings import Settings
settings = Settings.model_validate({"storage": {"path": sys.argv[1]}})
database = Database(settings.storage.path)
parts = build(settings, database)
_stages(parts, lambda: None)
database.close()
print(json.dumps(sorted(sys.modules)))
"""


def test_the_plain_daemon_imports_nothing_it_does_not_use(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"{tmp_path}/w.db"], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    found = set(json.loads(done.stdout.splitlines()[-1]))
    assert not found & set(HEAVY)
    assert {"gateway", "sqlite3", "structlog"} <= found
