"""Tables come in through the API: charted and judged like a meter's, and taken out again."""

import csv
import gzip
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api import Api
from tests.support.daemon import Daemon
from tests.support.household import as_published
from tests.support.meter_client import MeterClient
from tests.support.mosquitto import Mosquitto
from tests.support.readings import recent_house
from tests.support.tables import begin_import, follow, start, undo, upload

TABLES = (
    "meters", "channels", "boots", "runs", "gaps", "readings", "segments", "alerts",
    "alert_history", "outbox", "judged", "models", "rollup_1m", "rollup_15m", "rollup_1h",
    "rollup_1d",
)  # fmt: skip


@pytest.fixture
def http(daemon: Daemon) -> Iterator[httpx.Client]:
    with Api.logged_in(daemon) as api:
        api.http.timeout = httpx.Timeout(60)
        yield api.http


def all_alerts(http: httpx.Client, meter: str) -> list[dict[str, Any]]:
    page = http.get("/api/v1/alerts", params={"meter": meter, "limit": 200}).json()
    return list(page["items"])


def alerts(http: httpx.Client, meter: str, kind: str) -> list[dict[str, Any]]:
    return [alert for alert in all_alerts(http, meter) if alert["kind"] == kind]


def counts(daemon: Daemon) -> dict[str, int]:
    """Count the rows of every table that an import writes."""
    import sqlite3  # noqa: PLC0415 - tests look into the file as it is

    db = sqlite3.connect(f"file:{daemon.database}?mode=ro", uri=True)
    try:
        return {t: db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in TABLES}  # noqa: S608 - ours
    finally:
        db.close()


def test_the_sample_is_imported_charted_judged_and_undone(
    http: httpx.Client, daemon: Daemon
) -> None:
    before = counts(daemon)
    sample = http.get("/api/v1/imports/sample.csv").content
    made = upload(http, "my house.csv", sample)
    assert (made["state"], made["rows"], made["guess"]["meter"]) == ("preview", 192, "my-house")
    assert made["preview"][0][0] == "2026-03-07 00:00"
    done = start(http, made, name="The sample", timezone="Europe/Lisbon")
    assert (done["state"], done["rows_done"], done["error_count"]) == ("done", 192, 0)
    meter = http.get("/api/v1/meters/my-house").json()
    assert (meter["label"], meter["recorded"]) == ("The sample", True)
    assert {name: c["role"] for name, c in meter["channels"].items()} == {
        "grid": "grid", "solar": "solar",
    }  # fmt: skip
    (high,) = alerts(http, "my-house", "over_voltage")
    assert done["alerts"] >= 1
    assert 1772841600000 < high["opened"] < 1773014400000
    series = http.get(
        "/api/v1/meters/my-house/series",
        params={"start": "2026-03-07", "end": "2026-03-09", "fields": "p,v", "resolution": "1h"},
    ).json()
    assert len(series["t"]) == 49 or len(series["t"]) == 48
    gone = undo(http, made["id"])
    assert gone["state"] == "undone"
    assert counts(daemon) == before
    assert http.get("/api/v1/meters/my-house").status_code == 404
    again = start(http, upload(http, "my house.csv", sample))
    assert again["state"] == "done"


def test_three_bad_lines_are_told_and_the_rest_comes_in(http: httpx.Client) -> None:
    lines = [f"2026-05-01 {n // 4:02}:{n % 4 * 15:02};0,{n % 9}" for n in range(96)]
    lines[10], lines[20], lines[30] = "tomorrow;0,1", "2026-05-01 05:00;much", "2026-05-01 07:30"
    made = upload(http, "bad.csv", ("time;power kW\n" + "\n".join(lines)).encode())
    done = start(http, made, meter="bad-lines")
    assert (done["state"], done["rows_done"], done["error_count"]) == ("done", 93, 3)
    assert [(e["line"], e["column"]) for e in done["errors"]] == [
        (12, "time"), (22, "power kW"), (32, ""),
    ]  # fmt: skip
    assert "no number" in done["errors"][1]["text"]


def test_an_import_that_brought_nothing_leaves_no_meter(http: httpx.Client, daemon: Daemon) -> None:
    before = counts(daemon)
    content = b"time,p,note\n2026-01-01 00:00,1,on\n2026-01-01 00:15,2,off\n"
    made = upload(http, "words.csv", content)
    assert start(http, made, meter="words", map={"p": "note"})["state"] == "failed"
    assert undo(http, made["id"])["state"] == "undone"
    assert counts(daemon) == before
    assert http.get("/api/v1/meters/words").status_code == 404
    again = upload(http, "words.csv", content)
    assert start(http, again, meter="words", map={"p": "p"})["state"] == "done"


