"""The contract's rules D, X, G, T, M and I, each seen from outside the process."""

import csv
import io
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count, groupby
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.daemon import Daemon
from tests.support.exports import BEGINNING, END, assert_stored_once, export_rows
from tests.support.meter_client import MeterClient, Reading
from tests.support.mosquitto import Mosquitto, find_mosquitto
from tests.support.readings import now_ms, recent_house

BOOT = 501
NUMBERS = count(1)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ROLLUP_HEADER = "t,n,p_mean,p_min,p_max,q_mean,v_mean,v_min,v_max,i_mean,wh_in,wh_out"


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    """Run a broker for this file's tests: each has a meter of its own."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    with Mosquitto(tmp_path_factory.mktemp("mosquitto")) as running:
        yield running


@pytest.fixture(scope="module")
def daemon(own_broker: Mosquitto) -> Iterator[Daemon]:
    """Run one product on defaults: a start costs more than most of these tests."""
    directory = Path(tempfile.mkdtemp(prefix="ww-rules-", dir="/var/tmp"))
    with Daemon(directory / "d", mqtt_port=own_broker.port) as running:
        yield running
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def name() -> str:
    """Give a meter's name that no other test uses."""
    return f"kitchen-{next(NUMBERS)}"


def test_d_what_an_ack_covers_survives_a_kill(
    own_broker: Mosquitto, daemon: Daemon, name: str
) -> None:
    readings = recent_house(windows=2000, boot=BOOT).take(2000)
    with MeterClient(name, own_broker.port, boot=BOOT, resend_after_s=2) as meter:
        meter.send(readings)
        meter.wait(lambda: meter.covered() >= 100, 10, "some readings are covered")
        daemon.kill()
        covered = meter.covered()
        daemon.start()
        stored = {row["seq"] for row in export_rows(daemon, name)}
        assert stored >= set(range(covered + 1))
        meter.wait_covered()
    assert_stored_once(export_rows(daemon, name), readings)


def test_d_every_message_is_answered_repeated_ones_too(
    own_broker: Mosquitto, daemon: Daemon, name: str
) -> None:
    (reading,) = recent_house(windows=1, boot=BOOT).take(1)
    with MeterClient(name, own_broker.port, boot=BOOT) as meter:
        for count in range(1, 4):
            meter.send([reading])
            meter.wait_ack(count)
            assert meter.acks[-1]["upto"] == 0
    assert_stored_once(export_rows(daemon, name), [reading])


def test_x_overlapping_arrays_store_each_reading_once(
    own_broker: Mosquitto, daemon: Daemon, name: str
) -> None:
    readings = recent_house(windows=200, boot=BOOT).take(200)
    with MeterClient(name, own_broker.port, boot=BOOT, array=30) as meter:
        for start in (0, 90, 45, 0, 120, 170, 10):
            meter.send(readings[start : start + 80])
        meter.send(reversed(readings))
        meter.wait_covered()
        daemon.kill()
        daemon.start()
        meter.send(readings)
        meter.wait_covered()
    assert_stored_once(export_rows(daemon, name), readings)


def test_x_a_spool_record_replaces_what_lies_in_its_span(
    own_broker: Mosquitto, daemon: Daemon, name: str
) -> None:
    readings = recent_house(windows=20, boot=BOOT).take(20)
    spool = {**readings[9], "n": 10, "dt": 10_000, "flags": ["spool"]}
    with MeterClient(name, own_broker.port, boot=BOOT) as meter:
        meter.send([*readings[5:7], *readings[10:]])
        meter.send([spool])
        meter.wait(lambda: meter.covered() == 19, 10, "the span counts as received")
        meter.send([readings[3]])
        meter.wait_covered()
    rows = export_rows(daemon, name)
    assert [(row["seq"], row["n"]) for row in rows] == [(9, 10), *((n, 1) for n in range(10, 20))]
    assert "spool" in rows[0]["flags"].split(";")
    assert rows[0]["wh_in"] == spool["ch"]["grid"]["wh_in"]


def test_g_an_ack_never_passes_a_gap_until_it_is_filled(
    own_broker: Mosquitto, daemon: Daemon, name: str
) -> None:
    readings = recent_house(windows=30, boot=BOOT).take(30)
    with MeterClient(name, own_broker.port, boot=BOOT, array=10, announce=False) as meter:
        meter.send(readings[:10])
        meter.wait(lambda: meter.covered() == 9, 10, "the first ten are covered")
        acks = meter.counters.acks
        meter.send(readings[20:])
        meter.wait_ack(acks + 1)
        assert meter.acks[-1]["upto"] == 9
        meter.send(readings[10:20])
        meter.wait_covered()
    assert_stored_once(export_rows(daemon, name), readings)


def test_g_dropped_readings_are_final(own_broker: Mosquitto, daemon: Daemon, name: str) -> None:
    readings = recent_house(windows=100, boot=BOOT).take(100)
    kept = readings[:40] + readings[60:]
    client = MeterClient(
        name, own_broker.port, boot=BOOT, array=10, announce=False, resend_after_s=1
    )
    with client as meter:  # without `state` the event alone has to end the gap
        meter.send(kept)
        meter.wait(lambda: meter.covered() == 39, 10, "the ack stops before the hole")
        meter.drop(40, 59)
        meter.wait_covered(within_s=15)
    assert meter.covered() == 99
    assert_stored_once(export_rows(daemon, name), kept)


