"""Home Assistant core itself finds the meters over mosquitto; `make ha-test` brings it along."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import home_schema
from tests.support.api import Api
from tests.support.daemon import Daemon
from tests.support.home_core import HomeAssistant, interpreter, schemas
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import recent_house

BOOT = 7
SETTINGS = {"homeassistant": {"enabled": True}}

needs_core = pytest.mark.skipif(
    interpreter() is None, reason="Home Assistant is not installed beside us; run: make ha-test"
)


def last_of(readings: list[dict[str, Any]]) -> dict[str, Any]:
    return dict(readings[-1])


@needs_core
def test_the_copy_of_its_schemas_is_true() -> None:
    core = schemas(interpreter() or Path())
    copies: dict[str, type[home_schema.Strict]] = {
        "device": home_schema.Device, "origin": home_schema.Origin, **home_schema.COMPONENTS,
    }  # fmt: skip
    for name, copy in copies.items():
        assert sorted(copy.model_fields) == core[name], name
    for name, (units, states) in home_schema.CLASSES.items():
        if None not in units:
            assert [sorted(map(str, units)), sorted(states)] == core["classes"][name], name


@needs_core
@pytest.mark.timeout(300)
def test_meters_become_devices_with_right_states_and_an_energy_statistic(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(settings=SETTINGS)
    daemon.start(within_s=60)
    with (
        MeterClient("kitchen", own_broker.port, boot=BOOT) as meter,
        HomeAssistant(tmp_path / "ha", own_broker.port) as home,
    ):
        first = recent_house(windows=60, boot=BOOT).take(60)
        meter.send(first)
        meter.wait_covered()
        power = home.wait_for("sensor.kitchen_grid_p")
        assert float(power["state"]) == pytest.approx(last_of(first)["ch"]["grid"]["p"], abs=0.01)
        assert power["attributes"]["device_class"] == "power"
        assert power["attributes"]["unit_of_measurement"] == "W"
        energy = home.wait_for("sensor.kitchen_grid_energy_in_kwh")
        assert energy["attributes"]["state_class"] == "total_increasing"
        assert energy["attributes"]["device_class"] == "energy"
        assert {"kitchen", "Wattwarden gateway"} <= set(home.devices())
        assert home.wait_for("binary_sensor.kitchen_alerts")["state"] == "off"
        statistic = home.statistics()["sensor.kitchen_grid_energy_in_kwh"]
        assert statistic["unit"] == "kWh"
        assert statistic["has_sum"]
        assert statistic["rows"], "the energy dashboard has something to draw"

        with Api.logged_in(daemon) as api:
            assert api.http.get("/readyz").status_code == 200
        daemon.cli_ok("meters", "remove", "kitchen", "--yes")
        until_s = time.monotonic() + 20
        while any("kitchen" in name for name in home.states()):
            assert time.monotonic() < until_s, sorted(home.states())
            time.sleep(0.5)
        daemon.terminate()
        gateway = "binary_sensor.gateway_alerts"
        until_s = time.monotonic() + 10
        while home.states()[gateway]["state"] != "unavailable":
            assert time.monotonic() < until_s, json.dumps(home.states()[gateway])
            time.sleep(0.5)