def test_what_cannot_be_is_refused_in_words(http: httpx.Client, own_broker: Mosquitto) -> None:
    with MeterClient("kitchen", own_broker.port, boot=3) as meter:
        meter.send(recent_house(windows=5, boot=3).take(5))
        meter.wait_covered()
    made = upload(http, "a.csv", b"time,p\n2026-01-01 00:00,1\n2026-01-01 00:15,2\n")
    path = f"/api/v1/imports/{made['id']}/start"
    usual = {"meter": "house", "time": "time", "map": {"p": "p"}}
    for change, said in (
        ({"meter": "kitchen"}, "live meter"), ({"time": "when"}, "no column"),
        ({"map": {"p": "watts"}}, "no column"), ({"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ({"map": {"p q": "p"}}, "map"),
    ):  # fmt: skip
        refused = http.post(path, json=usual | change)
        assert refused.status_code == 422, refused.text
        assert said in refused.json()["detail"]
    assert start(http, made, meter="house")["state"] == "done"
    same = upload(http, "b.csv", b"time,p\n2026-01-01 00:00,1\n2026-01-01 00:15,2\n")
    twice = http.post(f"/api/v1/imports/{same['id']}/start", json=usual)
    assert "holds this file already" in twice.json()["detail"]
    for content in (b"", b"\x00\x01\x02", b"only words\nand more\n", b"\x1f\x8bbroken"):
        refused = http.post("/api/v1/imports", files={"file": ("x.csv", content)})
        assert refused.status_code == 422, refused.text
    assert http.post("/api/v1/imports", json={}).status_code == 415
    other = http.post("/api/v1/imports", files={"table": ("x.csv", b"a")})
    assert other.status_code == 422


def test_an_import_goes_on_after_a_kill_and_beside_a_live_meter(
    daemon: Daemon, own_broker: Mosquitto
) -> None:
    rows = 4000
    lines = [f"{1_767_225_600 + 60 * n},{200 + n % 50}" for n in range(rows)]
    content = gzip.compress(("t,p_w\n" + "\n".join(lines)).encode())
    with Api.logged_in(daemon) as api:
        made = upload(api.http, "long.csv.gz", content)
        body = {"meter": "long", "time": "t", "map": {"p": "p_w"}}
        api.http.post(f"/api/v1/imports/{made['id']}/start", json=body).raise_for_status()
        until_s = time.monotonic() + 60
        path = f"/api/v1/imports/{made['id']}"
        while api.http.get(path).json()["rows_done"] < 400:
            assert time.monotonic() < until_s
            time.sleep(0.02)
        with MeterClient("kitchen", own_broker.port, boot=3) as meter:
            meter.send(recent_house(windows=30, boot=3).take(30))
            meter.wait_covered(within_s=10)
        daemon.kill()
        daemon.start(within_s=60)
        done = follow(api.http, made["id"])
        assert (done["state"], done["rows_done"]) == ("done", rows)
        energy = api.http.get(
            "/api/v1/meters/long/energy",
            params={"start": "2026-01-01", "end": "2026-01-05", "by": "month"},
        ).json()["items"][0]["channels"]["grid"]["kwh_in"]
        watt_minutes = sum(200 + n % 50 for n in range(1, rows))
        assert energy == pytest.approx(watt_minutes / 60_000, abs=0.002)
        assert undo(api.http, made["id"])["state"] == "undone"
    assert [m["id"] for m in api_meters(daemon)] == ["kitchen"]


def days(first: int, count: int, watts: int) -> bytes:
    """Return some days of January in quarter hours, each with two hours of over-voltage."""
    begin_s = 1_767_225_600 + first * 86_400
    rows = [
        f"{begin_s + 900 * n},{watts + n % 7},{(262 if 40 <= n % 96 < 48 else 229) + n % 3}"
        for n in range(96 * count)
    ]
    return ("t,p_w,v\n" + "\n".join(rows)).encode()


def history(http: httpx.Client, meter: str) -> list[Any]:
    """Return what charts and bills are drawn from, and the alerts."""
    span = {"start": "2026-01-01", "end": "2026-01-08"}
    charts = [
        http.get(f"/api/v1/meters/{meter}/series", params={**span, "resolution": step,
                 "fields": "p,p_max,v,n"}).json()
        for step in ("15m", "1h", "1d")
    ]  # fmt: skip
    energy = http.get(f"/api/v1/meters/{meter}/energy", params=span).json()["items"]
    told = sorted(
        (a["opened"], a["resolved"], a["kind"], a["title"]) for a in all_alerts(http, meter)
    )
    return [*charts, [item["channels"]["grid"]["kwh_in"] for item in energy], told]


@pytest.mark.parametrize("undone", ["earlier", "later"])
def test_undoing_one_of_two_imports_leaves_the_other_as_if_alone(
    http: httpx.Client, undone: str
) -> None:
    earlier, later = days(0, 2, 400), days(2, 2, 900)
    kept = later if undone == "earlier" else earlier
    assert start(http, upload(http, "k.csv", kept), meter="alone")["state"] == "done"
    made = {}
    for name, content in (("earlier", earlier), ("later", later)):
        made[name] = upload(http, f"{name}.csv", content)
        begin_import(http, made[name], meter="both")  # the second waits for the first
    for one in made.values():
        done = follow(http, one["id"])
        assert (done["state"], done["alerts"]) == ("done", 2), all_alerts(http, "both")
    assert undo(http, made[undone]["id"])["state"] == "undone"
    until_s = time.monotonic() + 30
    while history(http, "both") != history(http, "alone"):  # days are computed again by and by
        assert time.monotonic() < until_s, (history(http, "both"), history(http, "alone"))
        time.sleep(0.5)


def test_one_file_comes_into_a_meter_once_however_often_it_is_started(http: httpx.Client) -> None:
    queue = upload(http, "first.csv", days(0, 20, 300))
    begin_import(http, queue, meter="first")  # what is started behind it has stored nothing yet
    content = days(0, 2, 400)
    twins = [upload(http, f"twin{n}.csv", content) for n in (1, 2)]
    body = {"meter": "twin", "time": "t", "map": {"p": "p_w", "v": "v"}}
    paths = [f"/api/v1/imports/{made['id']}/start" for made in (*twins, *twins)]
    with ThreadPoolExecutor(len(paths)) as pool:
        answers = list(pool.map(lambda path: http.post(path, json=body), paths))
    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422]
    said = {answer.json()["detail"] for answer in answers if answer.is_error}
    assert any("under way" in text for text in said), said
    (started,) = (answer.json()["id"] for answer in answers if answer.is_success)
    assert follow(http, started)["state"] == "done"
    before = history(http, "twin")
    (spare,) = (made["id"] for made in twins if made["id"] != started)
    assert undo(http, spare)["state"] == "undone"  # it was only looked at
    assert history(http, "twin") == before


def test_open_pages_start_anew_when_an_import_is_undone_or_a_meter_removed(
    http: httpx.Client, daemon: Daemon
) -> None:
    sample = http.get("/api/v1/imports/sample.csv").content
    kept = start(http, upload(http, "kept.csv", sample))
    gone = start(http, upload(http, "gone.csv", sample))
    with http.stream("GET", "/api/v1/stream") as answer:
        lines = answer.iter_lines()
        told = next(line for line in lines if '"id":"gone"' in line)
        assert '"id":"kept"' not in told
        undo(http, gone["id"])
        assert next(line for line in lines if line == "event: reset")
        assert '"id":"kept"' in next(line for line in lines if line.startswith('data: {"id"'))
        daemon.cli_ok("meters", "remove", kept["meter"], "--yes")
        assert next(line for line in lines if line == "event: reset")


def api_meters(daemon: Daemon) -> list[dict[str, Any]]:
    with Api.logged_in(daemon) as api:
        return api.items("meters")


def at_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.shared
@pytest.mark.soak
@pytest.mark.timeout(1200)  # a busy machine
def test_a_transformer_s_phase_failures_raise_alerts(http: httpx.Client, shared: Path) -> None:
    content = (shared / "04_transformer/dtm_current_voltage.csv.gz").read_bytes()
    made = upload(http, "dtm_current_voltage.csv.gz", content)
    done = start(http, made, meter="dtm", timezone="UTC")
    assert (done["state"], done["rows_done"], done["error_count"]) == ("done", 11_621, 4)
    assert all("has the time of line" in error["text"] for error in done["errors"])
    found = alerts(http, "dtm", "under_voltage") + alerts(http, "dtm", "outage")
    # Each failure of a phase: on the meter's own input (phase 1), or on the phase's channel.
    for begin, end, channel in (
        ("2019-07-16 06:00", "2019-07-16 07:30", "l2"),
        ("2019-08-07 18:30", "2019-08-07 20:00", "l3"),
        ("2019-08-11 22:00", "2019-08-11 22:45", "l2"),
    ):
        during = [
            alert for alert in found
            if alert["opened"] <= at_ms(end) and (alert["resolved"] or 2**60) >= at_ms(begin)
        ]  # fmt: skip
        assert {None, channel} <= {alert["channel"] for alert in during}, (begin, during)
    (dead,) = alerts(http, "dtm", "outage")
    assert (dead["channel"], dead["severity"]) == ("l2", "critical")
    assert at_ms("2019-08-11 22:00") < dead["opened"] < at_ms("2019-08-11 22:30")
    assert not alerts(http, "dtm", "over_current")
    # The notes name nine outage rows: those where a phase has less than 100 V.
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(content).decode())))
    named = [
        (at_ms(row["ts"]), f"l{phase}")
        for row in rows
        for phase in (1, 2, 3)
        if float(row[f"vl{phase}"]) < 100
    ]
    assert len(named) == 9
    for when_ms, phase in named:
        assert told_of(found, when_ms, phase), (when_ms, phase)
    assert not alerts(http, "dtm", "sensor_fault")  # no value of it stands still


