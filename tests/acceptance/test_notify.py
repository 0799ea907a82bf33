"""Alerts reach people: the whole daemon, Google's stub, and webhooks; crashes in between."""

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.accounts import service_account
from tests.support.api import Api, write_secret
from tests.support.daemon import Daemon
from tests.support.fcm_stub import UNAVAILABLE, UNREGISTERED, Fault, FcmStub
from tests.support.mosquitto import Mosquitto
from tests.support.trips import trip

Make = Callable[..., Daemon]
pytestmark = pytest.mark.timeout(240)  # daemons are started and killed over and over
TOKEN = "phone-of-ada"


@pytest.fixture
def fcm(monkeypatch: pytest.MonkeyPatch) -> Iterator[FcmStub]:
    with FcmStub() as stub:
        monkeypatch.setenv("FCM_EMULATOR_HOST", stub.host)
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")  # nobody: pushes need none
        yield stub


@pytest.fixture
def daemon(make_daemon: Make, fcm: FcmStub, tmp_path: Path) -> Daemon:
    """Give a running daemon with a service account and one registered phone."""
    key = service_account(tmp_path / "key.json", token_uri=f"http://{fcm.host}/token")
    cloud = {"enabled": True, "project": "demo-x", "development": True}
    daemon = make_daemon(settings={"cloud": {**cloud, "credentials_file": str(key)}})
    daemon.start(within_s=90)
    with Api.logged_in(daemon) as api:
        register(api, TOKEN)
    return daemon


def register(api: Api, token: str) -> None:
    body = {"token": token, "platform": "android", "language": "en"}
    api.http.post("/api/v1/devices", json=body).raise_for_status()


def alerts_of(daemon: Daemon) -> list[dict[str, Any]]:
    with Api.logged_in(daemon) as api:
        return api.items("alerts", state="open")


def wait_alerts(daemon: Daemon, count: int, *, within_s: float = 30.0) -> list[dict[str, Any]]:
    deadline_s = time.monotonic() + within_s
    while len(found := alerts_of(daemon)) < count:
        assert time.monotonic() < deadline_s, f"{len(found)} of {count} alerts"
        time.sleep(0.1)
    return found


def test_twenty_meters_that_trip_together_make_one_push(
    daemon: Daemon, own_broker: Mosquitto, fcm: FcmStub
) -> None:
    meters = [f"meter-{number:02}" for number in range(20)]
    trip(own_broker.port, meters)
    fcm.wait(1)
    wait_alerts(daemon, 20)
    deadline_s = time.monotonic() + 30
    while not said_all(fcm):
        assert time.monotonic() < deadline_s, [t.message["notification"] for t in fcm.taken]
        time.sleep(0.1)
    assert len(fcm.visible(TOKEN)) == 1
    (message,) = fcm.visible(TOKEN).values()
    assert message["notification"]["title"] == "voltage too high at 20 meters (20 alerts)"
    assert "276 V" in message["notification"]["body"]
    assert len(fcm.taken) <= 2, "at most one that grew"


def said_all(fcm: FcmStub) -> bool:
    said = [message["notification"]["title"] for message in fcm.visible(TOKEN).values()]
    return len(said) == 1 and "20 meters" in said[0]


def test_a_crash_before_the_push_and_one_before_its_mark_leave_one_visible(
    daemon: Daemon, own_broker: Mosquitto, fcm: FcmStub
) -> None:
    fcm.everybody = [UNAVAILABLE]
    fcm.forever.add(TOKEN)
    trip(own_broker.port, ["kitchen"])
    (alert,) = wait_alerts(daemon, 1)
    daemon.kill()
    assert fcm.taken == []
    fcm.everybody = []
    fcm.answer_delay_s = 3.0
    daemon.start(within_s=90)
    fcm.wait(1)
    daemon.kill()  # accepted, but the answer has not come
    fcm.answer_delay_s = 0.0
    daemon.start(within_s=90)
    fcm.wait(2)
    daemon.kill()
    daemon.start(within_s=90)
    time.sleep(1.5)
    assert [taken.tag for taken in fcm.taken] == [alert["id"], alert["id"]]
    (message,) = fcm.visible(TOKEN).values()
    assert "kitchen" in message["notification"]["title"]
    assert message["data"]["alert"] == alert["id"]


