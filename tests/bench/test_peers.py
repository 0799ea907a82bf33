"""The bench against peers: its arithmetic, its set-up, and that it counts what is really lost."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bench import peers_install
from bench.common import Result
from bench.load import METERS, PAYLOAD_BYTES, key_of, meter_name, payload
from bench.peers import LIMITS, main, ratios, worst
from bench.peers_install import DATA, PeerUnavailableError, headers_of, run
from bench.peers_nodered import NodeRed
from bench.peers_run import BROKER_OPTIONS, Peer, run_kill, run_speed, wait_until
from bench.peers_thingsboard import FIELDS, ThingsBoardGateway, ThingsBoardNamed, load
from tests.support.mosquitto import Mosquitto

TOTAL = 2000
# The least peer there can be: commits each message after acknowledging it.
LEAST = """
import sqlite3, sys
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
port, path, keep, ahead = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
db.execute("PRAGMA journal_mode = WAL")
db.execute("CREATE TABLE reading (id INTEGER PRIMARY KEY, topic TEXT, body BLOB)")
waiting = []
def take(client, data, message):
    waiting.append((message.topic, message.payload))
    if len(waiting) >= keep + ahead:
        db.execute("BEGIN")
        db.executemany("INSERT INTO reading (topic, body) VALUES (?, ?)", waiting[:keep])
        db.execute("COMMIT")
        del waiting[:keep]