@pytest.mark.shared
@pytest.mark.soak
@pytest.mark.timeout(1200)  # a busy machine
def test_a_transformer_s_stuck_oil_sensor_raises_alerts(http: httpx.Client, shared: Path) -> None:
    content = (shared / "04_transformer/dtm_overview.csv.gz").read_bytes()
    made = upload(http, "dtm_overview.csv.gz", content)
    chosen = {"aux.oil_temp": "oti", "aux.ambient_temp": "ati", "aux.oil_level": "oli"}
    done = start(http, made, meter="oil", timezone="UTC", map=chosen)
    assert done["state"] == "done"
    assert all("has the time of line" in error["text"] for error in done["errors"])
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(content).decode())))
    # The notes: stuck at 200 and above, as the indicator's own alarm contact says too.
    stuck = [at_ms(row["ts"]) for row in rows if float(row["oti"]) >= 200]
    assert len(stuck) == 47
    found = alerts(http, "oil", "sensor_fault")
    for when_ms in stuck:
        assert told_of(found, when_ms, None), when_ms
    for alert in found:  # and of nothing else
        assert any(alert["evidence"]["since_ms"] <= at <= alert["resolved"] for at in stuck), alert
    (first, *_) = sorted(found, key=lambda alert: alert["opened"])
    assert first["title"] == "Temperature sensor works again" or "oil_temp" in first["detail"]


