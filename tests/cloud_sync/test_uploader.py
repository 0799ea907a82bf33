"""The uploader: each document once, alerts first, the oldest first, and nothing lost."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from cloud_sync.documents import Document
from cloud_sync.errors import (
    CloudBusyError,
    CloudDownError,
    CredentialError,
    ForbiddenError,
    QuotaError,
    RejectedError,
)
from cloud_sync.governor import Limits
from cloud_sync.memory_cloud import MemoryCloud
from cloud_sync.planner import Unit
from cloud_sync.ports import Receipt
from gateway.domain.alerts import AlertState
from gateway.services.cloud_feed import DAY_MS, Usage
from tests.support.cloud import DAY_START_MS, CloudSite, alert

TODAY = DAY_START_MS // DAY_MS


async def used(site: CloudSite) -> dict[str, Usage]:
    return {usage.kind: usage for usage in await site.feed.usage(0, TODAY + 100)}


async def test_the_cloud_holds_what_the_gateway_holds_and_is_written_once() -> None:
    site = CloudSite()
    site.store(1, 0, 120)
    site.store(2, 30, 45)
    site.clock.now_ms += 61_000
    assert await site.send_all() == 8 + 3
    assert site.in_cloud() == site.stored
    assert len(site.cloud.order) == len(set(site.cloud.order)) == 11
    assert (await used(site))["minutes"].writes == 11
    assert await site.send_all() == 0
    assert len(site.cloud.order) == 11


async def test_the_oldest_goes_first() -> None:
    site = CloudSite()
    site.store(1, 0, 600)
    await site.send_all()
    starts = [path.rsplit("_", 2)[1] for path in site.cloud.order]
    assert all(a <= b for a, b in pairwise(starts))


async def test_an_alert_overtakes_the_backlog() -> None:
    site = CloudSite()
    site.store(1, 0, 600)
    await site.uploader.step()
    sent = len(site.cloud.order)
    site.feed.add_alert(alert())
    await site.send_all()
    assert site.cloud.order[sent] == "sites/home/alerts/alert-1"


async def test_an_alert_that_changes_is_written_anew() -> None:
    site = CloudSite()
    site.feed.add_alert(alert())
    await site.send_all()
    site.feed.add_alert(alert(state=AlertState.RESOLVED))
    await site.send_all()
    assert site.cloud.documents["sites/home/alerts/alert-1"]["state"] == "resolved"
    assert len(site.cloud.order) == 2


async def test_an_alert_that_lasts_is_written_every_three_hours_and_its_end_at_once() -> None:
    site = CloudSite()
    site.feed.add_alert(alert())
    await site.send_all()
    for count in range(2, 62):  # five hours
        site.clock.now_ms += 300_000
        site.feed.add_alert(replace(alert(), count=count), renewal=True)
        await site.send_all()
    assert len(site.cloud.order) == 2
    counts = [site.cloud.documents["sites/home/alerts/alert-1"]["count"]]
    site.feed.add_alert(replace(alert(state=AlertState.RESOLVED), count=61))
    await site.send_all()
    counts.append(site.cloud.documents["sites/home/alerts/alert-1"]["count"])
    assert counts == [38, 61]


async def test_alerts_that_last_wait_longer_near_the_limit_and_hold_up_no_news() -> None:
    site = CloudSite(Limits(100, 10**9))
    await site.feed.count([Usage(TODAY, "minutes", 82, 0)])
    for number in range(1, 61):
        site.feed.add_alert(alert(number), renewal=True)
    site.clock.now_ms += 2 * 3_600_000
    assert await site.send_all() == 0
    site.feed.add_alert(alert(99))
    assert await site.send_all() == 1
    site.clock.now_ms += 5 * 3_600_000
    assert 0 < await site.send_all() <= 7, "what is kept back for alerts is for news"
    site.clock.now_ms += DAY_MS
    assert await site.send_all() > 50


async def test_draining_sends_alerts_that_last_too() -> None:
    site = CloudSite()
    site.feed.add_alert(alert(), renewal=True)
    assert await site.uploader.drain() == 1


async def test_a_quarter_waits_until_it_is_over() -> None:
    site = CloudSite()
    site.store(1, 0, 10)
    site.clock.now_ms = DAY_START_MS + 11 * 60_000
    assert await site.send_all() == 0
    site.store(1, 10, 5)
    assert await site.send_all() == 1


async def test_a_late_minute_rewrites_its_document_alone() -> None:
    site = CloudSite()
    site.store(1, 0, 20)
    site.store(1, 21, 39)
    await site.send_all()
    site.store(1, 20, 1, power_w=77.7)
    assert await site.send_all() == 0  # others may follow it
    site.clock.now_ms += 61_000
    assert await site.send_all() == 1
    assert site.in_cloud() == site.stored


class Interrupted(MemoryCloud):
    """Has something happen while documents are on their way."""

    def __init__(self, event: Callable[[], None]) -> None:
        super().__init__()
        self.event: Callable[[], None] | None = event

    async def put(self, documents: Sequence[Document], timeout_s: float) -> Receipt:
        event, self.event = self.event, None
        if event is not None:
            event()
        return await super().put(documents, timeout_s)


async def test_what_changes_on_the_way_is_sent_again() -> None:
    site = CloudSite(cloud=Interrupted(lambda: site.store(1, 14, 1, power_w=5.0)))
    site.store(1, 0, 14)
    site.clock.now_ms += 600_000
    await site.send_all()
    site.clock.now_ms += 61_000
    await site.send_all()
    assert site.in_cloud() == site.stored


async def test_a_lost_answer_is_counted_as_unknown_and_sent_again() -> None:
    site = CloudSite()
    site.store(1, 0, 15)
    site.cloud.lost_answers = 1
    with pytest.raises(CloudDownError):
        await site.send_all()
    assert await site.send_all() == 1
    assert site.in_cloud() == site.stored
    counted = await used(site)
    assert (counted["minutes"].writes, counted["unknown"].unknown) == (1, 1)


async def test_a_refused_document_is_set_aside_and_the_others_go_on() -> None:
    site = CloudSite()
    site.store(1, 0, 300)
    poison = "sites/home/minutes/kitchen_20260921T0200_15"
    site.cloud.poison.add(poison)
    site.feed.add_alert(alert(1))
    site.feed.add_alert(alert(2))
    site.cloud.poison.add("sites/home/alerts/alert-1")
    await site.send_all()
    assert {dead.path for dead in await site.feed.dead(10)} == site.cloud.poison
    assert "sites/home/alerts/alert-2" in site.cloud.documents
    assert len(site.packed()) == 19
    assert (await site.feed.backlog()).waiting == {"alert": 0}
    site.cloud.poison.clear()
    site.store(1, 125, 1, power_w=1.0)  # it changes: the cloud may take it now
    site.clock.now_ms += 61_000
    await site.send_all()
    assert site.in_cloud() == site.stored


async def test_a_project_that_takes_nothing_costs_no_document() -> None:
    site = CloudSite()
    site.store(1, 0, 60)
    site.feed.add_alert(alert(1))
    site.cloud.failures.extend([RejectedError("no such database")] * 100)
    with pytest.raises(ForbiddenError, match="takes no document"):
        await site.send_all()
    assert await site.feed.dead(10) == []
    site.cloud.failures.clear()
    await site.send_all()
    assert site.in_cloud() == site.stored
    assert "sites/home/alerts/alert-1" in site.cloud.documents


async def test_an_interval_that_no_document_can_be_made_of_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = CloudSite()
    site.store(1, 0, 60)
    site.feed.add_alert(alert(1))
    site.feed.add_alert(alert(2))
    build = site.uploader._planner.build  # noqa: SLF001 - the defect is put in here

    async def defect(unit: Unit) -> Document | None:
        if unit.start_ms == DAY_START_MS:
            msg = "a defect"
            raise ArithmeticError(msg)
        return await build(unit)

    monkeypatch.setattr(site.uploader._planner, "build", defect)  # noqa: SLF001 - as above
    await site.send_all()
    assert len(site.packed()) == 3
    (dead,) = await site.feed.dead(10)
    assert dead.reason == "ArithmeticError: a defect"


@pytest.mark.parametrize(
    ("error", "word", "who"),
    [
        (CloudDownError("unavailable"), "down", "nobody"),
        (CloudBusyError("contention"), "down", "nobody"),
        (QuotaError("quota"), "refused", "the project's owner: wait"),
        (ForbiddenError("permission"), "refused", "the project's owner: check rules"),
        (CredentialError("revoked"), "refused", "an administrator"),
        (RuntimeError("a defect"), "failed", "the makers"),
    ],
)
async def test_every_failure_says_who_must_act_and_loses_nothing(
    error: Exception, word: str, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = CloudSite()
    site.store(1, 0, 60)
    site.cloud.failures.extend([error] * 3)
    seen = []

    async def sleep(delay_s: float) -> None:
        state = site.uploader.state
        if delay_s:
            seen.append((state.word, state.who, delay_s))
        await asyncio.to_thread(time.sleep, 0)

    monkeypatch.setattr("cloud_sync.uploader.asyncio.sleep", sleep)
    monkeypatch.setattr("cloud_sync.uploader.IDLE_S", 0.01)
    running = asyncio.create_task(site.uploader.run())
    async with asyncio.timeout(30):
        while site.uploader.state.word != "running" or site.in_cloud() != site.stored:
            await asyncio.to_thread(time.sleep, 0.02)
    running.cancel()
    assert {state[0] for state in seen} == {word}
    assert all(state[1].startswith(who) for state in seen)
    assert site.uploader.state.word == "running"
    assert site.in_cloud() == site.stored


async def test_a_silent_meter_s_last_minute_is_sent_too() -> None:
    """No reading behind it closes it, so nothing of the store's tables tells of it."""
    site = CloudSite()
    site.store(1, 0, 15)
    await site.send_all()
    facts = site.feed.meter_facts[1]
    site.feed.meter_facts[1] = facts._replace(newest_ms=DAY_START_MS + 16 * 60_000)
    site.store(1, 15, 1)
    site.feed._due.clear()  # noqa: SLF001 - as if the minute lay in memory only
    site.clock.now_ms = DAY_START_MS + 60 * 60_000
    site.uploader.hurry()
    await site.send_all()
    assert site.in_cloud() == site.stored


async def test_clocks_that_differ_are_told() -> None:
    site = CloudSite()
    site.store(1, 0, 15)
    site.cloud.server_ms = site.clock.now_ms + 3_600_000
    await site.send_all()
    assert site.uploader.state.skew_ms == 3_600_000


async def test_without_a_trusted_clock_the_data_s_own_time_counts() -> None:
    site = CloudSite()
    site.clock.is_trusted = False
    site.store(1, 0, 30)
    site.clock.now_ms = 3_600_000  # 1970
    assert await site.send_all() == 0
    facts = site.feed.meter_facts[1]
    site.feed.meter_facts[1] = facts._replace(newest_ms=DAY_START_MS + 17 * 60_000)
    assert await site.send_all() == 1