client = paho.Client(CallbackAPIVersion.VERSION2, client_id="least", clean_session=False)
client.on_message = take
client.connect("127.0.0.1", port)
client.subscribe("ww/v1/+/readings", 1)
client.loop_forever()
"""


class LeastPeer(Peer):
    """Acknowledges at once and commits every `keep` messages, when `ahead` more have come."""

    name = "least"
    client_id = "least"
    counting = "SELECT max(id) FROM reading"

    def __init__(self, place: Path, port: int, keep: int, ahead: int = 0) -> None:
        super().__init__(place, port)
        self.database = place / "readings.db"
        self._sizes = [str(keep), str(ahead)]

    def start(self) -> None:
        arguments = [str(self.port), str(self.database), *self._sizes]
        self.launch([sys.executable, "-c", LEAST, *arguments])
        wait_until(self.database.exists, self.alive, within_s=20)

    def stored(self) -> set[tuple[str, int]]:
        return {
            key_of(topic, body) for topic, body in self.query("SELECT topic, body FROM reading")
        }


@pytest.fixture
def broker(tmp_path: Path) -> Mosquitto:
    return Mosquitto(tmp_path / "broker", options=BROKER_OPTIONS)


def test_a_peer_that_keeps_all_is_timed(tmp_path: Path, broker: Mosquitto) -> None:
    with broker, LeastPeer(tmp_path / "peer", broker.port, keep=100) as peer:
        figures = run_speed(peer, broker, TOTAL)
    assert figures["least_readings_per_s"] > 100
    assert figures["least_cpu_s_per_10k"] > 0
    assert figures["least_peak_rss_mb"] > 5


def test_what_was_acknowledged_and_not_committed_counts_as_lost(
    tmp_path: Path,
) -> None:
    for attempt in range(5):  # its acknowledgements may be on their way when it is killed
        broker = Mosquitto(tmp_path / f"broker{attempt}", options=BROKER_OPTIONS)
        place = tmp_path / f"peer{attempt}"
        with broker, LeastPeer(place, broker.port, keep=TOTAL // 2, ahead=50) as peer:
            lost = run_kill(peer, broker, TOTAL)["least_lost_on_kill"]
            kept = len(peer.stored())
        assert kept == TOTAL // 2
        if lost:
            break
    # When half is committed it has acknowledged what it only holds, and more until the kill.
    assert 0 < lost <= TOTAL // 2


def test_a_peer_that_ends_says_why(tmp_path: Path) -> None:
    with LeastPeer(tmp_path / "peer", 1, keep=1) as peer:
        peer.launch([sys.executable, "-c", "raise SystemExit('no such thing')"])
        with pytest.raises(RuntimeError, match="no such thing"):
            wait_until(lambda: False, peer.alive, within_s=20)


def test_every_reading_of_the_load_has_the_promised_size() -> None:
    bodies = [payload(seq, 1_790_000_000_000, 12_120_345.12 + seq) for seq in (0, 9, 999, 99_999)]
    assert {len(body) for body in bodies} == {PAYLOAD_BYTES}
    assert key_of(f"ww/v1/{meter_name(7)}/readings", bodies[2]) == ("bench-07", 999)
    reading = json.loads(bodies[0])
    assert len(reading) - 1 + len(reading["ch"]["grid"]) == 12


def test_the_limits_are_ratios_of_the_same_run() -> None:
    own = {"readings_per_s_acked": 12_000.0, "readings_per_s_judged": 8_000.0, "cpu_s_per_10k": 1.2}
    peers = {
        "thingsboard_readings_per_s": 2_000.0,
        "thingsboard_cpu_s_per_10k": 4.8,
        "nodered_readings_per_s": 10_000.0,
    }
    found = ratios(own | peers) | {"lost_on_kill": 0.0, "twice_after_kill": 0.0}
    assert Result("peers", found, LIMITS).ok()
    assert not Result("peers", found | {"lost_on_kill": 1.0}, LIMITS).ok()
    slower = ratios(own | peers | {"nodered_readings_per_s": 10_001.0})
    assert not Result("peers", found | slower, LIMITS).ok()


def test_one_reading_lost_in_one_round_is_not_hidden_by_the_median() -> None:
    rounds = [{"lost_on_kill": lost, "twice_after_kill": 0.0} for lost in (0.0, 1.0, 0.0)]
    assert worst(rounds) == {"lost_on_kill": 1.0, "twice_after_kill": 0.0}


def test_an_unreachable_registry_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PeerUnavailableError, match=r"could not fetch it .*registry reachable"):
        run("fetch it", [sys.executable, "-c", "raise SystemExit(1)"])
    monkeypatch.setattr("bench.peers_install.shutil.which", lambda _: None)
    with pytest.raises(PeerUnavailableError, match=r"Node\.js 18"):
        peers_install.node_red_start()

    def unreachable() -> Path:
        msg = "could not get thingsboard-gateway from PyPI"
        raise PeerUnavailableError(msg)

    monkeypatch.setattr("bench.peers.thingsboard_python", unreachable)
    monkeypatch.setattr(sys, "argv", ["peers", "--quick"])
    assert main() == 2
    said = capfd.readouterr()
    assert "bench.peers: could not get thingsboard-gateway from PyPI" in said.err
    assert said.out == ""


def test_an_installation_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    assert not peers_install.is_installed(tmp_path, "1")
    peers_install.mark_installed(tmp_path, "1")
    assert peers_install.is_installed(tmp_path, "1")
    assert not peers_install.is_installed(tmp_path, "2")


def test_headers_are_offered_only_where_they_are(tmp_path: Path) -> None:
    node = tmp_path / "bin" / "node"
    assert headers_of(node) == {}
    header = tmp_path / "include" / "node" / "node.h"
    header.parent.mkdir(parents=True)
    header.touch()
    assert headers_of(node) == {"npm_config_nodedir": str(tmp_path)}


def test_the_peers_get_the_bench_s_topics_and_their_best_settings(tmp_path: Path) -> None:
    mqtt = load("thingsboard_mqtt.json")
    assert mqtt["broker"]["maxNumberOfWorkers"] == 1
    assert mqtt["broker"]["clientId"] == ThingsBoardGateway.client_id
    assert mqtt["mapping"][0]["subscriptionQos"] == 1
    assert load("thingsboard_gateway.json")["storage"]["type"] == "sqlite"
    named = ThingsBoardNamed(Path(sys.executable), tmp_path / "named", 1).timeseries()
    assert named[7] == {"type": "double", "key": "i", "value": "${ch.grid.i}"}
    assert len({series["key"] for series in named}) == len(FIELDS) == 12
    nodes = json.loads((DATA / "nodered_flows.json").read_text(encoding="utf-8"))
    flows = {node["id"]: node for node in nodes}
    assert flows["broker"]["clientid"] == NodeRed.client_id
    assert flows["broker"]["cleansession"] is False
    assert "journal_mode = WAL" in flows["at-start"]["topic"]
    assert (DATA / "nodered_settings.js").exists()


def test_thingsboard_s_event_storage_is_read(tmp_path: Path) -> None:
    peer = ThingsBoardGateway(Path(sys.executable), tmp_path / "peer", 1)
    peer.database.parent.mkdir()
    events = [
        {"deviceName": meter_name(n), "telemetry": [{"ts": 1, "values": {"seq": n, "v": 1.0}}]}
        for n in range(METERS)
    ]
    with sqlite3.connect(peer.database) as db:
        db.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, message TEXT)")
        rows = [(json.dumps(event),) for event in events]
        db.executemany("INSERT INTO messages (message) VALUES (?)", rows)
    assert peer.count() == METERS
    assert peer.stored() == {(meter_name(n), n) for n in range(METERS)}


def test_the_command_explains_itself() -> None:
    command = [sys.executable, "-m", "bench.peers", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert "thingsboard-gateway" in done.stdout
