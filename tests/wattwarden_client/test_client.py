"""The client against the running gateway, as a notebook uses it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.api import add_user
from tests.support.daemon import Daemon
from tests.support.gateway_stub import until
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import recent_house
from wattwarden_client import ApiError, Gateway

PLAN = {
    "name": "Flat", "valid_from": "2020-01-01", "currency": "EUR",
    "import": [{"days": list(range(7)), "from": "00:00", "to": "24:00", "price_per_kwh": 0.25}],
}  # fmt: skip


@pytest.fixture
def gateway(own_broker: Mosquitto, daemon: Daemon) -> Iterator[Gateway]:
    add_user(daemon)
    token = daemon.cli_ok("users", "token", "add", "notebook", "--role", "operator").strip()
    with MeterClient("kitchen", own_broker.port, boot=5) as meter:
        meter.send(recent_house(windows=120, boot=5).take(120))
        meter.wait_covered()
    with Gateway(daemon.url, token) as client:
        until(lambda: client.meter("kitchen")["last"])  # judged, and thus shown
        yield client


def test_a_notebook_s_day(gateway: Gateway, tmp_path: Path) -> None:
    assert [meter["id"] for meter in gateway.meters()] == ["kitchen"]
    assert gateway.meter("kitchen")["recorded"] is False
    assert "backlog" in gateway.status()
    end = datetime.now(UTC) + timedelta(minutes=1)
    frame = gateway.frame("kitchen", end - timedelta(hours=1), end, fields=("p", "v"))
    assert len(frame) == 120
    assert list(frame.columns) == ["p", "v"]
    assert str(frame.index.tz) == "UTC"
    assert frame["v"].between(225, 235).all()
    added = gateway.add_tariff(PLAN)
    assert gateway.tariffs() == [added]
    (day, *_) = gateway.energy("kitchen", end - timedelta(minutes=2), end)
    assert day["cost"]["import"] == pytest.approx(
        0.25 * day["channels"]["grid"]["kwh_in"], abs=1e-4
    )
    assert gateway.alerts(state="open") == []
    table = tmp_path / "house.csv"
    table.write_text("time,power_kw\n2026-01-01 00:00,1\n2026-01-01 00:15,2\n")
    made = gateway.upload(table)
    guess = made["guess"]
    gateway.start_import(made["id"], meter="house", time=guess["time"], map=guess["map"])
    until_s = time.monotonic() + 30
    while gateway.get_import(made["id"])["state"] != "done":
        assert time.monotonic() < until_s
        time.sleep(0.1)
    assert gateway.meter("house")["recorded"] is True
    gateway.undo_import(made["id"])


def test_the_stream_begins_with_what_there_is(gateway: Gateway) -> None:
    events = gateway.stream()
    first, second = next(events), next(events)
    assert (first.name, first.data["id"]) == ("state", "kitchen")
    assert (second.name, second.data["meter"]) == ("reading", "kitchen")
    events.close()  # type: ignore[attr-defined]


def test_what_goes_wrong_is_said(gateway: Gateway, daemon: Daemon) -> None:
    with pytest.raises(ApiError, match="404: no meter 'attic'") as missing:
        gateway.meter("attic")
    assert missing.value.status == 404
    with pytest.raises(ApiError, match="422"):
        gateway.add_tariff(PLAN | {"currency": "gold"})
    with pytest.raises(ApiError) as stranger:
        Gateway(daemon.url, "ww_wrong").meters()
    assert stranger.value.status == 401
    with pytest.raises(ApiError, match="cannot be reached"):
        Gateway("http://127.0.0.1:9", "x").meters()
    with pytest.raises(ValueError, match="http"):
        Gateway("file:///etc/passwd", "x")
