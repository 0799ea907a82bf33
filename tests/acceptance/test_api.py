"""The local HTTP API from outside: health, metrics, login, status, meters, alerts."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.api import PASSWORD, Api, metrics
from tests.support.daemon import Daemon
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import House, now_ms, recent_house

BOOT = 31
ALERT_KEYS = {
    *("id", "meter", "channel", "kind", "severity", "state", "opened", "updated"),
    *("resolved", "count", "title", "detail", "evidence", "snoozed_until", "history"),
}


@pytest.fixture
def api(daemon: Daemon) -> Iterator[Api]:
    """Open an administrator's session."""
    with Api.logged_in(daemon) as session:
        yield session


def assert_problem(answer: httpx.Response, status: int) -> None:
    """Fail unless an answer is an RFC 9457 problem of this status."""
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")
    body = answer.json()
    assert body["title"]
    assert body.get("status", status) == status


def test_health_and_metrics_need_no_login(daemon: Daemon) -> None:
    for path in ("healthz", "readyz"):
        assert httpx.get(f"{daemon.url}/{path}").status_code == 200
    samples = metrics(daemon.url)
    assert samples
    assert any(name.startswith("wattwarden_") for name in samples)
    assert httpx.get(f"{daemon.url}/openapi.json").json()["openapi"].startswith("3.")


def test_nothing_else_answers_without_a_login(daemon: Daemon) -> None:
    for path in ("status", "meters", "meters/kitchen", "alerts", "auth/me", "nothing-here"):
        assert_problem(httpx.get(f"{daemon.url}/api/v1/{path}"), 401)


def test_a_forged_session_is_refused(daemon: Daemon, api: Api) -> None:
    (name,) = api.http.cookies.keys()
    forged = httpx.get(f"{daemon.url}/api/v1/auth/me", cookies={name: "A" * 43})
    assert_problem(forged, 401)


def test_login_me_logout(daemon: Daemon, api: Api) -> None:
    me = api.get("auth/me")
    assert (me["username"], me["role"]) == ("ada", "admin")
    answer = api.login()
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    taken = dict(api.http.cookies)
    assert api.http.post("/api/v1/auth/logout").is_success
    assert_problem(api.http.get("/api/v1/auth/me"), 401)
    # The session is ended on the server, not only forgotten by the browser.
    assert_problem(httpx.get(f"{daemon.url}/api/v1/auth/me", cookies=taken), 401)


def test_a_wrong_password_or_name_tells_nothing(daemon: Daemon, api: Api) -> None:
    answers = [
        httpx.post(f"{daemon.url}/api/v1/auth/login", json={"username": name, "password": word})
        for name, word in (("ada", "wrong"), ("nobody", PASSWORD))
    ]
    for answer in answers:
        assert_problem(answer, 401)
        assert "set-cookie" not in answer.headers
    assert answers[0].json() == answers[1].json()


def test_a_malformed_request_is_a_problem(daemon: Daemon, api: Api) -> None:
    url = f"{daemon.url}/api/v1/auth/login"
    for body in (b"{", b'{"username":1}', b"[]"):
        answer = httpx.post(url, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in {400, 422}
        assert_problem(answer, answer.status_code)
    assert_problem(api.http.get("/api/v1/meters/no-such-meter"), 404)
    assert_problem(api.http.get("/api/v1/nothing-here"), 404)
    assert 400 <= api.http.get("/api/v1/alerts", params={"state": "odd"}).status_code < 500


def test_status_and_meters_show_what_runs(own_broker: Mosquitto, daemon: Daemon, api: Api) -> None:
    assert api.get("meters") == {"items": [], "next": None}
    readings = recent_house(windows=30, boot=BOOT).take(30)
    with MeterClient("kitchen", own_broker.port, boot=BOOT) as meter:
        meter.send(readings)
        meter.wait_covered()
        (listed,) = api.items("meters")
        assert listed["id"] == "kitchen"
        assert listed["online"] is True
        one = api.get("meters/kitchen")
        assert one["id"] == "kitchen"
        assert "grid" in str(one["channels"])
    deadline = time.monotonic() + 5
    while api.get("meters/kitchen")["online"] and time.monotonic() < deadline:
        time.sleep(0.1)
    status = api.get("status")
    assert status["version"]
    assert status["uptime"] is not None
    assert set(status["backlog"]) >= {"ingest", "judge", "cloud"}


def test_an_alert_from_wire_to_acknowledgement(
    own_broker: Mosquitto, daemon: Daemon, api: Api
) -> None:
    house = House(start_ms=now_ms() - 60_000, boot=BOOT)
    swell = [house.window(seq, 200.0, 270.0 if 20 <= seq < 40 else 231.0) for seq in range(50)]
    with MeterClient("kitchen", own_broker.port, boot=BOOT) as meter:
        meter.send(swell)
        meter.wait_covered()
    alert = wait_alert(api, "over_voltage")
    assert set(alert) >= ALERT_KEYS
    assert alert["meter"] == "kitchen"
    assert alert["severity"] == "critical"  # above 1.15 Un for 3 s
    assert alert["evidence"]
    assert alert["title"]
    assert alert["detail"]
    opened_seq = (alert["opened"] - house.start_ms) / 1000
    assert 20 <= opened_seq <= 30

    assert api.http.post(f"/api/v1/alerts/{alert['id']}/acknowledge").is_success
    (after,) = [one for one in api.items("alerts", state="all") if one["id"] == alert["id"]]
    assert after["history"][-1]["who"] == "ada" or any(h["who"] == "ada" for h in after["history"])
    assert after["state"] in {"acknowledged", "resolved"}


def wait_alert(api: Api, kind: str, *, within_s: float = 15.0) -> dict[str, Any]:
    """Block until an alert of this kind exists and return it."""
    deadline = time.monotonic() + within_s
    while True:
        found = [one for one in api.items("alerts", state="all") if one["kind"] == kind]
        if found:
            return found[0]
        assert time.monotonic() < deadline, f"no {kind}"
        time.sleep(0.2)


def test_a_viewer_changes_nothing(own_broker: Mosquitto, daemon: Daemon) -> None:
    with Api.logged_in(daemon, "vera", "viewer") as viewer:
        assert viewer.get("auth/me")["role"] == "viewer"
        assert viewer.get("status")["version"]
        assert_problem(viewer.http.post("/api/v1/alerts/0/acknowledge"), 403)
