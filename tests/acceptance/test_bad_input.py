"""Bad input through the wire: counted by reason, acknowledged, blocking nothing."""

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.api import Api, metrics
from tests.support.daemon import Daemon
from tests.support.exports import assert_stored_once, export_rows
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import recent_house

BOOT = 909
MEGABYTE = 1_000_000
GOOD = recent_house(windows=1, boot=BOOT).next()
Change = Callable[[dict[str, Any]], None]


def changed(**fields: Any) -> bytes:  # noqa: ANN401 - any JSON
    """Return a good reading with some top-level fields replaced."""
    return json.dumps({**GOOD, **fields}).encode()


def with_channel(**fields: Any) -> bytes:  # noqa: ANN401 - any JSON
    """Return a good reading with some fields of its channel replaced."""
    return changed(ch={"grid": {**GOOD["ch"]["grid"], **fields}})


def without(name: str) -> bytes:
    """Return a good reading that lacks one field."""
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


BAD = {
    "truncated": json.dumps(GOOD).encode()[:-20],
    "empty": b"",
    "not utf-8": b'{"boot":1,"seq":0,"flags":["\xff\xfe"]}',
    "not an object": b"42",
    "null": b"null",
    "empty array": b"[]",
    "array of arrays": b"[[]]",
    "121 readings": json.dumps([GOOD] * 121).encode(),
    "deeply nested": b"[" * 50_000,
    "deeply nested in an unknown field": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "NaN": changed(v=float("nan")),
    "infinite": changed(f=float("inf")),
    "overflowing number": json.dumps(GOOD).encode().replace(b'"dt": 1000', b'"dt": 1e999'),
    "boot is text": changed(boot="909"),
    "boot is boolean": changed(boot=True),
    "boot negative": changed(boot=-1),
    "boot over 32 bit": changed(boot=2**32),
    "seq is a fraction": changed(seq=1.5),
    "seq over 32 bit": changed(seq=2**32),
    "t is text": changed(t="2025-01-01T00:00:00Z"),
    "n zero": changed(n=0),
    "n over a day": changed(n=86_401),
    "up negative": changed(up=-1),
    "dt too short": changed(dt=99),
    "dt over a day": changed(dt=86_400_001),
    "voltage out of range": changed(v=500.1),
    "voltage negative": changed(v=-1),
    "frequency out of range": changed(f=39.9),
    "current negative": with_channel(i=-0.1),
    "current out of range": with_channel(i=1000.1),
    "power out of range": with_channel(p=-500_001),
    "power is text": with_channel(p="871"),
    "reactive out of range": with_channel(q=500_001),
    "negative register": with_channel(wh_in=-0.01),
    "negative export register": with_channel(wh_out=-5),
    "negative anomaly score": with_channel(z=-1),
    "register missing": changed(ch={"grid": {"i": 1, "p": 1, "wh_in": 1}}),
    "bad channel name": changed(ch={"Grid!": GOOD["ch"]["grid"]}),
    "channels are a list": changed(ch=[]),
    "17 aux": changed(aux={f"a{n}": n for n in range(17)}),
    "9 flags": changed(flags=["x"] * 9),
    "no boot": without("boot"),
    "no seq": without("seq"),
    "no t": without("t"),
    "no v": without("v"),
    "no ch": without("ch"),
}


def dead_letters(daemon: Daemon) -> dict[str, float]:
    """Return the dead-letter counters of `/metrics`, one per reason."""
    found = {
        name: value
        for name, value in metrics(daemon.url).items()
        if "dead" in name and "reason=" in name and "_created" not in name
    }
    assert all(value >= 0 for value in found.values())
    return found


def count(daemon: Daemon) -> int:
    """Return how many messages were dead-lettered since the daemon started."""
    return int(sum(dead_letters(daemon).values()))


def wait_count(daemon: Daemon, wanted: int, *, within_s: float = 20.0) -> None:
    """Block until exactly so many messages are dead-lettered; more is a failure."""
    deadline = time.monotonic() + within_s
    while count(daemon) < wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    assert count(daemon) == wanted, (dead_letters(daemon), daemon.log_tail())


def accepted_kinds(daemon: Daemon, meter: MeterClient) -> list[str]:
    """Send each bad payload alone; return the names of those that were not dead-lettered."""
    wrong: list[str] = []
    for name, payload in BAD.items():
        before = count(daemon)
        meter.publish_raw(payload)
        time.sleep(2)  # longer than the gateway ever waits for company
        if count(daemon) != before + 1:
            wrong.append(name)
    return wrong


