"""thingsboard-gateway as `bench.peers` runs it: SQLite storage, one worker, no server left.

It starts storing only once it has reached a ThingsBoard server, so a stand-in on a broker of
its own greets it and goes away before the first reading comes: from then on it does nothing
but take readings in and persist them, its fastest case. Its converter passes each message on
whole ("*"); that names no field inside a channel, so it is also measured with all twelve named.
"""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from bench.load import Key, close, connect
from bench.peers_install import DATA
from bench.peers_run import Peer, wait_until
from tests.support.mosquitto import Mosquitto

START = "from thingsboard_gateway.tb_gateway import daemon; daemon()"
STARTED = "Gateway core started"
RPC = "v1/devices/me/rpc"
FIELDS = (
    *("boot", "seq", "up", "t", "dt", "v", "f"),
    *("ch.grid.i", "ch.grid.p", "ch.grid.q", "ch.grid.wh_in", "ch.grid.wh_out"),
)


class ThingsBoardGateway(Peer):
    """Version 3.8.5 from PyPI; stored means committed to its event storage (WAL, NORMAL)."""

    name = "thingsboard"
    client_id = "bench-thingsboard"
    counting = "SELECT max(id) FROM messages"

    def __init__(self, python: Path, place: Path, port: int) -> None:
        super().__init__(place, port)
        self._python = python
        self.database = place / "data" / "data.db"

    def start(self) -> None:
        """Start with a stand-in for its server, which is gone when this returns."""
        with Mosquitto(self.place / "server", persistence=False) as server:
            self._configure(server.port)
            greeter = connect(server.port, "bench-greeter")
            greeter.on_message = answer
            greeter.subscribe(f"{RPC}/request/+", qos=1)
            environment = {**os.environ, "TB_GW_CONFIG_DIR": str(self.place / "config")}
            self.launch([str(self._python), "-c", START], environment)
            wait_until(lambda: STARTED in self.log(), self.alive, within_s=60)
            close(greeter)
        time.sleep(2.0)  # it notices

    def _configure(self, server_port: int) -> None:
        config = self.place / "config"
        config.mkdir()
        (self.place / "logs").mkdir()
        package = self._python.parents[1].glob("lib/python*/site-packages/thingsboard_gateway")
        shutil.copy(next(package) / "config" / "logs.json", config)
        gateway = load("thingsboard_gateway.json")
        gateway["thingsboard"]["port"] = server_port
        gateway["storage"]["data_file_path"] = f"{self.database.parent}/"
        mqtt = load("thingsboard_mqtt.json")
        mqtt["broker"]["port"] = self.port
        mqtt["mapping"][0]["converter"]["timeseries"] = self.timeseries()
        (config / "tb_gateway.json").write_text(json.dumps(gateway), encoding="utf-8")
        (config / "mqtt.json").write_text(json.dumps(mqtt), encoding="utf-8")

    def timeseries(self) -> list[Any]:
        """Return what its converter takes out of a message: all, in one piece."""
        return ["*"]

    def stored(self) -> set[Key]:
        """Return the readings in its event storage."""
        keys: set[Key] = set()
        for (text,) in self.query("SELECT message FROM messages"):
            event = json.loads(text)
            values = [entry["values"] for entry in event["telemetry"]]
            keys |= {(event["deviceName"], int(some["seq"])) for some in values if "seq" in some}
        return keys


class ThingsBoardNamed(ThingsBoardGateway):
    """The same with each of the twelve fields named, as a series of its own on the server."""

    name = "thingsboard_named"

    def timeseries(self) -> list[Any]:
        """Return the twelve fields."""
        return [
            {"type": "double", "key": path.rpartition(".")[2], "value": f"${{{path}}}"}
            for path in FIELDS
        ]


def load(name: str) -> dict[str, Any]:
    """Read a template."""
    loaded: dict[str, Any] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return loaded


def answer(client: Any, _data: object, message: Any) -> None:  # noqa: ANN401 - paho's
    """Answer its question for limits as a server that has none."""
    number = message.topic.rpartition("/")[2]
    client.publish(f"{RPC}/response/{number}", b'{"error":"no limits"}', qos=1)
