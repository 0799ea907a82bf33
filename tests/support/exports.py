"""Reading back what the product stored, through its own command line."""

import csv
import io
import json
import threading
from collections.abc import Iterable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.daemon import Daemon

RAW_COLUMNS = ["t", "boot", "seq", "n", "dt", "v", "f", "i", "p", "q", "wh_in", "wh_out", "flags"]
INTEGERS = {"t", "boot", "seq", "n", "dt"}
BEGINNING = "0"
END = "4102444800000"  # 2100-01-01, Unix ms
Row = dict[str, Any]


def export_csv(daemon: Daemon, meter: str, channel: str = "grid") -> str:
    """Return the raw export of everything one channel has, as CSV text."""
    return daemon.cli_ok(
        "export",
        *("--meter", meter, "--channel", channel, "--start", BEGINNING, "--end", END),
        *("--format", "csv"),
        within_s=300,
    )


def parse_csv(text: str) -> list[Row]:
    """Read a raw CSV export: numbers as numbers, an empty cell as None, flags as text."""
    reader = csv.DictReader(io.StringIO(text))
    assert reader.fieldnames == RAW_COLUMNS
    return [{key: _cell(key, value) for key, value in row.items()} for row in reader]


def _cell(key: str, value: str) -> Any:  # noqa: ANN401 - int, float, str or None
    if key == "flags":
        return value
    if value == "":
        return None
    return int(value) if key in INTEGERS else float(value)


def export_rows(daemon: Daemon, meter: str, channel: str = "grid") -> list[Row]:
    """Return the raw export of everything one channel has."""
    return parse_csv(export_csv(daemon, meter, channel))


def expected_row(reading: Row, channel: str = "grid") -> Row:
    """Return the raw export's row of a reading whose `t` is kept and that has no flags."""
    names = ("i", "p", "q", "wh_in", "wh_out")
    head = {key: reading[key] for key in ("t", "boot", "seq", "dt", "v", "f")}
    values = {name: reading["ch"][channel].get(name) for name in names}
    return {**head, "n": 1, **values, "flags": ";".join(reading.get("flags", []))}


def assert_stored_once(rows: Iterable[Row], readings: Iterable[Row]) -> None:
    """Fail unless the export holds exactly these readings, each once, with equal values."""
    wanted = {(r["boot"], r["seq"]): expected_row(r) for r in readings}
    got = list(rows)
    keys = [(row["boot"], row["seq"]) for row in got]
    twice = sorted({key for key in keys if keys.count(key) > 1}) if _repeats(keys) else []
    missing = sorted(wanted.keys() - set(keys))
    extra = sorted(set(keys) - wanted.keys())
    assert (missing[:5], twice[:5], extra[:5]) == ([], [], [])
    for row in got:
        assert row == wanted[row["boot"], row["seq"]]


def _repeats(keys: list[tuple[int, int]]) -> bool:
    return len(keys) != len(set(keys))


def retained(port: int, topic: str, *, within_s: float = 5.0) -> Any:  # noqa: ANN401 - any JSON
    """Return the decoded retained message of a topic, or None when there is none."""
    found: list[bytes] = []
    arrived = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2)

    def on_connect(*_: object) -> None:
        client.subscribe(topic, qos=1)

    def on_message(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        found.append(bytes(message.payload))
        arrived.set()

    client.on_connect = on_connect
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.loop_start()
    arrived.wait(within_s)
    client.disconnect()
    client.loop_stop()
    return json.loads(found[0]) if found else None
