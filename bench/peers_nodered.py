"""Node-RED as `bench.peers` runs it: mqtt in, a function, the SQLite node; no editor."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.load import Key
from bench.peers_install import DATA
from bench.peers_run import Peer, wait_until


class NodeRed(Peer):
    """Version 4.1 from npm; stored means inserted and committed (WAL, NORMAL)."""

    name = "nodered"
    client_id = "bench-node-red"
    counting = "SELECT max(id) FROM reading"

    def __init__(self, command: Sequence[str], place: Path, port: int) -> None:
        super().__init__(place, port)
        self._command = list(command)
        self.database = place / "readings.db"

    def start(self) -> None:
        """Start and wait until its flow has made the table."""
        flows = (DATA / "nodered_flows.json").read_text(encoding="utf-8")
        flows = flows.replace("BROKER_PORT", str(self.port))
        flows = flows.replace("DATABASE_PATH", json.dumps(str(self.database))[1:-1])
        (self.place / "flows.json").write_text(flows, encoding="utf-8")
        shutil.copy(DATA / "nodered_settings.js", self.place / "settings.js")
        settings = ["--userDir", str(self.place), "--settings", str(self.place / "settings.js")]
        self.launch([*self._command, *settings])
        wait_until(self._prepared, self.alive, within_s=60)

    def _prepared(self) -> bool:
        return self.database.exists() and bool(
            self.query("SELECT 1 FROM sqlite_master WHERE name = 'reading'")
        )

    def stored(self) -> set[Key]:
        """Return the readings in its table."""
        return {(str(m), int(s)) for m, s in self.query("SELECT meter, seq FROM reading")}
