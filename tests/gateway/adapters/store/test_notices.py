"""The contract of notices and devices, held by SQL and by the in-memory twins."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.adapters.memory_notices import MemoryDevices, MemoryNotices
from gateway.adapters.store import schema_notices
from gateway.adapters.store.accounts import SqlAccounts
from gateway.adapters.store.alerts import write_changes
from gateway.adapters.store.database import Database, opened
from gateway.adapters.store.notices import SqlDevices, SqlNotices
from gateway.domain.alerts import Alert, AlertState, HistoryEntry, Severity
from gateway.domain.errors import BadInputError
from gateway.pipeline.alert_book import Change
from gateway.services.accounts import AuditEntry, User, UserRole
from gateway.services.notify.ports import (
    Device,
    DeviceStore,
    NewNotice,
    NoticeStore,
    Platform,
    Target,
)
from tests.gateway.services.notify.rig import alert_of

ANNA, BERT = Target("push", "anna"), Target("ntfy", "bert")
DONE = AuditEntry(1000, "root", "did", "it")


class Site:
    """A store of notices, and what writes alerts into it."""

    def __init__(self, database: Database | None) -> None:
        self._database = database
        self._memory = MemoryNotices()
        self.store: NoticeStore = SqlNotices(database) if database else self._memory

    async def write(self, alert: Alert, *what: str, who: str = "system") -> Alert:
        entries = tuple(HistoryEntry(alert.updated_ms, who, said) for said in what)
        if self._database is None:
            self._memory.write(alert, *entries)
        else:
            change = Change(alert, entries)
            await self._database.write(lambda db: write_changes(db, [change]))
        return alert


@pytest.fixture(params=["sql", "memory"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "memory":
        yield Site(None)
        return
    with opened(tmp_path / "n.db") as database:
        yield Site(database)


async def test_news_are_read_from_the_position_on(site: Site) -> None:
    alert = await site.write(alert_of("a", 5), "opened")
    await site.write(replace(alert, updated_ms=7, count=2))
    await site.write(replace(alert, updated_ms=9), "escalated from warning", "acknowledged")
    first, *others = await site.store.news(2)
    assert (first.alert.id, first.entry) == (alert.id, HistoryEntry(5, "system", "opened"))
    assert first.alert.updated_ms == 9, "the alert as it is now"
    await site.store.plan([], others[0].no, 1)
    assert [news.entry.what for news in await site.store.news(9)] == ["acknowledged"]


async def test_a_notice_is_kept_once_and_finished(site: Site) -> None:
    alert = await site.write(alert_of("a", 5), "opened")
    new = NewNotice(alert.id, "opened", ANNA, alert.id)
    await site.store.plan([new, new, new._replace(target=BERT)], 1, 100)
    await site.store.plan([new], None, 200)
    one, two = await site.store.waiting(10)
    assert (one.alert, one.stage, one.target, one.tag, one.created_ms) == (
        alert, "opened", ANNA, alert.id, 100,
    )  # fmt: skip
    await site.store.finish([one.no], "sent", "", 150)
    await site.store.finish([two.no], "dropped", "muted", 150)
    assert await site.store.waiting(10) == []
    assert dict(await site.store.counts()) == {"sent": 1, "dropped": 1}
    assert [n.no for n in await site.store.with_tag(ANNA, alert.id)] == [one.no]
    assert await site.store.with_tag(BERT, alert.id) == []
    await site.store.plan([new], None, 300)
    assert await site.store.waiting(10) == [], "sent once is sent"


async def test_critical_ones_stand_before_those_that_wait_for_the_morning(site: Site) -> None:
    mild = await site.write(replace(alert_of("a", 5), severity=Severity.WARNING), "opened")
    bad = await site.write(alert_of("b", 6), "opened")
    await site.store.plan([NewNotice(a.id, "opened", ANNA, a.id) for a in (mild, bad)], 2, 9)
    assert [n.alert.id for n in await site.store.waiting(1)] == [bad.id]


async def test_a_target_with_much_to_wait_for_hides_no_other(site: Site) -> None:
    alerts = [await site.write(alert_of(name, 5), "opened") for name in "abcd"]
    stuck = [NewNotice(a.id, "opened", ANNA, a.id) for a in alerts]
    await site.store.plan([*stuck, stuck[3]._replace(target=BERT)], 4, 9)
    found = [(n.alert.key[0], n.target) for n in await site.store.waiting(2)]
    assert found == [("a", ANNA), ("b", ANNA), ("d", BERT)]


async def test_the_tag_of_a_group_is_that_of_its_first(site: Site) -> None:
    one = await site.write(alert_of("a", 5), "opened")
    two = await site.write(alert_of("b", 6), "opened")
    await site.store.plan([NewNotice(one.id, "opened", ANNA, one.id)], 1, 1000)
    assert await site.store.recent_tag(two, "opened", 1000) == one.id
    assert await site.store.recent_tag(two, "opened", 1001) is None
    assert await site.store.recent_tag(two, "worse", 1000) is None
    mild = replace(two, severity=Severity.WARNING)
    assert await site.store.recent_tag(mild, "opened", 1000) is None
    await site.store.plan([NewNotice(two.id, "opened", ANNA, one.id)], 2, 1050)
    assert await site.store.recent_tag(two, "opened", 1001) is None, "not for ever"


async def test_who_was_told_and_whether_alone(site: Site) -> None:
    one = await site.write(alert_of("a", 5), "opened")
    two = await site.write(alert_of("b", 6), "opened")
    notices = [
        NewNotice(one.id, "opened", ANNA, one.id),
        NewNotice(one.id, "opened", BERT, one.id),
        NewNotice(two.id, "opened", ANNA, one.id),
    ]
    await site.store.plan(notices, 2, 10)
    assert await site.store.told(one.id) == []
    for notice in await site.store.waiting(10):
        await site.store.finish([notice.no], "sent", "", 20)
    assert await site.store.told(one.id) == [(BERT, True), (ANNA, False)]


async def test_who_may_have_heard_counts_too(site: Site) -> None:
    alert = await site.write(alert_of("a", 5), "opened")
    new = NewNotice(alert.id, "opened", ANNA, alert.id)
    await site.store.plan([new, new._replace(target=BERT)], 1, 10)
    one, two = await site.store.waiting(10)
    assert await site.store.hand_over([one.no]) == {one.no}
    assert await site.store.told(alert.id) == [(ANNA, True)]
    handed, other = await site.store.waiting(10)
    assert (handed, other) == (one._replace(handed=True), two)
    await site.store.drop(handed, "resolved", 20)
    await site.store.drop(other, "resolved", 20)
    assert dict(await site.store.counts()) == {"dropped": 2}
    assert await site.store.told(alert.id) == [(ANNA, True)]
    assert await site.store.hand_over([one.no, two.no]) == set(), "dropped meanwhile"
    await site.store.finish([one.no], "dropped", "refused", 30)
    assert await site.store.told(alert.id) == []


async def test_what_its_road_did_not_take_is_as_it_was(site: Site) -> None:
    alert = await site.write(alert_of("a", 5), "opened")
    await site.store.plan([NewNotice(alert.id, "opened", ANNA, alert.id)], 1, 10)
    (notice,) = await site.store.waiting(10)
    await site.store.hand_over([notice.no])
    await site.store.take_back([notice.no])
    assert await site.store.waiting(10) == [notice]
    assert await site.store.told(alert.id) == []


async def test_what_was_handed_over_meanwhile_is_not_dropped_unseen(site: Site) -> None:
    alert = await site.write(alert_of("a", 5), "opened")
    await site.store.plan([NewNotice(alert.id, "opened", ANNA, alert.id)], 1, 10)
    (notice,) = await site.store.waiting(10)
    await site.store.hand_over([notice.no])
    await site.store.drop(notice, "resolved", 20)
    assert dict(await site.store.counts()) == {"waiting": 1}


async def test_unanswered_critical_alerts(site: Site) -> None:
    alerts = [await site.write(alert_of(name, 5), "opened") for name in "abcd"]
    await site.store.plan([NewNotice(a.id, "opened", ANNA, a.id) for a in alerts], 4, 10)
    for notice in await site.store.waiting(10):
        await site.store.finish([notice.no], "sent", "", 20)
    await site.write(replace(alerts[0], state=AlertState.ACKNOWLEDGED), "acknowledged")
    await site.write(replace(alerts[1], severity=Severity.WARNING))
    (found, other) = await site.store.unacknowledged()
    assert found == (alerts[2], alerts[2].id, 20, 0)
    await site.store.plan([NewNotice(other.alert.id, "reminder-1", ANNA, other.tag)], None, 30)
    assert [u.reminders for u in await site.store.unacknowledged()] == [0, 1]


async def test_old_ones_are_forgotten_and_what_waits_is_not(site: Site) -> None:
    alerts = [await site.write(alert_of(name, 5), "opened") for name in "ab"]
    await site.store.plan([NewNotice(a.id, "opened", ANNA, a.id) for a in alerts], 2, 10)
    first, _ = await site.store.waiting(10)
    await site.store.finish([first.no], "sent", "", 20)
    await site.store.forget_before(11)
    assert dict(await site.store.counts()) == {"waiting": 1}


def test_alerts_from_before_the_tables_are_nobody_s_news(tmp_path: Path) -> None:

    with opened(tmp_path / "n.db") as database:
        alert = alert_of("a", 5)
        change = Change(alert, (HistoryEntry(5, "system", "opened"),))
        database.write_now(lambda db: write_changes(db, [change]))
        drop = ["DROP TABLE devices", "DROP TABLE notices", "DROP TABLE cloud_commands"]
        database.write_now(lambda db: [db.execute(statement).rowcount for statement in drop])
        database.write_now(schema_notices.create)
        assert database.read_now(
            lambda db: db.execute("SELECT value FROM meta WHERE key='notified_upto'").fetchone()
        ) == ("1",)


@pytest.fixture(params=["sql", "memory"])
async def devices(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DeviceStore]:
    if request.param == "memory":
        yield MemoryDevices({"ada", "bob"})
        return
    with opened(tmp_path / "d.db") as database:
        for name in ("ada", "bob"):
            await SqlAccounts(database).add_user(User(name, UserRole.VIEWER, "x", 1, 1), DONE)
        yield SqlDevices(database)


def device(number: int, user: str = "ada", token: str = "") -> Device:
    return Device(
        f"id-{number}", user, token or f"token-{number}", Platform.IOS, "Phone", "de", number,
        number,
    )  # fmt: skip


async def test_devices_are_kept_by_their_token(devices: DeviceStore) -> None:
    assert await devices.save_device(device(1), 5) == device(1)
    again = await devices.save_device(device(2, "bob", "token-1"), 5)
    assert (again.id, again.user, again.created_ms, again.seen_ms) == ("id-1", "bob", 1, 2)
    assert await devices.list_devices("ada") == []
    assert await devices.list_devices() == [again]


async def test_a_person_s_stalest_device_makes_room(devices: DeviceStore) -> None:
    for number in range(4):
        await devices.save_device(device(number), 3)
    await devices.save_device(device(9, "bob"), 3)
    assert [d.id for d in await devices.list_devices("ada")] == ["id-1", "id-2", "id-3"]
    assert len(await devices.list_devices()) == 4


async def test_nobody_removes_another_s_device(devices: DeviceStore) -> None:
    await devices.save_device(device(1), 3)
    assert not await devices.remove_device("id-1", "bob")
    assert await devices.remove_device("id-1", "ada")
    assert not await devices.remove_device("id-1")
    await devices.save_device(device(2), 3)
    assert await devices.remove_device("id-2")


async def test_only_people_have_devices(devices: DeviceStore) -> None:
    with pytest.raises(BadInputError, match="belong to people"):
        await devices.save_device(device(1, "grafana-token"), 3)


async def test_a_person_s_devices_go_with_the_person(tmp_path: Path) -> None:
    with opened(tmp_path / "d.db") as database:
        accounts = SqlAccounts(database)
        await accounts.add_user(User("ada", UserRole.VIEWER, "x", 1, 1), DONE)
        await SqlDevices(database).save_device(device(1), 3)
        await accounts.remove_user("ada", DONE)
        assert await SqlDevices(database).list_devices() == []
