"""The contract of read models, held by SQL on disk and by the in-memory twin."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.memory_views import MemoryViews
from gateway.adapters.store.capacity import DAY_MS, daily_bytes, read_space
from gateway.adapters.store.database import Database
from gateway.adapters.store.intake import write_batch
from gateway.adapters.store.views import SqlViews
from gateway.domain.alerts import Alert, AlertKind, AlertState, HistoryEntry, Severity
from gateway.domain.errors import BadInputError, NotFoundError
from gateway.domain.meters import ChannelInfo, MeterInfo, Role
from gateway.domain.readings import Stored
from gateway.services.batches import Batch, MeterState
from gateway.services.views import (
    LONGEST_HISTORY,
    AlertFilter,
    AlertView,
    Diagnostics,
    MeterView,
    Views,
    read_cursor,
    write_cursor,
)

NOW_MS = 1_763_760_000_000
MAX_BYTES = 10_000_000
Make = Callable[[list[MeterView], list[AlertView]], Views]


def no_reading(_: str) -> Stored | None:
    return None


def put_meter(db: sqlite3.Connection, view: MeterView) -> None:
    state = {"online": view.online, "fw": view.fw, "model": view.model, "cal": view.cal}
    if (told := view.diagnostics) is not None:
        state |= {"rssi": told.rssi_dbm, "heap": told.heap_bytes, "backlog": told.backlog}
        state |= {"up": told.up_ms, "bootn": told.starts}
    number = db.execute(
        "INSERT INTO meters (id, recorded, label, registered_ms, state, state_ms, online)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            view.info.id,
            view.info.recorded,
            view.info.label,
            view.info.registered_ms,
            None if view.state_ms is None else json.dumps(state),
            view.state_ms,
            view.online,
        ),
    ).lastrowid
    for channel in view.info.channels.values():
        db.execute(
            "INSERT INTO channels (meter_no, name, role, rating_a) VALUES (?, ?, ?, ?)",
            (number, channel.name, channel.role.value, channel.rating_a),
        )


def put_alert(db: sqlite3.Connection, view: AlertView) -> None:
    alert = view.alert
    db.execute(
        "INSERT INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        (
            alert.id, *alert.key[:2], alert.key[2].value, alert.severity.value, alert.state.value,
            alert.opened_ms, alert.updated_ms, alert.resolved_ms, alert.count, alert.title,
            alert.detail, json.dumps(alert.evidence), alert.snoozed_until_ms, alert.historic,
        ),
    )  # fmt: skip
    for entry in view.history:
        db.execute(
            "INSERT INTO alert_history (alert_id, at_ms, who, what) VALUES (?, ?, ?, ?)",
            (alert.id, entry.at_ms, entry.who, entry.what),
        )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "w.db")
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "sql"])
def make(request: pytest.FixtureRequest, database: Database) -> Make:
    def memory(meters: list[MeterView], alerts: list[AlertView]) -> Views:
        return MemoryViews(
            {view.info.id: view for view in meters}, {view.alert.id: view for view in alerts}
        )

    def sql(meters: list[MeterView], alerts: list[AlertView]) -> Views:
        def put(db: sqlite3.Connection) -> None:
            for meter in meters:
                put_meter(db, meter)
            for alert in alerts:
                put_alert(db, alert)

        database.write_now(put)
        return SqlViews(database, max_bytes=MAX_BYTES, latest=no_reading, now_ms=lambda: NOW_MS)

    return memory if request.param == "memory" else sql


def a_meter(meter: str) -> MeterView:
    channels = {
        "grid": ChannelInfo("grid", Role.GRID, 30.0),
        "load1": ChannelInfo("load1", Role.LOAD),
    }
    info = MeterInfo(meter, label="Küche", registered_ms=NOW_MS, channels=channels)
    told = Diagnostics(-61, 81_234, 0, 3_600_000, 17)
    return MeterView(
        info, online=True, state_ms=NOW_MS, fw="1.2.0", model=7, cal=3, diagnostics=told
    )


def an_alert(
    alert_id: str,
    opened_ms: int,
    *,
    meter: str = "kitchen",
    state: AlertState = AlertState.RESOLVED,
    severity: Severity = Severity.WARNING,
    history: int = 1,
) -> AlertView:
    alert = Alert(
        id=alert_id,
        key=(meter, "grid", AlertKind.OVER_CURRENT),
        severity=severity,
        state=state,
        opened_ms=opened_ms,
        updated_ms=opened_ms + 5,
        resolved_ms=opened_ms + 5 if state is AlertState.RESOLVED else None,
        count=2,
        title="Too much current",
        detail="31.0 A, rated 30.0 A.",
        evidence={"current_a": 31.0, "why": None},
        historic=True,
    )
    return AlertView(alert, [HistoryEntry(n, "system", f"note {n}") for n in range(history)])


async def test_meters_come_by_id_in_pages(make: Make) -> None:
    views = make([a_meter(meter) for meter in ("m3", "m1", "m2")], [])
    first = await views.list_meters(None, 2)
    assert first.items == [a_meter("m1"), a_meter("m2")]
    assert first.next is not None
    second = await views.list_meters(first.next, 2)
    assert (second.items, second.next) == ([a_meter("m3")], None)
    assert (await views.list_meters(None, 3)).next is None
    assert await views.get_meter("m2") == a_meter("m2")
    with pytest.raises(NotFoundError, match="m9"):
        await views.get_meter("m9")


async def test_a_meter_that_never_spoke_is_shown(make: Make) -> None:
    silent = MeterView(MeterInfo("m1", recorded=True, registered_ms=1))
    assert await make([silent], []).get_meter("m1") == silent


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"online": False}, None),  # a last will
        ({"rssi": 0, "heap": 0, "backlog": 0}, Diagnostics(backlog=0)),  # no radio, no board
        ({"rssi": "good", "heap": 1e9, "backlog": True, "up": 1 << 60, "bootn": []}, None),
    ],
)
async def test_what_a_meter_does_not_say_of_itself_is_unknown(
    database: Database, said: dict[str, object], shown: Diagnostics | None
) -> None:
    database.write_now(lambda db: put_meter(db, a_meter("m1")))
    database.write_now(lambda db: db.execute("UPDATE meters SET state = ?", [json.dumps(said)]))
    views = SqlViews(database, max_bytes=MAX_BYTES, latest=no_reading, now_ms=lambda: NOW_MS)
    assert (await views.get_meter("m1")).diagnostics == shown


async def test_what_a_meter_said_of_itself_stays_known_when_it_is_gone(database: Database) -> None:
    database.write_now(lambda db: put_meter(db, a_meter("m1")))
    (number,) = database.write_now(lambda db: db.execute("SELECT no FROM meters").fetchone())
    views = SqlViews(database, max_bytes=MAX_BYTES, latest=no_reading, now_ms=lambda: NOW_MS)

    async def told(at_ms: int, said: dict[str, object]) -> MeterView:
        batch = Batch()
        online = said["online"] is True
        batch.states[number] = MeterState(number, json.dumps(said), at_ms, online)
        database.write_now(lambda db: write_batch(db, batch))
        return await views.get_meter("m1")

    well = {"online": True, "fw": "1.9.0", "model": 17, "cal": 13, "backlog": 2}
    here = await told(NOW_MS - 50, well)
    assert (here.online, here.fw, here.model, here.cal) == (True, "1.9.0", 17, 13)
    for _ in range(2):
        gone = await told(NOW_MS - 40, {"online": False})
        assert (gone.online, gone.state_ms) == (False, NOW_MS - 40)
        assert (gone.fw, gone.model, gone.cal) == ("1.9.0", 17, 13)
        assert gone.diagnostics == Diagnostics(backlog=2)
    again = await told(NOW_MS, {"online": True, "fw": "1.3.0"})
    assert (again.fw, again.model, again.diagnostics) == ("1.3.0", None, None)


def test_a_will_in_the_same_commit_keeps_what_was_said_before_it() -> None:
    will = MeterState(1, '{"online":false}', 60, online=False)
    said = '{"online":true,"fw":"1.2.0"}'
    assert json.loads(will.after(said).payload) == {"online": False, "fw": "1.2.0"}
    assert will.after(None) == will
    here = MeterState(1, said, 70, online=True)
    assert here.after('{"online":false,"model":7}') == here


async def test_alerts_page_newest_first_without_loss(make: Make) -> None:
    alerts = [an_alert(f"a{n:02}", n // 3) for n in range(20)]
    views = make([], alerts)
    found: list[AlertView] = []
    cursor = None
    while True:
        page = await views.list_alerts(AlertFilter(), cursor, 4)
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    assert found == alerts[::-1]


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        (AlertFilter(), ["d", "c", "b", "a"]),
        (AlertFilter(state=AlertState.OPEN), ["b"]),
        (AlertFilter(state=AlertState.ACKNOWLEDGED), ["c"]),
        (AlertFilter(severity=Severity.CRITICAL), ["c"]),
        (AlertFilter(meter=""), ["d"]),
        (AlertFilter(meter="kitchen", state=AlertState.RESOLVED), ["a"]),
    ],
)
async def test_alerts_are_filtered(make: Make, which: AlertFilter, ids: list[str]) -> None:
    views = make(
        [],
        [
            an_alert("a", 1),
            an_alert("b", 2, state=AlertState.OPEN),
            an_alert(
                "c", 3, meter="hall", state=AlertState.ACKNOWLEDGED, severity=Severity.CRITICAL
            ),
            an_alert("d", 4, meter=""),
        ],
    )
    page = await views.list_alerts(which, None, 10)
    assert [view.alert.id for view in page.items] == ids
    assert page.next is None


async def test_one_alert_with_its_newest_history(make: Make) -> None:
    long = an_alert("a", 1, history=LONGEST_HISTORY + 5)
    views = make([], [long])
    found = await views.get_alert("a")
    assert found.alert == long.alert
    assert found.history == long.history[5:]
    with pytest.raises(NotFoundError, match="nope"):
        await views.get_alert("nope")


async def test_open_alerts_are_counted(make: Make) -> None:
    views = make(
        [],
        [
            an_alert("a", 1),
            an_alert("b", 2, state=AlertState.OPEN),
            an_alert("c", 3, meter="x1", state=AlertState.ACKNOWLEDGED, severity=Severity.CRITICAL),
        ],
    )
    assert dict((await views.status()).open_alerts) == {"warning": 1, "critical": 1}


@pytest.mark.parametrize("cursor", ["x", "AAAA", "MTI", "MTI6", "é", "A" * 201, "MTpcAA==\n", "-"])
async def test_a_strange_cursor_is_refused(make: Make, cursor: str) -> None:
    with pytest.raises(BadInputError, match="cursor"):
        await make([], []).list_alerts(AlertFilter(), cursor, 5)


@given(st.integers(-(2**53), 2**53), st.from_regex(r"[0-9A-Za-z:_-]{1,64}", fullmatch=True))
def test_cursors_round_trip(opened_ms: int, alert_id: str) -> None:
    cursor = write_cursor(opened_ms, alert_id)
    assert cursor.isascii()
    assert read_cursor(cursor) == (opened_ms, alert_id)


async def test_status_counts_what_waits(database: Database) -> None:
    def put(db: sqlite3.Connection) -> None:
        put_meter(db, a_meter("m1"))
        put_readings(db, rows=100, first_ms=NOW_MS - 7_200_000, step_ms=72_000)
        db.execute("INSERT INTO judged VALUES (1, 90, 0, x'')")
        db.execute("INSERT INTO outbox (kind, key, created_ms, body) VALUES ('a', 'b', 0, '')")
        db.execute("INSERT INTO dead_letter_counts VALUES ('json', 3)")
        db.execute("INSERT INTO models VALUES (1, 'grid', 'gaussian', 77, x'')")

    database.write_now(put)
    views = SqlViews(database, max_bytes=MAX_BYTES, latest=no_reading, now_ms=lambda: NOW_MS)
    status = await views.status()
    assert status.judge_backlog == 10
    assert status.cloud_backlog == 1
    assert status.dead_letters == {"json": 3}
    assert [(m.meter, m.channel, m.kind, m.fitted_ms) for m in status.models] == [
        ("m1", "grid", "gaussian", 77)
    ]
    assert 0 < status.disk.used < MAX_BYTES
    assert status.disk.allowed == MAX_BYTES
    assert status.disk.free > 0
    # 100 rows in two hours are 1200 a day, of 100 bytes each and their overhead.
    room = database.read_now(lambda db: read_space(db, database.path)).room(MAX_BYTES)
    assert 0 < room < MAX_BYTES  # the same as retention's
    assert status.offline_days == pytest.approx(room / (1200 * 148 * 1.1), rel=0.02)


def put_readings(db: sqlite3.Connection, *, rows: int, first_ms: int, step_ms: int) -> None:
    db.executemany(
        "INSERT INTO readings (boot_no, seq, n, up_ms, received_ms, dt_ms, marks, body)"
        " VALUES (1, ?, 1, 0, ?, 1000, 0, zeroblob(100))",
        [(number, first_ms + number * step_ms) for number in range(rows)],
    )


@pytest.mark.parametrize(
    ("rows", "first_ms", "step_ms", "rows_a_day"),
    [
        (0, 0, 1, None),
        (100, NOW_MS - 1_000_000, 1000, None),  # not an hour yet
        (4000, NOW_MS - 4000 * 60_000, 60_000, 1440),  # only the last day counts
        (100, NOW_MS - 5 * DAY_MS, 1000, 0.2),  # silent for days
    ],
)
def test_growth_is_that_of_the_last_day(
    database: Database, rows: int, first_ms: int, step_ms: int, rows_a_day: float | None
) -> None:
    database.write_now(lambda db: put_readings(db, rows=rows, first_ms=first_ms, step_ms=step_ms))
    growth = database.read_now(lambda db: daily_bytes(db, NOW_MS))
    if rows_a_day is None:
        assert growth is None
    else:
        assert growth == pytest.approx(rows_a_day * 148 * 1.1, rel=0.01)
