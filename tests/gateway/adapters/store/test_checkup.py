"""What the doctor reads of meters in a real database."""

import sqlite3
from pathlib import Path

import pytest

from calibration.nominal import nominal_record
from gateway.adapters.store.calibrations import SqlCalibrations
from gateway.adapters.store.checkup import read_facts
from gateway.domain.meters import Role
from gateway.services.calibration_forms import Made
from gateway.services.clamp_diagnoses import clamps
from gateway.services.doctor_facts import MeterFacts
from gateway.services.meter_diagnoses import condition
from tests.gateway.services.site_rig import START_MS, Site, spool, window

MINUTE = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.db"


def facts(site: Site) -> MeterFacts:
    found = read_facts(site.path, max_bytes=10**9, now_ms=site.now.wall, full=False)
    (meter,) = found.meters
    return meter


def write(site: Site, statement: str, *values: str) -> None:
    def change(db: sqlite3.Connection) -> None:
        db.execute(statement, values)

    site.database.write_now(change)


async def test_state_and_quarter_hours_and_clipping(path: Path) -> None:
    with Site(path) as site:
        site.now.wall = START_MS + 3 * 3_600_000
        # Three hours of a load whose clamp is on backwards, in records of a minute.
        for minute in range(180):
            ch = {"load1": {"i": 2.2, "p": -500.0, "wh_in": 0.0, "wh_out": float(minute)}}
            site.plan(spool(minute * MINUTE + MINUTE - 1, MINUTE, ch=ch))
        site.plan(window(180 * MINUTE, flags=["clip"], ch={
            "load1": {"i": 2.2, "p": -500.0, "wh_in": 0.0, "wh_out": 200.0},
        }))  # fmt: skip
        site.commit()
        site.state(rssi=-88, fw="1.2.0", cal=0, model=7)
        await site.derive()
        meter = facts(site)
    assert (meter.rssi_dbm, meter.firmware) == (-88.0, "1.2.0")
    assert (meter.calibration, meter.model) == (0, 7)
    assert (meter.windows, meter.clipped) == (181, 1)
    (clamp,) = meter.clamps
    assert (clamp.name, clamp.role) == ("load1", Role.LOAD)
    assert len(clamp.quarters) >= 10
    quarter = clamp.quarters[0]
    assert (quarter.p_w, quarter.v, quarter.i_a, quarter.q_var) == (-500.0, 230.0, 2.2, None)
    assert quarter.hour == 9
    (check,) = clamps("home", meter.clamps)
    assert "load1 is on backwards" in check.said


async def test_what_a_meter_was_given_and_refused(path: Path) -> None:
    with Site(path) as site:
        site.send(window(0))
        for row in (
            "desired VALUES ('model', '*', 6, 0)",
            "desired VALUES ('model', 'home', 7, 0)",
            "desired VALUES ('firmware', '*', 3, 0)",
            "rollouts VALUES ('home', 'model', 7, 'refused', 'range', 'z', 1)",
        ):
            write(site, f"INSERT INTO {row}")
        found = read_facts(site.path, max_bytes=10**9, now_ms=site.now.wall, full=False)
    (meter,) = found.meters
    assert meter.wanted == {"model": 7, "firmware": 3}
    assert meter.refused == {"model": "range z"}
    said = [check.said for check in condition(found)]
    assert any("refuses version 7 of its model: range z" in text for text in said)


async def test_a_calibration_that_is_nominal_parts_is_none(path: Path) -> None:
    with Site(path) as site:
        site.send(window(0))
        site.state(cal=2)
        assert not facts(site).nominal
        made = Made("home", 2, 0, "ada", nominal_record(["load1"], 2))
        await SqlCalibrations(site.database).keep(made, None)
        found = read_facts(site.path, max_bytes=10**9, now_ms=site.now.wall, full=False)
    (meter,) = found.meters
    assert (meter.calibration, meter.nominal) == (2, True)
    assert any("is not calibrated" in check.said for check in condition(found))


def test_a_state_that_is_no_json_object_is_passed_over(path: Path) -> None:
    with Site(path) as site:
        site.send(window(0))
        for state in ("nonsense", "[1]", '{"rssi": "loud", "cal": true}'):
            write(site, "UPDATE meters SET state = ?", state)
            meter = facts(site)
            assert (meter.rssi_dbm, meter.calibration) == (None, None)
