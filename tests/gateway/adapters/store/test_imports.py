"""Taking an import out again: what the cloud learns of its alerts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.adapters.store.alerts import write_changes
from gateway.adapters.store.cloud import SqlCloudFeed
from gateway.adapters.store.database import Database, opened
from gateway.adapters.store.imports import SqlImports
from gateway.domain.alerts import Alert, AlertState, HistoryEntry
from gateway.pipeline.alert_book import Change
from gateway.services.cloud_feed import AlertEntry, DueKind
from gateway.services.import_jobs import Choice, ImportJob
from tests.support.cloud import UTC, alert

CHOICE = Choice("kitchen", "grid", "UTC", "t", {}, "")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path / "w.db") as database:
        yield database


async def undo(database: Database, *brought: Alert, sent: bool) -> list[AlertEntry]:
    """Return what the cloud still has to learn when an import of these alerts is undone."""
    feed, store = SqlCloudFeed(database, UTC), SqlImports(database)
    opened = (HistoryEntry(5, "system", "opened"),)
    changes = [Change(one, opened, is_new=True) for one in brought]
    asked = ImportJob(0, "a.csv", 1, 0, "ada", choice=CHOICE, boot=7, started_ms=1)
    job = await store.add(asked)
    await database.write(lambda db: write_changes(db, changes))
    if sent:
        await feed.confirm((), await feed.alerts(50), ())
    await store.finish_undo(job)
    assert await store.count_alerts(job) == 0
    return await feed.alerts(50)


async def test_the_cloud_learns_that_alerts_of_an_undone_import_are_over(
    database: Database,
) -> None:
    SqlCloudFeed(database, UTC).arm_now([DueKind.QUARTER], 0)
    is_over = alert(2, state=AlertState.RESOLVED)
    before = replace(alert(1), historic=True, snoozed_until_ms=None)
    (entry,) = await undo(database, before, is_over, sent=True)
    end_ms = entry.alert.resolved_ms
    assert end_ms is not None
    assert entry.alert == replace(
        before, state=AlertState.RESOLVED, resolved_ms=end_ms, updated_ms=end_ms
    )
    assert entry.history == [HistoryEntry(end_ms, "system", "resolved: the import was undone")]
    feed = SqlCloudFeed(database, UTC)
    await feed.confirm((), [entry], ())
    assert await feed.alerts(50) == []


async def test_what_waited_may_stand_in_the_cloud_as_open(database: Database) -> None:
    SqlCloudFeed(database, UTC).arm_now([DueKind.QUARTER], 0)
    found = await undo(database, alert(1), alert(2, state=AlertState.RESOLVED), sent=False)
    assert {entry.alert.state for entry in found} == {AlertState.RESOLVED}
    assert len(found) == 2


async def test_without_a_cloud_nothing_of_them_is_left(database: Database) -> None:
    SqlCloudFeed(database, UTC).arm_now([DueKind.HOUR], 0)  # an archive alone
    assert await undo(database, alert(1), sent=False) == []