def told_of(found: list[dict[str, Any]], when_ms: int, channel: str | None) -> bool:
    """Tell whether an alert of this channel speaks of this moment."""
    return any(
        alert["evidence"]["since_ms"] <= when_ms <= (alert["resolved"] or 2**60)
        for alert in found
        if alert["channel"] == channel
    )


@pytest.mark.shared
@pytest.mark.soak
@pytest.mark.timeout(1200)  # a busy machine
def test_a_year_of_a_factory_and_a_month_of_a_house(http: httpx.Client, shared: Path) -> None:
    content = (shared / "04_transformer/steel_industry_15min.csv.gz").read_bytes()
    made = upload(http, "steel_industry_15min.csv.gz", content)
    # Over 500 kW are beyond one channel of a reading: a third on each phase.
    phases = {f"l{n}.p": "kwh:1333.3333333" for n in (1, 2, 3)}
    done = start(http, made, meter="steel", timezone="UTC", time="ts_file_order", map=phases)
    assert (done["state"], done["rows_done"], done["error_count"]) == ("done", 23_328, 0)
    months = http.get(
        "/api/v1/meters/steel/energy",
        params={"start": "2018-01-01", "end": "2018-09-01", "by": "month"},
    ).json()["items"]
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(content).decode())))
    total = sum(float(row["kwh"]) for row in islice(rows, 1, None))
    counted = sum(c["kwh_in"] or 0 for m in months for c in m["channels"].values())
    assert counted == pytest.approx(total, rel=2e-4)
    house = gzip.compress(as_published(shared))
    done = start(http, upload(http, "household.txt.gz", house), meter="uci", timezone="UTC")
    assert (done["state"], done["rows_done"], done["error_count"]) == ("done", 30_636, 0)
    # Neither holds a stuck or dead period (longest repeats: 75 min of energy, 30 min of current).
    for meter in ("steel", "uci"):
        assert not alerts(http, meter, "sensor_fault")
        assert not alerts(http, meter, "outage")