def test_g_what_a_meter_no_longer_holds_is_final(
    own_broker: Mosquitto, daemon: Daemon, name: str
) -> None:
    readings = recent_house(windows=60, boot=BOOT).take(60)
    client = MeterClient(name, own_broker.port, boot=BOOT, array=10, announce=False)
    client.resend_after_s = 1
    with client as meter:
        meter.send(readings[:20] + readings[30:])
        meter.wait(lambda: meter.covered() == 19, 10, "the ack stops before the hole")
        meter.publish_state()  # `have` begins at 30: nothing below will ever come
        meter.wait_covered(within_s=15)
    assert meter.covered() == 59
    late = readings[20:30]  # the rule: a late reading removes a gap, whatever was said
    with MeterClient(name, own_broker.port, boot=BOOT, array=10, announce=False) as meter:
        meter.wait_ack(1)  # the retained one, which covers all
        meter.send(late)
        meter.wait_ack(2)
    assert_stored_once(export_rows(daemon, name), readings)


def spoiled(reading: Reading, wrong: str) -> Reading:
    """Return a reading whose wall time cannot be right."""
    if wrong == "null":
        return {**reading, "t": None}
    if wrong == "1970":
        return {**reading, "t": reading["up"]}
    if wrong == "in 400 days":
        return {**reading, "t": reading["t"] + 400 * DAY_MS}
    return {**reading, "t": reading["t"] - 5 * HOUR_MS, "flags": ["nosync"]}


@pytest.mark.parametrize("wrong", ["null", "1970", "in 400 days", "flagged"])
def test_t_an_impossible_time_is_replaced_and_flagged(
    own_broker: Mosquitto, daemon: Daemon, name: str, wrong: str
) -> None:
    began = now_ms()
    readings = recent_house(windows=20, boot=BOOT).take(20)
    client = MeterClient(name, own_broker.port, boot=BOOT)
    client.up_ms = 20_000  # twenty windows were taken before it could connect
    with client as meter:
        meter.send(spoiled(reading, wrong) for reading in readings)
        meter.wait_covered()
    rows = export_rows(daemon, name)
    assert [row["seq"] for row in rows] == list(range(20))
    for row, reading in zip(rows, readings, strict=True):
        assert abs(row["t"] - (began - 20_000 + reading["up"])) < 4000
        assert row["flags"]


def test_t_a_late_but_possible_time_is_kept(
    own_broker: Mosquitto, daemon: Daemon, name: str
) -> None:
    readings = recent_house(windows=20, boot=BOOT).take(20)
    for reading in readings:
        reading["t"] -= 30 * DAY_MS
    with MeterClient(name, own_broker.port, boot=BOOT) as meter:
        meter.send(readings)
        meter.wait_covered()
    assert_stored_once(export_rows(daemon, name), readings)


def test_m_an_unknown_meter_waits_for_its_registration(
    tmp_path: Path, short_path: Path, name: str
) -> None:
    asks = {"meters": {"auto_register": False}}
    with (
        Mosquitto(tmp_path) as broker,
        Daemon(short_path / "d", mqtt_port=broker.port, settings=asks) as daemon,
    ):
        an_unknown_meter_waits(broker, daemon, name)


def an_unknown_meter_waits(broker: Mosquitto, daemon: Daemon, name: str) -> None:
    readings = recent_house(windows=10, boot=BOOT).take(10)
    client = MeterClient(name, broker.port, boot=BOOT, resend_after_s=1)
    with client as meter, Api.logged_in(daemon) as api:
        meter.send(readings)
        meter.send(readings)
        with pytest.raises(TimeoutError):
            meter.wait_ack(1, within_s=3)
        alerts = [one for one in api.items("alerts") if name in str(one)]
        assert len(alerts) == 1
        daemon.cli_ok("meters", "add", name)
        meter.wait_covered()
    assert_stored_once(export_rows(daemon, name), readings)


def test_i_rollups_are_what_the_raw_rows_give(
    own_broker: Mosquitto, daemon: Daemon, name: str
) -> None:
    readings = recent_house(windows=400, boot=BOOT).take(400)
    with MeterClient(name, own_broker.port, boot=BOOT, array=40) as meter:
        meter.send(readings)
        meter.wait_covered()
    text = daemon.cli_ok(
        "export",
        *("--meter", name, "--channel", "grid", "--start", BEGINNING, "--end", END),
        *("--resolution", "1m", "--format", "csv"),
    )
    reader = csv.DictReader(io.StringIO(text))
    assert text.splitlines()[0] == ROLLUP_HEADER
    rows = [{key: float(value) for key, value in row.items()} for row in reader]
    wanted = [_rollup(t, list(group)) for t, group in groupby(readings, _minute)]
    assert len(rows) == len(wanted)
    for row, want in zip(rows, wanted, strict=True):
        assert row == pytest.approx(want, rel=1e-9, abs=1e-9)


def _minute(reading: Reading) -> int:
    """Return the start of the minute that holds the window's middle."""
    middle = float(reading["t"] - reading["dt"] / 2)
    return int(middle // 60_000) * 60_000


def _rollup(start_ms: int, group: list[Reading]) -> dict[str, Any]:
    """Recompute one interval from its readings, which all have the same length."""
    channel = [reading["ch"]["grid"] for reading in group]
    p = [one["p"] for one in channel]
    v = [reading["v"] for reading in group]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    power = {"p_mean": mean(p), "p_min": min(p), "p_max": max(p)}
    voltage = {"v_mean": mean(v), "v_min": min(v), "v_max": max(v)}
    others = {"q_mean": mean([c["q"] for c in channel]), "i_mean": mean([c["i"] for c in channel])}
    registers = {"wh_in": channel[-1]["wh_in"], "wh_out": channel[-1]["wh_out"]}
    return {"t": start_ms, "n": len(group), **power, **voltage, **others, **registers}
