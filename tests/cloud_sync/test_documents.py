"""Documents: what stands in them, under which ids, and how large Firestore takes them to be."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cloud_sync.documents import (
    alert_document,
    day_document,
    digest,
    gaps_document,
    minutes_document,
)
from cloud_sync.packing import BadPackError
from cloud_sync.planner import Planner, Unit
from cloud_sync.reading import merge, read_minutes
from cloud_sync.sizes import document_bytes, value_bytes
from gateway.domain.alerts import HistoryEntry
from gateway.domain.readings import GapSpan
from gateway.pipeline.rollups import Bucket, Calendar
from gateway.services.cloud_feed import DayFacts, Due, DueKind, GapFacts
from tests.support.cloud import DAY_START_MS, CloudSite, alert, bucket
from tests.support.judging import LISBON

QUARTER = (DAY_START_MS, DAY_START_MS + 900_000)


def test_a_documents_size_is_what_firestore_publishes() -> None:
    """The example of https://firebase.google.com/docs/firestore/storage-size."""
    fields = {
        "type": "Personal", "done": False, "priority": 1,
        "description": "Learn Cloud Firestore",
    }  # fmt: skip
    assert document_bytes("users/jeff/tasks/my_task_id", fields) == 147
    assert value_bytes({"a": [1, None, b"xyz", 1.5]}) == 2 + 8 + 1 + 3 + 8
    with pytest.raises(TypeError, match="set"):
        value_bytes({1, 2})


def test_a_quarters_document() -> None:
    minutes = {"grid": [bucket(DAY_START_MS + k * 60_000, 200 + k) for k in range(15)]}
    document = minutes_document("home", "kitchen", QUARTER, minutes)
    assert document.path == "sites/home/minutes/kitchen_20260921T0000_15"
    assert document.fields["start"] == datetime(2026, 9, 21, tzinfo=UTC)
    assert document.fields["rows"] == 15
    totals = document.fields["totals"]
    assert totals == {
        "grid": {
            "n": 900, "seconds": 900.0, "p": 207.0, "p_min": 196.5, "p_max": 221.25,
            "wh_in": 1049.9333, "wh_out": 0.0,
        }
    }  # fmt: skip
    assert [row.p for row in read_minutes(document.fields)["grid"]] == [
        200.0 + k for k in range(15)
    ]
    again = minutes_document("home", "kitchen", QUARTER, minutes)
    assert digest(again.fields) == digest(document.fields)
    assert document.bytes < 900


def test_of_two_documents_with_a_minute_the_longer_one_counts() -> None:
    old = {"grid": [bucket(DAY_START_MS, 1.0), bucket(DAY_START_MS + 60_000, 2.0)]}
    new = {"grid": [bucket(DAY_START_MS, 9.0)]}
    hour = (DAY_START_MS, DAY_START_MS + 3_600_000)
    documents = [
        minutes_document("home", "kitchen", hour, new).fields,
        minutes_document("home", "kitchen", QUARTER, old).fields,
    ]
    assert [row.p for row in merge(documents).values()] == [9.0, 2.0]


def test_what_is_no_packed_document_is_refused() -> None:
    with pytest.raises(BadPackError):
        read_minutes({"start": "yesterday"})
    with pytest.raises(BadPackError):
        merge([{"meter": "m"}])


def test_a_days_document_tells_what_the_registers_counted() -> None:
    day = replace_registers(bucket(DAY_START_MS), 120.5, 0.0, base=1000.0)
    before = replace_registers(bucket(DAY_START_MS - 86_400_000), 1100.25, 0.0, base=0.0)
    facts = DayFacts(DAY_START_MS, DAY_START_MS + 86_400_000, {"grid": day}, {"grid": before})
    grid = day_document("home", "kitchen", "2026-09-21", facts).fields["channels"]["grid"]  # type: ignore[index]
    assert (grid["import_wh"], grid["export_wh"], grid["wh_in"]) == (20.25, 0.0, 1120.5)
    first = day_document("home", "kitchen", "2026-09-21", facts._replace(before={}))
    assert first.fields["channels"]["grid"]["import_wh"] is None  # type: ignore[index]
    assert first.path == "sites/home/days/kitchen_2026-09-21"


def replace_registers(of: Bucket, wh_in: float, wh_out: float, base: float) -> Bucket:
    of.wh_in, of.wh_out, of.base_in, of.base_out = wh_in, wh_out, base, 0.0
    return of


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25", "2026-07-01"])
async def test_a_day_has_its_local_date_also_when_the_clocks_change(day: str) -> None:
    site = CloudSite()
    planner = Planner(site.feed, "home", LISBON, site.clock)
    noon = datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=LISBON)
    start_ms, end_ms = Calendar(LISBON).day_bounds(round(noon.timestamp() * 1000))
    site.feed.days[1, start_ms] = DayFacts(start_ms, end_ms, {"grid": bucket(start_ms)}, {})
    document = await planner.build(Unit(DueKind.DAY, 1, start_ms))
    assert document is not None
    assert document.fields["date"] == day


def test_an_alert_has_its_history_and_numbers() -> None:
    history = [HistoryEntry(DAY_START_MS, "system", "opened")]
    document = alert_document("home", replace(alert(3), resolved_ms=DAY_START_MS), history)
    assert document.path == "sites/home/alerts/alert-3"
    assert document.fields["evidence"] == {"current_a": 21.3, "limit_a": 16.0}
    assert document.fields["history"] == [
        {"at": document.fields["resolved"], "who": "system", "what": "opened"}
    ]


async def test_gaps_are_written_when_they_have_changed_and_only_then() -> None:
    site = CloudSite()
    facts = GapFacts([GapSpan(DAY_START_MS, DAY_START_MS + 5000, "final")], 0, 5)
    site.feed.gap_facts[1] = facts
    wanted = gaps_document("home", "kitchen", facts)
    for _ in range(2):
        await site.feed.note([Due(DueKind.GAPS, 1, 0)])
        site.clock.now_ms += 4_000_000
        await site.send_all()
    assert site.cloud.order == [wanted.path]
    assert site.cloud.documents[wanted.path] == wanted.fields
