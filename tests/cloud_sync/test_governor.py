"""The daily limits: near them documents grow, at them all but alerts waits, nothing is lost."""

import pytest

from cloud_sync.governor import Governor, Limits, Span
from cloud_sync.prices import month_view
from gateway.services.cloud_feed import DAY_MS, Usage
from tests.support.cloud import DAY_START_MS, CloudSite, alert

TODAY = DAY_START_MS // DAY_MS


@pytest.mark.parametrize(
    ("writes", "span"),
    [
        (0, Span.QUARTER), (64, Span.QUARTER), (65, Span.HOUR), (80, Span.SIX_HOURS),
        (90, Span.DAY), (95, None), (100, None),
    ],
)  # fmt: skip
def test_documents_grow_with_what_is_used(writes: int, span: Span | None) -> None:
    governor = Governor(Limits(100, 1000))
    governor.load(5, [Usage(5, "minutes", writes - 1, 10, 1), Usage(4, "minutes", 999, 9999)])
    assert governor.span() == span
    assert governor.may_alert() == (writes < 100)


def test_bytes_count_as_writes_do() -> None:
    governor = Governor(Limits(100, 1000))
    governor.load(5, [Usage(5, "minutes", 1, 900)])
    assert governor.span() is Span.DAY


async def test_near_the_limit_fewer_documents_hold_the_same_rows() -> None:
    site = CloudSite(Limits(100, 10**9))
    site.store(1, 0, 24 * 60 - 10)
    await site.send_all()
    spans = {path.rsplit("_", 1)[1] for path in site.packed()}
    assert spans >= {"15", "60"}
    assert len(site.cloud.order) <= 95
    site.clock.now_ms += DAY_MS
    await site.send_all()
    assert site.in_cloud() == site.stored


async def test_a_late_row_goes_into_the_document_that_holds_its_quarter() -> None:
    site = CloudSite(Limits(100, 10**9))
    site.store(1, 0, 24 * 60 - 10)
    await site.send_all()
    site.clock.now_ms += DAY_MS
    await site.send_all()
    before = set(site.cloud.documents)
    coarse = next(path for path in site.packed() if path.endswith("_60"))
    start = site.cloud.documents[coarse]["start"]
    minute = round((start.timestamp() * 1000 - DAY_START_MS) / 60_000)  # type: ignore[attr-defined]
    site.store(1, minute + 52, 1, power_w=1.25)
    site.clock.now_ms += 61_000
    assert await site.send_all() == 1
    assert site.cloud.order[-1] == coarse
    assert set(site.cloud.documents) == before
    assert site.in_cloud() == site.stored


async def test_no_minute_stands_in_two_documents() -> None:
    site = CloudSite(Limits(120, 10**9))
    for meter in (1, 2):
        site.store(meter, 0, 18 * 60)
    for _ in range(4):
        await site.send_all()
        site.clock.now_ms += DAY_MS
    rows = sum(int(str(fields["rows"])) for fields in site.packed().values())
    assert rows == len(site.stored)
    assert site.in_cloud() == site.stored


async def test_at_the_limit_alerts_still_go() -> None:
    site = CloudSite(Limits(100, 10**9))
    await site.feed.count([Usage(TODAY, "minutes", 96, 0)])
    site.store(1, 0, 60)
    site.feed.add_alert(alert())
    await site.send_all()
    assert site.cloud.order == ["sites/home/alerts/alert-1"]
    assert site.uploader.state.word == "waiting"
    site.clock.now_ms += DAY_MS
    await site.send_all()
    assert site.in_cloud() == site.stored


def test_a_month_is_judged_by_the_days_before() -> None:
    days = [Usage(day, kind, n, size) for day in range(3) for kind, n, size in (
        ("minutes", 96, 70_000), ("latest", 4, 1_500), ("lease", 700, 200_000))]  # fmt: skip
    view = month_view(days, 3)
    assert (view.month.writes, view.leases.writes) == (3000, 21_000)
    assert view.month.usd == pytest.approx(0.0054 + 30 * 71_500 / 2**30 * 0.18)
