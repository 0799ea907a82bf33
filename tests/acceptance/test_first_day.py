"""A meter's first day: readings in, acknowledged, exported, safe over restarts."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.exports import (
    BEGINNING,
    END,
    RAW_COLUMNS,
    assert_stored_once,
    expected_row,
    export_csv,
    export_rows,
)
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import now_ms, recent_house

BOOT = 3_405_691_582


def test_readings_come_back_exactly(own_broker: Mosquitto, daemon: Daemon) -> None:
    readings = recent_house(windows=300, boot=BOOT).take(300)
    with MeterClient("kitchen", own_broker.port, boot=BOOT) as meter:
        meter.send(readings)
        meter.wait_covered()
        last = meter.acks[-1]
    assert last["boot"] == BOOT
    assert last["upto"] == 299
    assert abs(last["now"] - now_ms()) < 10_000
    channel = readings[-1]["ch"]["grid"]
    assert last["regs"] == {"grid": {"wh_in": channel["wh_in"], "wh_out": channel["wh_out"]}}

    rows = export_rows(daemon, "kitchen")
    assert_stored_once(rows, readings)
    assert [row["t"] for row in rows] == [reading["t"] for reading in readings]

    window = ("--meter", "kitchen", "--channel", "grid", "--start", BEGINNING, "--end", END)
    text = daemon.cli_ok("export", *window, "--format", "jsonl")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [list(line) for line in lines[:1]] == [RAW_COLUMNS]
    for line, reading in zip(lines, readings, strict=True):
        # The contract joins flags in text formats; an empty list or null is as good here.
        assert not line["flags"]
        assert {**line, "flags": ""} == expected_row(reading)


def test_export_takes_a_half_open_window_and_a_file(
    own_broker: Mosquitto, daemon: Daemon, tmp_path: Path
) -> None:
    readings = recent_house(windows=60, boot=BOOT).take(60)
    with MeterClient("kitchen", own_broker.port, boot=BOOT, array=20) as meter:
        meter.send(readings)
        meter.wait_covered()
    target = tmp_path / "window.csv"
    start, end = str(readings[10]["t"]), str(readings[20]["t"])
    out = daemon.cli_ok(
        "export",
        *("--meter", "kitchen", "--channel", "grid", "--start", start, "--end", end),
        *("--resolution", "raw", "--format", "csv", "--output", str(target)),
    )
    assert "," not in out
    lines = target.read_text().splitlines()
    assert lines[0] == ",".join(RAW_COLUMNS)
    assert [int(line.split(",")[2]) for line in lines[1:]] == list(range(10, 20))


def test_a_restart_loses_nothing_and_repeats_nothing(own_broker: Mosquitto, daemon: Daemon) -> None:
    house = recent_house(windows=250, boot=BOOT)
    readings = house.take(200)
    with MeterClient("kitchen", own_broker.port, boot=BOOT, array=10) as meter:
        meter.send(readings)
        meter.wait_covered()
        before = export_csv(daemon, "kitchen")

        status, took_s = daemon.terminate(within_s=6)
        assert status == 0, daemon.log_tail()
        assert took_s < 5
        late = house.take(50)
        meter.send(late)  # queued by the broker: the daemon's session is persistent
        daemon.start()
        meter.wait_covered()
    assert export_csv(daemon, "kitchen").startswith(before)
    assert_stored_once(export_rows(daemon, "kitchen"), readings + late)

    # A meter that never saw the acks sends everything again: answered, not stored.
    with MeterClient("kitchen", own_broker.port, boot=BOOT, array=10, announce=False) as again:
        again.wait_ack(1)  # the retained one, which covers all
        again.send(readings)
        again.wait_ack(2)
        again.send(late)
        again.wait_ack(3)
    assert_stored_once(export_rows(daemon, "kitchen"), readings + late)
    assert "Traceback" not in daemon.log()


def test_two_boots_are_both_acknowledged(
    own_broker: Mosquitto, make_daemon: Callable[..., Daemon]
) -> None:
    daemon = make_daemon()
    daemon.start()
    first = recent_house(windows=60, boot=11).take(20)
    second = recent_house(windows=30, boot=12).take(20)
    for reading in second:  # a reboot does not turn the registers back
        reading["ch"]["grid"]["wh_in"] += 100
    with MeterClient("kitchen", own_broker.port, boot=11) as meter:
        meter.send(first)
        meter.reboot(12)
        meter.send(second)
        meter.wait_covered()
        assert meter.upto == {11: 19, 12: 19}
        assert meter.acks[-1]["boot"] == 12
    assert_stored_once(export_rows(daemon, "kitchen"), first + second)