def test_each_kind_is_counted_and_the_next_good_reading_is_stored(
    own_broker: Mosquitto, daemon: Daemon
) -> None:
    # A different boot, so that the bad readings' own seqs do not matter here.
    readings = recent_house(windows=len(BAD), boot=5).take(len(BAD))
    with MeterClient("kitchen", own_broker.port, boot=5, announce=False) as meter:
        for reading, payload in zip(readings, BAD.values(), strict=True):
            meter.publish_raw(payload)
            meter.send([reading])
        meter.wait_covered(within_s=20)
        if count(daemon) != len(BAD):  # only then is it worth the time to find out which
            assert accepted_kinds(daemon, meter) == []
    assert count(daemon) == len(BAD)
    assert len(dead_letters(daemon)) >= 3  # reasons tell kinds apart
    with Api.logged_in(daemon) as api:
        assert sum(api.get("status")["dead_letters"].values()) == len(BAD)
    rows = [row for row in export_rows(daemon, "kitchen") if row["boot"] == 5]
    assert_stored_once(rows, readings)
    assert "Traceback" not in daemon.log()


def test_a_megabyte_is_refused_without_being_kept(own_broker: Mosquitto, daemon: Daemon) -> None:
    payload = json.dumps([{**GOOD, "pad": "x" * MEGABYTE}]).encode()
    readings = recent_house(windows=5, boot=BOOT).take(5)
    before = count(daemon)
    with MeterClient("kitchen", own_broker.port, boot=BOOT, announce=False) as meter:
        for _ in range(5):
            meter.publish_raw(payload)
        meter.send(readings)
        meter.wait_covered()
    wait_count(daemon, before + 5)
    assert_stored_once(export_rows(daemon, "kitchen"), readings)
    daemon.terminate(within_s=15)  # folds the log, which has 4 MB from the start, into the file
    kept = sum(file.stat().st_size for file in daemon.directory.glob("wattwarden.db*"))
    assert kept < 4 * MEGABYTE


def test_an_invalid_meter_name_is_refused(own_broker: Mosquitto, daemon: Daemon) -> None:
    readings = recent_house(windows=3, boot=BOOT).take(3)
    before = count(daemon)
    for name in ("Kitchen", "k", "-kitchen", "a" * 33, "küche", "x y"):
        with MeterClient(name, own_broker.port, boot=BOOT, announce=False) as stranger:
            stranger.publish_raw(json.dumps(readings[0]).encode())
    wait_count(daemon, before + 6)
    with MeterClient("kitchen", own_broker.port, boot=BOOT) as meter:
        meter.send(readings)
        meter.wait_covered()
    assert_stored_once(export_rows(daemon, "kitchen"), readings)


def test_one_bad_reading_does_not_lose_the_others(own_broker: Mosquitto, daemon: Daemon) -> None:
    readings = recent_house(windows=10, boot=BOOT).take(10)
    bad = json.loads(json.dumps(readings[4]))
    bad["ch"]["grid"]["wh_in"] = -3
    before = count(daemon)
    mixed = [*readings[:4], bad, *readings[5:]]
    with MeterClient("kitchen", own_broker.port, boot=BOOT, announce=False) as meter:
        meter.publish_raw(json.dumps(mixed).encode())
        # The bad one carries a plausible boot and seq: final as a gap, so the ack passes.
        meter.wait(lambda: meter.covered() == 9, 10, "the ack passes the poisoned seq")
    wait_count(daemon, before + 1)
    assert_stored_once(export_rows(daemon, "kitchen"), readings[:4] + readings[5:])


def test_unknown_fields_never_fail_a_reading(own_broker: Mosquitto, daemon: Daemon) -> None:
    readings = recent_house(windows=3, boot=BOOT).take(3)
    for reading in readings:
        reading["future"] = {"deep": [1, None, {"x": "y"}]}
        reading["ch"]["grid"]["thd"] = 3.2
    with MeterClient("kitchen", own_broker.port, boot=BOOT) as meter:
        meter.send(readings)
        meter.wait_covered()
    assert_stored_once(export_rows(daemon, "kitchen"), readings)
    assert count(daemon) == 0


@pytest.mark.timeout(90)
def test_ten_thousand_random_byte_strings(own_broker: Mosquitto, daemon: Daemon) -> None:
    rng = random.Random(7)
    house = recent_house(windows=100, boot=BOOT)
    readings = house.take(100)
    with MeterClient("kitchen", own_broker.port, boot=BOOT, announce=False) as meter:
        for _ in range(1000):  # warm: caches, pools and the log have their size
            meter.publish_raw(rng.randbytes(rng.randrange(300)))
        wait_count(daemon, 1000)
        warm = daemon.rss_bytes()
        for number in range(9000):
            meter.publish_raw(rng.randbytes(rng.randrange(300)))
            if number % 90 == 0:
                meter.send([readings[number // 90]])
        wait_count(daemon, 10_000, within_s=40)
        meter.wait_covered()
        assert daemon.rss_bytes() - warm < 8 * MEGABYTE
    assert_stored_once(export_rows(daemon, "kitchen"), readings)
    # Acknowledged to the broker: a new start is handed none of them again.
    assert daemon.terminate(within_s=6)[0] == 0
    daemon.start()
    handed = count(daemon)
    time.sleep(1.5)
    assert count(daemon) == handed
    assert handed in {0, 10_000}  # the counter is since the start, or kept on disk
    assert len(daemon.log()) < 2 * MEGABYTE  # one poisoned meter does not fill the journal
    assert "Traceback" not in daemon.log()