def test_old_data_is_judged_and_never_pushed(
    daemon: Daemon, own_broker: Mosquitto, fcm: FcmStub
) -> None:
    trip(own_broker.port, ["attic"], age_ms=16 * 60_000)
    wait_alerts(daemon, 1)
    trip(own_broker.port, ["cellar"])
    fcm.wait(1)
    time.sleep(0.5)
    assert [taken.message["data"]["meter"] for taken in fcm.taken] == ["cellar"]


@pytest.mark.soak  # its parts are in tests/cloud_sync/test_push.py too
def test_a_phone_that_is_gone_is_removed_and_retry_after_is_honoured(
    daemon: Daemon, own_broker: Mosquitto, fcm: FcmStub
) -> None:
    with Api.logged_in(daemon) as api:
        register(api, "phone-that-is-gone")
        fcm.faults["phone-that-is-gone"] = [UNREGISTERED]
        fcm.faults[TOKEN] = [Fault(429, "QUOTA_EXCEEDED", retry_after="2"), UNAVAILABLE]
        trip(own_broker.port, ["kitchen"])
        fcm.wait(1)
        times_s = fcm.asked_at[TOKEN]
        assert len(times_s) == 3
        assert all(late - early >= 2 for early, late in itertools.pairwise(times_s))
        assert [d["token_end"] for d in api.items("devices")] == [TOKEN[-6:]]
    assert fcm.asked["phone-that-is-gone"] == 1


@pytest.mark.soak  # its parts are in tests/cloud_sync/test_push.py too
def test_refused_credentials_say_who_must_act_and_lose_nothing(
    daemon: Daemon, own_broker: Mosquitto, fcm: FcmStub
) -> None:
    fcm.revoked = True
    trip(own_broker.port, ["kitchen"])
    wait_alerts(daemon, 1)
    deadline_s = time.monotonic() + 30
    while "renew cloud.credentials_file" not in (said := daemon.cli_ok("notify", "status")):
        assert time.monotonic() < deadline_s, said
    assert "1 waiting" in said
    fcm.revoked = False
    daemon.terminate()
    daemon.start(within_s=90)
    fcm.wait(1)


class Hook(BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    taken: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    taken: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OwnHook", (Hook,), {"taken": taken}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"json://127.0.0.1:{server.server_port}/hook", taken
    server.shutdown()
    server.server_close()


def test_other_roads_work_without_firebase(
    make_daemon: Make, own_broker: Mosquitto, hook: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    url, taken = hook
    lines = f"# roads\n{url}\nescalation = {url}/later\ncritical={url}/bad"
    urls = write_secret(tmp_path / "urls", lines)
    notify = {"urls_file": str(urls), "language": "de"}
    daemon = make_daemon(settings={"notify": notify})
    daemon.start(within_s=90)
    tested = json.loads(daemon.cli_ok("notify", "test", "--json"))
    assert [item["result"] for item in tested["items"]] == ["sent"] * 3
    assert [body["title"] for body in taken] == ["Wattwarden: Test"] * 3
    taken.clear()
    trip(own_broker.port, ["kitchen"])
    deadline_s = time.monotonic() + 30
    while len(taken) < 2:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    time.sleep(0.5)
    assert [body["title"] for body in taken] == ["Kritisch: kitchen: Spannung zu hoch"] * 2
    assert all("276 V" in body["message"] and body["type"] == "failure" for body in taken)
    assert "127.0.0.1" not in daemon.cli_ok("notify", "status"), "addresses hold secrets"


def test_addresses_open_to_others_or_unreadable_are_refused(
    make_daemon: Make, tmp_path: Path
) -> None:
    urls = tmp_path / "urls"
    urls.write_text("ntfy://x/y\n")
    urls.chmod(0o644)
    daemon = make_daemon(settings={"notify": {"urls_file": str(urls)}})
    refused = daemon.cli("check-config")
    assert (refused.returncode, "chmod 600" in refused.stderr) == (2, True)
    urls.chmod(0o600)
    urls.write_text("what\n")
    daemon.launch()
    assert daemon.wait_exit(within_s=60) == 2
    assert "line 1: must be an address" in daemon.log()


def test_nobody_to_tell_is_told(make_daemon: Make) -> None:
    daemon = make_daemon()
    refused = daemon.cli("notify", "test")
    assert refused.returncode == 1
    assert "nobody to tell" in refused.stderr
